//! The executor of Rust.

use executor::Language;

const LANGUAGE: Language = Language {
    spec: include_str!("../runtime.toml"),
    samples: &[
        include_str!("../samples/hello.toml"),
        include_str!("../samples/shell.toml"),
        include_str!("../samples/files.toml"),
    ],
    hostile: &[("hostile.rs", include_str!("../hostile/hostile.rs"))],
    support: &[("prepare.sh", include_str!("../support/prepare.sh"))],
    prepare: None,
    validate: None,
};

fn main() -> std::process::ExitCode {
    executor::main(&LANGUAGE)
}
