//! Resource limits.

use std::io;

use rustix::process::{Pid, Resource as Kernel, Rlimit, WaitOptions, prlimit, setrlimit, waitpid};

use crate::plan::Resource;
use crate::sys::identity::become_user;
use crate::sys::process::{Fork, exit, fork};

/// Sets one limit, never above what this process may have already.
pub(crate) fn set(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    set_kernel(kernel_name(resource), soft, hard)
}

/// Lowers limits of another process, and that of the processes of its user, who is `user` if not
/// our own. Only single-threaded processes may call it.
pub(crate) fn tighten(
    process: Pid,
    user: Option<u32>,
    limits: &[(Resource, u64, u64)],
    processes: u64,
) -> io::Result<()> {
    let lower = || -> io::Result<()> {
        for (resource, soft, hard) in limits {
            lower_of(process, kernel_name(*resource), *soft, *hard)?;
        }
        lower_of(process, Kernel::Nproc, processes, processes)
    };
    let Some(user) = user else { return lower() };
    match lower() {
        // Root of a container may have no right to limit others, but anybody limits his own.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
        done => return done,
    }
    match fork()? {
        Fork::Child => {
            let done = become_user(user).and_then(|()| lower());
            exit(done.err().map_or(0, |it| it.raw_os_error().unwrap_or(libc::EPERM)));
        }
        Fork::Parent(child) => {
            let ended = waitpid(Some(child), WaitOptions::empty())?;
            match ended.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok(()),
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                None => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            }
        }
    }
}

fn lower_of(process: Pid, resource: Kernel, soft: u64, hard: u64) -> io::Result<()> {
    let hard = hard.min(granted(process, resource)?);
    let limit = Rlimit { current: Some(soft.min(hard)), maximum: Some(hard) };
    prlimit(Some(process), resource, limit)?;
    Ok(())
}

/// The most that a process may have.
fn granted(process: Pid, resource: Kernel) -> io::Result<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let resource = resource as libc::__rlimit_resource_t;
    // SAFETY: without new limits, the old ones are written to `limit`, which is of the right type.
    let done = unsafe {
        libc::prlimit64(process.as_raw_nonzero().get(), resource, std::ptr::null(), &raw mut limit)
    };
    if done == 0 { Ok(limit.rlim_max) } else { Err(io::Error::last_os_error()) }
}

fn kernel_name(resource: Resource) -> Kernel {
    match resource {
        Resource::AddressSpace => Kernel::As,
        Resource::Core => Kernel::Core,
        Resource::Cpu => Kernel::Cpu,
        Resource::Data => Kernel::Data,
        Resource::FileSize => Kernel::Fsize,
        Resource::LockedMemory => Kernel::Memlock,
        Resource::MessageQueues => Kernel::Msgqueue,
        Resource::OpenFiles => Kernel::Nofile,
        Resource::PendingSignals => Kernel::Sigpending,
        Resource::Stack => Kernel::Stack,
    }
}

/// Sets the processes and threads that the user of this process may have.
pub(crate) fn set_processes(limit: u64) -> io::Result<()> {
    set_kernel(Kernel::Nproc, limit, limit)
}

/// Lets this process and what it starts have as many descriptors as it may: those that programs
/// of the same user have in flight count against every sender's bound.
pub(crate) fn raise_open_files() -> io::Result<()> {
    let maximum = rustix::process::getrlimit(Kernel::Nofile).maximum;
    Ok(setrlimit(Kernel::Nofile, Rlimit { current: maximum, maximum })?)
}

/// How many processes and threads of this process's user the kernel counts, where `seen` are
/// seen: those of other containers count, too. At most [`COUNT_ERROR`] too few or too many; found
/// by forking under limits. Only single-threaded processes may call it.
pub(crate) fn count_processes(seen: u64) -> io::Result<u64> {
    const PROCESSES_MAX: u64 = 1 << 22;
    let fits = |limit| can_fork_within(limit);
    if fits(seen + COUNT_ERROR)? {
        return Ok(seen);
    }
    let mut low = seen + COUNT_ERROR;
    let mut high = low * 2;
    while high < PROCESSES_MAX && !fits(high)? {
        (low, high) = (high, high * 2);
    }
    while high - low > COUNT_ERROR {
        let middle = low.midpoint(high);
        if fits(middle)? { high = middle } else { low = middle }
    }
    Ok(high)
}

/// How far a count of processes may be off: they come and go while they are counted.
const COUNT_ERROR: u64 = 16;

/// Whether a process may be forked when the user may have `limit`.
fn can_fork_within(limit: u64) -> io::Result<bool> {
    let before = rustix::process::getrlimit(Kernel::Nproc);
    let tried = Rlimit { current: Some(limit), maximum: before.maximum };
    if setrlimit(Kernel::Nproc, tried).is_err() {
        // It is more than we may have ourselves.
        return Ok(true);
    }
    let forked = fork();
    setrlimit(Kernel::Nproc, before)?;
    match forked {
        Ok(Fork::Child) => exit(0),
        Ok(Fork::Parent(child)) => {
            waitpid(Some(child), WaitOptions::empty())?;
            Ok(true)
        }
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(false),
        Err(error) => Err(error),
    }
}

fn set_kernel(resource: Kernel, soft: u64, hard: u64) -> io::Result<()> {
    let granted = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let hard = hard.min(granted);
    let limit = Rlimit { current: Some(soft.min(hard)), maximum: Some(hard) };
    Ok(setrlimit(resource, limit)?)
}
