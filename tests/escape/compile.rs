//! Compilers are as confined as programs: sources cannot make them read or write elsewhere.

use crate::attack::{Attack, Ends, attack};
use crate::promise::FILES;
use crate::table::Table;

const REFUSED_BY_COMPILER: Ends = Ends::As(&["compile_error"]);

/// An attack in which the compiler must fail, and show nothing of what it was to read.
const fn compiling(name: &'static str, language: &'static str, code: &'static str) -> Attack {
    attack(name, "Landlock (files), for the compiler", code)
        .in_language(language)
        .ends(REFUSED_BY_COMPILER)
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

pub(crate) static CPP: Table = Table {
    promise: "a compiler reads and writes nothing outside",
    against: &[FILES],
    scenarios: &[],
    attacks: &[
        compiling("include a file outside", "cpp", "#include PUBLIC\nint main() {}\n"),
        compiling(
            "include one of another run",
            "cpp",
            "#include \"@VICTIM_DIR@/secret.txt\"\nint main() {}\n",
        ),
        compiling(
            "include the server's environment",
            "cpp",
            "#include \"/proc/@SERVER@/environ\"\nint main() {}\n",
        ),
        compiling("include users", "cpp", "#include \"/etc/passwd\"\nint main() {}\n"),
        compiling("include without end", "cpp", "#include \"/dev/zero\"\nint main() {}\n"),
        compiling(
            "assemble a file outside in",
            "cpp",
            "asm(\".incbin \\\"@PUBLIC@\\\"\");\nint main() {}\n",
        ),
        compiling(
            "assemble a source outside",
            "cpp",
            "asm(\".include \\\"@PUBLIC@\\\"\");\nint main() {}\n",
        ),
        compiling(
            "embed a file outside",
            "cpp",
            "const char secret[] = {\n#embed \"@PUBLIC@\"\n};\nint main() {}\n",
        ),
        compiling(
            "have a line of a file outside shown in a message",
            "cpp",
            "#line 1 \"@PUBLIC@\"\nint main() { return nothing; }\n",
        ),
        compiling(
            "link a script outside",
            "cpp",
            "#pragma comment(lib, \"@PUBLIC@\")\nasm(\".section .drectve\"); extern int nowhere; int main() { return nowhere; }\n",
        ),
        compiling(
            "assemble without end",
            "cpp",
            "asm(\".fill 1099511627776, 1, 1\");\nint main() {}\n",
        ),
        compiling(
            "include itself without end",
            "cpp",
            "#include __FILE__\n#include __FILE__\nint main() {}\n",
        ),
        option(
            "options that read, write or load, for g++",
            "cpp",
            "int main() {}\n",
            r#"{"compilerOptions": ["-I/etc", "-include/etc/passwd", "@/etc/passwd", "-o/tmp/x", "-fplugin=x.so", "-Wl,-T,/etc/passwd", "-Wa,-al=/tmp/x", "-B/tmp", "-specs=x", "-wrapper", "-Wp,-MD,/tmp/x", "-save-temps", "-fdump-tree-all", "-imacros", "-L/tmp", "-x", "--sysroot=/tmp"]}"#,
        ),
    ],
};

pub(crate) static OTHERS: Table = Table {
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
