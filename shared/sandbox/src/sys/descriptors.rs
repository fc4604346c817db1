//! Descriptors across an execution.

use std::io;

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
