//! Sources that would make the other compilers read or write elsewhere.

use super::{compiling, option};
use crate::promise::FILES;
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "other compilers read and write nothing outside",
    against: &[FILES],
    scenarios: &[],
    attacks: &[
        compiling(
            "include a file outside as text",
            "rust",
            "fn main() { print!(\"{}\", include_str!(\"@PUBLIC@\")) }\n",
        ),
        compiling(
            "include a file outside as bytes, by way of above",
            "rust",
            "fn main() { print!(\"{:?}\", include_bytes!(\"../../../../../../../../../..@PUBLIC@\")) }\n",
        ),
        compiling(
            "take a module from outside",
            "rust",
            "#[path = \"@PUBLIC@\"] mod secret;\nfn main() {}\n",
        ),
        compiling(
            "take the compiler's environment",
            "rust",
            "fn main() { print!(\"{}\", env!(\"EXECUTOR_TOKEN\")) }\n",
        ),
        option("options that read, write or load, for rustc", "rust", "fn main() {}\n", r#"{"compilerOptions": ["-Clinker=/bin/sh", "--out-dir=/tmp", "-L/tmp", "--extern=x=/tmp/x.so", "-Clink-arg=-T/etc/passwd", "--emit=dep-info=/tmp/x", "@/etc/passwd", "-Zunstable-options"]}"#),
        compiling(
            "embed a file outside in Go",
            "go",
            "package main\nimport _ \"embed\"\n//go:embed @PUBLIC@\nvar secret string\nfunc main() { print(secret) }\n",
        ),
        compiling(
            "embed a file outside, in a module",
            "go",
            "package main\nimport _ \"embed\"\n//go:embed ../../../../../../../..@PUBLIC@\nvar secret string\nfunc main() { print(secret) }\n",
        )
        .with(r#"{"files": [{"path": "main.go"}, {"path": "go.mod", "content": "module x\ngo 1.21\n"}]}"#),
        compiling(
            "run a compiler for C",
            "go",
            "package main\n// #include \"@PUBLIC@\"\nimport \"C\"\nfunc main() {}\n",
        ),
        compiling(
            "have the linker read a file outside",
            "go",
            "package main\nimport _ \"unsafe\"\n//go:cgo_ldflag \"-T@PUBLIC@\"\nfunc main() {}\n",
        ),
        option("options that read, write or load, for Go", "go", "package main\nfunc main() {}\n", r#"{"compilerOptions": ["-toolexec=/bin/sh", "-overlay=/etc/passwd", "-o=/tmp/x", "-modfile=/tmp/x", "-ldflags=-extld=/bin/sh"]}"#),
        option("options that read, write or load, for javac", "java", "class Main { public static void main(String[] a) {} }\n", r#"{"compilerOptions": ["-processor", "-processorpath", "-cp", "/tmp", "@/etc/passwd", "-J-javaagent:x", "-d", "-s", "-sourcepath", "-Xplugin:x", "-h"]}"#),
    ],
};
