//! A language as data: `runtime.toml`, parsed and checked. Everything particular to a language
//! is in that file and in the few hooks of [`crate::Language`].
//!
//! Commands are lists of words. A word, or a value of an `env` table, may hold placeholders in
//! braces: the names of `[toolchain.programs]` and `[toolchain.found]`, and
//! `{root}` (the toolchain's directory), `{support}` (the language's support files),
//! `{prepared}` (what `[[prepare]]` made), `{out}` (where a compile puts its result),
//! `{work}` (the work directory, also the current one), `{tmp}` (the run's own directory for
//! temporary files), `{entry}` (the entry file), `{stem}` (its name without extension),
//! `{memory_mb}` (the run's limit) and `{heap_mb}` (the limit less `memory.reserve_mb`), and any
//! variable that the prepare hook set.
//! Doubled braces and what is in them are left as they are.
//! The word `{options}` stands for several words or none: the compiler options in force. A word
//! that holds `{sources}` is repeated for every source file: `./{sources}` gives each a leading
//! `./`. A source whose name starts with `-` or `@` has one in any case, so that none of them is
//! taken for an option or a file of options.
//!
//! A [shortcut](ShortcutSpec) has placeholders of its own beside those.

mod ready;

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;

pub(crate) use ready::{ResidentSpec, WarmBy, WarmSpec};

/// Why a `runtime.toml` is refused.
#[derive(Debug, thiserror::Error)]
#[error("runtime.toml: {0}")]
pub struct InvalidSpec(#[from] toml::de::Error);

/// A language family as data.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeSpec {
    /// The family's name; the service is `executor-<name>`.
    pub name: String,
    /// The port when no setting names one.
    pub port: u16,
    /// The languages it runs, the main one first.
    pub languages: Vec<LanguageSpec>,
    /// How its toolchains are found.
    pub toolchain: ToolchainSpec,
    /// Environment of every phase, beside the run's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What is made once a toolchain, before the first run; kept across restarts.
    #[serde(default)]
    pub prepare: Vec<PrepareSpec>,
    /// How programs begin, for shortcuts that depend on it.
    #[serde(default)]
    pub head: Option<HeadSpec>,
    /// The compile phase; absent where a source runs as it is.
    #[serde(default)]
    pub compile: Option<CompileSpec>,
    /// The run phase.
    pub run: RunSpec,
    /// What is made ready for the run phase before its program is known; absent where programs
    /// start fast enough.
    #[serde(default)]
    pub warm: Option<WarmSpec>,
    /// How sources are looked at without running them; absent if a hook does it.
    #[serde(default)]
    pub validate: Option<ValidateSpec>,
    /// How programs import modules, for an operator's house rules; absent if they cannot be told.
    #[serde(default)]
    pub modules: Option<ModulesSpec>,
    /// What is particular about its memory.
    #[serde(default)]
    pub memory: MemorySpec,
    /// Limits that hold for every run.
    #[serde(default)]
    pub limits: LimitsSpec,
}

/// One language of a family.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageSpec {
    /// Its name in requests, lower case.
    pub id: String,
    /// Other names.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The file that `code` is written to.
    pub entry: String,
    /// Extensions of its sources, without the dot: what `{sources}` takes from `files`.
    pub extensions: Vec<String>,
    /// A small program to start from; shown to people.
    pub example: String,
    /// How its sources look; told to editors.
    #[serde(default)]
    pub syntax: Option<protocol::Syntax>,
}

/// How the toolchains of a family are found. Every candidate is started with each argument list
/// of `probe`; what it prints, on both streams, is searched with the patterns.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolchainSpec {
    /// Program names, searched in the directories of the path; patterns such as
    /// `python3.[0-9]*` find several versions beside each other. An absolute one is looked for
    /// where it says.
    pub candidates: Vec<String>,
    /// Argument lists to start a candidate with.
    pub probe: Vec<Vec<String>>,
    /// Pattern whose first group is the version.
    pub version: String,
    /// Pattern whose first group is the toolchain's directory; without one it is the parent
    /// of the directory that the candidate, links followed, is in.
    #[serde(default)]
    pub root: Option<String>,
    /// Pattern whose first group is the real program behind a shim; without one it is the
    /// candidate, links followed.
    #[serde(default)]
    pub executable: Option<String>,
    /// Patterns of further placeholders, by name: the first group of each, in what the probes
    /// print. `programs` may use them.
    #[serde(default)]
    pub found: BTreeMap<String, String>,
    /// The oldest version that will do.
    #[serde(default)]
    pub minimum: Option<String>,
    /// Programs of the toolchain by placeholder; `{executable}` and `{root}` may be used.
    /// Each must exist.
    pub programs: BTreeMap<String, String>,
    /// Which of `programs` answers `probe` too: started in the jail, it must tell the same
    /// version, or the toolchain is passed over. For those that may be laid out elsewhere.
    #[serde(default)]
    pub confirm: Option<String>,
    /// What below `root` must be linked or copied elsewhere when the root is below a private
    /// home, where a slot's uid cannot reach it. What is not there is left out.
    #[serde(default)]
    pub mirror: Vec<String>,
    /// Files and directories outside `root` and the system's own that runs must read, as
    /// patterns; what is not there is left out.
    #[serde(default)]
    pub readable: Vec<String>,
}

/// One command that makes something below `{prepared}`, out of the toolchain alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareSpec {
    /// The command; its current directory is `{prepared}`, which it may write to.
    pub command: Vec<String>,
    /// The file below `{prepared}` that its standard output becomes.
    #[serde(default)]
    pub stdout: Option<String>,
    /// Environment of this command.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// The compile phase: commands that read the work directory and write below `{out}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompileSpec {
    /// The commands, in order; the first that fails ends the phase.
    pub commands: Vec<Vec<String>>,
    /// Commands instead of those, by the path of a file (such as a project's manifest) that
    /// asks for them by being among the sources.
    #[serde(default)]
    pub with_file: BTreeMap<String, Vec<Vec<String>>>,
    /// Quicker commands, each tried instead of `commands` where it applies; the first that does
    /// is the one that is tried.
    #[serde(default)]
    pub shortcuts: Vec<ShortcutSpec>,
    /// What some lines of the output should say instead, for a tool that is asked more directly
    /// than people ask it.
    #[serde(default)]
    pub messages: Vec<MessageSpec>,
    /// Pattern of a diagnostic in the output, where that looks otherwise than in a validator's: as
    /// [`ValidateSpec::pattern`].
    #[serde(default)]
    pub pattern: Option<String>,
    /// Patterns of compiler options that clients may give; each must match the whole option.
    #[serde(default)]
    pub options: Vec<String>,
    /// Options in force before the client's own; also what `{options}` is to a validation. One
    /// gives way to a client's option that is the same up to a `=`.
    #[serde(default)]
    pub default_options: Vec<String>,
    /// Environment of the phase.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// A compiler that stays, and is asked first.
    #[serde(default)]
    pub resident: Option<ResidentSpec>,
    /// Wall clock of the phase, in seconds.
    pub timeout_seconds: u64,
    /// Memory of the phase, in MiB.
    pub memory_mb: u64,
}

/// How programs begin: a run of names, such as of headers, that come before anything else. The
/// head of a program ends where neither pattern matches, and at the first unlisted name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// Pattern of what may stand between the names and means nothing.
    pub skip: String,
    /// Pattern of one entry, whose group `name` is the name.
    pub entry: String,
    /// Names that are what they say in every program, and of which neither the order nor a
    /// second mention makes a difference.
    pub names: Vec<String>,
}

/// Quicker commands for some programs. They may fail in any way, take a third of the phase's time
/// at most, and say what only a shortcut would say: then the usual commands are run as if nothing
/// had been tried, with all of their time, and what they say counts alone. What they say is what
/// only a shortcut would if it names `{prepared}` or the run's own directory for temporary files.
///
/// More placeholders here: `{made}`, and the named groups of `options`, each as the last option
/// that matched it says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShortcutSpec {
    /// Patterns; each option in force must match one of them as a whole.
    pub options: Vec<String>,
    /// If given, it is for programs of one source file whose head has every name of one of these;
    /// the first such, for which there is `needs`, is `{made}`.
    #[serde(default)]
    pub made: Vec<MadeSpec>,
    /// A file that must exist, most often below `{prepared}`.
    pub needs: String,
    /// Pattern of further output that only a shortcut would make.
    #[serde(default)]
    pub unlike: Option<String>,
    /// The commands, in order.
    pub commands: Vec<Vec<String>>,
}

/// Something made ahead for the programs whose heads have certain names.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeSpec {
    /// What it is called.
    pub name: String,
    /// The names that it covers.
    pub of: Vec<String>,
}

/// What a line of output should say instead. Lines that are replaced say why nothing was made:
/// where there is one, only they are told, in the order of what their groups `order` matched.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageSpec {
    /// Pattern of the line, as a whole.
    pub pattern: String,
    /// What it becomes; `${name}` is what the group of that name matched. Placeholders are filled.
    pub instead: String,
}

/// The run phase.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The command; the program's arguments follow it.
    pub command: Vec<String>,
    /// What the program sees as its own name, if not the first word of the command.
    #[serde(default)]
    pub argv0: Option<String>,
    /// Environment of the phase; clients may add to it and override it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// How sources are validated by a command that must not run them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidateSpec {
    /// Quicker commands, as for a compile; what they find is told only if they succeed.
    #[serde(default)]
    pub shortcuts: Vec<ShortcutSpec>,
    /// The commands, in order; all of them run, until one fails.
    pub commands: Vec<Vec<String>>,
    /// As [`CompileSpec::with_file`].
    #[serde(default)]
    pub with_file: BTreeMap<String, Vec<Vec<String>>>,
    /// Pattern of one diagnostic, where `^` and `$` are the ends of a line, with the groups `line`
    /// and `message`, and where they exist `file`, `column`, `severity` (`warning` makes it one,
    /// `note` leaves it out) and `code`.
    pub pattern: String,
    /// Whether the column is told by a caret two lines below instead.
    #[serde(default)]
    pub caret: bool,
}

/// How imports look in the text of a program, comments and texts not told apart from code.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModulesSpec {
    /// What stands between a module's name and those of what is in it.
    pub separator: String,
    /// What may stand before a name and means nothing.
    #[serde(default)]
    pub optional_prefix: String,
    /// Patterns of imports. The group `name` is a module, or, where there is a group `names`,
    /// what is before each of those: a list that commas, semicolons or lines separate, and that
    /// braces may group, with further words after each name, or quotes around it. No pattern
    /// may need to look far beyond its match, for the sake of the time that it takes.
    pub imports: Vec<String>,
}

/// What is particular about a language's memory.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySpec {
    /// What the runtime needs beside its heap, in MiB: `{heap_mb}` is the limit less this, and
    /// at least half the limit.
    pub reserve_mb: u64,
    /// Added to the limit for the kernel's per-process limit on private memory, in MiB, where a
    /// runtime reserves much more than it uses; the tree's use is watched in any case.
    pub data_extra_mb: u64,
    /// Address space of one process beyond its memory, in MiB; none if the runtime reserves at will.
    pub address_space_extra_mb: Option<u64>,
    /// Texts in the last 16 KiB of standard error by which the runtime says, before a failing
    /// exit, that memory ran out.
    pub exhausted: Vec<String>,
}

/// Limits of every run, whatever it asks for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Processes and threads.
    pub processes: u64,
    /// Open descriptors of a process.
    pub open_files: u64,
    /// Size of one file, in MiB.
    pub file_mb: u64,
    /// Stack of the main thread, in MiB.
    pub stack_mb: u64,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self { processes: 64, open_files: 128, file_mb: 64, stack_mb: 8 }
    }
}

/// Patterns that must match the whole of something.
pub(crate) fn whole_patterns(texts: &[String]) -> Result<Vec<Regex>, regex::Error> {
    texts.iter().map(|it| Regex::new(&format!("^(?:{it})$"))).collect()
}

impl RuntimeSpec {
    /// The compiler that stays, if there is one.
    pub(crate) fn resident(&self) -> Option<&ResidentSpec> {
        self.compile.as_ref()?.resident.as_ref()
    }

    /// Parses a `runtime.toml`.
    pub fn parse(text: &str) -> Result<Self, InvalidSpec> {
        Ok(toml::from_str(text)?)
    }
}
