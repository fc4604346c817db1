//! What stands ready for the run phase before its program is known: zygotes, and processes that
//! wait. Which of it a program can have, and how it is made.
//!
//! Invariant: what waits is used for one program, and whatever would make that program see
//! a difference has it started cold.

mod makers;
mod prove;
mod zygote;

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{StartFrom, WarmInfo};
use regex::Regex;
use sandbox::CellSpec;

use crate::cells::Workspace;
use crate::core::{Allowance, Command, Core};
use crate::language::Program;
use crate::pool::{Kind, Made, Stock, WarmKind};
use crate::process::Fault;
use crate::template::{UnknownPlaceholder, Values};
use zygote::Zygote;

pub(crate) use makers::Makers;
pub(crate) use zygote::lay_out_library;

/// How long a process may take to become ready.
const READY_SECONDS: u64 = 8;

/// How long something may wait: its clocks and seeds age.
const AGE_MAX: Duration = Duration::from_mins(10);

/// What stands ready, or could.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    cold_env: Vec<Regex>,
    /// By runtime.
    runtimes: Vec<RuntimeWarmth>,
}

/// How programs of one runtime start.
#[derive(Debug)]
pub(crate) enum RuntimeWarmth {
    /// Each for itself, for this reason.
    Cold(String),
    /// Forked from a zygote, by profile.
    Zygotes(Vec<Zygote>),
    /// In a process that waits.
    Process,
}

impl Warm {
    /// Everything starts cold, for this reason.
    pub(crate) fn none(runtimes: usize, reason: &str) -> Self {
        let cold = || RuntimeWarmth::Cold(reason.to_owned());
        Self { cold_env: Vec::new(), runtimes: (0..runtimes).map(|_| cold()).collect() }
    }

    /// Makes a runtime start cold from now on.
    fn chill(&mut self, runtime: usize, reason: String) {
        if let Some(warmth) = self.runtimes.get_mut(runtime) {
            *warmth = RuntimeWarmth::Cold(reason);
        }
    }
}

impl Core {
    /// What a program with `env` of the client's own can have, given that it may use
    /// `memory_bytes`.
    pub(crate) fn kind_for(
        &self,
        runtime: usize,
        program: &Program,
        env: &BTreeMap<String, String>,
        memory_bytes: u64,
    ) -> Kind {
        let starts = |name: &String| self.warm.cold_env.iter().any(|it| it.is_match(name));
        if env.keys().any(starts) {
            return Kind::Cell;
        }
        match self.warm.runtimes.get(runtime) {
            None | Some(RuntimeWarmth::Cold(_)) => Kind::Cell,
            Some(RuntimeWarmth::Process) => {
                let memory_mb = memory_bytes.div_ceil(1 << 20);
                Kind::Warm(WarmKind { runtime, profile: 0, memory_mb })
            }
            Some(RuntimeWarmth::Zygotes(zygotes)) => {
                let wants = |it: &Zygote| {
                    it.imports.as_ref().is_some_and(|them| them.check(program).is_err())
                };
                let profile = zygotes.iter().position(wants).unwrap_or_default();
                let shadows = |it: &Zygote| program.files.iter().any(|file| it.has(&file.path));
                if zygotes.get(profile).is_none_or(shadows) {
                    return Kind::Cell;
                }
                Kind::Warm(WarmKind { runtime, profile, memory_mb: 0 })
            }
        }
    }

    /// What `/info` says of it.
    pub(crate) fn warm_info(&self) -> WarmInfo {
        let runtimes = self.runtimes.iter().zip(&self.warm.runtimes).map(|(runtime, warmth)| {
            let (start, reason) = match warmth {
                RuntimeWarmth::Cold(reason) => (StartFrom::Cold, Some(reason.clone())),
                RuntimeWarmth::Zygotes(_) => (StartFrom::Zygote, None),
                RuntimeWarmth::Process => (StartFrom::Process, None),
            };
            protocol::RuntimeWarmth { version: runtime.toolchain.version.clone(), start, reason }
        });
        let Stock { cells, warm: waiting } = self.pool.stock();
        WarmInfo { depth: self.pool.depth(), cells, waiting, runtimes: runtimes.collect() }
    }

    /// What most programs of a runtime will want.
    pub(crate) fn likely_kind(&self, runtime: usize) -> Kind {
        let memory_bytes = self.bounds.memory_default_mb << 20;
        self.kind_for(runtime, &Program::none(), &BTreeMap::new(), memory_bytes)
    }

    /// The same for another command of the language, not filled yet: what stands ready for programs
    /// serves it too if it begins as theirs does, and a script comes next.
    pub(crate) fn kind_for_command(&self, kind: Kind, command: &[String]) -> Kind {
        let is_same = command.first() == self.spec.run.command.first();
        let is_script = command.get(1).is_some_and(|it| !it.starts_with('-'));
        if is_same && is_script && self.forks(kind) { kind } else { Kind::Cell }
    }

    /// Whether something of a kind can be made in less time than a program takes to start.
    pub(crate) fn forks(&self, kind: Kind) -> bool {
        match kind {
            Kind::Cell => true,
            Kind::Warm(warm) => {
                matches!(self.warm.runtimes.get(warm.runtime), Some(RuntimeWarmth::Zygotes(_)))
            }
        }
    }

    /// Makes a workspace's cell in which something waits. Blocks until it does.
    pub(crate) fn make_warm(&self, kind: WarmKind, spec: &CellSpec) -> Result<Made, Fault> {
        match self.warm.runtimes.get(kind.runtime) {
            Some(RuntimeWarmth::Zygotes(zygotes)) => {
                let zygote = zygotes.get(kind.profile).ok_or_else(|| unknown("profile"))?;
                self.furnish(&zygote.spawner(), spec)
            }
            Some(RuntimeWarmth::Process) => {
                let mut made = self.furnish(&self.spawner, spec)?;
                let policy = self.waiting_policy(kind, &made)?;
                // Bounded as its program is likely to be, while nobody waits for that.
                let next = self.limits(Allowance {
                    wall: Duration::ZERO,
                    cpu: Duration::ZERO,
                    memory_bytes: policy.limits.memory_bytes,
                });
                made.cell.warm(&policy, next)?;
                Ok(made)
            }
            Some(RuntimeWarmth::Cold(_)) | None => Err(unknown("runtime")),
        }
    }

    /// The policy of a process that waits: what its program will have, and time to become ready.
    fn waiting_policy(&self, kind: WarmKind, made: &Made) -> Result<sandbox::Policy, Fault> {
        let (Some(spec), Some(runtime)) = (&self.spec.warm, self.runtimes.get(kind.runtime)) else {
            return Err(unknown("runtime"));
        };
        let memory_bytes = kind.memory_mb << 20;
        let directories = &made.directories;
        let mut values = self.values(runtime, &Program::none(), directories, memory_bytes);
        let has_time = self.slots.waiting() == 0 && 2 * self.slots.free() >= self.slots.count();
        values.set("level", if has_time { "2" } else { "0" });
        let unfilled = |error| Fault::System(std::io::Error::other(error));
        let command = Command {
            words: values.words(&spec.command).map_err(unfilled)?,
            argv0: None,
            env: self
                .environment(&values, directories, &self.spec.run.env, &BTreeMap::new())
                .map_err(unfilled)?,
            readable: vec![directories.out()],
            writable: Vec::new(),
        };
        let wall = Duration::from_secs(READY_SECONDS);
        let cpu = Duration::from_secs_f64(self.bounds.timeout_max_seconds) + wall;
        let allowance = Allowance { wall, cpu, memory_bytes };
        let mut policy = self.policy(runtime, directories, command, allowance);
        if let Some(directory) = &spec.directory {
            policy.work_dir = values.fill(directory).map_err(unfilled)?.into();
        }
        // What it takes to become ready is not its program's. All of it is taken back then.
        let limits = &mut policy.limits;
        limits.data_bytes = limits.data_bytes.saturating_add(self.bounds.memory_max_mb << 20);
        limits.processes = limits.processes.saturating_add(64);
        Ok(policy)
    }

    /// What a waiting process is told of a program, before its arguments.
    pub(crate) fn words_for(&self, values: &Values) -> Result<Vec<String>, UnknownPlaceholder> {
        let words = self.spec.warm.as_ref().map(|it| it.words.as_slice());
        values.words(words.unwrap_or_default())
    }
}

impl Workspace {
    /// Whether something waits in it.
    pub(crate) fn is_warm(&self) -> bool {
        self.kind != Kind::Cell
    }
}

fn unknown(what: &str) -> Fault {
    Fault::System(std::io::Error::other(format!("there is no such {what}")))
}
