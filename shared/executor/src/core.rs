//! What a running executor is made of, and the policies that it runs programs under.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use globset::GlobSet;
use protocol::{Bounds, FieldError, IsolationReport, LanguageInfo, SamplesReport, SourceFile};
use regex::Regex;
use sandbox::{Limits, Mechanisms, Policy, Spawner};

use crate::cache::Cache;
use crate::diagnostics::Readers;
use crate::house_rules::HouseRules;
use crate::language::{Language, Program};
use crate::messages::Messages;
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::outcome::patterns;
use crate::pool::Pool;
use crate::process::OutputBounds;
use crate::resident::Resident;
use crate::selftest::Standing;
use crate::shortcut::Shortcuts;
use crate::slots::Slots;
use crate::spec::{LanguageSpec, RuntimeSpec};
use crate::template::{UnknownPlaceholder, Values};

use crate::toolchain::Toolchain;
use crate::warm::Warm;
use crate::workspace::{Directories, StateDir};
use crate::{version, world};

/// A running executor.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) language: Language,
    pub(crate) spec: RuntimeSpec,
    pub(crate) bounds: Bounds,
    pub(crate) output: OutputBounds,
    pub(crate) output_files_bytes_max: u64,
    /// All that a run may write, in bytes, where it has a file system in memory.
    pub(crate) files_bytes_max: u64,
    /// Processors that a run may use at a time, where they can be shared out.
    pub(crate) run_processors: u64,
    pub(crate) mechanisms: Mechanisms,
    pub(crate) isolation: IsolationReport,
    pub(crate) spawner: Spawner,
    pub(crate) slots: Slots,
    pub(crate) pool: Pool,
    /// What stands ready before its program is known.
    pub(crate) warm: Warm,
    /// Whether this host lets us make terminals.
    pub(crate) has_terminals: bool,
    /// Whether there is memory for that.
    pub(crate) has_room_to_wait: bool,
    /// The compiler that stays.
    pub(crate) resident: Option<Resident>,
    pub(crate) state: StateDir,
    pub(crate) cache: Arc<Cache>,
    pub(crate) metrics: Metrics,
    /// What runs must read beside the system's own and their toolchain.
    pub(crate) readable: Vec<PathBuf>,
    /// Compiler options that clients may give.
    pub(crate) options: Vec<Regex>,
    /// Quicker ways for some programs.
    pub(crate) shortcuts: ShortcutsOfPhases,
    /// What lines of a compiler's output should say.
    pub(crate) messages: Messages,
    /// What reads the output of compilers and validators.
    pub(crate) readers: Readers,
    /// The toolchains that passed their samples, the default one first.
    pub(crate) runtimes: Vec<Runtime>,
    /// Below which directory prepared toolchains are kept.
    pub(crate) prepared_dir: PathBuf,
    pub(crate) samples: SamplesReport,
    /// What is told of each language.
    pub(crate) languages: Vec<LanguageInfo>,
    /// What the self-tests so far say.
    pub(crate) standing: Standing,
    pub(crate) notes: Vec<String>,
    /// What clients' programs are not to import.
    pub(crate) house_rules: HouseRules,
    /// Toolchains that are laid out again, which stay where they are for as long as this does.
    pub(crate) _mirrors: Vec<Mirror>,
}

/// The shortcuts of a language.
#[derive(Debug)]
pub(crate) struct ShortcutsOfPhases {
    pub(crate) compile: Shortcuts,
    pub(crate) validate: Shortcuts,
}

impl ShortcutsOfPhases {
    /// Those of `spec`.
    pub(crate) fn parse(spec: &RuntimeSpec) -> Result<Self, regex::Error> {
        let compile = spec.compile.as_ref().map(|it| it.shortcuts.as_slice());
        let validate = spec.validate.as_ref().map(|it| it.shortcuts.as_slice());
        let parse = |it: Option<_>| Shortcuts::parse(spec.head.as_ref(), it.unwrap_or_default());
        Ok(Self { compile: parse(compile)?, validate: parse(validate)? })
    }
}

/// A toolchain, ready to run programs.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    pub(crate) toolchain: Toolchain,
    /// What was made once for it.
    pub(crate) prepared: Option<PathBuf>,
}

/// A submission that this executor can run.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) runtime: usize,
    pub(crate) program: Program,
    pub(crate) patterns: GlobSet,
}

/// The parts of a submission that decide what runs.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) language: Option<&'a str>,
    pub(crate) version: Option<&'a str>,
    pub(crate) sources: Vec<SourceFile>,
    pub(crate) options: &'a [String],
    pub(crate) output_files: &'a [String],
}

/// What a phase may spend, beside what its language says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) memory_bytes: u64,
}

/// Why a submission cannot run here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    /// Nobody here runs that language.
    #[error("`{0}` is not run here; GET /info names what is")]
    UnknownLanguage(String),
    /// The program imports what an operator refuses.
    #[error("the program imports what a rule of this house refuses; see `errors`")]
    HouseRules(Vec<FieldError>),
    /// Fields are wrong in a way that only this executor can tell.
    #[error("{} of the request's fields cannot be met here; see `errors`", .0.len())]
    Invalid(Vec<FieldError>),
}

impl Core {
    /// Decides what runs: language, runtime, entry file, patterns of files to return.
    pub(crate) fn admit(&self, wanted: Wanted<'_>) -> Result<Admitted, NotAdmitted> {
        let Wanted { sources, options, output_files, .. } = wanted;
        let spec = self.language_of(wanted.language, &sources)?;
        let mut errors = Vec::new();
        let runtime = self.runtime_of(wanted.version).unwrap_or_else(|error| {
            errors.push(error);
            0
        });
        for (index, option) in options.iter().enumerate() {
            if !self.options.iter().any(|allowed| allowed.is_match(option)) {
                let detail = "is not among the compiler options that may be given here";
                errors.push(FieldError::new(format!("/compilerOptions/{index}"), detail));
            }
        }
        let patterns = patterns(output_files).unwrap_or_else(|mut faults| {
            errors.append(&mut faults);
            GlobSet::empty()
        });
        if !errors.is_empty() {
            return Err(NotAdmitted::Invalid(errors));
        }
        Ok(Admitted { runtime, program: program(spec, sources), patterns })
    }

    fn language_of(
        &self,
        wanted: Option<&str>,
        sources: &[SourceFile],
    ) -> Result<&LanguageSpec, NotAdmitted> {
        let languages = &self.spec.languages;
        let unknown = |wanted: &str| NotAdmitted::UnknownLanguage(wanted.to_owned());
        if let Some(wanted) = wanted {
            let lower = wanted.to_lowercase();
            let named = |it: &&LanguageSpec| it.id == lower || it.aliases.contains(&lower);
            return languages.iter().find(named).ok_or_else(|| unknown(wanted));
        }
        // Without a name, the entry's extension tells; without that, the main language is meant.
        let extension = sources.first().and_then(|file| extension(&file.path));
        let by_extension = |it: &&LanguageSpec| {
            extension.is_some_and(|ext| it.extensions.iter().any(|e| e == ext))
        };
        languages.iter().find(by_extension).or(languages.first()).ok_or_else(|| unknown(""))
    }

    fn runtime_of(&self, wanted: Option<&str>) -> Result<usize, FieldError> {
        let Some(wanted) = wanted else { return Ok(0) };
        let versions = self.runtimes.iter().map(|it| it.toolchain.version.as_str());
        version::choose(wanted, versions.clone()).ok_or_else(|| {
            let known: Vec<&str> = versions.collect();
            let detail = format!("no version `{wanted}` here; there is {}", known.join(", "));
            FieldError::new("/version", detail)
        })
    }

    /// The values of a command's placeholders for one phase of one run.
    pub(crate) fn values(
        &self,
        runtime: &Runtime,
        program: &Program,
        directories: &Directories,
        memory_bytes: u64,
    ) -> Values {
        let mut values = Values::default();
        for (name, path) in &runtime.toolchain.programs {
            values.set(name, path.to_string_lossy());
        }
        for (name, value) in &runtime.toolchain.found {
            values.set(name, value);
        }
        values.set("root", runtime.toolchain.root.to_string_lossy());
        values.set("support", self.state.join("support").to_string_lossy());
        if let Some(prepared) = &runtime.prepared {
            values.set("prepared", prepared.to_string_lossy());
        }
        values.set("work", directories.work_dir().to_string_lossy());
        values.set("out", directories.out().to_string_lossy());
        values.set("tmp", directories.temporary().to_string_lossy());
        values.set("entry", as_file(&program.entry));
        values.set("stem", stem(&program.entry));
        let memory_mb = memory_bytes >> 20;
        let heap_mb = memory_mb.saturating_sub(self.spec.memory.reserve_mb).max(memory_mb / 2);
        values.set("memory_mb", memory_mb.to_string());
        values.set("heap_mb", heap_mb.to_string());
        for (name, value) in &program.variables {
            values.set(name, value);
        }
        values.set_several("sources", self.sources(program));
        values.set_several("options", self.options_in_force(&[]));
        values
    }

    /// The language's default options, as far as the client's own do not replace them, and then
    /// those.
    pub(crate) fn options_in_force(&self, client: &[String]) -> Vec<String> {
        let defaults = self.spec.compile.as_ref().map(|it| it.default_options.as_slice());
        let key = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
        let replaced = |option: &&String| client.iter().any(|it| key(it) == key(option));
        let kept = defaults.unwrap_or_default().iter().filter(|it| !replaced(it));
        kept.chain(client).cloned().collect()
    }

    /// Those of a program's files that `{sources}` names.
    pub(crate) fn compiled_files(&self, program: &Program) -> Vec<SourceFile> {
        let named = self.sources(program);
        let file = |name: &String| program.files.iter().find(|it| as_file(&it.path) == *name);
        named.iter().filter_map(|it| file(it).cloned()).collect()
    }

    /// The source files of a program by their extensions, the entry first.
    pub(crate) fn sources(&self, program: &Program) -> Vec<String> {
        let extensions: Vec<&str> = self
            .spec
            .languages
            .iter()
            .filter(|it| it.id == program.language)
            .flat_map(|it| it.extensions.iter().map(String::as_str))
            .collect();
        let others = program
            .files
            .iter()
            .map(|file| &file.path)
            .filter(|path| **path != program.entry)
            .filter(|path| extension(path).is_some_and(|it| extensions.contains(&it)));
        // A name that looks like an option is still a file.
        std::iter::once(&program.entry).chain(others).map(|path| as_file(path)).collect()
    }

    /// The environment of a phase, placeholders filled.
    pub(crate) fn environment(
        &self,
        values: &Values,
        directories: &Directories,
        phase: &BTreeMap<String, String>,
        client: &BTreeMap<String, String>,
    ) -> Result<Vec<(String, String)>, UnknownPlaceholder> {
        let mut own = BTreeMap::new();
        for (name, template) in self.spec.env.iter().chain(phase) {
            own.insert(name.clone(), values.fill(template)?);
        }
        Ok(world::environment(directories, own.iter().chain(client)))
    }

    /// What every program may read, whatever it is.
    pub(crate) fn readable_by_all(&self) -> Vec<PathBuf> {
        let more = self.readable.iter().cloned().chain([self.state.join("support")]);
        world::readable(&self.mechanisms, more)
    }

    /// The policy of one command.
    pub(crate) fn policy(
        &self,
        runtime: &Runtime,
        directories: &Directories,
        command: Command,
        allowance: Allowance,
    ) -> Policy {
        let toolchain = &runtime.toolchain;
        let readable =
            [Some(toolchain.root.clone()), runtime.prepared.clone()].into_iter().flatten();
        let own = [directories.work_dir(), directories.temporary()].into_iter();
        let mut words = command.words.into_iter();
        let program = words.next().unwrap_or_default();
        let name = command.argv0.unwrap_or_else(|| program.clone());
        Policy {
            program: PathBuf::from(program),
            argv: std::iter::once(name).chain(words).collect(),
            env: command.env,
            work_dir: directories.work_dir(),
            readable: readable
                .chain(world::machine(&self.mechanisms))
                .chain(command.readable)
                .collect(),
            writable: world::writable(&self.mechanisms, own.chain(command.writable)),
            limits: self.limits(allowance),
        }
    }

    /// What a command may spend.
    pub(crate) fn limits(&self, allowance: Allowance) -> Limits {
        let limits = &self.spec.limits;
        let address_space_mb = self.spec.memory.address_space_extra_mb;
        Limits {
            wall_ms: millis(allowance.wall),
            cpu_ms: millis(allowance.cpu),
            memory_bytes: allowance.memory_bytes,
            data_bytes: allowance.memory_bytes + (self.spec.memory.data_extra_mb << 20),
            address_space_bytes: address_space_mb.map(|it| allowance.memory_bytes + (it << 20)),
            processes: limits.processes,
            processors: self.run_processors,
            open_files: limits.open_files,
            file_bytes: limits.file_mb << 20,
            stack_bytes: limits.stack_mb << 20,
        }
    }

    /// What the first command of a run is likely to get.
    pub(crate) fn likely_limits(&self) -> Limits {
        let compile_mb = self.spec.compile.as_ref().map(|it| it.memory_mb);
        let memory_mb = compile_mb.unwrap_or(self.bounds.memory_default_mb);
        let time = Duration::from_secs(1);
        self.limits(Allowance { wall: time, cpu: time, memory_bytes: memory_mb << 20 })
    }
}

/// One command of a phase, placeholders filled.
#[derive(Debug, Default)]
pub(crate) struct Command {
    pub(crate) words: Vec<String>,
    pub(crate) argv0: Option<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) readable: Vec<PathBuf>,
    pub(crate) writable: Vec<PathBuf>,
}

/// The program of a submission: nameless code gets the language's entry file.
fn program(spec: &LanguageSpec, mut files: Vec<SourceFile>) -> Program {
    let named = files.first().is_some_and(|file| !file.path.is_empty());
    if let Some(file) = files.first_mut().filter(|_| !named) {
        file.path.clone_from(&spec.entry);
    }
    let entry = files.first().map(|file| file.path.clone()).unwrap_or_default();
    Program { language: spec.id.clone(), entry, files, named, variables: BTreeMap::new() }
}

fn extension(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, extension)| extension)
}

fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn as_file(path: &str) -> String {
    if path.starts_with(['-', '@']) { format!("./{path}") } else { path.to_owned() }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}
