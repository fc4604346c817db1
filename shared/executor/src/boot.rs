//! From settings to a running executor: probe the host, find the toolchains, prepare them, run
//! the samples. Everything that needs a single thread comes first.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{IsolationReport, LimitsInForce, SamplesReport};
use sandbox::{Foundation, Grounds, Mechanisms, Probe, Spawner};

use crate::admission::admission;
use crate::cache::{Cache, CacheBounds, Places, Rules, Wall};
use crate::core::{Core, Runtime, ShortcutsOfPhases};
use crate::diagnostics::Readers;
use crate::house_rules::HouseRules;
use crate::language::Language;
use crate::messages::Messages;
use crate::metrics::Metrics;
use crate::pool::{Pool, first_user};
use crate::process::OutputBounds;
use crate::resident::Resident;
use crate::samples;
use crate::selftest::Standing;
use crate::settings::Settings;
use crate::slots::Slots;
use crate::spec::{RuntimeSpec, whole_patterns};
use crate::surroundings;
use crate::toolchain::{self, Search, SearchPlaces, is_public};
use crate::warm::{Warm, lay_out_library};
use crate::workspace::StateDir;
use crate::world;

/// Directories that hold toolchains and are on few paths.
const MORE_PATHS: &[&str] = &["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/go/bin"];

/// Does everything that must happen while there is one thread: probes, the search for
/// toolchains, and the start of the spawner.
pub(crate) fn prepare_host(
    language: Language,
    mut spec: RuntimeSpec,
    settings: &Settings,
) -> anyhow::Result<Core> {
    let parent = state_parent(settings);
    let state = state_dir(&parent, &spec.name)?;
    let probe = sandbox::probe(&state.join("work"))?;
    let mechanisms = probe.mechanisms();
    let isolation = isolation_report(&probe, &spec, settings)?;
    let admission = admission(settings, &mut spec, &isolation.guarantees)?;
    let user_switch = mechanisms.user_switch;
    let prepared_dir = prepared_dir(settings, &state, user_switch)?;
    let search = search(&spec, settings, &state, user_switch.then(|| prepared_dir.clone()))?;
    lay_out_support(&language, &spec, &state.join("support"))?;
    let readable = toolchain::matching(&spec.toolchain.readable)?;
    let roots = search.toolchains.iter().map(|it| it.root.clone());
    let metrics = Metrics::new(isolation.level);
    let cache = Arc::new(open_cache(settings, &state, &mechanisms, &metrics)?);
    let more = [prepared_dir.clone(), cache.path().to_owned()];
    let more = roots.chain(readable.iter().cloned()).chain(more);
    let spawner = Spawner::start(Grounds {
        foundation: mechanisms.namespaces.then(|| foundation(&state, more)),
        cgroups: probe.cgroups.clone(),
    })?;
    let wait = Duration::from_secs(settings.wait_seconds);
    let slots = Slots::new(admission.slots, settings.waiting_max, wait);
    let users = user_switch.then(|| first_user(settings.uid_base)).transpose()?;
    let resident = spec.resident().filter(|_| settings.warm && admission.resident);
    let resident = resident.map(|_| Resident::of(0));
    let runs = admission.slots + usize::from(resident.is_some());
    let pool = Pool::new(runs, admission.depth, users)?;
    let runtimes = search.toolchains.into_iter();
    let compile = spec.compile.as_ref().map(|it| it.options.as_slice()).unwrap_or_default();
    let messages = spec.compile.as_ref().map(|it| it.messages.as_slice()).unwrap_or_default();
    Ok(Core {
        language,
        bounds: admission.bounds,
        output: OutputBounds { keep: settings.output_bytes_max, kill: settings.output_kill_bytes },
        output_files_bytes_max: settings.output_files_bytes_max,
        mechanisms,
        metrics,
        isolation,
        spawner,
        slots,
        pool,
        warm: Warm::default(),
        has_terminals: sandbox::can_make_terminals(),
        has_room_to_wait: admission.warm,
        resident,
        cache,
        state,
        readable,
        prepared_dir,
        files_bytes_max: settings.files_bytes_max,
        run_processors: processors(settings.run_processors),
        options: whole_patterns(compile)?,
        shortcuts: ShortcutsOfPhases::parse(&spec)?,
        messages: Messages::parse(messages)?,
        readers: Readers::parse(&spec)?,
        runtimes: runtimes.map(|toolchain| Runtime { toolchain, prepared: None }).collect(),
        samples: SamplesReport::default(),
        languages: samples::languages(&language, &spec)?,
        standing: Standing::default(),
        notes: [admission.notes, search.notes].concat(),
        house_rules: HouseRules::new(spec.modules.as_ref(), &settings.refused_modules)?,
        _mirrors: search.mirrors,
        spec,
    })
}

fn state_dir(parent: &Path, name: &str) -> anyhow::Result<StateDir> {
    StateDir::make(parent, &format!("executor-{name}")).map_err(|error| {
        let parent = parent.display();
        anyhow::anyhow!("{parent}: {error}; set EXECUTOR_STATE_DIR to a directory of ours")
    })
}

/// The toolchains that are here, and that runs can reach.
fn search(
    spec: &RuntimeSpec,
    settings: &Settings,
    state: &StateDir,
    mirror: Option<PathBuf>,
) -> anyhow::Result<Search> {
    if mirror.is_some() && !is_public(&state.join("work")) {
        anyhow::bail!(
            "{} is below a private directory, where the users of slots cannot go; set \
             EXECUTOR_STATE_DIR",
            state_parent(settings).display()
        );
    }
    let places = SearchPlaces { path: search_path(settings), mirror, name: spec.name.clone() };
    let search = toolchain::search(&spec.toolchain, &places)?;
    anyhow::ensure!(
        !search.toolchains.is_empty(),
        "no toolchain was found: looked for {} in {:?}. {}",
        spec.toolchain.candidates.join(", "),
        places.path,
        search.passed_over.join("; ")
    );
    Ok(search)
}

/// What of the host runs see, where they see nothing else: what programs need of a system, `more`,
/// and what this executor keeps for them.
fn foundation(state: &StateDir, more: impl Iterator<Item = PathBuf>) -> Foundation {
    let own = ["cache", "support"].map(|name| state.join(name));
    Foundation { root: state.join("root"), readable: world::shown(more.chain(own)) }
}

/// Prepares the toolchains and runs the samples; toolchains that fail are not advertised.
pub(crate) async fn prove_runtimes(core: Core) -> anyhow::Result<Core> {
    let core = Arc::new(core);
    let mut prepared = Vec::new();
    let mut notes = Vec::new();
    for runtime in &core.runtimes {
        let confirmed = core.confirm(runtime).await;
        let made = match confirmed {
            Ok(()) => core.prepare(runtime, &core.prepared_dir).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(directory) => prepared.push(Runtime { prepared: directory, ..runtime.clone() }),
            Err(error) => {
                let version = &runtime.toolchain.version;
                tracing::error!(%version, %error, "a toolchain is not used");
                notes.push(format!("version {version} is not used: {error}"));
            }
        }
    }
    let mut core = held_by_one(core)?;
    core.runtimes = prepared;
    core.notes.append(&mut notes);
    let core = Arc::new(core);
    let started = Instant::now();
    let samples = samples::all(&core.language)?;
    let mut results = Vec::new();
    let mut sound = Vec::new();
    for (index, runtime) in core.runtimes.iter().enumerate() {
        let mut passed = true;
        for sample in &samples {
            let result = sample.run(&core, index).await;
            if let Some(detail) = &result.detail {
                tracing::error!(sample = %result.name, %detail, "a sample failed");
            }
            passed &= result.passed;
            results.push(result);
        }
        if passed {
            sound.push(runtime.clone());
        }
    }
    let passed = results.iter().filter(|it| it.passed).count();
    let failed = results.len() - passed;
    let time_ms = started.elapsed().as_secs_f64() * 1000.0;
    let mut core = held_by_one(core)?;
    anyhow::ensure!(!sound.is_empty(), "no toolchain passed the samples; the log says why");
    core.runtimes = sound;
    core.samples = SamplesReport { passed, failed, time_ms, results };
    Ok(core)
}

fn held_by_one(core: Arc<Core>) -> anyhow::Result<Core> {
    Arc::into_inner(core).ok_or_else(|| anyhow::anyhow!("a sample still runs"))
}

/// What the host grants, or why that is too little.
fn isolation_report(
    probe: &Probe,
    spec: &RuntimeSpec,
    settings: &Settings,
) -> anyhow::Result<IsolationReport> {
    let mechanisms: Mechanisms = probe.mechanisms();
    let level = mechanisms.level();
    let minimum = settings.min_isolation;
    for result in &probe.results {
        let fault = result.fault.as_deref().unwrap_or("proven");
        tracing::info!(mechanism = %result.mechanism, outcome = %fault, "probed");
    }
    if level < minimum {
        let failed: Vec<String> = probe
            .results
            .iter()
            .filter_map(|it| {
                Some(format!("{}: {} (needs {})", it.mechanism, it.fault.as_ref()?, it.grant))
            })
            .collect();
        anyhow::bail!(
            "this host grants the isolation level {level}, and EXECUTOR_MIN_ISOLATION demands \
             {minimum}. What failed: {}. Grant it, or lower the minimum knowingly.",
            failed.join("; ")
        );
    }
    if level < protocol::Level::Separated {
        tracing::warn!(%level, "runs are NOT separated from each other and from this server");
    }
    let limits = &spec.limits;
    Ok(IsolationReport {
        level,
        minimum,
        guarantees: sandbox::guarantees(&mechanisms),
        raise: sandbox::raise(probe),
        limits: LimitsInForce {
            processes: limits.processes,
            open_files: limits.open_files,
            file_bytes: limits.file_mb << 20,
            output_bytes: settings.output_bytes_max as u64,
            output_kill_bytes: settings.output_kill_bytes,
        },
        outer: surroundings::walls(),
        self_test: None,
    })
}

/// The compile cache. Where runs could write to one that outlives us, there is none such: what
/// others left there could not be told from what a run did.
fn open_cache(
    settings: &Settings,
    state: &StateDir,
    mechanisms: &Mechanisms,
    metrics: &Metrics,
) -> anyhow::Result<Cache> {
    let is_walled = mechanisms.landlock_files || mechanisms.namespaces || mechanisms.user_switch;
    let wall = if is_walled { Wall::Jail } else { Wall::Nobody };
    let wished = &settings.cache_dir;
    let shared = Some(wished.as_path()).filter(|it| !it.as_os_str().is_empty());
    anyhow::ensure!(
        shared.is_none() || is_walled,
        "EXECUTOR_CACHE_DIR is set, but here nothing keeps runs from writing to it: unset it, or \
         grant Landlock, namespaces or root"
    );
    let age_max = Duration::from_secs(settings.cache_seconds_max);
    let bounds = CacheBounds { bytes_max: settings.cache_bytes_max, age_max };
    let rules = Rules { bounds, wall, per_caller: settings.cache_per_caller };
    let places = Places { private: &state.join("cache"), shared };
    let cache = Cache::open(&places, rules, metrics.cache.clone()).map_err(|error| {
        anyhow::anyhow!(
            "the compile cache in {}: {error}; see EXECUTOR_CACHE_DIR",
            wished.display()
        )
    })?;
    anyhow::ensure!(
        !mechanisms.user_switch || is_public(cache.path()),
        "{} is below a private directory, where the users of slots cannot go; set \
         EXECUTOR_CACHE_DIR to another",
        cache.path().display()
    );
    Ok(cache)
}

pub(crate) fn state_parent(settings: &Settings) -> PathBuf {
    if !settings.state_dir.as_os_str().is_empty() {
        return settings.state_dir.clone();
    }
    host::state_directory()
}

/// Makes the directory where prepared toolchains are kept: where the operator wishes, if that can be
/// and runs can go there.
fn prepared_dir(
    settings: &Settings,
    state: &StateDir,
    user_switch: bool,
) -> std::io::Result<PathBuf> {
    let make = |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    let wished = &settings.prepared_dir;
    if !wished.as_os_str().is_empty() {
        match make(wished) {
            Ok(()) if !user_switch || is_public(wished) => return Ok(wished.clone()),
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(directory = %wished.display(), %error, "nothing is kept across starts");
            }
        }
    }
    let own = state.join("prepared");
    make(&own).map(|()| own)
}

/// Processors that a run may use at a time.
fn processors(wished: u64) -> u64 {
    let there = std::thread::available_parallelism().map_or(1, |it| it.get() as u64);
    if wished == 0 { there } else { wished.min(there) }
}

fn search_path(settings: &Settings) -> Vec<PathBuf> {
    let own = settings.toolchain_path.split(':').filter(|it| !it.is_empty()).map(PathBuf::from);
    let mut path: Vec<PathBuf> = own.collect();
    path.extend(::settings::path_directories());
    path.extend(MORE_PATHS.iter().map(PathBuf::from));
    let mut seen = std::collections::BTreeSet::new();
    path.retain(|it| seen.insert(it.clone()));
    path
}

fn lay_out_support(
    language: &Language,
    spec: &RuntimeSpec,
    directory: &Path,
) -> anyhow::Result<()> {
    if let Some(name) = spec.warm.as_ref().and_then(|it| it.library.as_ref()) {
        lay_out_library(name, directory)?;
    }
    for (name, text) in language.support {
        let path = directory.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}
