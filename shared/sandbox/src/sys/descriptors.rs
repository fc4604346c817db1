//! Descriptors across a fork and an execution.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use rustix::io::{FdFlags, dup2, fcntl_getfd, fcntl_setfd};

/// The descriptor by which a process hears of its program, or a zygote of the server.
pub(crate) const HAND_OVER: RawFd = 3;

/// Makes `descriptor` the one by which the next program of this process hears of what it is to do.
/// Nothing else may be open by that number any more.
pub(crate) fn keep_as_hand_over(descriptor: OwnedFd) -> io::Result<()> {
    if descriptor.as_raw_fd() == HAND_OVER {
        fcntl_setfd(&descriptor, FdFlags::empty())?;
        std::mem::forget(descriptor);
        return Ok(());
    }
    // SAFETY: the caller sees to it that nobody owns the number; from now on nobody but the next
    // program does, as it is given away at once.
    let mut kept = unsafe { OwnedFd::from_raw_fd(HAND_OVER) };
    let done = dup2(&descriptor, &mut kept);
    std::mem::forget(kept);
    Ok(done?)
}

/// Takes over what this process was given as that descriptor.
pub(crate) fn take_hand_over() -> io::Result<OwnedFd> {
    // SAFETY: whoever started this process opened it for this; what is not open is given up
    // before anybody uses it.
    let taken = unsafe { OwnedFd::from_raw_fd(HAND_OVER) };
    if let Err(error) = fcntl_getfd(taken.as_fd()) {
        std::mem::forget(taken);
        return Err(error.into());
    }
    fcntl_setfd(&taken, FdFlags::CLOEXEC)?;
    Ok(taken)
}

/// Closes every descriptor from 3 on except those in `kept`. For a process that was just forked,
/// whose other owners of descriptors are never used or dropped again.
pub(crate) fn close_all_but(kept: &mut [RawFd]) {
    kept.sort_unstable();
    let mut from = 3;
    for descriptor in kept {
        close_range(from, *descriptor - 1);
        from = *descriptor + 1;
    }
    close_range(from, RawFd::MAX);
}

/// Closes what is open from `first` to `last`, if any.
fn close_range(first: RawFd, last: RawFd) {
    /// Where each must be closed for itself: those that we ever have.
    const OPEN_MAX: RawFd = 1024;
    if first > last {
        return;
    }
    // SAFETY: the caller sees to it that nobody uses them any more.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if done != 0 {
        for descriptor in first..=last.min(OPEN_MAX) {
            // SAFETY: as above; those that are not open are refused.
            unsafe { libc::close(descriptor) };
        }
    }
}

/// Marks every descriptor from 3 on as closed by the next execution.
pub(crate) fn close_on_exec_above_stderr() -> io::Result<()> {
    // SAFETY: changes flags of descriptors only; nobody relies on them surviving an execution.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // Kernels before 5.11 have no such call; every descriptor of ours is marked where it is made,
    // so this is the second of two guards.
    if error.raw_os_error() == Some(libc::ENOSYS) || error.raw_os_error() == Some(libc::EINVAL) {
        return Ok(());
    }
    Err(error)
}
