//! Pure: turns a cell and a policy into the ordered steps that confine a program: those that can be
//! taken before there is a program, and the rest. The order matters; each step says why it stands
//! where it does.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sys::seccomp::Surface;
use crate::{CellSpec, Limits, Policy};

/// One restriction, applied in the program's process before it is executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Leaves our session and terminal.
    NewSession,
    /// New files are private.
    Umask,
    /// Sets one resource limit, soft and hard, by its kernel name.
    Limit {
        /// Which one.
        resource: Resource,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
    },
    /// Becomes the slot's user, without groups or capabilities.
    Identity(u32),
    /// Gives up capabilities, where the user stays the same.
    Capabilities,
    /// No execution grants rights from here on; needed by the steps below.
    NoNewPrivileges,
    /// Opens what a domain of files will allow, while names resolve.
    Files {
        /// May be read and executed.
        readable: Vec<PathBuf>,
        /// Whether signals will be limited too.
        scope: bool,
    },
    /// Takes away system calls. The steps below need none of those.
    Seccomp(Surface),
    /// Makes the kernel prefer this process when memory runs out.
    OomScore,
    /// Enters the work directory.
    WorkDir(PathBuf),
    /// Processes and threads of the user. After the change of user: before it, the count would
    /// be ours, and the later execution would fail.
    Processes {
        /// How many the run may have.
        limit: u64,
        /// Who counts as well.
        counted_with: CountedWith,
    },
    /// Takes away every file that was neither opened above nor is listed, and signals to the
    /// outside. Last, as names do not resolve any more.
    Landlock {
        /// May be read and executed as well.
        readable: Vec<PathBuf>,
        /// May be changed.
        writable: Vec<PathBuf>,
    },
}

/// Whom the kernel counts together with a run's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CountedWith {
    /// The run has its user to itself.
    Nobody,
    /// The run has its user namespace to itself, but for the supervisor.
    Supervisor,
    /// Everything else that the user has.
    OthersOfItsUser {
        /// How many more there may be soon.
        soon: u64,
    },
}

/// A resource that the kernel limits for each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// Address space, used or only reserved.
    AddressSpace,
    /// Core dumps.
    Core,
    /// Processor seconds.
    Cpu,
    /// Private writable memory.
    Data,
    /// Size of a file.
    FileSize,
    /// Locked memory.
    LockedMemory,
    /// POSIX message queues.
    MessageQueues,
    /// Open descriptors.
    OpenFiles,
    /// Pending signals.
    PendingSignals,
    /// Stack of the main thread.
    Stack,
}

/// The steps that do not depend on the program, in order. They are taken before it is known.
pub(crate) fn ahead(cell: &CellSpec) -> Vec<Step> {
    let mechanisms = &cell.mechanisms;
    let mut steps = vec![Step::NewSession, Step::Umask];
    steps.extend(FIXED_LIMITS.map(|(resource, most)| Step::Limit {
        resource,
        soft: most,
        hard: most,
    }));
    steps.push(cell.slot_user().map_or(Step::Capabilities, Step::Identity));
    steps.push(Step::NoNewPrivileges);
    if mechanisms.landlock_files {
        let readable = cell.readable.clone();
        steps.push(Step::Files { readable, scope: mechanisms.landlock_scope });
    }
    if mechanisms.seccomp {
        steps.push(Step::Seccomp(surface(cell)));
    }
    steps
}

/// The further steps for `policy` in a cell, in order.
pub(crate) fn plan(policy: &Policy, cell: &CellSpec) -> Vec<Step> {
    let mechanisms = &cell.mechanisms;
    let mut steps = vec![Step::OomScore, Step::WorkDir(policy.work_dir.clone())];
    let limits = limits(&policy.limits).into_iter();
    steps.extend(limits.map(|(resource, soft, hard)| Step::Limit { resource, soft, hard }));
    let counted_with = counted_with(cell);
    steps.push(Step::Processes { limit: policy.limits.processes, counted_with });
    if mechanisms.landlock_files {
        let (readable, writable) = (policy.readable.clone(), policy.writable.clone());
        steps.push(Step::Landlock { readable, writable });
    }
    steps
}

/// Limits that are the same for every program.
const FIXED_LIMITS: [(Resource, u64); 4] = [
    (Resource::Core, 0),
    (Resource::LockedMemory, 64 * 1024),
    (Resource::MessageQueues, 0),
    (Resource::PendingSignals, 256),
];

/// What the other mechanisms leave for the filter to take away.
fn surface(cell: &CellSpec) -> Surface {
    let mechanisms = &cell.mechanisms;
    let shares_its_user = cell.slot_user().is_none() && !mechanisms.namespaces;
    Surface {
        owns_more_than_its_run: shares_its_user,
        memory_is_counted: mechanisms.cgroup,
        can_truncate: mechanisms.truncates_files_outside(),
        // A user that could be switched to, and is not, holds no run together.
        keeps_its_group: shares_its_user && !mechanisms.landlock_scope,
    }
}

/// Whom the kernel counts together with the processes of a cell.
pub(crate) fn counted_with(cell: &CellSpec) -> CountedWith {
    match (cell.slot_user(), cell.mechanisms.namespaces) {
        (Some(_), _) => CountedWith::Nobody,
        (None, true) => CountedWith::Supervisor,
        (None, false) => CountedWith::OthersOfItsUser { soon: cell.neighbours },
    }
}

/// The kernel's limits of a process, soft and hard, but for that of processes.
pub(crate) fn limits(limits: &Limits) -> Vec<(Resource, u64, u64)> {
    // The reaper's watch is exact; the kernel's limit is whole seconds and stands behind it.
    let cpu_seconds = limits.cpu_ms.div_ceil(1000) + 1;
    [
        (Resource::Cpu, cpu_seconds, cpu_seconds + 1),
        (Resource::Data, limits.data_bytes, limits.data_bytes),
        (Resource::FileSize, limits.file_bytes, limits.file_bytes),
        (Resource::OpenFiles, limits.open_files, limits.open_files),
        (Resource::Stack, limits.stack_bytes, limits.stack_bytes),
    ]
    .into_iter()
    .chain(limits.address_space_bytes.map(|most| (Resource::AddressSpace, most, most)))
    .collect()
}

#[cfg(test)]
mod properties;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Mechanisms;

    fn cell(mechanisms: Mechanisms, uid: Option<u32>) -> CellSpec {
        CellSpec {
            mechanisms,
            uid,
            files_bytes: 7,
            readable: vec!["/usr".into()],
            writable: Vec::new(),
            neighbours: 4,
        }
    }

    pub(crate) fn policy() -> Policy {
        Policy {
            program: "/bin/true".into(),
            argv: vec!["true".to_owned()],
            env: Vec::new(),
            work_dir: "/work".into(),
            readable: vec!["/usr".into()],
            writable: vec!["/work".into()],
            limits: Limits {
                wall_ms: 1000,
                cpu_ms: 1500,
                memory_bytes: 1,
                data_bytes: 2,
                address_space_bytes: Some(8),
                processes: 3,
                processors: 1,
                open_files: 4,
                file_bytes: 5,
                stack_bytes: 6,
            },
        }
    }

    fn whole(cell: &CellSpec) -> Vec<Step> {
        [ahead(cell), plan(&policy(), cell)].concat()
    }

    fn position(steps: &[Step], is: impl Fn(&Step) -> bool) -> usize {
        steps.iter().position(is).expect("the step is planned")
    }

    #[test]
    fn the_order_is_identity_privileges_calls_processes_files() {
        let all = Mechanisms {
            seccomp: true,
            landlock_files: true,
            landlock_scope: true,
            user_switch: true,
            ..Mechanisms::default()
        };
        let steps = whole(&cell(all, Some(7)));
        let order = [
            position(&steps, |it| matches!(it, Step::Identity(7))),
            position(&steps, |it| matches!(it, Step::NoNewPrivileges)),
            position(&steps, |it| matches!(it, Step::Files { scope: true, .. })),
            position(&steps, |it| matches!(it, Step::Seccomp(_))),
            position(&steps, |it| matches!(it, Step::WorkDir(_))),
            position(&steps, |it| {
                matches!(it, Step::Processes { counted_with: CountedWith::Nobody, .. })
            }),
            position(&steps, |it| matches!(it, Step::Landlock { .. })),
        ];
        assert!(order.is_sorted(), "{order:?}");
        assert!(matches!(steps.last(), Some(Step::Landlock { .. })));
    }

    #[test]
    fn what_was_not_proven_is_not_planned() {
        let steps = whole(&cell(Mechanisms::default(), Some(7)));
        assert!(!steps.iter().any(|it| matches!(it, Step::Landlock { .. } | Step::Seccomp(_))));
        assert!(!steps.iter().any(|it| matches!(it, Step::Identity(_))));
        let counted_with = CountedWith::OthersOfItsUser { soon: 4 };
        assert!(steps.contains(&Step::Processes { limit: 3, counted_with }));
        assert!(steps.contains(&Step::NoNewPrivileges));
    }

    #[test]
    fn the_filter_takes_what_nothing_else_does() {
        let filtered = Mechanisms { seccomp: true, ..Mechanisms::default() };
        let alone = surface(&cell(filtered, None));
        assert!(alone.owns_more_than_its_run && alone.keeps_its_group && !alone.memory_is_counted);
        let switched = Mechanisms { user_switch: true, ..filtered };
        let switched = surface(&cell(switched, Some(7)));
        assert!(!switched.owns_more_than_its_run && !switched.keeps_its_group);
        let apart = Mechanisms { namespaces: true, cgroup: true, ..filtered };
        let apart = surface(&cell(apart, None));
        assert!(!apart.owns_more_than_its_run && !apart.keeps_its_group && apart.memory_is_counted);
    }

    #[test]
    fn a_user_namespace_counts_the_supervisor() {
        let apart = Mechanisms { namespaces: true, ..Mechanisms::default() };
        let counted_with = CountedWith::Supervisor;
        let steps = plan(&policy(), &cell(apart, None));
        assert!(steps.contains(&Step::Processes { limit: 3, counted_with }));
    }

    #[test]
    fn processor_seconds_are_rounded_up_behind_the_watch() {
        let steps = plan(&policy(), &cell(Mechanisms::default(), None));
        assert!(steps.contains(&Step::Limit { resource: Resource::Cpu, soft: 3, hard: 4 }));
    }
}
