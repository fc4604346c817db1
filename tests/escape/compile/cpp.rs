//! Sources that would make g++ read or write elsewhere.

use super::{compiling, option};
use crate::promise::FILES;
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
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
        compiling("include without end", "cpp", "#include \"/dev/zero\"\nint main() {}\n")
            .against(&[]),
        compiling(
            "assemble a file outside in",
            "cpp",
            "asm(\".section .rodata\\nstolen: .incbin \\\"@PUBLIC@\\\"\\n.byte 0\\n.text\");\n\
             extern const char stolen[] asm(\"stolen\");\nint main() { std::puts(stolen); }\n",
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
        )
        .against(&[]),
        compiling(
            "include itself without end",
            "cpp",
            "#include __FILE__\n#include __FILE__\nint main() {}\n",
        )
        .against(&[]),
        option(
            "options that read, write or load, for g++",
            "cpp",
            "int main() {}\n",
            r#"{"compilerOptions": ["-I/etc", "-include/etc/passwd", "@/etc/passwd", "-o/tmp/x", "-fplugin=x.so", "-Wl,-T,/etc/passwd", "-Wa,-al=/tmp/x", "-B/tmp", "-specs=x", "-wrapper", "-Wp,-MD,/tmp/x", "-save-temps", "-fdump-tree-all", "-imacros", "-L/tmp", "-x", "--sysroot=/tmp"]}"#,
        ),
    ],
};
