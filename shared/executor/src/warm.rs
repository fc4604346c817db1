//! What stands ready for the run phase before its program is known: zygotes, and processes that
//! wait. Which of it a program can have, how it is made, and the tasks that make it.
//!
//! Invariant: what waits is used for one program, and whatever would make that program see
//! a difference has it started cold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::{StartFrom, WarmInfo};
use regex::Regex;
use sandbox::{CellSpec, Preload, Spawner};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cells::Workspace;
use crate::core::{Allowance, Command, Core};
use crate::house_rules::HouseRules;
use crate::language::Program;
use crate::pool::{Kind, Made, Stock, WarmKind};
use crate::process::Fault;
use crate::spec::{WarmBy, WarmSpec};
use crate::world;

/// How long a process may take to become ready.
const READY_SECONDS: u64 = 8;

/// How long something may wait: its clocks and seeds age.
const AGE_MAX: Duration = Duration::from_mins(10);

/// Programs that are forked from one zygote at most: they share its hash seed and the places of
/// what it has in memory.
const FORKS_MAX: u64 = 500;

/// How long a run has the processors to itself before the next one is made ready.
const HEAD_START: Duration = Duration::from_millis(1);

/// How long after a failure nothing is made ready.
const PAUSE: Duration = Duration::from_secs(1);

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

/// A zygote, and the next one.
#[derive(Debug)]
pub(crate) struct Zygote {
    preload: Preload,
    /// Finds programs that need this one; none for the first.
    imports: Option<HouseRules>,
    /// What it has read ahead.
    names: BTreeSet<String>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    spawner: Spawner,
    since: Instant,
    forks: u64,
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

impl Zygote {
    fn spawner(&self) -> Spawner {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.forks += 1;
        current.spawner.clone()
    }

    /// Replaces the process by a fresh one if it was used for long enough.
    fn renew(&self, beside: &Spawner) -> Result<(), Fault> {
        let is_due = {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            let is_old = current.forks > 0 && current.since.elapsed() > AGE_MAX;
            is_old || current.forks >= FORKS_MAX
        };
        if is_due {
            let fresh = start_zygote(beside, &self.preload)?;
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }
}

/// Starts a zygote and waits until it has read everything.
fn start_zygote(beside: &Spawner, preload: &Preload) -> Result<Current, Fault> {
    let spawner = beside.zygote(preload.clone())?;
    if !spawner.answers() {
        return Err(Fault::System(std::io::Error::other("the zygote does not answer")));
    }
    Ok(Current { spawner, since: Instant::now(), forks: 0 })
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

    /// What most programs will want.
    pub(crate) fn likely_kind(&self) -> Kind {
        let memory_bytes = self.bounds.memory_default_mb << 20;
        self.kind_for(0, &Program::none(), &BTreeMap::new(), memory_bytes)
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
                made.cell.warm(&policy)?;
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
    pub(crate) fn words_for(
        &self,
        values: &crate::template::Values,
    ) -> Result<Vec<String>, crate::template::UnknownPlaceholder> {
        let words = self.spec.warm.as_ref().map(|it| it.words.as_slice());
        values.words(words.unwrap_or_default())
    }

    /// Starts what stands ready for each runtime, and proves it with the samples. A runtime of
    /// which something fails starts cold.
    pub(crate) async fn prove_warmth(self, is_wanted: bool) -> anyhow::Result<Arc<Self>> {
        let mut core = Arc::new(self);
        let count = core.runtimes.len();
        let reason = core.no_warmth(is_wanted);
        let mut warm = Warm::none(count, reason.as_deref().unwrap_or_default());
        if let (None, Some(spec)) = (reason, core.spec.warm.clone()) {
            warm.cold_env = patterns(&spec.cold_env)?;
            for (index, place) in warm.runtimes.iter_mut().enumerate() {
                *place = match core.stand_ready(&spec, index).await {
                    Ok(warmth) => warmth,
                    Err(error) => RuntimeWarmth::Cold(error.to_string()),
                };
            }
        }
        replace(&mut core, |core| core.warm = warm)?;
        for runtime in 0..count {
            if let Err(error) = core.prove_one(runtime).await {
                tracing::error!(runtime, %error, "warm starts are off");
                replace(&mut core, |core| core.warm.chill(runtime, error.to_string()))?;
            }
        }
        Ok(core)
    }

    /// Why nothing can stand ready, if nothing can.
    fn no_warmth(&self, is_wanted: bool) -> Option<String> {
        let reason = if self.spec.warm.is_none() {
            "programs of this language start fast enough"
        } else if !is_wanted {
            "EXECUTOR_WARM is false"
        } else if !self.mechanisms.can_wait() {
            "nothing here keeps runs from reaching what waits for the next"
        } else if !self.has_room_to_wait {
            "the memory is too small for interpreters that wait"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }

    async fn stand_ready(
        self: &Arc<Self>,
        spec: &WarmSpec,
        runtime: usize,
    ) -> anyhow::Result<RuntimeWarmth> {
        match spec.by {
            WarmBy::Process => Ok(RuntimeWarmth::Process),
            WarmBy::Zygote => {
                let mut zygotes = Vec::new();
                for modules in std::iter::once(&Vec::new()).chain(&spec.profiles) {
                    zygotes.extend(self.zygote(spec, runtime, modules).await?);
                }
                Ok(RuntimeWarmth::Zygotes(zygotes))
            }
        }
    }

    /// A zygote that has read `modules`, too; none if the runtime has none of them.
    async fn zygote(
        self: &Arc<Self>,
        spec: &WarmSpec,
        runtime: usize,
        modules: &[String],
    ) -> anyhow::Result<Option<Zygote>> {
        let Some(runtime) = self.runtimes.get(runtime) else { return Ok(None) };
        let workspace = self.workspace(Kind::Cell, &[]).await?;
        let directories = &workspace.directories;
        let mut values = self.values(runtime, &Program::none(), directories, 0);
        values.set_several("modules", modules.to_vec());
        if let Some(name) = &spec.library {
            values.set("library", library(name)?);
        }
        let mut env = BTreeMap::new();
        for (name, template) in self.spec.env.iter().chain(&self.spec.run.env) {
            env.insert(name.clone(), values.fill(template)?);
        }
        let mut words = values.words(&spec.command)?.into_iter();
        let preload = Preload {
            program: words.next().unwrap_or_default().into(),
            arguments: words.collect(),
            env: world::without_places(env),
        };
        let command = Command {
            words: values.words(&spec.names)?,
            env: self.environment(&values, directories, &self.spec.run.env, &BTreeMap::new())?,
            ..Command::default()
        };
        // One that has none of the modules says so by failing.
        let names = match self.ask_toolchain(runtime, workspace, command).await {
            Err(_) if !modules.is_empty() => return Ok(None),
            names => names?,
        };
        let names: BTreeSet<String> =
            String::from_utf8_lossy(&names).lines().map(str::to_owned).collect();
        let imports = (!modules.is_empty())
            .then(|| HouseRules::new(self.spec.modules.as_ref(), modules))
            .transpose()?;
        let (beside, wanted) = (self.spawner.clone(), preload.clone());
        let current = tokio::task::spawn_blocking(move || start_zygote(&beside, &wanted)).await??;
        Ok(Some(Zygote { preload, imports, names, current: Mutex::new(current) }))
    }

    /// Runs every sample of the runtime on what stands ready.
    async fn prove_one(self: &Arc<Self>, runtime: usize) -> anyhow::Result<()> {
        let memory_bytes = self.bounds.memory_default_mb << 20;
        let kind = self.kind_for(runtime, &Program::none(), &BTreeMap::new(), memory_bytes);
        if kind == Kind::Cell {
            return Ok(());
        }
        for sample in crate::samples::all(&self.language)? {
            let place = self.place()?;
            let made = self.make(kind, place.uid()).await?;
            self.pool.put(place, kind, made);
            let result = sample.run(self, runtime).await;
            if let Some(detail) = result.detail {
                anyhow::bail!("the sample `{}` failed: {detail}", result.name);
            }
        }
        Ok(())
    }
}

impl Zygote {
    /// Whether a file of a program would be found under a name that was read ahead.
    fn has(&self, path: &str) -> bool {
        let first = path.split('/').next().unwrap_or(path);
        self.names.contains(first.split('.').next().unwrap_or(first))
    }
}

/// The tasks that make things ready.
#[derive(Debug)]
pub(crate) struct Makers {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Makers {
    /// Starts them.
    pub(crate) fn start(core: &Arc<Core>) -> Self {
        /// Forks are short, and one of them waits while another works.
        const MAKERS: usize = 2;
        core.pool.fill(core.likely_kind());
        let (stop, stopped) = watch::channel(false);
        let makers = (0..MAKERS).map(|_| tokio::spawn(make(Arc::clone(core), stopped.clone())));
        let mut tasks: Vec<JoinHandle<()>> = makers.collect();
        tasks.push(tokio::spawn(renew(Arc::clone(core), stopped.clone())));
        tasks.push(tokio::spawn(keep_resident(Arc::clone(core), stopped)));
        Self { stop, tasks }
    }

    /// Ends them, and drops what is ready.
    pub(crate) async fn stop(self, core: &Core) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a maker of what is ready ended before its time");
            }
        }
        core.pool.empty();
    }
}

/// Makes one thing after the other ready.
async fn make(core: Arc<Core>, mut stop: watch::Receiver<bool>) {
    loop {
        let (place, kind) = tokio::select! {
            next = core.pool.next_wanted() => next,
            _ = stop.changed() => return,
        };
        if core.forks(kind) {
            tokio::time::sleep(HEAD_START).await;
        } else {
            // What takes a while to become ready must not take the processors from programs.
            tokio::select! {
                () = core.slots.until_one_is_free() => {}
                _ = stop.changed() => return,
            }
        }
        match core.make(kind, place.uid()).await {
            Ok(made) => core.pool.put(place, kind, made),
            Err(error) => {
                tracing::warn!(%error, "nothing could be made ready; the next runs start cold");
                drop(place);
                if tokio::time::timeout(PAUSE, stop.changed()).await.is_ok() {
                    return;
                }
            }
        }
    }
}

/// Keeps a compiler that stays, if the language has one.
async fn keep_resident(core: Arc<Core>, mut stop: watch::Receiver<bool>) {
    if let (Some(resident), Some(spec)) = (&core.resident, core.spec.resident()) {
        tokio::select! {
            () = resident.keep(&core, spec) => {}
            _ = stop.changed() => {}
        }
        resident.end().await;
    }
}

/// Replaces what has waited for too long, and zygotes that were used for long.
async fn renew(core: Arc<Core>, mut stop: watch::Receiver<bool>) {
    const LOOK: Duration = Duration::from_secs(1);
    while tokio::time::timeout(LOOK, stop.changed()).await.is_err() {
        let renewing = Arc::clone(&core);
        let renewed = tokio::task::spawn_blocking(move || {
            renewing.pool.renew(AGE_MAX);
            for warmth in &renewing.warm.runtimes {
                if let RuntimeWarmth::Zygotes(zygotes) = warmth {
                    zygotes.iter().try_for_each(|it| it.renew(&renewing.spawner))?;
                }
            }
            Ok::<_, Fault>(())
        });
        if let Ok(Err(error)) = renewed.await {
            tracing::warn!(%error, "a zygote could not be replaced");
        }
    }
}

impl Workspace {
    /// Whether something waits in it.
    pub(crate) fn is_warm(&self) -> bool {
        self.kind != Kind::Cell
    }
}

fn replace(core: &mut Arc<Core>, change: impl FnOnce(&mut Core)) -> anyhow::Result<()> {
    let core = Arc::get_mut(core).ok_or_else(|| anyhow::anyhow!("a sample still runs"))?;
    change(core);
    Ok(())
}

fn patterns(texts: &[String]) -> Result<Vec<Regex>, regex::Error> {
    texts.iter().map(|it| Regex::new(&format!("^(?:{it})$"))).collect()
}

/// A shared object that stands beside the executor's own binary.
fn library(name: &str) -> anyhow::Result<String> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(format!("lib{name}.so"));
    anyhow::ensure!(path.exists(), "{} is missing", path.display());
    Ok(path.to_string_lossy().into_owned())
}

fn unknown(what: &str) -> Fault {
    Fault::System(std::io::Error::other(format!("there is no such {what}")))
}
