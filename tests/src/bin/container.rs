//! Starts a command with no more rights than an ordinary container gives: root with the few
//! capabilities of the engines' default, or an unprivileged user without any, and a system-call
//! filter like that of the usual engines. Only tests use it.
//!
//! `container [--box] --user ID [--open] [--deny-landlock] [--deny-seccomp] -- COMMAND...`
//!
//! An open one has no filter: all that is denied to its user is denied by the kernel itself.
//! In a box, it also has processes, host name, System V objects and `/dev/shm` of its own, and
//! whatever it started ends with it.
#![expect(clippy::disallowed_methods, reason = "it exists to start a command")]
#![expect(clippy::print_stderr, reason = "it says why it could not")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Gid, Signal, Uid, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, UnshareFlags, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// What root in a container may do by default.
const OF_ROOT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Calls that the engines deny to containers without capabilities. They allow `ptrace`,
/// `process_vm_readv`, `memfd_create`, the calls of Landlock and more filters.
const DENIED: &[i64] = &[
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_open_by_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
];

const LANDLOCK: &[i64] = &[
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
];

const NAMESPACES: &[i32] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// First word of the first process in a box.
const INIT: &str = "--init";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let first = arguments.next_if(|it| it == "--box" || it == INIT);
    let outcome = match first {
        Some(first) if first == INIT => live_in_box(arguments),
        Some(_) => make_box(arguments),
        None => start(arguments).map(|never| match never {}),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("container: {error:#}");
        ExitCode::FAILURE
    })
}

/// Starts the first process of a box, and ends as that does.
fn make_box(arguments: impl Iterator<Item = OsString>) -> anyhow::Result<ExitCode> {
    let apart = UnshareFlags::NEWPID
        .union(UnshareFlags::NEWNS)
        .union(UnshareFlags::NEWIPC)
        .union(UnshareFlags::NEWUTS);
    // What can be unsound about it, descriptors that are no longer shared, is not asked for.
    #[expect(deprecated, reason = "the safe wrapper does for namespaces")]
    rustix::thread::unshare(apart).context("cannot make a box")?;
    run([OsString::from(INIT)].into_iter().chain(arguments))
}

/// What the first process of a box does: the kernel ends all others when it ends.
fn live_in_box(arguments: impl Iterator<Item = OsString>) -> anyhow::Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private)?;
    mount("proc", "/proc", "proc", MountFlags::empty(), None)?;
    mount("box", "/dev/shm", "tmpfs", MountFlags::empty(), Some(c"mode=1777"))?;
    run(arguments)
}

/// Runs this program again, and says how it ended.
fn run(arguments: impl Iterator<Item = OsString>) -> anyhow::Result<ExitCode> {
    let status = Command::new(std::env::current_exe()?).args(arguments).status()?;
    let code = status.code().and_then(|it| u8::try_from(it).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn start(
    mut arguments: impl Iterator<Item = OsString>,
) -> anyhow::Result<std::convert::Infallible> {
    let mut user = None;
    let mut is_open = false;
    let mut absent = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--user") => {
                let id = arguments.next().and_then(|it| it.to_str()?.parse().ok());
                user = Some(id.context("--user needs a number")?);
            }
            Some("--open") => is_open = true,
            Some("--deny-landlock") => absent.extend(LANDLOCK),
            Some("--deny-seccomp") => absent.push(libc::SYS_seccomp),
            Some("--") => break,
            _ => anyhow::bail!("`{}` is no option", argument.to_string_lossy()),
        }
    }
    let program = arguments.next().context("there is no command")?;
    hide_control_groups();
    become_user(user.context("--user is missing")?).context("cannot become the user")?;
    set_no_new_privs(true)?;
    if !is_open {
        filter(&absent).context("cannot install the filter")?;
    }
    Err(Command::new(&program).args(arguments).exec())
        .with_context(|| format!("cannot execute {}", program.to_string_lossy()))
}

/// Engines give containers no control group that they could change. Whoever is not root of the
/// machine has none in any case.
fn hide_control_groups() {
    // What can be unsound about it, descriptors that are no longer shared, is not asked for.
    #[expect(deprecated, reason = "the safe wrapper does for mounts")]
    let apart = rustix::thread::unshare(UnshareFlags::NEWNS);
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    if apart.is_ok() && mount_change("/", downstream).is_ok() {
        let flags = MountFlags::RDONLY;
        mount("none", "/sys/fs/cgroup", "tmpfs", flags, None).unwrap_or_default();
    }
}

fn become_user(id: u32) -> anyhow::Result<()> {
    let kept = if id == 0 { OF_ROOT } else { CapabilitySet::empty() };
    for number in 0..64_u32 {
        let Some(capability) = CapabilitySet::from_bits(1 << number) else { continue };
        if kept.contains(capability) {
            continue;
        }
        // Numbers beyond the kernel's last one are refused.
        remove_capability_from_bounding_set(capability).unwrap_or_default();
    }
    clear_ambient_capability_set()?;
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    Ok(())
}

fn filter(absent: &[i64]) -> anyhow::Result<()> {
    let mut denied: Rules = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let namespaces = NAMESPACES.iter().map(|bit| {
        let bit = u64::from(bit.cast_unsigned());
        equal(0, &SeccompCmpOp::MaskedEq(bit), bit)
    });
    denied.insert(libc::SYS_clone, namespaces.collect::<anyhow::Result<_>>()?);
    let families = [libc::AF_VSOCK, libc::AF_ALG]
        .map(|family| equal(0, &SeccompCmpOp::Eq, u64::from(family.cast_unsigned())));
    denied.insert(libc::SYS_socket, families.into_iter().collect::<anyhow::Result<_>>()?);
    let absent = absent.iter().chain(&[libc::SYS_clone3]);
    let absent: Rules = absent.map(|call| (*call, Vec::new())).collect();
    // What is absent comes last: it may be the call that installs filters.
    for (rules, errno) in [(denied, libc::EPERM), (absent, libc::ENOSYS)] {
        let refuse = SeccompAction::Errno(errno.unsigned_abs());
        let architecture = std::env::consts::ARCH.try_into()?;
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?;
        let program: BpfProgram = filter.try_into()?;
        apply_filter(&program)?;
    }
    Ok(())
}

fn equal(argument: u8, operator: &SeccompCmpOp, value: u64) -> anyhow::Result<SeccompRule> {
    let condition =
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator.clone(), value)?;
    Ok(SeccompRule::new(vec![condition])?)
}
