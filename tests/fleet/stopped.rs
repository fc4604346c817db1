//! Servers below `strace`, which kills them, or has a call fail, at the very call that a test names.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

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
