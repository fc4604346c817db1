//! Resource limits.

use std::io;

use rustix::process::{Resource as Kernel, Rlimit, setrlimit};

use crate::plan::Resource;

/// Sets one limit, never above what this process may have already.
pub(crate) fn set(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let kernel = match resource {
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

fn set_kernel(resource: Kernel, soft: u64, hard: u64) -> io::Result<()> {
    let granted = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let hard = hard.min(granted);
    let limit = Rlimit { current: Some(soft.min(hard)), maximum: Some(hard) };
    Ok(setrlimit(resource, limit)?)
}
