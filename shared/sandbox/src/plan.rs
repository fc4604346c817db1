//! Pure: turns a policy into the ordered steps that confine a program. The order matters; each
//! step says why it stands where it does.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Policy;
use crate::sys::seccomp::Owns;

/// One restriction, applied in the program's process before it is executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Leaves our session and terminal.
    NewSession,
    /// Makes the kernel prefer this process when memory runs out. Needs `/proc`, so it comes
    /// before files are taken away.
    OomScore,
    /// New files are private.
    Umask,
    /// Enters the work directory, while names still resolve with our rights.
    WorkDir(PathBuf),
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
    /// Processes and threads of the user. After the change of user: before it, the count would
    /// be ours, and the later execution would fail.
    Processes {
        /// How many the run may have.
        limit: u64,
        /// Whether the user has other processes, which count too.
        shared_user: bool,
    },
    /// No execution grants rights from here on; needed by the two steps below.
    NoNewPrivileges,
    /// Takes away every file that is not listed, and signals to the outside.
    Landlock {
        /// May be read and executed.
        readable: Vec<PathBuf>,
        /// May be changed.
        writable: Vec<PathBuf>,
        /// Whether signals are limited too.
        scope: bool,
    },
    /// Takes away system calls. Last, because it forbids most of the steps above.
    Seccomp(Owns),
}

/// A resource that the kernel limits for each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
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

/// The steps for `policy`, in order.
pub(crate) fn plan(policy: &Policy) -> Vec<Step> {
    let mut steps =
        vec![Step::NewSession, Step::OomScore, Step::Umask, Step::WorkDir(policy.work_dir.clone())];
    steps.extend(limits(policy));
    if let Some(uid) = policy.uid.filter(|_| policy.mechanisms.user_switch) {
        steps.push(Step::Identity(uid));
    }
    let shared_user = policy.uid.is_none() || !policy.mechanisms.user_switch;
    steps.push(Step::Processes { limit: policy.limits.processes, shared_user });
    steps.push(Step::NoNewPrivileges);
    if policy.mechanisms.landlock_files {
        steps.push(Step::Landlock {
            readable: policy.readable.clone(),
            writable: policy.writable.clone(),
            scope: policy.mechanisms.landlock_scope,
        });
    }
    if policy.mechanisms.seccomp {
        steps.push(Step::Seccomp(if shared_user { Owns::More } else { Owns::ItsRun }));
    }
    steps
}

fn limits(policy: &Policy) -> impl Iterator<Item = Step> {
    let limits = policy.limits;
    // The reaper's watch is exact; the kernel's limit is whole seconds and stands behind it.
    let cpu_seconds = limits.cpu_ms.div_ceil(1000) + 1;
    [
        (Resource::Core, 0, 0),
        (Resource::Cpu, cpu_seconds, cpu_seconds + 1),
        (Resource::Data, limits.data_bytes, limits.data_bytes),
        (Resource::FileSize, limits.file_bytes, limits.file_bytes),
        (Resource::LockedMemory, 64 * 1024, 64 * 1024),
        (Resource::MessageQueues, 0, 0),
        (Resource::OpenFiles, limits.open_files, limits.open_files),
        (Resource::PendingSignals, 256, 256),
        (Resource::Stack, limits.stack_bytes, limits.stack_bytes),
    ]
    .into_iter()
    .map(|(resource, soft, hard)| Step::Limit { resource, soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Mechanisms};

    fn policy(mechanisms: Mechanisms, uid: Option<u32>) -> Policy {
        Policy {
            program: "/bin/true".into(),
            argv: vec!["true".to_owned()],
            env: Vec::new(),
            work_dir: "/work".into(),
            readable: vec!["/usr".into()],
            writable: vec!["/work".into()],
            uid,
            limits: Limits {
                wall_ms: 1000,
                cpu_ms: 1500,
                memory_bytes: 1,
                data_bytes: 2,
                processes: 3,
                open_files: 4,
                file_bytes: 5,
                stack_bytes: 6,
            },
            mechanisms,
        }
    }

    fn position(steps: &[Step], is: impl Fn(&Step) -> bool) -> usize {
        steps.iter().position(is).expect("the step is planned")
    }

    #[test]
    fn the_order_is_limits_identity_processes_privileges_files_calls() {
        let all = Mechanisms {
            seccomp: true,
            landlock_files: true,
            landlock_scope: true,
            user_switch: true,
            data_limit: true,
        };
        let steps = plan(&policy(all, Some(7)));
        let order = [
            position(&steps, |it| matches!(it, Step::WorkDir(_))),
            position(&steps, |it| matches!(it, Step::Limit { .. })),
            position(&steps, |it| matches!(it, Step::Identity(7))),
            position(&steps, |it| matches!(it, Step::Processes { shared_user: false, .. })),
            position(&steps, |it| matches!(it, Step::NoNewPrivileges)),
            position(&steps, |it| matches!(it, Step::Landlock { scope: true, .. })),
            position(&steps, |it| matches!(it, Step::Seccomp(_))),
        ];
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(steps.last(), Some(&Step::Seccomp(Owns::ItsRun)));
    }

    #[test]
    fn what_was_not_proven_is_not_planned() {
        let steps = plan(&policy(Mechanisms::default(), Some(7)));
        assert!(!steps.iter().any(|it| matches!(it, Step::Landlock { .. } | Step::Seccomp(_))));
        assert!(!steps.iter().any(|it| matches!(it, Step::Identity(_))));
        assert!(steps.contains(&Step::Processes { limit: 3, shared_user: true }));
        assert!(steps.contains(&Step::NoNewPrivileges));
    }

    #[test]
    fn a_shared_user_changes_no_file_s_rights() {
        let filtered = Mechanisms { seccomp: true, ..Mechanisms::default() };
        assert!(plan(&policy(filtered, None)).contains(&Step::Seccomp(Owns::More)));
        let switched = Mechanisms { user_switch: true, ..filtered };
        assert!(plan(&policy(switched, Some(7))).contains(&Step::Seccomp(Owns::ItsRun)));
    }

    #[test]
    fn processor_seconds_are_rounded_up_behind_the_watch() {
        let steps = plan(&policy(Mechanisms::default(), None));
        assert!(steps.contains(&Step::Limit { resource: Resource::Cpu, soft: 3, hard: 4 }));
    }
}
