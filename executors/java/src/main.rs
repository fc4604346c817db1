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
    support: &[
        ("Compilation.java", include_str!("../warm/Compilation.java")),
        ("Compiler.java", include_str!("../warm/Compiler.java")),
        ("CompilerSamples.java", include_str!("../warm/CompilerSamples.java")),
        ("Entry.java", include_str!("../warm/Entry.java")),
        ("Hidden.java", include_str!("../warm/Hidden.java")),
        ("HiddenBridge.java", include_str!("../warm/HiddenBridge.java")),
        ("Launcher.java", include_str!("../warm/Launcher.java")),
        ("Prepare.java", include_str!("../warm/Prepare.java")),
        ("Samples.java", include_str!("../warm/Samples.java")),
        ("Sources.java", include_str!("../warm/Sources.java")),
        ("Trusted.java", include_str!("../warm/Trusted.java")),
        ("Warm.java", include_str!("../warm/Warm.java")),
    ],
    prepare: Some(entry::prepare),
    validate: None,
};

fn main() -> std::process::ExitCode {
    executor::main(&LANGUAGE)
}
