//! Reads the process tree below a process from `/proc`: who is in it and what they use.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::Pid;

use crate::sys::process::ticks_per_second;

/// Longest tree that is walked; the process limit of a run is far below.
const PROCESSES_MAX: usize = 4096;

/// What a tree uses at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Memory that no file backs, in bytes. Pages that a fork shares count for each process.
    pub(crate) memory_bytes: u64,
    /// Processor time, of children that were waited for too.
    pub(crate) cpu: Duration,
    /// Processes.
    pub(crate) processes: usize,
}

/// Every process below `root`, parents first. Those that end meanwhile may be missing.
pub(crate) fn below(root: Pid) -> Vec<Pid> {
    let mut found = children(root);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        if found.len() > PROCESSES_MAX {
            break;
        }
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// The children of one process, whichever of its threads made them.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let Ok(entries) = fs::read_dir(&tasks) else { return Vec::new() };
    let mut found = Vec::new();
    for task in entries.flatten() {
        let Some(text) = read(&task.path().join("children")) else { continue };
        found.extend(text.split_ascii_whitespace().filter_map(parse_pid));
    }
    found
}

/// What the processes use together.
pub(crate) fn sample(processes: &[Pid]) -> Sample {
    let mut sum = Sample { processes: processes.len(), ..Sample::default() };
    for pid in processes {
        let directory = format!("/proc/{}", pid.as_raw_nonzero());
        let directory = Path::new(&directory);
        sum.memory_bytes += read(&directory.join("status")).map_or(0, |it| parse_memory(&it));
        sum.cpu += read(&directory.join("stat")).map_or(Duration::ZERO, |it| parse_cpu(&it));
    }
    sum
}

/// The memory of the processes with shared pages counted in proportion; none if the kernel does
/// not tell. Dearer than [`sample`], and exact where it counts shared pages twice.
pub(crate) fn proportional_memory(processes: &[Pid]) -> Option<u64> {
    let mut sum = 0;
    for pid in processes {
        let path = format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero());
        // A process that ended since uses nothing.
        let Ok(text) = fs::read_to_string(&path) else {
            if Path::new(&path).exists() {
                return None;
            }
            continue;
        };
        sum += field_kib(&text, "Pss_Anon:") + field_kib(&text, "Pss_Shmem:");
        sum += field_kib(&text, "SwapPss:");
        // Page tables are never shared.
        let status = read(&Path::new(&path).with_file_name("status"));
        sum += status.map_or(0, |it| field_kib(&it, "VmPTE:"));
    }
    Some(sum)
}

fn parse_pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

/// Private, shared-anonymous and swapped memory of one `status` file, and the page tables that
/// even untouched mappings can fill memory with, in bytes.
fn parse_memory(status: &str) -> u64 {
    ["RssAnon:", "RssShmem:", "VmSwap:", "VmPTE:"]
        .into_iter()
        .map(|name| field_kib(status, name))
        .sum()
}

/// A field in KiB, as bytes; 0 if it is not there.
fn field_kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_ascii_whitespace().next());
    number.and_then(|it| it.parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// User and system time of one `stat` file, of waited-for children too. The second field is a
/// name in parentheses that the program may have chosen, so counting starts behind the last one.
fn parse_cpu(stat: &str) -> Duration {
    let Some((_, rest)) = stat.rsplit_once(')') else { return Duration::ZERO };
    // Behind the name come fields 3, 4, …; the times are fields 14 to 17.
    let ticks: u64 = rest
        .split_ascii_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|it| it.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 1000 / ticks_per_second())
}

/// A small file of `/proc` in one read.
fn read(path: &Path) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let mut buffer = String::with_capacity(2048);
    file.read_to_string(&mut buffer).ok()?;
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_no_file_backs() {
        let status = "Name:\tx\nVmRSS:\t 900 kB\nRssAnon:\t 100 kB\nRssFile:\t 800 kB\nRssShmem:\t 5 kB\nVmPTE:\t 10 kB\nVmSwap:\t 1 kB\n";
        assert_eq!(parse_memory(status), 116 * 1024);
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) R 1 (b) S 1 7 7 0 -1 4194304 1 2 3 4 100 50 20 10 20 0 1 0 5 6 7";
        let expected = Duration::from_millis(180 * 1000 / ticks_per_second());
        assert_eq!(parse_cpu(stat), expected);
    }

    #[test]
    fn we_are_a_child_of_our_parent() {
        let parent = rustix::process::getppid().unwrap();
        assert!(children(parent).contains(&rustix::process::getpid()));
        assert!(below(parent).contains(&rustix::process::getpid()));
    }
}
