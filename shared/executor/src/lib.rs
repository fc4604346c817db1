//! Everything an executor is, save its language.

mod language;
mod spec;

pub use language::{Language, Prepare, Program, Validate};
pub use spec::{InvalidSpec, RuntimeSpec};

/// Placeholder until the server is in.
pub fn main(_language: &Language) -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
