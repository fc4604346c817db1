//! Forbidden things, tried: what the probes do to see a mechanism work.

use std::io;
use std::ptr;

/// Calls `getpid` under the x32 convention. Returns if nobody ends the process.
#[cfg(target_arch = "x86_64")]
pub(crate) fn call_under_x32() {
    // SAFETY: `getpid` has no preconditions, under any convention.
    unsafe { libc::syscall(0x4000_0000 | libc::SYS_getpid) };
}

/// Opens an internet socket.
pub(crate) fn open_socket() -> io::Result<()> {
    // SAFETY: `socket` has no memory preconditions; the process ends soon after.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
    if socket < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Maps `bytes` of private memory.
pub(crate) fn map_memory(bytes: usize) -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Truncates a file by its name.
pub(crate) fn truncate(name: &[u8]) -> io::Result<()> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: the name ends with a NUL and lives.
    let done = unsafe { libc::truncate(name.as_ptr(), 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Maps `bytes` of private memory and writes to each page.
pub(crate) fn touch_memory(bytes: usize) -> io::Result<()> {
    let mut memory: Vec<u8> = Vec::new();
    memory.try_reserve_exact(bytes).map_err(io::Error::other)?;
    memory.resize(bytes, 1);
    std::hint::black_box(&memory);
    Ok(())
}
