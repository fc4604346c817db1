//! The memory that we and all runs share, and who dies when it runs out.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::cgroup::{Chain, Version};

/// What a server needs beside its runs, in MiB: itself, its spawner, a reaper a run, and the
/// requests and answers that it holds.
pub const SERVER_MB: u64 = 64;

/// Bounds from here on are the kernel's way to say that there is none.
const NO_BOUND: u64 = 1 << 60;

/// The memory that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// All of it, in bytes.
    pub bytes: u64,
    /// Who bounds it.
    pub of: Whose,
    /// Whether the kernel kills every process of the container when the container's bound is
    /// overstepped, the server too (`memory.oom.group`). Otherwise it kills the largest.
    pub oom_kills_all: bool,
}

/// What a bound belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// The container's, or that of another cgroup that we are in.
    Container,
    /// The machine's.
    Machine,
}

impl Memory {
    /// What is left for runs, in MiB: a sixth of all is held in reserve, so that a fifth more
    /// than what is given away is there, and the server has its own.
    pub fn for_runs_mb(&self) -> u64 {
        ((self.bytes / 6 * 5) >> 20).saturating_sub(SERVER_MB)
    }

    /// Everything, in MiB.
    pub fn mb(&self) -> u64 {
        self.bytes >> 20
    }
}

/// Reads the container's bound, or the machine's memory where that is less. `root` is `/` save
/// in tests. None if neither can be read.
pub fn memory(root: &Path) -> Option<Memory> {
    let chain = Chain::find(root, "memory");
    let bound = chain.as_ref().and_then(|it| it.smallest(bound_file(it.version)));
    let bound = bound.filter(|it| *it < NO_BOUND);
    // The older design has nothing of the kind.
    let oom_kills_all =
        chain.is_some_and(|it| it.values("memory.oom.group").any(|value| value == "1"));
    let total = total(root);
    let container = bound.filter(|it| total.is_none_or(|total| *it < total));
    match (container, total) {
        (Some(bytes), _) => Some(Memory { bytes, of: Whose::Container, oom_kills_all }),
        (None, Some(bytes)) => Some(Memory { bytes, of: Whose::Machine, oom_kills_all }),
        (None, None) => None,
    }
}

fn bound_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "memory.limit_in_bytes",
        Version::V2 => "memory.max",
    }
}

/// The machine's memory, from `/proc/meminfo`.
fn total(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|it| it.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::tests::{MOUNTS_V2, machine};

    const TOTAL: (&str, &str) = ("proc/meminfo", "MemTotal:        4194304 kB\nMemFree: 1 kB\n");
    const IN_A_CONTAINER: (&str, &str) = ("proc/self/cgroup", "0::/a\n");

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: Option<(u64, Whose, bool)>) {
        let expected =
            expected.map(|(bytes, of, oom_kills_all)| Memory { bytes, of, oom_kills_all });
        assert_eq!(memory(machine(files).path()), expected);
    }

    #[test]
    fn the_smallest_bound_on_the_way_up_holds() {
        let files = [
            TOTAL,
            IN_A_CONTAINER,
            MOUNTS_V2,
            ("sys/fs/cgroup/a/memory.max", "max\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/memory.oom.group", "1\n"),
        ];
        check(&files, Some((1 << 30, Whose::Container, true)));
    }

    #[test]
    fn a_bound_above_what_the_machine_has_is_none() {
        let v2 = ("sys/fs/cgroup/a/memory.max", "8589934592\n");
        check(&[TOTAL, IN_A_CONTAINER, MOUNTS_V2, v2], Some((4 << 30, Whose::Machine, false)));
        let v1 = [
            TOTAL,
            ("proc/self/cgroup", "4:memory:/\n"),
            ("proc/self/mountinfo", "2 1 0:2 / /cg rw - cgroup cgroup rw,memory\n"),
            ("cg/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        check(&v1, Some((4 << 30, Whose::Machine, false)));
    }

    #[test]
    fn without_proc_nothing_is_known() {
        check(&[], None);
    }

    #[test]
    fn what_runs_get_leaves_the_server_and_a_fifth_more() {
        let memory = |mb: u64| Memory { bytes: mb << 20, of: Whose::Machine, oom_kills_all: false };
        assert_eq!(memory(1200).for_runs_mb(), 1000 - SERVER_MB);
        assert_eq!(memory(32).for_runs_mb(), 0);
    }
}
