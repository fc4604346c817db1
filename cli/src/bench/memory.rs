//! The memory of a service that rests: its own processes, and those that it keeps warm below it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Serialize;

use super::processes::Processes;

/// Longer words of a command are cut, in characters.
const NAME_CHARS_MAX: usize = 20;

/// The memory of a service. What processes share is divided among them ("proportional set size"),
/// so the parts add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceMemory {
    /// Its name.
    pub(crate) service: String,
    /// Its own processes: the server, and whoever starts and supervises runs.
    pub(crate) own: Held,
    /// What waits below it, one entry a kind.
    pub(crate) waiting: Vec<Waiting>,
    /// Whether some processes hid theirs, and their resident set size was taken.
    pub(crate) approximate: bool,
}

/// Processes that wait for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Waiting {
    /// The first and the last word of their command.
    pub(crate) command: String,
    /// Whether others of these were forked from them.
    pub(crate) is_parent: bool,
    /// All of them together.
    #[serde(flatten)]
    pub(crate) held: Held,
}

/// Memory of some processes together, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Held {
    /// How many processes.
    pub(crate) processes: usize,
    /// Proportional set size.
    pub(crate) bytes: u64,
    /// Written by them alone: what each of them really takes more.
    pub(crate) private_dirty_bytes: u64,
}

/// What one process holds.
#[derive(Debug)]
struct Process {
    held: Held,
    approximate: bool,
}

/// Adds up the tree below `root`. Processes that end meanwhile count nothing.
pub(crate) fn of_service(service: &str, root: u32, processes: &Processes) -> ServiceMemory {
    let program = executable(root);
    let starters: Vec<Vec<u8>> = processes.children(root).map(words).collect();
    // What is forked keeps its command, and may hide what it executes.
    let is_own = |pid: u32| match executable(pid) {
        _ if pid == root => true,
        Some(file) => program == Some(file),
        None => starters.contains(&words(pid)),
    };
    let (mut own, mut approximate) = (Held::default(), false);
    let mut waiting = BTreeMap::<(String, bool), Held>::new();
    for pid in processes.tree(root) {
        let Some(process) = Process::read(pid) else { continue };
        approximate |= process.approximate;
        if is_own(pid) {
            own.add(process.held);
        } else {
            let kind = (short(&words(pid)), processes.children(pid).next().is_some());
            waiting.entry(kind).or_default().add(process.held);
        }
    }
    let waiting = waiting.into_iter();
    let waiting =
        waiting.map(|((command, is_parent), held)| Waiting { command, is_parent, held }).collect();
    ServiceMemory { service: service.to_owned(), own, waiting, approximate }
}

impl ServiceMemory {
    /// All of it, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.own.bytes + self.waiting.iter().map(|it| it.held.bytes).sum::<u64>()
    }
}

impl Held {
    fn add(&mut self, other: Self) {
        self.processes += other.processes;
        self.bytes += other.bytes;
        self.private_dirty_bytes += other.private_dirty_bytes;
    }
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let held = |bytes, private_dirty_bytes| Held { processes: 1, bytes, private_dirty_bytes };
        if let Some(bytes) = bytes(&rollup, "Pss:") {
            let dirty = bytes_or_none(&rollup, "Private_Dirty:");
            return Some(Self { held: held(bytes, dirty), approximate: false });
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let (resident, anonymous) = (bytes(&status, "VmRSS:")?, bytes_or_none(&status, "RssAnon:"));
        Some(Self { held: held(resident, anonymous), approximate: true })
    }
}

fn bytes_or_none(text: &str, field: &str) -> u64 {
    bytes(text, field).unwrap_or_default()
}

/// A field of proc(5), which is in kilobytes.
fn bytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|it| it.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Which file a process executes: one that was started again, or forked, is the same.
fn executable(pid: u32) -> Option<(u64, u64)> {
    let file = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    Some((file.dev(), file.ino()))
}

fn words(pid: u32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// The first and the last word of a command line, without their directories.
fn short(words: &[u8]) -> String {
    let words = String::from_utf8_lossy(words);
    let words: Vec<&str> = words.split('\0').filter(|it| !it.is_empty()).collect();
    let name = |word: &&str| {
        let name = Path::new(word).file_name().unwrap_or_default().to_string_lossy();
        name.chars().take(NAME_CHARS_MAX).collect::<String>()
    };
    match &words[..] {
        [] => "?".to_owned(),
        [only] => name(only),
        [first, .., last] => format!("{} {}", name(first), name(last)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fleet::process;

    #[test]
    fn a_command_is_told_by_its_ends() {
        let check = |words: &str, expected| assert_eq!(short(words.as_bytes()), expected);
        check("/usr/bin/alpha\0-r\0/support/warm.a\0main.a\0", "alpha main.a");
        check("alpha\0", "alpha");
        check("", "?");
    }

    #[test]
    fn a_field_is_read_in_bytes() {
        let text = "Rss:    9 kB\nPss:    1234 kB\nPrivate_Dirty:   56 kB\n";
        assert_eq!(bytes(text, "Pss:"), Some(1234 * 1024));
        assert_eq!(bytes_or_none(text, "Private_Dirty:"), 56 * 1024);
        assert_eq!(bytes(text, "Swap:"), None);
    }

    #[test]
    fn this_process_has_memory_of_its_own() {
        let root = std::process::id();
        let memory = of_service("this", root, &Processes::look().unwrap());
        assert!(memory.own.processes >= 1 && memory.own.bytes > 0, "{memory:?}");
        assert!(memory.bytes() >= memory.own.bytes, "{memory:?}");
    }

    #[tokio::test]
    async fn what_waits_is_told_apart_from_the_service() {
        let directory = tempfile::tempdir().unwrap();
        let script = "sleep 600 & sleep 600 & echo $$ > pid; wait";
        let words = ["sh", "-c", script].map(str::to_owned);
        let running = process::output(&words, &[], directory.path(), Duration::from_mins(1));
        let looking = async {
            loop {
                tokio::task::yield_now().await;
                let pid = fs::read_to_string(directory.path().join("pid"));
                let Some(root) = pid.ok().and_then(|it| it.trim().parse().ok()) else { continue };
                let memory = of_service("script", root, &Processes::look().unwrap());
                let waiting: Vec<(&str, usize)> =
                    memory.waiting.iter().map(|it| (&*it.command, it.held.processes)).collect();
                if waiting == [("sleep 600", 2)] {
                    return memory;
                }
            }
        };
        let memory = tokio::select! {
            ended = running => panic!("it ended: {ended:?}"),
            memory = looking => memory,
        };
        assert_eq!(memory.own.processes, 1, "{memory:?}");
        assert!(!memory.waiting[0].is_parent, "{memory:?}");
        assert!(memory.bytes() > memory.own.bytes, "{memory:?}");
    }
}
