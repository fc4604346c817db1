//! Build systems run what they find: scripts, processors, wrappers, settings. Ours does not, and
//! its compilers take nothing from the request but sources and listed options.

use crate::attack::{Attack, Ends, attack};
use crate::promise::FILES;
use crate::table::Table;

/// Whether the program was compiled at all does not matter; what came of it does.
const EITHER: Ends = Ends::As(&["success", "compile_error"]);

const STEP: &str = "the executor (tools are called directly, with an environment of our own)";

pub(crate) static TABLE: Table = Table {
    promise: "a compiler runs nothing that comes with the sources",
    against: &[],
    scenarios: &[],
    attacks: &[
        hook(
            "tools of its own beside the C++ sources",
            "cpp",
            "int main() { if (access(\"ran\", F_OK) == 0) std::puts(\"ESCAPED\"); std::puts(\"done\"); }\n",
        )
        .with(
            r##"{"files": [{"path": "main.cpp"}, {"path": "cc1plus", "content": "#!/bin/sh\ntouch ran /tmp/flotilla-escape\n"},
            {"path": "as", "content": "#!/bin/sh\ntouch /tmp/flotilla-escape\n"}, {"path": "ld", "content": "#!/bin/sh\ntouch /tmp/flotilla-escape\n"},
            {"path": "specs", "content": "*cc1plus:\n-include @PUBLIC@\n"}, {"path": "collect2", "content": "#!/bin/sh\ntouch /tmp/flotilla-escape\n"}]}"##,
        ),
        hook(
            "an environment for the C++ compiler",
            "cpp",
            "int main() { std::puts(\"done\"); }\n",
        )
        .with(r#"{"env": {"CPLUS_INCLUDE_PATH": "/etc", "GCC_EXEC_PREFIX": "./", "COMPILER_PATH": ".", "LIBRARY_PATH": "/tmp", "DEPENDENCIES_OUTPUT": "/tmp/flotilla-escape", "SUNPRO_DEPENDENCIES": "/tmp/flotilla-escape", "LD_PRELOAD": "./x.so", "COLLECT_GCC_OPTIONS": "-x", "TMPDIR": "/tmp"}}"#),
        hook(
            "C++ sources that are called as options are",
            "cpp",
            "int main() { std::puts(\"done\"); }\n",
        )
        .with(
            r#"{"files": [{"path": "main.cpp"}, {"path": "-wrapper.cpp", "content": ""}, {"path": "-o.cpp", "content": ""},
            {"path": "@list.cpp", "content": ""}, {"path": "list.cpp", "content": "-include @PUBLIC@ -o /tmp/flotilla-escape"}]}"#,
        )
        .ends(EITHER),
        hook(
            "Java sources that are called as lists of arguments are",
            "java",
            "public class Main { public static void main(String[] a) { System.out.println(\"done\"); } }\n",
        )
        .with(
            r#"{"files": [{"path": "Main.java"}, {"path": "@list.java", "content": "class A {}"},
            {"path": "list.java", "content": "-processor Evil -d /tmp -sourcepath /etc"}, {"path": "-processor.java", "content": "class B {}"}]}"#,
        )
        .ends(EITHER),
        hook(
            "an annotation processor among the Java sources",
            "java",
            r#"
public class Main {
    public static void main(String[] arguments) {
        if (new java.io.File("ran").exists()) System.out.println("ESCAPED the processor ran");
        System.out.println("done");
    }
}
"#,
        )
        .with(
            r#"{"files": [{"path": "Main.java"}, {"path": "META-INF/services/javax.annotation.processing.Processor", "content": "Evil\n"},
            {"path": "META-INF/services/com.sun.source.util.Plugin", "content": "Evil\n"},
            {"path": "Evil.java", "content": "public class Evil extends javax.annotation.processing.AbstractProcessor { static { try { new java.io.FileOutputStream(\"/tmp/flotilla-escape\").close(); } catch (java.io.IOException it) {} try { new java.io.FileOutputStream(\"ran\").close(); } catch (java.io.IOException it) {} } public boolean process(java.util.Set<? extends javax.lang.model.element.TypeElement> types, javax.annotation.processing.RoundEnvironment round) { return false; } }"}]}"#,
        ),
        hook(
            "an environment for the Java compiler",
            "java",
            "public class Main { public static void main(String[] a) { System.out.println(\"done\"); } }\n",
        )
        .with(r#"{"env": {"JDK_JAVAC_OPTIONS": "-d /tmp -processor Evil", "CLASSPATH": "/etc:/tmp"}}"#),
        hook(
            "settings of Go among the sources",
            "go",
            "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\nfunc main() {\n\tif _, err := os.Stat(\"ran\"); err == nil { fmt.Println(\"ESCAPED\") }\n\tfmt.Println(\"done\")\n}\n",
        )
        .with(
            r##"{"files": [{"path": "main.go"}, {"path": "go.mod", "content": "module x\ngo 1.21\ntoolchain go1.99.0\n"},
            {"path": ".config/go/env", "content": "GOFLAGS=-toolexec=./evil.sh\nCGO_ENABLED=1\nCC=./evil.sh\n"}, {"path": "go.env", "content": "GOFLAGS=-toolexec=./evil.sh\n"},
            {"path": "go.work", "content": "go 1.21\nuse /etc\n"}, {"path": "evil.sh", "content": "#!/bin/sh\ntouch ran /tmp/flotilla-escape\n"}]}"##,
        )
        .ends(EITHER),
        hook(
            "an environment for the Go compiler",
            "go",
            "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"done\") }\n",
        )
        .with(r#"{"files": [{"path": "main.go"}, {"path": "go.mod", "content": "module x\ngo 1.21\n"}], "env": {"GOFLAGS": "-toolexec=/bin/false", "CGO_ENABLED": "1", "CC": "/bin/false", "GOENV": "/etc/passwd", "GOCACHE": "/tmp/flotilla-escape", "GOROOT": "/tmp", "GOMODCACHE": "/tmp", "GOTOOLCHAIN": "go1.99.0"}}"#),
        hook(
            "a Go module that replaces another by files outside",
            "go",
            "package main\n\nimport \"example.com/outside\"\n\nfunc main() { outside.Do() }\n",
        )
        .with(r#"{"files": [{"path": "main.go"}, {"path": "go.mod", "content": "module x\ngo 1.21\nrequire example.com/outside v0.0.0\nreplace example.com/outside => @DROP@\n"}]}"#)
        .ends(Ends::As(&["compile_error"])),
        hook(
            "Go assembly that includes a file outside",
            "go",
            "package main\n\nfunc secret()\n\nfunc main() { secret() }\n",
        )
        .with(r##"{"files": [{"path": "main.go"}, {"path": "go.mod", "content": "module x\ngo 1.21\n"}, {"path": "secret.s", "content": "#include \"@PUBLIC@\"\n#include \"/etc/passwd\"\nTEXT ·secret(SB),0,$0\n RET\n"}]}"##)
        .ends(Ends::As(&["compile_error"])),
        hook(
            "Go code that is generated, tested and linked by directives",
            "go",
            "package main\n\n//go:generate touch /tmp/flotilla-escape\n//go:cgo_import_dynamic _ _ \"@PUBLIC@\"\n//go:linkname x y\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"done\") }\n",
        )
        .ends(EITHER),
        hook(
            "a build script among the Rust sources",
            "rust",
            "fn main() {\n    if std::path::Path::new(\"ran\").exists() { println!(\"ESCAPED\"); }\n    println!(\"done\");\n}\n",
        )
        .with(
            r#"{"files": [{"path": "main.rs"}, {"path": "build.rs", "content": "fn main() { std::fs::write(\"/tmp/flotilla-escape\", \"x\").ok(); std::fs::write(\"ran\", \"x\").unwrap(); }"},
            {"path": "Cargo.toml", "content": "[package]\nname = \"x\"\nversion = \"0.0.0\"\nbuild = \"build.rs\"\n"},
            {"path": ".cargo/config.toml", "content": "[build]\nrustc-wrapper = \"./evil.sh\"\nrustflags = [\"-Clinker=./evil.sh\"]\n"},
            {"path": "rust-toolchain.toml", "content": "[toolchain]\npath = \"/tmp\"\n"}]}"#,
        ),
        hook(
            "a macro that runs while it is compiled, in Rust",
            "rust",
            "#![crate_type = \"proc-macro\"]\nextern crate proc_macro;\n#[proc_macro]\npub fn evil(it: proc_macro::TokenStream) -> proc_macro::TokenStream { std::fs::write(\"/tmp/flotilla-escape\", \"x\").ok(); it }\nfn main() { println!(\"done\"); }\n",
        )
        .ends(Ends::As(&["compile_error", "runtime_error"])),
        hook(
            "an environment for the Rust compiler",
            "rust",
            "#![feature(asm_experimental_arch)]\nfn main() { println!(\"ESCAPED unstable features\"); }\n",
        )
        .with(r#"{"env": {"RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": "-Clinker=/bin/false", "RUSTC_WRAPPER": "/bin/false", "LD_LIBRARY_PATH": "/tmp", "RUST_MIN_STACK": "1"}}"#)
        .ends(Ends::As(&["compile_error"])),
        hook(
            "attributes that choose what is linked, in Rust",
            "rust",
            "#[link(name = \"c\", kind = \"static\")]\n#[link(name = \":@PUBLIC@\")]\nextern \"C\" { fn secret(); }\nfn main() { unsafe { secret() } }\n",
        )
        .ends(Ends::As(&["compile_error"])),
        hook(
            "include a file outside as code, in Rust",
            "rust",
            "include!(\"@PUBLIC@\");\nfn main() {}\n",
        )
        .ends(Ends::As(&["compile_error"]))
        .against(&[FILES]),
        hook(
            "settings of Python among the sources",
            "python",
            r#"
if os.path.exists("ran"): print("ESCAPED a hook ran")
print("done")
"#,
        )
        .with(
            r#"{"files": [{"path": "main.py"}, {"path": "sitecustomize.py", "content": "open('ran', 'w')"}, {"path": "usercustomize.py", "content": "open('ran', 'w')"},
            {"path": "pyvenv.cfg", "content": "home = /tmp\n"}, {"path": "python311._pth", "content": "/etc\n"},
            {"path": "encodings/__init__.py", "content": "open('ran', 'w')"}],
            "env": {"PYTHONSTARTUP": "/etc/passwd", "PYTHONHOME": "", "PYTHONWARNINGS": "all"}}"#,
        )
        .against(&[]),
    ],
};

const fn hook(name: &'static str, language: &'static str, code: &'static str) -> Attack {
    attack(name, STEP, code).in_language(language)
}
