//! Reads the process tree below a process from `/proc`: who is in it and what they use.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use rustix::fs::{Dir, Mode, OFlags, openat, readlinkat};
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior};

use crate::sys::identity::current_uid;
use crate::sys::limits::count_processes;
use crate::sys::process::{page_bytes, ticks_per_second};

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

/// What one process has mapped, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mappings {
    /// Everything.
    pub(crate) bytes: u64,
    /// What of it is in memory.
    pub(crate) resident_bytes: u64,
    /// Private writable memory and stacks.
    pub(crate) data_bytes: u64,
}

/// The processes of a machine, as one mount of `/proc` shows them. It goes on showing them to a
/// process that left the file tree of that mount, and by the same numbers.
#[derive(Debug)]
pub(crate) struct Processes {
    proc: OwnedFd,
    /// Processes and threads of this process's user that the kernel counts and `/proc` does not
    /// show.
    unseen: u64,
    /// Processes that were other users' when they were looked at.
    strangers: HashSet<Pid>,
}

impl Processes {
    /// Those that `/proc` shows now.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
        Ok(Self { proc, unseen: 0, strangers: HashSet::new() })
    }

    /// Finds out whose processes there are, and how many of this process's user are not seen.
    pub(crate) fn find_unseen(&mut self) -> io::Result<()> {
        let uid = current_uid();
        self.strangers = self.numbers().filter(|it| self.tasks_if_of(uid, *it).is_none()).collect();
        let seen = self.tasks_of(uid, None);
        self.unseen = count_processes(seen)?.saturating_sub(seen);
        Ok(())
    }

    /// The descriptor that they are seen through.
    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.proc.as_raw_fd()
    }

    /// This process.
    pub(crate) fn own(&self) -> Option<Pid> {
        let name = readlinkat(&self.proc, "self", Vec::new()).ok()?;
        parse_pid(name.to_str().ok()?)
    }

    /// What this process has mapped.
    pub(crate) fn own_mappings(&self) -> io::Result<Mappings> {
        self.mappings_by_name("self")
    }

    /// What a process has mapped.
    pub(crate) fn mappings(&self, process: Pid) -> io::Result<Mappings> {
        self.mappings_by_name(&process.as_raw_nonzero().to_string())
    }

    fn mappings_by_name(&self, name: &str) -> io::Result<Mappings> {
        let text = self.read(&format!("{name}/statm")).ok_or(io::ErrorKind::NotFound)?;
        let mut pages = text.split_ascii_whitespace().map(|it| it.parse().unwrap_or(0_u64));
        let page = page_bytes();
        let mut next = |skipped| pages.nth(skipped).unwrap_or_default() * page;
        let (bytes, resident_bytes) = (next(0), next(0));
        Ok(Mappings { bytes, resident_bytes, data_bytes: next(3) })
    }

    /// Every process below `root`, parents first. Those that end meanwhile may be missing.
    pub(crate) fn below(&self, root: Pid) -> Vec<Pid> {
        let mut found = self.children(root);
        let mut next = 0;
        while let Some(pid) = found.get(next).copied() {
            if found.len() > PROCESSES_MAX {
                break;
            }
            found.extend(self.children(pid));
            next += 1;
        }
        found
    }

    /// The children of one process, whichever of its threads made them.
    pub(crate) fn children(&self, pid: Pid) -> Vec<Pid> {
        let pid = pid.as_raw_nonzero();
        let mut found = Vec::new();
        for thread in self.names(&format!("{pid}/task")) {
            let Some(text) = self.read(&format!("{pid}/task/{thread}/children")) else { continue };
            found.extend(text.split_ascii_whitespace().filter_map(parse_pid));
        }
        found
    }

    /// What the processes use together.
    pub(crate) fn sample(&self, processes: &[Pid]) -> Sample {
        let mut sum = Sample { processes: processes.len(), ..Sample::default() };
        for pid in processes {
            sum.memory_bytes += self.status(*pid).map_or(0, |(_, it)| parse_memory(&it));
            let pid = pid.as_raw_nonzero();
            sum.cpu +=
                self.read(&format!("{pid}/stat")).map_or(Duration::ZERO, |it| parse_cpu(&it));
        }
        sum
    }

    /// The memory of the processes with shared pages counted in proportion; none if the kernel
    /// does not tell. Dearer than [`Self::sample`], and exact where it counts shared pages twice.
    pub(crate) fn proportional_memory(&self, processes: &[Pid]) -> Option<u64> {
        let mut sum = 0;
        for pid in processes {
            let Some((directory, status)) = self.status(*pid) else { continue };
            let Some(text) = self.read(&format!("{directory}/smaps_rollup")) else {
                if self.status(*pid).is_some() {
                    return None;
                }
                continue;
            };
            sum += field_kib(&text, "Pss_Anon:") + field_kib(&text, "Pss_Shmem:");
            // Page tables are never shared.
            sum += field_kib(&text, "SwapPss:") + field_kib(&status, "VmPTE:");
        }
        Some(sum)
    }

    /// The `status` file of a process that has memory, and the directory it is in. A process that
    /// ends has none any more; one whose first thread has ended shows it in its others.
    fn status(&self, process: Pid) -> Option<(String, String)> {
        let status = |directory: String| {
            let text = self.read(&format!("{directory}/status"))?;
            text.contains("VmPTE:").then_some((directory, text))
        };
        let directory = process.as_raw_nonzero().to_string();
        status(directory.clone()).or_else(|| {
            let threads = self.names(&format!("{directory}/task"));
            threads.into_iter().find_map(|it| status(format!("{directory}/task/{it}")))
        })
    }

    /// Processes and threads of the user `uid`, without the process `except`. Those of other
    /// containers were counted once, and others' processes were found then: reading what each
    /// process is takes longer than all else that a launch does.
    pub(crate) fn tasks_of(&self, uid: u32, except: Option<Pid>) -> u64 {
        let others = self.numbers().filter(|it| Some(*it) != except);
        let known = others.filter(|it| !self.strangers.contains(it));
        known.filter_map(|it| self.tasks_if_of(uid, it)).sum::<u64>() + self.unseen
    }

    /// The threads of a process, if it is the user's.
    fn tasks_if_of(&self, uid: u32, process: Pid) -> Option<u64> {
        let status = self.read(&format!("{}/status", process.as_raw_nonzero()))?;
        let is_theirs = field(&status, "Uid:") == Some(u64::from(uid));
        is_theirs.then(|| field(&status, "Threads:")).flatten()
    }

    fn numbers(&self) -> impl Iterator<Item = Pid> + use<> {
        self.names(".").into_iter().filter_map(|it| parse_pid(&it))
    }

    /// Where this process can make the kernel prefer it when memory runs out.
    pub(crate) fn open_oom_score(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        // The files of a process that hides itself are root's.
        set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        let opened = openat(&self.proc, "self/oom_score_adj", flags, Mode::empty());
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        Ok(opened?)
    }

    /// A small file in few reads.
    fn read(&self, path: &str) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.proc, path, flags, Mode::empty()).ok()?);
        let mut text = String::with_capacity(2048);
        file.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// The names in a directory.
    fn names(&self, path: &str) -> Vec<String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(directory) = openat(&self.proc, path, flags, Mode::empty()) else {
            return Vec::new();
        };
        let Ok(entries) = Dir::read_from(directory) else { return Vec::new() };
        let names =
            entries.flatten().filter_map(|it| it.file_name().to_str().ok().map(str::to_owned));
        names.filter(|name| name.starts_with(|it: char| it.is_ascii_digit())).collect()
    }
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
    field(text, name).unwrap_or_default() * 1024
}

/// The first number of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
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
        let all = Processes::open().unwrap();
        let own = all.own().unwrap();
        assert_eq!(own, rustix::process::getpid());
        let parent = rustix::process::getppid().unwrap();
        assert!(all.children(parent).contains(&own));
        assert!(all.below(parent).contains(&own));
        let user = rustix::process::geteuid().as_raw();
        // Others come and go between the two looks.
        let leaves_it_out = |_| all.tasks_of(user, None) > all.tasks_of(user, Some(own));
        assert!((0..20).any(leaves_it_out));
    }
}
