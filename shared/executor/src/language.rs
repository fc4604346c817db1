//! What a language folder hands to [`crate::main`].

use std::collections::BTreeMap;

use protocol::{Diagnostic, SourceFile};

/// A language: its data, its samples, and the few things that data cannot say.
#[derive(Debug, Clone, Copy)]
pub struct Language {
    /// The text of `runtime.toml`.
    pub spec: &'static str,
    /// The texts of `samples/*.toml`: each is a body of `POST /execute`, in TOML, and a name.
    pub samples: &'static [&'static str],
    /// Programs that try to get out, by file name, at least one a language: the self-test lets
    /// them loose. `selftest/traps.rs` says what they are told, and `selftest/verdict.rs` what they
    /// attempt and say.
    pub hostile: &'static [(&'static str, &'static str)],
    /// Support files by name: laid out where every run can read them, as `{support}`.
    pub support: &'static [(&'static str, &'static str)],
    /// Turns the sources into what is compiled or run.
    pub prepare: Option<Prepare>,
    /// Looks at the sources without a toolchain.
    pub validate: Option<Validate>,
}

/// Turns sources into what is compiled or run, or says what is wrong with them. Must return for
/// any input: it runs inside the server.
pub type Prepare = fn(Program) -> Result<Program, Vec<Diagnostic>>;

/// Looks at sources inside the server: errors and warnings. Must return for any input.
pub type Validate = fn(&Program) -> (Vec<Diagnostic>, Vec<Diagnostic>);

/// The sources of a run, every one with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The language's id.
    pub language: String,
    /// Path of the entry file; one of `files`.
    pub entry: String,
    /// The files, relative to the work directory.
    pub files: Vec<SourceFile>,
    /// Whether the client named the files itself; a single nameless `code` may be renamed.
    pub named: bool,
    /// Further placeholders for commands.
    pub variables: BTreeMap<String, String>,
}

impl Program {
    /// No program, for commands that take none.
    pub(crate) fn none() -> Self {
        Self {
            language: String::new(),
            entry: String::new(),
            files: Vec::new(),
            named: false,
            variables: BTreeMap::new(),
        }
    }
}
