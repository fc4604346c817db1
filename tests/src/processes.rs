//! What `/proc` says of a server's processes.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The children of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        tasks.flatten().filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    lists
        .flat_map(|it| it.split_whitespace().map(|it| it.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// Everything below a process.
pub fn below(pid: i32) -> Vec<i32> {
    let mut found = children(pid);
    let mut index = 0;
    while let Some(pid) = found.get(index).copied() {
        found.extend(children(pid));
        index += 1;
    }
    found
}

/// The words that a process was started with.
pub fn words(pid: i32) -> Vec<String> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = text.split(|it| *it == 0).filter(|it| !it.is_empty());
    words.map(|it| String::from_utf8_lossy(it).into_owned()).collect()
}

/// Processes that were started with this word.
pub fn with_word(word: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    pids.filter(|pid| words(*pid).iter().any(|it| it.contains(word))).collect()
}

/// The spawner of a server that the processes `run` come from, and the reapers below it.
pub fn spawner_and_reapers(server: i32, run: &[i32]) -> (Option<i32>, Vec<i32>) {
    let has_run = |spawner: &i32| below(*spawner).iter().any(|it| run.contains(it));
    let spawner = children(server).into_iter().find(has_run);
    (spawner, spawner.map(children).unwrap_or_default())
}

/// Whether a process is one of the server's own, or waits for its program.
pub fn is_ours(pid: i32) -> bool {
    words(pid).iter().any(|it| it == "sandbox-spawner")
}

/// Whether a process lives, and is no zombie.
pub fn lives(pid: i32) -> bool {
    state(pid).is_some_and(|it| it != 'Z')
}

/// Whether a process waits for something.
pub fn sleeps(pid: i32) -> bool {
    state(pid) == Some('S')
}

fn state(pid: i32) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("State:"))?;
    line.trim().chars().next()
}

/// Kills a process that a server of ours started.
pub fn kill(pid: i32) {
    // It may have ended by itself.
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap_or_default();
}

/// What a server holds.
#[derive(Debug, Clone, Copy)]
pub struct Holdings {
    /// Of the server alone.
    pub memory_kib: u64,
    /// Open ones, of all.
    pub descriptors: usize,
    /// The server and everybody below it.
    pub processes: usize,
}

/// What a server and its helpers hold now.
pub fn holdings(server: i32) -> Holdings {
    let all: Vec<i32> = std::iter::once(server).chain(below(server)).collect();
    let count = |pid: i32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Holdings {
        memory_kib: memory_kib(server),
        descriptors: all.iter().map(|it| count(*it)).sum(),
        processes: all.len(),
    }
}

fn memory_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    line.and_then(|it| it.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
