//! Programs on a terminal of their own: what that would let them do to others, and what they leave
//! of it behind.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt as _;
use serde_json::{Value, json};
use tests::client;

use crate::ground::{Ground, TOKEN};
use crate::promise::{CLEAN_UP, FILES, KERNEL_SURFACE};
use crate::table::{Scenario, Table, say};

pub(crate) static TABLE: Table = Table {
    promise: "a terminal is the program's own, and a way to nothing else",
    against: &[],
    attacks: &[],
    scenarios: &[
        Scenario {
            name: "make the kernel do things by way of the terminal",
            stopped_by: "Seccomp (ioctl)",
            against: &[KERNEL_SURFACE],
            play: |ground| control(ground).boxed_local(),
        },
        Scenario {
            name: "reach other terminals by name",
            stopped_by: "Landlock, or the run's own file tree",
            against: &[FILES],
            play: |ground| open_by_name(ground).boxed_local(),
        },
        Scenario {
            name: "stay on the terminal after the run",
            stopped_by: "the reaper",
            against: &[CLEAN_UP],
            play: |ground| stay(ground).boxed_local(),
        },
        Scenario {
            name: "hang the terminal up, stop it, and flood it",
            stopped_by: "the executor (bounds), the reaper (wall clock)",
            against: &[],
            play: |ground| misuse(ground).boxed_local(),
        },
    ],
};

const CONTROL: &str = r#"
import termios
tell = lambda *words: print("held", *words)
for name, request, argument in (
    ("typing", termios.TIOCSTI, b"x"),
    ("a line discipline", termios.TIOCSETD, struct.pack("i", 3)),
    ("the console's messages", 0x541D, 0),
    ("the console's memory", 0x541C, b"\x02"),
    ("signals for others", 0x8901, struct.pack("i", 1)),
    ("signals of a socket's", 0x8902, struct.pack("i", 1)),
):
    for stream in (0, 1, 2):
        attempt(name, lambda: fcntl.ioctl(stream, request, argument))
attempt("another's session", lambda: call("tcsetpgrp", 0, 1))
print("isatty", os.isatty(0), os.isatty(1), os.isatty(2))
print("done")
"#;

const OPEN: &str = r#"
def others(path):
    file = os.open(path, os.O_RDWR | os.O_NOCTTY)
    if os.fstat(file).st_rdev == os.fstat(0).st_rdev: raise OSError("its own")
    return path
for path in ["/dev/console", "/dev/tty0", "/dev/tty1"] + [f"/dev/pts/{it}" for it in range(64)]:
    attempt(path, lambda: others(path))
for path in ("/dev/ptmx", "/dev/pts/ptmx", "/dev/tty"):
    attempt(path, lambda: os.open(path, os.O_RDWR | os.O_NOCTTY))
attempt("a new terminal", os.openpty)
print("done")
"#;

/// A daemon that holds the terminal open, and one that has no other stream.
const STAY: &str = r#"
for _ in range(3):
    if os.fork() == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try: os.setsid()
        except OSError: pass
        if os.fork() == 0:
            while True:
                try: os.read(0, 1)
                except OSError: time.sleep(0.01)
        time.sleep(100)
print("done", flush=True)
"#;

const MISUSES: &[(&str, &[&str])] = &[
    // Nothing is read of it any more, and the run goes on to its end.
    ("import os\nfor it in (0, 1, 2): os.close(it)\nimport time; time.sleep(0.3)", &["success"]),
    // Its own foreground is nobody's.
    (
        "import os, time\nif os.fork() == 0:\n    os.setpgid(0, 0)\n    time.sleep(100)\nos.kill(os.getpid(), 19)",
        &["timeout"],
    ),
    (
        "import termios, time\ntermios.tcflow(1, termios.TCOOFF)\nprint('x' * 100000, flush=True)",
        &["timeout"],
    ),
    ("while True: print('x' * 60000)", &["output_limit", "timeout"]),
    (
        "import os, tty\ntty.setraw(0)\nfor _ in range(200): os.write(1, bytes(range(256)) * 16)",
        &["success"],
    ),
];

/// Runs a program on a terminal, and returns what it printed and its report.
async fn on_terminal(ground: &Ground, code: &str) -> (String, Value) {
    static RUNS: AtomicU64 = AtomicU64::new(1);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let key = format!("{:016x}{number:016x}", std::process::id());
    let body = json!({
        "code": code, "tty": {"cols": 80, "rows": 24}, "timeout": 3, "memoryLimit": 256,
        "cpuTime": 60,
    });
    let request = client()
        .post(ground.server("python").url("/execute"))
        .header("content-type", "application/json")
        .header("accept", "text/event-stream")
        .header("x-run-key", key)
        .bearer_auth(TOKEN)
        .body(body.to_string());
    let text = request.send().await.expect("the executor answers").text().await.unwrap();
    let lines = text.lines().filter_map(|it| it.strip_prefix("data: "));
    let events: Vec<Value> = lines.filter_map(|it| serde_json::from_str(it).ok()).collect();
    let printed = events.iter().filter(|it| it["type"] == "stdout");
    let printed = printed.map(|it| it["data"].as_str().unwrap_or_default()).collect();
    let report = events.last().map_or(json!(text), |it| it["report"].clone());
    (printed, report)
}

/// Whether the executor can make terminals: a host may grant none.
async fn has_terminals(ground: &Ground) -> bool {
    let asked = client().get(ground.server("python").url("/info")).bearer_auth(TOKEN).send().await;
    let info = asked.expect("the executor answers").text().await.unwrap();
    let has = info.contains("\"tty\"");
    if !has {
        say("terminals are left out: this host grants none");
    }
    has
}

fn faults_of(printed: &str, report: &Value) -> Vec<String> {
    let escaped = printed.lines().filter(|it| it.contains("ESCAPED")).map(str::to_owned);
    let mut faults: Vec<String> = escaped.collect();
    if report["status"] != "success" || !printed.trim_end().ends_with("done") {
        faults.push(format!("it ended otherwise: {printed} {report}"));
    }
    faults
}

fn with_prelude(code: &str) -> String {
    include_str!("preludes/prelude.py").to_owned() + code
}

async fn control(ground: &mut Ground) -> Vec<String> {
    if !has_terminals(ground).await {
        return Vec::new();
    }
    let (printed, report) = on_terminal(ground, &with_prelude(CONTROL)).await;
    let mut faults = faults_of(&printed, &report);
    if !printed.contains("isatty True True True") {
        faults.push(format!("it had no terminal: {printed}"));
    }
    faults
}

async fn open_by_name(ground: &mut Ground) -> Vec<String> {
    if !has_terminals(ground).await {
        return Vec::new();
    }
    let (printed, report) = on_terminal(ground, &with_prelude(OPEN)).await;
    faults_of(&printed, &report)
}

async fn stay(ground: &mut Ground) -> Vec<String> {
    if !has_terminals(ground).await {
        return Vec::new();
    }
    let (printed, report) = on_terminal(ground, &with_prelude(STAY)).await;
    faults_of(&printed, &report)
}

async fn misuse(ground: &mut Ground) -> Vec<String> {
    if !has_terminals(ground).await {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (code, statuses) in MISUSES {
        let (_, report) = on_terminal(ground, code).await;
        if !statuses.iter().any(|it| report["status"] == *it) {
            faults.push(format!("{code}: {report}"));
        }
    }
    faults
}
