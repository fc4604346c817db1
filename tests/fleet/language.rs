//! The languages, each with its tool: one program that does, by its first argument, everything
//! that is asked of programs here.

use serde_json::{Value, json};

/// A language under test.
#[derive(Debug)]
pub(crate) struct Language {
    pub(crate) id: &'static str,
    /// The folder of its executor.
    pub(crate) executor: &'static str,
    /// Its tool.
    pub(crate) tool: &'static str,
    /// Compiler options that clients may give.
    pub(crate) options: &'static [&'static str],
    /// Signals that the tool sends to itself, and what comes of them.
    pub(crate) signals: &'static [(u8, End)],
}

/// How a program ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Code(u8),
    Signal(&'static str),
}

use End::{Code, Signal};

/// What the kernel does to a program that does nothing about signals.
const BY_KERNEL: &[(u8, End)] = &[
    (1, Signal("SIGHUP")),
    (2, Signal("SIGINT")),
    (3, Signal("SIGQUIT")),
    (4, Signal("SIGILL")),
    (5, Signal("SIGTRAP")),
    (6, Signal("SIGABRT")),
    (7, Signal("SIGBUS")),
    (8, Signal("SIGFPE")),
    (9, Signal("SIGKILL")),
    (10, Signal("SIGUSR1")),
    (11, Signal("SIGSEGV")),
    (12, Signal("SIGUSR2")),
    (13, Signal("SIGPIPE")),
    (14, Signal("SIGALRM")),
    (15, Signal("SIGTERM")),
    (24, Signal("SIGXCPU")),
    (25, Signal("SIGXFSZ")),
    (26, Signal("SIGVTALRM")),
    (27, Signal("SIGPROF")),
    (31, Signal("SIGSYS")),
    (36, Signal("SIGRTMIN+2")),
];

/// Node keeps some for itself.
const BY_NODE: &[(u8, End)] = &[
    (1, Signal("SIGHUP")),
    (2, Signal("SIGINT")),
    (3, Signal("SIGQUIT")),
    (6, Signal("SIGABRT")),
    (9, Signal("SIGKILL")),
    (11, Signal("SIGSEGV")),
    (12, Signal("SIGUSR2")),
    (14, Signal("SIGALRM")),
    (15, Signal("SIGTERM")),
];

/// A JVM turns those that it can into exit codes.
const BY_JVM: &[(u8, End)] =
    &[(1, Code(129)), (2, Code(130)), (9, Signal("SIGKILL")), (15, Code(143))];

/// Go turns some into a dump of its stacks.
const BY_GO: &[(u8, End)] = &[
    (1, Signal("SIGHUP")),
    (2, Signal("SIGINT")),
    (3, Code(2)),
    (6, Code(2)),
    (9, Signal("SIGKILL")),
    (15, Signal("SIGTERM")),
];

/// All of them.
pub(crate) const LANGUAGES: [Language; 7] = [
    Language {
        id: "python",
        executor: "python",
        tool: include_str!("programs/python/tool.py"),
        options: &[],
        signals: BY_KERNEL,
    },
    Language {
        id: "javascript",
        executor: "javascript",
        tool: include_str!("programs/javascript/tool.js"),
        options: &[],
        signals: BY_NODE,
    },
    Language {
        id: "typescript",
        executor: "javascript",
        tool: include_str!("programs/typescript/tool.ts"),
        options: &[],
        signals: BY_NODE,
    },
    Language {
        id: "java",
        executor: "java",
        tool: include_str!("programs/java/Tool.java"),
        options: &["-Xlint:all", "-parameters"],
        signals: BY_JVM,
    },
    Language {
        id: "cpp",
        executor: "cpp",
        tool: include_str!("programs/cpp/tool.cpp"),
        options: &["-std=c++20", "-O2", "-Wall"],
        signals: BY_KERNEL,
    },
    Language {
        id: "go",
        executor: "go",
        tool: include_str!("programs/go/tool.go"),
        options: &[],
        signals: BY_GO,
    },
    Language {
        id: "rust",
        executor: "rust",
        tool: include_str!("programs/rust/tool.rs"),
        options: &["-O", "--edition=2018"],
        signals: BY_KERNEL,
    },
];

/// The language of this name.
pub(crate) fn language(id: &str) -> &'static Language {
    LANGUAGES.iter().find(|it| it.id == id).unwrap()
}

impl Language {
    /// A request that runs the tool.
    pub(crate) fn tool(&self, args: &[&str]) -> Value {
        json!({"code": self.tool, "args": args})
    }

    /// The same with further fields.
    pub(crate) fn tool_with(&self, args: &[&str], more: Value) -> Value {
        let mut request = self.tool(args);
        let Value::Object(more) = more else { panic!("{more} is no object") };
        request.as_object_mut().unwrap().extend(more);
        request
    }
}
