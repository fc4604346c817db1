//! The executor of Go.

mod package;

use executor::Language;

const LANGUAGE: Language = Language {
    spec: include_str!("../runtime.toml"),
    samples: &[
        include_str!("../samples/hello.toml"),
        include_str!("../samples/shell.toml"),
        include_str!("../samples/files.toml"),
        include_str!("../samples/module.toml"),
    ],
    hostile: &[("hostile.go", include_str!("../hostile/hostile.go"))],
    support: &[],
    prepare: Some(package::prepare),
    validate: None,
};

fn main() -> std::process::ExitCode {
    executor::main(&LANGUAGE)
}
