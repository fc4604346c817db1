//! Servers below `strace`, which kills them, or has a call fail, at the very call that a test names.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::REQUIRE;

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The process is killed before the call does anything.
    Killed,
    /// The call does nothing, and fails with this error.
    Fails(&'static str),
}

/// Whether processes can be traced here; if not, that is said.
pub(crate) fn can_trace() -> bool {
    let tried = Command::new("strace")
        .args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "true"])
        .output();
    let why = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("strace: {error}; run `scripts/install --tests`"),
    };
    assert!(std::env::var(REQUIRE).is_err(), "{why}");
    println!("SKIPPED: no process can be traced here: {why}");
    false
}

/// Words before a program, which meets its fate at the `number`-th call of a kind that one of its
/// threads makes, from 1. It stays the child of whoever starts it.
pub(crate) fn at_call(call: &str, number: usize, fate: Fate) -> Vec<String> {
    let fate = match fate {
        Fate::Killed => "signal=KILL".to_owned(),
        Fate::Fails(error) => format!("error={error}"),
    };
    let inject = format!("inject={call}:{fate}:when={number}");
    let words = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e"];
    let words = words.into_iter().map(str::to_owned);
    words.chain([format!("trace={call}"), "-e".to_owned(), inject]).collect()
}

/// Words before a program whose calls of some kinds are written down.
pub(crate) fn noted(calls: &[&str], log: &Path) -> Vec<String> {
    let words = ["strace", "-D", "-f", "-qq", "-e"].map(str::to_owned);
    let rest = [format!("trace={}", calls.join(",")), "-o".to_owned(), log.display().to_string()];
    words.into_iter().chain(rest).collect()
}

/// How many calls of each kind were made by the thread that made most of them.
pub(crate) fn most_calls(log: &Path) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(log).unwrap();
    let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if call.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') {
            *by_thread.entry((call, thread)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((call, _), count) in by_thread {
        let known = most.entry(call.to_owned()).or_default();
        *known = count.max(*known);
    }
    most
}

/// `strace` beside processes that go on already, and beside all that they start, until this is
/// dropped.
pub(crate) struct Attached(Child);

impl Attached {
    /// Whoever of them makes the `number`-th call of a kind is killed before that does anything. Each
    /// counts its own, from 1.
    pub(crate) fn killing(pids: &[i32], call: &str, number: usize) -> Self {
        let inject = format!("inject={call}:signal=KILL:when={number}");
        Self::start(pids, &[&format!("trace={call}"), &inject], Path::new("/dev/null"))
    }

    /// Their calls of some kinds are written down.
    pub(crate) fn noting(pids: &[i32], calls: &[&str], log: &Path) -> Self {
        Self::start(pids, &[&format!("trace={}", calls.join(","))], log)
    }

    fn start(pids: &[i32], expressions: &[&str], log: &Path) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o"]).arg(log);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        for expression in expressions {
            command.args(["-e", expression]);
        }
        let tracer = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut attached = Self(tracer);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !pids.iter().all(|it| is_traced(*it)) {
            let ended = attached.0.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "they are not traced: {ended:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        attached
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Whoever it traces goes on. With a process that was killed and that nobody has waited for, it
        // does not end by itself.
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(1);
        while self.0.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.0.kill().unwrap_or_default();
        self.0.wait().unwrap();
    }
}

/// Whether a process is traced, or not there any more.
fn is_traced(pid: i32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    let mut tracers = status.lines().filter_map(|it| it.strip_prefix("TracerPid:"));
    tracers.any(|it| it.trim() != "0")
}
