//! Namespaces: a process's own view of users, processes, mounts, network, names and objects.

use std::fs;
use std::io;
use std::path::Path;

use rustix::path::Arg as _;
use rustix::process::{DumpableBehavior, Pid, getegid, geteuid, set_dumpable_behavior};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::process::Fork;

/// What every run has of its own. It has no network either, but shares that emptiness with the
/// spawner: making one costs as much as all the rest.
const OF_A_RUN: i32 =
    libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Whether this process needs a user namespace to make the others.
pub(crate) fn needs_user_namespace() -> bool {
    !geteuid().is_root()
}

/// Forks this process into namespaces of its own, of which the child is the first process. Only
/// single-threaded processes may call it.
pub(crate) fn fork_apart() -> io::Result<Fork> {
    let user = if needs_user_namespace() { libc::CLONE_NEWUSER } else { 0 };
    let flags = libc::c_long::from(OF_A_RUN | user | libc::SIGCHLD);
    // SAFETY: without a stack and with no thread flags this is `fork` into namespaces. The caller
    // has one thread, so the child's copy of every lock and of the allocator is consistent. What
    // the C library caches of the process (its thread id) is used by nothing that the child calls
    // before it ends or executes.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match i32::try_from(child) {
        Ok(0) => Ok(Fork::Child),
        Ok(pid) if pid > 0 => {
            Pid::from_raw(pid).map(Fork::Parent).ok_or_else(io::Error::last_os_error)
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Leaves the mounts, the network, the names and the objects of the host behind, for copies or
/// empty ones. The process must have one thread.
pub(crate) fn leave_host() -> io::Result<()> {
    let mut flags =
        UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    let user = needs_user_namespace();
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if user {
        flags |= UnshareFlags::NEWUSER;
    }
    // SAFETY: descriptors stay shared with nobody new, and the process has one thread.
    unsafe { unshare_unsafe(flags) }?;
    if user { keep_user(uid, gid) } else { Ok(()) }
}

/// Leaves the names of the host's control groups behind.
pub(crate) fn hide_cgroups() -> io::Result<()> {
    // SAFETY: as in `leave_host`.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP) }?)
}

/// Keeps user and group across the change into a new user namespace, where nobody exists before
/// this is called. `/proc` must be that of the host still.
pub(crate) fn keep_user(uid: u32, gid: u32) -> io::Result<()> {
    // The maps of a process that hides belong to root.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Attributes of a mount.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attribute {
    /// Nothing can be changed.
    ReadOnly,
    /// No set-user-id bit counts.
    NoSetUser,
}

/// `struct mount_attr` of `mount.h`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Adds attributes to the mount at `path` and to those below.
pub(crate) fn restrict_mount(path: &Path, attributes: &[Attribute]) -> io::Result<()> {
    let bit = |attribute: &Attribute| match attribute {
        Attribute::ReadOnly => libc::MOUNT_ATTR_RDONLY,
        Attribute::NoSetUser => libc::MOUNT_ATTR_NOSUID,
    };
    let set = attributes.iter().fold(0, |set, it| set | bit(it));
    let change = MountAttributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    let done = path.into_with_c_str(|path| {
        // SAFETY: the path ends with a NUL, and the structure lives and has the size told.
        let done = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                libc::AT_FDCWD,
                path.as_ptr(),
                libc::AT_RECURSIVE,
                &raw const change,
                size_of::<MountAttributes>(),
            )
        };
        Ok(done)
    })?;
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
