//! The system-call filter, from one table: each call with the reason why programs go without it.
//!
//! A denied call fails with `EPERM`; the few that libraries probe for fail with `ENOSYS`, so
//! that they fall back. Calls newer than the newest that was reviewed do not exist for programs.
//! Foreign system-call conventions end the process.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter, sock_filter,
};
use serde::{Deserialize, Serialize};

/// `mseal`, the newest call that was reviewed.
const NEWEST_REVIEWED: u32 = 462;

/// Numbers with this bit belong to the x32 convention of x86-64, under which other numbers reach
/// the same calls.
const X32_BIT: u32 = 0x4000_0000;

/// Denied with whatever arguments.
const DENIED: &[(i64, &str)] = &[
    (libc::SYS_socket, "no network: not even a datagram leaves, and no local service is reached"),
    (libc::SYS_ptrace, "reads and steers other processes"),
    (libc::SYS_process_vm_readv, "reads other processes' memory"),
    (libc::SYS_process_vm_writev, "writes other processes' memory"),
    (libc::SYS_process_madvise, "pages out other processes' memory"),
    (libc::SYS_process_mrelease, "takes dying processes' memory"),
    (libc::SYS_pidfd_getfd, "takes other processes' descriptors"),
    (libc::SYS_kcmp, "compares other processes' kernel objects"),
    (libc::SYS_get_robust_list, "tells addresses of other processes"),
    (libc::SYS_perf_event_open, "kernel attack surface, and a side channel"),
    (libc::SYS_bpf, "kernel attack surface"),
    (libc::SYS_userfaultfd, "a lever for kernel races"),
    (libc::SYS_io_uring_enter, "reaches most calls past this filter"),
    (libc::SYS_io_uring_register, "reaches most calls past this filter"),
    (libc::SYS_keyctl, "keys outlive a run and are shared by a user's runs"),
    (libc::SYS_add_key, "keys outlive a run and are shared by a user's runs"),
    (libc::SYS_request_key, "starts a helper of the host"),
    (libc::SYS_unshare, "a namespace of its own opens kernel code meant for root"),
    (libc::SYS_setns, "enters other namespaces"),
    (libc::SYS_mount, "changes the file tree"),
    (libc::SYS_umount2, "changes the file tree"),
    (libc::SYS_move_mount, "changes the file tree"),
    (libc::SYS_open_tree, "changes the file tree"),
    (libc::SYS_fsopen, "changes the file tree"),
    (libc::SYS_fsconfig, "changes the file tree"),
    (libc::SYS_fsmount, "changes the file tree"),
    (libc::SYS_fspick, "changes the file tree"),
    (libc::SYS_mount_setattr, "changes the file tree"),
    (libc::SYS_pivot_root, "changes the file tree"),
    (libc::SYS_chroot, "changes the file tree"),
    (libc::SYS_name_to_handle_at, "names files past their paths"),
    (libc::SYS_open_by_handle_at, "opens files past their paths"),
    (libc::SYS_init_module, "loads kernel code"),
    (libc::SYS_finit_module, "loads kernel code"),
    (libc::SYS_delete_module, "unloads kernel code"),
    (libc::SYS_kexec_load, "replaces the kernel"),
    (libc::SYS_kexec_file_load, "replaces the kernel"),
    (libc::SYS_reboot, "stops the machine"),
    (libc::SYS_swapon, "host administration"),
    (libc::SYS_swapoff, "host administration"),
    (libc::SYS_acct, "host administration"),
    (libc::SYS_quotactl, "host administration"),
    (libc::SYS_quotactl_fd, "host administration"),
    (libc::SYS_vhangup, "host administration"),
    (libc::SYS_sethostname, "host administration"),
    (libc::SYS_setdomainname, "host administration"),
    (libc::SYS_settimeofday, "sets the host's clock"),
    (libc::SYS_clock_settime, "sets the host's clock"),
    (libc::SYS_clock_adjtime, "sets the host's clock"),
    (libc::SYS_adjtimex, "sets the host's clock"),
    (libc::SYS_syslog, "reads the kernel's messages"),
    (libc::SYS_lookup_dcookie, "kernel attack surface"),
    (libc::SYS_nfsservctl, "kernel attack surface"),
    (libc::SYS_fanotify_init, "watches files of the host"),
    (libc::SYS_fanotify_mark, "watches files of the host"),
    (libc::SYS_shmget, "shared memory that outlives a run and escapes its limits"),
    (libc::SYS_shmat, "shared memory that outlives a run and escapes its limits"),
    (libc::SYS_shmctl, "shared memory that outlives a run and escapes its limits"),
    (libc::SYS_semget, "semaphores that outlive a run"),
    (libc::SYS_semop, "semaphores that outlive a run"),
    (libc::SYS_semtimedop, "semaphores that outlive a run"),
    (libc::SYS_semctl, "semaphores that outlive a run"),
    (libc::SYS_msgget, "queues that outlive a run"),
    (libc::SYS_msgsnd, "queues that outlive a run"),
    (libc::SYS_msgrcv, "queues that outlive a run"),
    (libc::SYS_msgctl, "queues that outlive a run"),
    (libc::SYS_mq_open, "queues that outlive a run"),
    (libc::SYS_mq_unlink, "queues that outlive a run"),
    (libc::SYS_memfd_secret, "memory that no limit counts"),
    (libc::SYS_migrate_pages, "moves other processes' memory"),
    (libc::SYS_move_pages, "moves other processes' memory"),
    (libc::SYS_set_mempolicy_home_node, "places memory on the host"),
    (libc::SYS_ioprio_set, "re-prioritises other processes"),
    (libc::SYS_setxattr, "Landlock does not cover it"),
    (libc::SYS_lsetxattr, "Landlock does not cover it"),
    (libc::SYS_fsetxattr, "Landlock does not cover it"),
    (libc::SYS_removexattr, "Landlock does not cover it"),
    (libc::SYS_lremovexattr, "Landlock does not cover it"),
    (libc::SYS_fremovexattr, "Landlock does not cover it"),
    (libc::SYS_fchown, "Landlock does not cover it"),
    (libc::SYS_fchownat, "Landlock does not cover it"),
    (SYS_STATMOUNT, "tells the host's mounts"),
    (SYS_LISTMOUNT, "tells the host's mounts"),
];

/// Denied too, where the architecture has them.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[(i64, &str)] = &[
    (libc::SYS_iopl, "reaches the hardware"),
    (libc::SYS_ioperm, "reaches the hardware"),
    (libc::SYS_modify_ldt, "kernel attack surface"),
    (libc::SYS_uselib, "kernel attack surface"),
    (libc::SYS__sysctl, "host administration"),
    (libc::SYS_chown, "Landlock does not cover it"),
    (libc::SYS_lchown, "Landlock does not cover it"),
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[(i64, &str)] = &[];

/// Answered as if the kernel were too old, because libraries then fall back.
const ABSENT: &[(i64, &str)] = &[
    (libc::SYS_clone3, "its flags cannot be looked at; `clone` is used instead"),
    (libc::SYS_io_uring_setup, "event loops use epoll instead"),
    (libc::SYS_inotify_init1, "tells which of the shared files other runs open"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_inotify_init, "as inotify_init1"),
];

/// Denied too where Landlock does not know truncation: it stops writing, and these are other ways.
const TRUNCATES: &[(i64, &str)] = &[
    (libc::SYS_truncate, "Landlock does not cover it yet"),
    (libc::SYS_openat2, "its flags cannot be looked at; `openat` is used instead"),
];

/// Answered with success and without effect where only the process group holds a run together.
const LEAVES_GROUP: &[i64] = &[libc::SYS_setsid, libc::SYS_setpgid];

/// Answered with success and without effect where the user owns more than its run: these calls
/// need no right but to own the file, and Landlock does not cover them, so a run could close our
/// own directories to us. A refusal would break every copying of a file; the mask of new files
/// makes them private in any case.
const WITHOUT_EFFECT: &[i64] =
    &[libc::SYS_fchmod, libc::SYS_fchmodat, SYS_FCHMODAT2, libc::SYS_utimensat];

/// Without effect too, where the architecture has them.
#[cfg(target_arch = "x86_64")]
const WITHOUT_EFFECT_HERE: &[i64] =
    &[libc::SYS_chmod, libc::SYS_utime, libc::SYS_utimes, libc::SYS_futimesat];
#[cfg(not(target_arch = "x86_64"))]
const WITHOUT_EFFECT_HERE: &[i64] = &[];

/// Calls that `libc` does not name on every architecture; their numbers are the same on all.
const SYS_FCHMODAT2: i64 = 452;
const SYS_STATMOUNT: i64 = 457;
const SYS_LISTMOUNT: i64 = 458;

/// What the filter must take away because nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surface {
    /// The program's user owns our files and those of other runs, too.
    pub owns_more_than_its_run: bool,
    /// The kernel counts memory that no process maps against the run.
    pub memory_is_counted: bool,
    /// Files outside the run can be truncated.
    pub can_truncate: bool,
    /// The run is held together by its process group alone.
    pub keeps_its_group: bool,
}

impl Surface {
    /// Everything is left to the filter.
    pub(crate) const WHOLE: Self = Self {
        owns_more_than_its_run: true,
        memory_is_counted: false,
        can_truncate: true,
        keeps_its_group: true,
    };
}

/// The filter as programs for the kernel: installed in this order, all of them decide.
pub(crate) fn programs(surface: Surface) -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let absent = unconditional(ABSENT.iter().map(|(call, _)| *call));
    let mut without_effect = Rules::new();
    if surface.owns_more_than_its_run {
        let calls = WITHOUT_EFFECT.iter().chain(WITHOUT_EFFECT_HERE);
        without_effect.extend(unconditional(calls.copied()));
    }
    if surface.keeps_its_group {
        without_effect.extend(unconditional(LEAVES_GROUP.iter().copied()));
    }
    let mut programs = vec![
        convention_guard(),
        compile(absent, libc::ENOSYS)?,
        compile(denied_rules(surface)?, libc::EPERM)?,
    ];
    if !without_effect.is_empty() {
        programs.push(compile(without_effect, 0)?);
    }
    Ok(programs)
}

/// Installs the filter on this process, for good. It must have no new privileges already.
pub(crate) fn install(surface: Surface) -> Result<(), seccompiler::Error> {
    for program in programs(surface)? {
        apply_filter(&program)?;
    }
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn unconditional(calls: impl Iterator<Item = i64>) -> Rules {
    calls.map(|call| (call, Vec::new())).collect()
}

fn compile(rules: Rules, errno: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Allow, errno, architecture)?.try_into()
}

fn denied_rules(surface: Surface) -> Result<Rules, seccompiler::BackendError> {
    let mut rules = unconditional(DENIED.iter().chain(DENIED_HERE).map(|(call, _)| *call));
    if surface.can_truncate {
        rules.extend(unconditional(TRUNCATES.iter().map(|(call, _)| *call)));
        // Opening for reading truncates, too, if asked to.
        let truncating = |index| {
            let mask = u64::from((libc::O_ACCMODE | libc::O_TRUNC).cast_unsigned());
            let flags = condition(index, &SeccompCmpOp::MaskedEq(mask), libc::O_TRUNC)?;
            Ok::<_, seccompiler::BackendError>(vec![SeccompRule::new(vec![flags])?])
        };
        rules.insert(libc::SYS_openat, truncating(2)?);
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_open, truncating(1)?);
    }

    // Pairs of connected local streams are pipes; anything else would reach something. One end
    // of a datagram pair (raw ones are datagrams too) can be sent to, or joined with, any local
    // socket that has a name.
    let not_local = SeccompRule::new(vec![condition(0, &SeccompCmpOp::Ne, libc::AF_UNIX)?])?;
    let mut pairs = vec![not_local];
    for datagram in [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_RDM] {
        let of_type = condition(1, &SeccompCmpOp::MaskedEq(SOCK_TYPE_MASK), datagram)?;
        pairs.push(SeccompRule::new(vec![of_type])?);
    }
    rules.insert(libc::SYS_socketpair, pairs);

    if !surface.memory_is_counted {
        // Shared memory without a file: pages that are unmapped again stay, and are counted
        // nowhere; nor is a file that nobody maps.
        let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        rules.insert(libc::SYS_mmap, all_bits(3, shared)?);
        rules.insert(libc::SYS_memfd_create, Vec::new());
    }

    // A new namespace by `clone` is the same as by `unshare`.
    let namespaces = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    rules.insert(libc::SYS_clone, any_bit(0, &namespaces)?);

    // Limits, priorities and processors of itself are its own business; of others, Landlock
    // does not stop it.
    for call in [libc::SYS_prlimit64, libc::SYS_sched_setaffinity, libc::SYS_sched_setparam] {
        rules.insert(call, other_than_itself(0)?);
    }
    for call in [libc::SYS_sched_setscheduler, libc::SYS_sched_setattr] {
        rules.insert(call, other_than_itself(0)?);
    }
    let mut priorities = other_than_itself(1)?;
    // Here 0 means everything of the user.
    priorities.extend(any_of(0, &[PRIO_USER])?);
    rules.insert(libc::SYS_setpriority, priorities);

    // Signals by way of a descriptor, pipes beyond their default size, which no limit counts, and
    // leases, which keep others from opening a file.
    let commands = [
        libc::F_SETOWN,
        F_SETOWN_EX,
        F_SETSIG,
        libc::F_SETPIPE_SZ,
        libc::F_NOTIFY,
        libc::F_SETLEASE,
    ];
    rules.insert(libc::SYS_fcntl, any_of(1, &commands)?);

    // Typing into a terminal on somebody's behalf, line disciplines, which load code of the kernel's,
    // the messages of the machine's console, making terminals, and signals by way of a descriptor.
    let of_terminals = [TIOCSTI, TIOCLINUX, TIOCSETD, TIOCCONS, TIOCSPTLCK, TIOCGPTPEER];
    let requests = [&of_terminals[..], &[FIOSETOWN, SIOCSPGRP]].concat();
    rules.insert(libc::SYS_ioctl, any_of(1, &requests)?);

    // Only the personalities that ordinary containers allow: Linux, with or without random
    // addresses, and asking.
    let harmless = [0, 0x0008, 0x2_0000, 0x2_0008, -1];
    let none_of_them = harmless
        .into_iter()
        .map(|value| condition(0, &SeccompCmpOp::Ne, value))
        .collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(none_of_them)?]);
    Ok(rules)
}

/// `F_SETOWN_EX` and `F_SETSIG` of `fcntl.h`, eight of `ioctls.h` and `sockios.h`, and one of
/// `resource.h`.
const F_SETOWN_EX: i32 = 15;
const F_SETSIG: i32 = 10;
const TIOCSTI: i32 = 0x5412;
const TIOCLINUX: i32 = 0x541C;
const TIOCSETD: i32 = 0x5423;
const TIOCCONS: i32 = 0x541D;
const TIOCSPTLCK: i32 = 0x4004_5431;
const TIOCGPTPEER: i32 = 0x5441;
const FIOSETOWN: i32 = 0x8901;
const SIOCSPGRP: i32 = 0x8902;
const PRIO_USER: i32 = 2;

/// The bits of a socket's type that are no flags.
const SOCK_TYPE_MASK: u64 = 0xf;

/// Argument `index`, as the 32 bits that the kernel looks at, compared with `value`.
fn condition(
    index: u8,
    operator: &SeccompCmpOp,
    value: i32,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    let value = u64::from(value.cast_unsigned());
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator.clone(), value)
}

fn other_than_itself(index: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    Ok(vec![SeccompRule::new(vec![condition(index, &SeccompCmpOp::Ne, 0)?])?])
}

fn any_of(index: u8, values: &[i32]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |value: &i32| SeccompRule::new(vec![condition(index, &SeccompCmpOp::Eq, *value)?]);
    values.iter().map(rule).collect()
}

fn any_bit(index: u8, bits: &[i32]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |bit: &i32| {
        let mask = u64::from(bit.cast_unsigned());
        SeccompRule::new(vec![condition(index, &SeccompCmpOp::MaskedEq(mask), *bit)?])
    };
    bits.iter().map(rule).collect()
}

fn all_bits(index: u8, bits: i32) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let mask = u64::from(bits.cast_unsigned());
    let rule = SeccompRule::new(vec![condition(index, &SeccompCmpOp::MaskedEq(mask), bits)?])?;
    Ok(vec![rule])
}

/// Ends a process that uses the x32 convention, and answers `ENOSYS` to calls that nobody has
/// reviewed. (That the architecture is ours is checked by the compiled filters.)
fn convention_guard() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS, at offset 0 of seccomp_data
    const JUMP_IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let line = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let kill = u32::from(SeccompAction::KillProcess);
    let absent = u32::from(SeccompAction::Errno(libc::ENOSYS.unsigned_abs()));
    vec![
        line(LOAD_NUMBER, 0, 0, 0),
        line(JUMP_IF_AT_LEAST, 0, 1, X32_BIT),
        line(RETURN, 0, 0, kill),
        line(JUMP_IF_AT_LEAST, 0, 1, NEWEST_REVIEWED + 1),
        line(RETURN, 0, 0, absent),
        line(RETURN, 0, 0, u32::from(SeccompAction::Allow)),
    ]
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_and_fits_the_kernel() {
        let check = |surface, count| {
            let programs = programs(surface).unwrap();
            assert_eq!(programs.len(), count);
            assert!(programs.iter().all(|program| program.len() < 4096));
        };
        check(Surface::WHOLE, 4);
        let least = Surface {
            owns_more_than_its_run: false,
            memory_is_counted: true,
            can_truncate: false,
            keeps_its_group: false,
        };
        check(least, 3);
        check(Surface { keeps_its_group: true, ..least }, 4);
    }

    #[test]
    fn no_call_is_listed_twice_and_each_has_its_reason() {
        let tables = [DENIED, DENIED_HERE, ABSENT, TRUNCATES].into_iter().flatten();
        let mut calls: Vec<i64> = tables.clone().map(|(call, _)| *call).collect();
        calls.extend(WITHOUT_EFFECT.iter().chain(WITHOUT_EFFECT_HERE).chain(LEAVES_GROUP));
        let listed = calls.len();
        calls.sort_unstable();
        calls.dedup();
        assert_eq!(calls.len(), listed);
        assert!(tables.into_iter().all(|(_, why)| !why.is_empty()));
    }
}
