//! What a process does to itself, below the interpreter.

use std::io;

/// Which of the two processes we are after a fork.
#[derive(Debug)]
pub(crate) enum Fork {
    Child,
    Parent(i32),
}

/// Forks this process, which has one thread.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: there is one thread, as `zygote.py` has made sure, so the child's copy of every lock
    // is consistent.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        child if child > 0 => Ok(Fork::Parent(child)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Writes what the streams of C hold.
pub(crate) fn flush_streams() {
    // SAFETY: null stands for all of them.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Ends this process without giving back what the kernel takes anyway.
pub(crate) fn exit_at_once(code: i32) -> ! {
    flush_streams();
    // SAFETY: no preconditions.
    unsafe { libc::_exit(code) }
}

/// Ends this process as the return of C's `main` does.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: the interpreter is finalised, and no other thread of ours exists.
    unsafe { libc::exit(code) }
}

/// Ends this process as an interrupt from a keyboard does.
pub(crate) fn interrupt() {
    // SAFETY: the default effect runs no code of ours.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    // SAFETY: no preconditions.
    unsafe { libc::raise(libc::SIGINT) };
}
