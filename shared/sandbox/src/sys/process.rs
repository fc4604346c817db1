//! Fork, signals to everybody, and what reaped children spent.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::identity::become_user;

/// Which of the two processes we are after a fork.
pub(crate) enum Fork {
    Child,
    Parent(Pid),
}

/// Forks this process. Only single-threaded processes may call it: spawner, reaper, probe.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the callers are processes that never start a second thread, so the child's copy of
    // every lock and of the allocator is consistent, and it may go on as ordinary code.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        child => Pid::from_raw(child)
            .filter(|_| child > 0)
            .map(Fork::Parent)
            .ok_or_else(io::Error::last_os_error),
    }
}

/// Ends this process at once, without running anything of the process that it was forked from.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Gives every signal its default effect: what a parent ignored, such as a hang-up under `nohup`,
/// stays ignored through every execution otherwise.
pub(crate) fn default_signals() {
    const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;
    for signal in SIGNALS {
        // SAFETY: the default disposition runs no code of ours; numbers that cannot be set fail.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Kills every process that this one may signal, except itself. The caller has proven that it
/// is confined to its own: by a Landlock scope, as the first process of its namespace, or by
/// having the rights of a slot's user and no more.
pub(crate) fn kill_everybody() {
    // SAFETY: `kill` has no memory preconditions.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Processor time that a process spent so far; none if it is gone.
pub(crate) fn processor_time_of(process: Pid) -> Duration {
    let mut clock = 0;
    // SAFETY: `clock` is writable and of the right type.
    if unsafe { libc::clock_getcpuclockid(process.as_raw_nonzero().get(), &raw mut clock) } != 0 {
        return Duration::ZERO;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable and of the right type; a clock of nobody is refused.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Duration::ZERO;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Processor time of all children reaped so far and of what they reaped, and the largest
/// resident set of a single one of them, in bytes.
pub(crate) fn children_usage() -> (Duration, u64) {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is writable and of the right type.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    // SAFETY: a zeroed `rusage` is a valid one, and the call only overwrites it.
    let usage = unsafe { usage.assume_init() };
    let time = |it: libc::timeval| {
        Duration::from_secs(u64::try_from(it.tv_sec).unwrap_or_default())
            + Duration::from_micros(u64::try_from(it.tv_usec).unwrap_or_default())
    };
    let largest = u64::try_from(usage.ru_maxrss).unwrap_or_default() * 1024;
    (time(usage.ru_utime) + time(usage.ru_stime), largest)
}

/// What `question` tells a process of the user `uid`, who may look at their own processes where we
/// may not; 0 stands for nothing. None if nobody could be asked. The error is a process that does not
/// answer within `patience`: others of that user may have stopped it. Whoever reaps this process's
/// children reaps it, too. Only single-threaded processes may call this.
pub(crate) fn ask_as_user(
    uid: u32,
    patience: Duration,
    question: impl FnOnce() -> Option<u64>,
) -> Result<Option<u64>, Pid> {
    let Ok((answer, told)) = pipe_with(PipeFlags::CLOEXEC) else { return Ok(None) };
    let asked = match fork() {
        Ok(Fork::Parent(asked)) => asked,
        Ok(Fork::Child) => {
            let may = become_user(uid).is_ok();
            let number = if may { question() } else { None }.unwrap_or_default();
            let done = rustix::io::write(&told, &number.to_le_bytes());
            exit(i32::from(done.is_err()));
        }
        Err(_) => return Ok(None),
    };
    drop(told);
    let Ok(patience) = Timespec::try_from(patience) else { return Err(asked) };
    let answered = poll(&mut [PollFd::new(&answer, PollFlags::IN)], Some(&patience));
    if !answered.is_ok_and(|it| it > 0) {
        return Err(asked);
    }
    let mut number = [0; 8];
    let count = rustix::io::read(&answer, &mut number).unwrap_or_default();
    Ok((count == number.len()).then(|| u64::from_le_bytes(number)))
}

/// Bytes of a page of memory.
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: `sysconf` has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// Clock ticks in a second, the unit of processor times below `/proc`.
pub(crate) fn ticks_per_second() -> u64 {
    // SAFETY: `sysconf` has no preconditions.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100).max(1)
}
