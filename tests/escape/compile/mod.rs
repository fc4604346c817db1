//! Compilers are as confined as programs: sources cannot make them read or write elsewhere, stay,
//! spend without end, or run what comes with the sources.

pub(crate) mod bombs;
pub(crate) mod cache;
pub(crate) mod cpp;
pub(crate) mod hooks;
pub(crate) mod others;

use crate::attack::{Attack, Ends, attack};

/// An attack in which the compiler must fail, and show nothing of what it was to read.
const fn compiling(name: &'static str, language: &'static str, code: &'static str) -> Attack {
    attack(name, "Landlock (files), for the compiler", code)
        .in_language(language)
        .ends(Ends::As(&["compile_error"]))
}

/// An attack by options, which the executor must refuse.
const fn option(
    name: &'static str,
    language: &'static str,
    code: &'static str,
    fields: &'static str,
) -> Attack {
    attack(name, "the executor (list of options)", code)
        .in_language(language)
        .with(fields)
        .ends(Ends::Refused)
        .against(&[])
}
