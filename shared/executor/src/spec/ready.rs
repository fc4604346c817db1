//! What stands ready before a program is known, as data.

use serde::Deserialize;

/// What is made ready for the run phase before its program is known.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmSpec {
    /// What stands ready.
    pub by: WarmBy,
    /// Its command. `{library}` is the file that `library` names; a word that holds `{modules}` is
    /// repeated for each module that a profile reads ahead; `{level}` is how much a process is to do
    /// to become ready, 2 while there is time for it and 0 while runs are under way.
    pub command: Vec<String>,
    /// Where a process waits, if not in the work directory; it goes there by itself then.
    #[serde(default)]
    pub directory: Option<String>,
    /// What a waiting process is told before the program's arguments.
    #[serde(default)]
    pub words: Vec<String>,
    /// A shared object beside the executor's own binary; without it, everything starts cold.
    #[serde(default)]
    pub library: Option<String>,
    /// A command that prints what a zygote has read ahead, a name a line: programs with a file of
    /// such a name start cold, as that file must be found instead.
    #[serde(default)]
    pub names: Vec<String>,
    /// A command that fails where programs could tell a fork from a new interpreter.
    #[serde(default)]
    pub check: Vec<String>,
    /// Zygotes beside the first one, for programs that import any of these modules, where the
    /// runtime has one.
    #[serde(default)]
    pub profiles: Vec<Vec<String>>,
    /// Patterns of variables that say how an interpreter starts: programs for which a client sets
    /// one start cold.
    #[serde(default)]
    pub cold_env: Vec<String>,
    /// What one takes while it waits, in MiB.
    pub memory_mb: u64,
}

/// What stands ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WarmBy {
    /// An interpreter that has read what most programs need, and from which each is forked.
    Zygote,
    /// A process for each program, which waits for it.
    Process,
}

/// A compiler that stays; `resident.rs` in this crate says how it is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidentSpec {
    /// Its command.
    pub command: Vec<String>,
    /// The options of each compile; `{options}` stands for those in force.
    pub options: Vec<String>,
    /// The same for a validation; none if it is not asked for those.
    #[serde(default)]
    pub validate_options: Vec<String>,
    /// What it may use, in MiB.
    pub memory_mb: u64,
    /// How many programs it compiles before it is replaced.
    pub compiles_max: u64,
}
