//! The executor of Python.

use executor::Language;

const LANGUAGE: Language = Language {
    spec: include_str!("../runtime.toml"),
    samples: &[
        include_str!("../samples/hello.toml"),
        include_str!("../samples/shell.toml"),
        include_str!("../samples/files.toml"),
    ],
    hostile: &[("hostile.py", include_str!("../hostile/hostile.py"))],
    support: &[
        ("validate.py", include_str!("../support/validate.py")),
        ("zygote.py", include_str!("../warm/zygote.py")),
        ("life.py", include_str!("../warm/life.py")),
        ("check.py", include_str!("../warm/check.py")),
    ],
    prepare: None,
    validate: None,
};

fn main() -> std::process::ExitCode {
    executor::main(&LANGUAGE)
}
