//! Pure but for its directories: what a run gets at each level, as an executor would give it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use protocol::Level;
use sandbox::{CellSpec, Foundation, Limits, Mechanisms, Policy, Probe};
use serde::{Deserialize, Serialize};

/// The program: it does nothing.
pub(super) const PROGRAM: &str = "/bin/true";

/// Its environment: as large as that of a run.
pub(super) const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", "/work"),
    ("TMPDIR", "/tmp"),
    ("LANG", "C.UTF-8"),
    ("TZ", "UTC"),
];

/// What of the host a run may read. An executor lists about as many, and each costs a little.
const READABLE: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/bin",
    "/sbin",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/openssl.cnf",
    "/dev/random",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",
];

/// The one device that it may write to.
const DEVICE: &str = "/dev/null";

/// The mechanisms that each level adds to those of the level below, by their probes' names.
const ADDS: [(Level, &[&str]); 6] = [
    (Level::Bare, &["data_limit"]),
    (Level::Filtered, &["seccomp"]),
    (Level::Confined, &["landlock_files", "landlock_truncate"]),
    (Level::Separated, &["landlock_scope", "user_switch"]),
    (Level::Namespaced, &["namespaces", "own_proc"]),
    (Level::Bounded, &["cgroup"]),
];

/// A user that nothing belongs to, as far as anybody knows.
const USER: u32 = 64_997;

const MIB: u64 = 1 << 20;

/// All that a process needs that takes samples of one level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    /// How cells are made.
    pub(super) cell: CellSpec,
    /// What they stand on, where they have a file tree of their own.
    pub(super) foundation: Option<Foundation>,
    /// What is run in them.
    pub(super) policy: Policy,
}

/// What was proven here, without what belongs to levels above `level`; or why that is less than
/// the level.
pub(super) fn mechanisms(probe: &Probe, level: Level) -> Result<Mechanisms, String> {
    let mechanisms = up_to(probe, level);
    if mechanisms.level() == level {
        return Ok(mechanisms);
    }
    let missing = names(|it| it <= level && up_to(probe, it).level() != it);
    let faults = probe.results.iter().filter(|it| missing.contains(&it.mechanism.as_str()));
    let faults = faults.filter_map(|it| {
        Some(format!("{}: {} (needs {})", it.mechanism, it.fault.as_ref()?, it.grant))
    });
    Err(faults.collect::<Vec<_>>().join("; "))
}

fn up_to(probe: &Probe, level: Level) -> Mechanisms {
    let names = names(|it| it <= level);
    let mut lower = probe.clone();
    lower.results.retain(|it| names.contains(&it.mechanism.as_str()));
    lower.mechanisms()
}

/// The mechanisms that were proven here and that `level` adds.
pub(super) fn adds(probe: &Probe, level: Level) -> Vec<String> {
    let names = names(|it| it == level);
    let proven = probe.results.iter().filter(|it| it.fault.is_none());
    let added = proven.filter(|it| names.contains(&it.mechanism.as_str()));
    added.map(|it| it.mechanism.clone()).collect()
}

fn names(is_wanted: impl Fn(Level) -> bool) -> Vec<&'static str> {
    ADDS.iter()
        .filter(|(level, _)| is_wanted(*level))
        .flat_map(|(_, names)| *names)
        .copied()
        .collect()
}

/// What runs with these mechanisms get, with directories of their own below `scratch`.
pub(super) fn task(level: Level, mechanisms: Mechanisms, scratch: &Path) -> anyhow::Result<Task> {
    let own = scratch.join(level.as_str());
    let user = mechanisms.user_switch.then_some(USER);
    let make = |name: &str, mode: u32, owner: Option<u32>| -> anyhow::Result<PathBuf> {
        let directory = own.join(name);
        fs::create_dir_all(&directory)
            .and_then(|()| fs::set_permissions(&own, Permissions::from_mode(0o711)))
            .and_then(|()| fs::set_permissions(&directory, Permissions::from_mode(mode)))
            .and_then(|()| chown(&directory, owner, owner))
            .with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(directory)
    };
    let (foundation, work, temporary) = if mechanisms.namespaces {
        let readable = READABLE.iter().chain([&DEVICE]).map(PathBuf::from).collect();
        let foundation = Foundation { root: make("root", 0o755, None)?, readable };
        (Some(foundation), sandbox::WORK.into(), sandbox::TEMPORARY.into())
    } else {
        (None, make("work", 0o700, user)?, make("tmp", 0o700, user)?)
    };
    Ok(Task {
        cell: CellSpec {
            mechanisms,
            uid: user,
            files_bytes: 256 * MIB,
            readable: readable(&mechanisms),
            writable: Vec::new(),
            neighbours: 4,
        },
        foundation,
        policy: policy(&mechanisms, work, temporary),
    })
}

fn readable(mechanisms: &Mechanisms) -> Vec<PathBuf> {
    let own_proc = mechanisms.own_proc.then_some("/proc");
    READABLE.iter().copied().chain(own_proc).map(PathBuf::from).collect()
}

fn policy(mechanisms: &Mechanisms, work: PathBuf, temporary: PathBuf) -> Policy {
    let memory = mechanisms.namespaces.then_some(sandbox::SHARED_MEMORY);
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Policy {
        program: PROGRAM.into(),
        argv: vec![PROGRAM.to_owned()],
        env: ENVIRONMENT.iter().map(text).collect(),
        work_dir: work.clone(),
        readable: Vec::new(),
        writable: [DEVICE]
            .into_iter()
            .chain(memory)
            .map(PathBuf::from)
            .chain([work, temporary])
            .collect(),
        limits: Limits {
            wall_ms: 5000,
            cpu_ms: 5000,
            memory_bytes: 256 * MIB,
            data_bytes: 256 * MIB,
            address_space_bytes: Some(16 * 1024 * MIB),
            processes: 64,
            processors: 1,
            open_files: 128,
            file_bytes: 64 * MIB,
            stack_bytes: 8 * MIB,
        },
    }
}

#[cfg(test)]
mod tests {
    use sandbox::ProbeResult;

    use super::*;

    fn probe(missing: &[&str]) -> Probe {
        let result = |name: &str| ProbeResult {
            mechanism: name.to_owned(),
            fault: missing.contains(&name).then(|| "refused".to_owned()),
            grant: "another host".to_owned(),
        };
        let results = names(|_| true).into_iter().map(result).collect();
        Probe { results, cgroups: None }
    }

    #[test]
    fn a_rung_has_nothing_of_those_above_it() {
        for level in Level::ALL {
            assert_eq!(mechanisms(&probe(&[]), level).unwrap().level(), level);
        }
    }

    #[test]
    fn a_rung_that_the_host_does_not_grant_says_what_it_needs() {
        let ordinary = probe(&["cgroup", "user_switch"]);
        let fault = mechanisms(&ordinary, Level::Bounded).unwrap_err();
        // Another mechanism stands in for the user.
        assert_eq!(fault, "cgroup: refused (needs another host)");
        let without = probe(&["landlock_files"]);
        assert!(mechanisms(&without, Level::Confined).is_err());
        assert!(mechanisms(&without, Level::Namespaced).is_ok());
        assert_eq!(adds(&without, Level::Confined), ["landlock_truncate"]);
    }

    #[test]
    fn a_run_with_a_tree_of_its_own_works_in_it() {
        let scratch = tempfile::tempdir().unwrap();
        let make = |level| {
            let mut mechanisms = mechanisms(&probe(&["user_switch"]), level).unwrap();
            mechanisms.user_switch = false;
            task(level, mechanisms, scratch.path()).unwrap()
        };
        let apart = make(Level::Namespaced);
        assert_eq!(apart.policy.work_dir, Path::new(sandbox::WORK));
        assert!(apart.foundation.unwrap().root.is_dir());
        let beside = make(Level::Separated);
        assert!(beside.foundation.is_none() && beside.policy.work_dir.is_dir());
    }
}
