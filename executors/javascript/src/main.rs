//! The executor of JavaScript and TypeScript.

mod depth;
mod front_end;
mod lines;
mod names;
mod prepare;
mod specifiers;
mod typescript;
mod validate;

use executor::Language;

const LANGUAGE: Language = Language {
    spec: include_str!("../runtime.toml"),
    samples: &[
        include_str!("../samples/hello.toml"),
        include_str!("../samples/shell.toml"),
        include_str!("../samples/modules.toml"),
        include_str!("../samples/files.toml"),
        include_str!("../samples/typescript.toml"),
        include_str!("../samples/typescript-files.toml"),
    ],
    hostile: &[
        ("hostile.js", include_str!("../hostile/hostile.js")),
        ("hostile.ts", include_str!("../hostile/hostile.ts")),
    ],
    support: &[("warm.js", include_str!("../warm/warm.js"))],
    prepare: Some(prepare::prepare),
    validate: Some(validate::validate),
};

fn main() -> std::process::ExitCode {
    executor::main(&LANGUAGE)
}
