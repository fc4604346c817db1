//! Resource limits.

use std::io;

use rustix::process::{Resource as Kernel, Rlimit, WaitOptions, setrlimit, waitpid};

use crate::plan::Resource;
use crate::sys::process::{Fork, exit, fork};

/// Sets one limit, never above what this process may have already.
pub(crate) fn set(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let kernel = match resource {
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
    };
    set_kernel(kernel, soft, hard)
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
