//! The compile phase: as confined as a run, and skipped when the cache has its result.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use protocol::{CompileReport, CompileStatus};
use sandbox::EndReason;
use tokio::sync::watch;

use crate::cache::{Artifact, Draft, Key, Sharing};
use crate::cells::Workspace;
use crate::core::{Allowance, Command, Core, Runtime};
use crate::language::Program;
use crate::log::Log;
use crate::pool::Kind;
use crate::process::{Captured, Finished, Traffic};
use crate::resident::Answer;
use crate::run::RunFault;
use crate::shortcut::{Facts, Shortcuts, Taken};
use crate::spec::CompileSpec;
use crate::template::Values;

/// What came of the compile phase.
#[derive(Debug)]
pub(crate) enum Compiled {
    /// The language does not compile.
    NotNeeded,
    /// There is a program to run.
    Ready(Arc<Artifact>, CompileReport),
    /// There is none, for the reason told.
    Refused(CompileReport),
}

impl Compiled {
    /// What the compiler said.
    pub(crate) fn output(&self) -> &str {
        match self {
            Self::NotNeeded => "",
            Self::Ready(_, report) | Self::Refused(report) => &report.output,
        }
    }
}

/// What is compiled, with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) program: &'a Program,
    /// The client's compiler options.
    pub(crate) options: &'a [String],
    /// Whose compiled programs it may be found among.
    pub(crate) sharing: &'a Sharing,
}

/// How one compile ended that did not fail by a fault of ours.
struct Outcome {
    status: CompileStatus,
    output: String,
}

/// What came of a shortcut.
enum Quick {
    /// There is none for this program.
    None,
    /// All that a compile is to come to.
    Done(Outcome),
    /// The usual commands decide.
    InVain,
}

/// A shortcut may take this part of a phase's time.
pub(crate) const SHORTCUT_PART: u32 = 3;

impl Core {
    /// Compiles `program`, or finds it compiled.
    pub(crate) async fn compile(
        self: &Arc<Self>,
        sources: Sources<'_>,
        cancelled: watch::Receiver<bool>,
    ) -> Result<Compiled, RunFault> {
        let Some(spec) = &self.spec.compile else { return Ok(Compiled::NotNeeded) };
        let started = Instant::now();
        let key = self.key(sources);
        let report = |status, output: &str, cached| CompileReport {
            status,
            output: output.to_owned(),
            time: started.elapsed().as_secs_f64(),
            cached,
        };
        if let Some(key) = &key
            && let Some(artifact) = self.cache.find(key, now()).await
        {
            let report = report(CompileStatus::Success, &artifact.output, true);
            return Ok(Compiled::Ready(Arc::new(artifact), report));
        }
        if let Some(answer) = self.ask_resident(sources, spec, cancelled.clone()).await {
            if !answer.is_compiled {
                let report = report(CompileStatus::Error, &answer.output, false);
                return Ok(Compiled::Refused(report));
            }
            let fill = move |draft: &mut Draft| {
                answer.files.iter().try_for_each(|it| draft.add(&it.path, &mut &it.content[..]))
            };
            let artifact = self.cache.insert(key, answer.output, fill, now()).await?;
            let report = report(CompileStatus::Success, &artifact.output, false);
            return Ok(Compiled::Ready(Arc::new(artifact), report));
        }
        let mut workspace = self.workspace(Kind::Cell, &sources.program.files).await?;
        let mut job = Job { core: self, sources, spec, workspace: &mut workspace };
        let quick = job.run_shortcut(cancelled.clone()).await?;
        let outcome = match quick {
            Quick::Done(outcome) => outcome,
            Quick::None => job.run(cancelled).await?,
            Quick::InVain => {
                // What it left is not what the usual commands are to find.
                workspace.close();
                workspace = self.workspace(Kind::Cell, &sources.program.files).await?;
                let mut job = Job { core: self, sources, spec, workspace: &mut workspace };
                job.run(cancelled).await?
            }
        };
        if outcome.status != CompileStatus::Success {
            workspace.close();
            return Ok(Compiled::Refused(report(outcome.status, &outcome.output, false)));
        }
        let directories = &workspace.directories;
        let (out, owner) = (directories.open_out()?, directories.owner());
        let fill = move |draft: &mut Draft| draft.add_tree(out.as_fd(), owner);
        let artifact = self.cache.insert(key, outcome.output, fill, now()).await?;
        let report = report(CompileStatus::Success, &artifact.output, false);
        workspace.close();
        Ok(Compiled::Ready(Arc::new(artifact), report))
    }

    /// What the compiler that stays says; none if another one has to decide.
    async fn ask_resident(
        &self,
        sources: Sources<'_>,
        spec: &CompileSpec,
        mut cancelled: watch::Receiver<bool>,
    ) -> Option<Answer> {
        let Sources { runtime, program, options, .. } = sources;
        let (resident, how) = (self.resident.as_ref()?, spec.resident.as_ref()?);
        if program.files.iter().any(|it| spec.with_file.contains_key(&it.path)) {
            return None;
        }
        let runtime = self.runtimes.iter().position(|it| std::ptr::eq(it, runtime))?;
        let mut values = Values::default();
        values.set_several("options", self.options_in_force(options));
        let options = values.words(&how.options).ok()?;
        let files = self.compiled_files(program);
        tokio::select! {
            answer = resident.compile((runtime, how), &options, &files) => answer,
            // Somebody who is gone waits for no compiler.
            _ = cancelled.wait_for(|yes| *yes) => None,
        }
    }

    /// Everything that the result depends on, and whose it is; none if it is to be found nowhere.
    fn key(&self, sources: Sources<'_>) -> Option<Key> {
        let Sources { runtime, program, options, sharing } = sources;
        let toolchain = &runtime.toolchain;
        let variables = program.variables.iter().flat_map(|(name, value)| [name, value]);
        let variables = Key::of(variables.map(String::as_bytes));
        let options = Key::of(options.iter().map(String::as_bytes));
        let files = program.files.iter().flat_map(|it| [it.path.as_bytes(), &it.content]);
        let files = Key::of(files);
        let support = self.language.support.iter().flat_map(|(name, text)| [name, text]);
        let support = Key::of(support.map(|it| it.as_bytes()));
        Some(Key::of([
            sharing.part()?.as_bytes(),
            env!("CARGO_PKG_VERSION").as_bytes(),
            std::env::consts::ARCH.as_bytes(),
            self.language.spec.as_bytes(),
            support.as_bytes(),
            toolchain.identity.as_bytes(),
            toolchain.version.as_bytes(),
            toolchain.root.as_os_str().as_encoded_bytes(),
            program.language.as_bytes(),
            program.entry.as_bytes(),
            variables.as_bytes(),
            options.as_bytes(),
            files.as_bytes(),
        ]))
    }
}

fn now() -> SystemTime {
    jiff::Timestamp::now().into()
}

/// One compile that has to be done.
struct Job<'a> {
    core: &'a Core,
    sources: Sources<'a>,
    spec: &'a CompileSpec,
    workspace: &'a mut Workspace,
}

impl Job<'_> {
    /// Runs the usual commands.
    async fn run(&mut self, cancelled: watch::Receiver<bool>) -> Result<Outcome, RunFault> {
        let Self { sources: Sources { program, .. }, spec, .. } = *self;
        let commands = commands_for(program, &spec.commands, &spec.with_file);
        let wall = Duration::from_secs(spec.timeout_seconds);
        let values = self.values();
        let mut outcome = self.run_all(commands, &values, wall, cancelled).await?;
        let output = self.without_paths(&outcome.output);
        outcome.output = self.core.messages.apply(output, |it| values.fill(it))?;
        Ok(outcome)
    }

    /// Runs the commands of a shortcut, if there is one for the program.
    async fn run_shortcut(&mut self, cancelled: watch::Receiver<bool>) -> Result<Quick, RunFault> {
        let Sources { program, options, .. } = self.sources;
        let mut values = self.values();
        let options = self.core.options_in_force(options);
        let shortcuts = &self.core.shortcuts.compile;
        let Some(taken) = self.core.shortcut(shortcuts, program, &options, &values) else {
            return Ok(Quick::None);
        };
        values.set_all(&taken.variables);
        let wall = Duration::from_secs(self.spec.timeout_seconds) / SHORTCUT_PART;
        let outcome = self.run_all(taken.commands, &values, wall, cancelled).await?;
        let is_good = outcome.status == CompileStatus::Success
            && taken.is_usual(&outcome.output, &places(&values));
        self.core.metrics.shortcut(is_good);
        if !is_good {
            return Ok(Quick::InVain);
        }
        let output = self.without_paths(&outcome.output);
        Ok(Quick::Done(Outcome { output, ..outcome }))
    }

    /// Runs `commands` within `wall` in all, until one fails.
    async fn run_all(
        &mut self,
        commands: &[Vec<String>],
        values: &Values,
        wall: Duration,
        cancelled: watch::Receiver<bool>,
    ) -> Result<Outcome, RunFault> {
        let started = Instant::now();
        let mut output = String::new();
        for command in commands {
            let left = wall.checked_sub(started.elapsed()).filter(|left| !left.is_zero());
            let Some(left) = left else {
                return Ok(Outcome { status: CompileStatus::Timeout, output });
            };
            let finished = self.command(command, values, left, cancelled.clone()).await?;
            output += &text(&finished.stdout);
            output += &text(&finished.stderr);
            if let Some(status) = failure(&finished) {
                if output.is_empty() {
                    output =
                        format!("the compiler ended without a word ({:?})", finished.ended.exit);
                }
                return Ok(Outcome { status, output });
            }
        }
        Ok(Outcome { status: CompileStatus::Success, output })
    }

    fn values(&self) -> Values {
        let (core, Sources { runtime, program, options, .. }) = (self.core, self.sources);
        let memory_bytes = self.spec.memory_mb << 20;
        let mut values = core.values(runtime, program, &self.workspace.directories, memory_bytes);
        values.set_several("options", core.options_in_force(options));
        values
    }

    async fn command(
        &mut self,
        command: &[String],
        values: &Values,
        left: Duration,
        cancelled: watch::Receiver<bool>,
    ) -> Result<Finished, RunFault> {
        let memory_bytes = self.spec.memory_mb << 20;
        let (core, Sources { runtime, .. }) = (self.core, self.sources);
        let directories = &self.workspace.directories;
        let none = BTreeMap::new();
        let command = Command {
            words: values.words(command)?,
            argv0: None,
            env: core.environment(values, directories, &self.spec.env, &none)?,
            readable: Vec::new(),
            writable: vec![directories.out()],
        };
        // Compilers may use several processors, so processor time is not what bounds them.
        let allowance = Allowance { wall: left, cpu: left * 4, memory_bytes };
        let policy = core.policy(runtime, directories, command, allowance);
        let traffic = Traffic {
            input: Bytes::new(),
            live: None,
            gauge: None,
            output: core.output,
            cancelled,
        };
        let sinks = (Log::no_sink(), Log::no_sink());
        Ok(self.workspace.execute(policy, traffic, sinks).await?)
    }

    /// Diagnostics name files as the client did, not where they happen to lie.
    fn without_paths(&self, output: &str) -> String {
        let mut output = output.to_owned();
        let directories = &self.workspace.directories;
        for directory in [directories.work_dir(), directories.out()] {
            output = output.replace(&format!("{}/", directory.display()), "");
        }
        output
    }
}

impl Core {
    /// The shortcut that `program` may take, if any.
    pub(crate) fn shortcut<'a>(
        &self,
        shortcuts: &'a Shortcuts,
        program: &Program,
        options: &[String],
        values: &Values,
    ) -> Option<Taken<'a>> {
        let with_file = self.spec.compile.as_ref().map(|it| &it.with_file);
        if program.files.iter().any(|it| with_file.is_some_and(|of| of.contains_key(&it.path))) {
            return None;
        }
        let entry = program.files.iter().find(|it| it.path == program.entry)?;
        let is_alone = self.sources(program).len() == 1;
        let only_source = is_alone.then_some(entry.content.as_slice());
        shortcuts.choose(Facts { only_source, options }, |needs, variables| {
            let mut values = values.clone();
            values.set_all(variables);
            values.fill(needs).is_ok_and(|path| Path::new(&path).exists())
        })
    }
}

/// Directories that the usual commands have no reason to name.
pub(crate) fn places(values: &Values) -> Vec<String> {
    let places = ["{prepared}", "{tmp}"].map(|it| values.fill(it));
    places.into_iter().flatten().filter(|it| it.len() > 1).collect()
}

/// The commands for a program: its own, if one of its files asks for them.
pub(crate) fn commands_for<'a>(
    program: &Program,
    usual: &'a [Vec<String>],
    with_file: &'a BTreeMap<String, Vec<Vec<String>>>,
) -> &'a [Vec<String>] {
    let asked = program.files.iter().find_map(|file| with_file.get(&file.path));
    asked.map_or(usual, Vec::as_slice)
}

fn text(captured: &Captured) -> String {
    String::from_utf8_lossy(&captured.head).into_owned()
}

/// How a command failed; none if it did not.
fn failure(finished: &Finished) -> Option<CompileStatus> {
    match finished.ended.reason {
        EndReason::WallTime | EndReason::CpuTime | EndReason::Cancelled => {
            Some(CompileStatus::Timeout)
        }
        EndReason::Memory => Some(CompileStatus::MemoryLimit),
        EndReason::Exited if finished.ended.exit == sandbox::Exit::Code(0) => None,
        EndReason::Exited | EndReason::Output => Some(CompileStatus::Error),
    }
}
