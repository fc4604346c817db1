//! The executor of Java.

mod entry;
mod tokens;

use executor::Language;

const LANGUAGE: Language = Language {
    spec: include_str!("../runtime.toml"),
    samples: &[
        include_str!("../samples/hello.toml"),
        include_str!("../samples/shell.toml"),
        include_str!("../samples/files.toml"),
    ],
    hostile: &[("Hostile.java", include_str!("../hostile/Hostile.java"))],
    support: &[],
    prepare: Some(entry::prepare),
    validate: None,
};

fn main() -> std::process::ExitCode {
    executor::main(&LANGUAGE)
}
