//! Pure: how a run ended, from what the kernel said.

use protocol::Status;
use sandbox::{EndReason, Ended, Exit};

/// How much of the end of standard error is looked at for a runtime's last words. Some dump the
/// stack of every thread after them.
pub(crate) const LAST_WORDS_BYTES: usize = 64 * 1024;

/// The status of a run. `last_words` is the end of its standard error, and `exhausted` the texts
/// by which its runtime says that memory ran out; they count only for a run that failed, and
/// never make a failure of ours or a pass out of it.
pub(crate) fn status(ended: &Ended, last_words: &[u8], exhausted: &[String]) -> Status {
    match ended.reason {
        EndReason::WallTime | EndReason::CpuTime => Status::Timeout,
        EndReason::Memory => Status::MemoryLimit,
        EndReason::Output => Status::OutputLimit,
        EndReason::Cancelled => Status::Cancelled,
        EndReason::Exited => match ended.exit {
            Exit::Code(0) => Status::Success,
            Exit::Code(_) | Exit::Signal(_) if says_any(last_words, exhausted) => {
                Status::MemoryLimit
            }
            Exit::Code(_) | Exit::Signal(_) => Status::RuntimeError,
        },
    }
}

/// The status of a run that should print `expected`.
pub(crate) fn compare(status: Status, output: &str, expected: &str) -> Status {
    if status != Status::Success {
        return status;
    }
    if lines(output).eq(lines(expected)) { Status::Accepted } else { Status::WrongAnswer }
}

/// The exit code, and the name of the signal.
pub(crate) fn exit_fields(exit: Exit) -> (Option<i32>, Option<String>) {
    match exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal(signal) => (None, Some(signal_name(signal))),
    }
}

/// Lines without trailing white space, and without empty lines at the end.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.trim_end().lines().map(str::trim_end)
}

fn says_any(words: &[u8], texts: &[String]) -> bool {
    let start = words.len().saturating_sub(LAST_WORDS_BYTES);
    let words = String::from_utf8_lossy(words.get(start..).unwrap_or_default());
    texts.iter().any(|text| words.contains(text.as_str()))
}

/// The usual names of signal(7); those on x86-64 and aarch64 are the same.
fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    let index = usize::try_from(signal - 1).ok();
    match index.and_then(|index| NAMES.get(index)) {
        Some(name) => (*name).to_owned(),
        None if signal >= 34 => format!("SIGRTMIN+{}", signal - 34),
        None => format!("SIG{signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(exit: Exit, reason: EndReason, words: &str, expected: Status) {
        let (wall_us, cpu_us, memory_bytes) = (0, 0, 0);
        let ended = Ended { exit, reason, wall_us, cpu_us, memory_bytes, exact: true, clean: true };
        let exhausted = ["MemoryError".to_owned()];
        assert_eq!(status(&ended, words.as_bytes(), &exhausted), expected);
    }

    #[test]
    fn the_status_follows_the_reason_and_then_the_exit() {
        check(Exit::Code(0), EndReason::Exited, "", Status::Success);
        check(Exit::Code(3), EndReason::Exited, "", Status::RuntimeError);
        check(Exit::Signal(9), EndReason::Exited, "", Status::RuntimeError);
        check(Exit::Signal(9), EndReason::WallTime, "", Status::Timeout);
        check(Exit::Signal(24), EndReason::CpuTime, "", Status::Timeout);
        check(Exit::Signal(9), EndReason::Memory, "", Status::MemoryLimit);
        check(Exit::Signal(9), EndReason::Output, "", Status::OutputLimit);
        check(Exit::Code(0), EndReason::Cancelled, "", Status::Cancelled);
    }

    #[test]
    fn last_words_about_memory_count_only_after_a_failure() {
        check(Exit::Code(1), EndReason::Exited, "MemoryError\n", Status::MemoryLimit);
        check(Exit::Code(0), EndReason::Exited, "MemoryError\n", Status::Success);
        let long_ago = format!("MemoryError\n{}", "x".repeat(LAST_WORDS_BYTES));
        check(Exit::Code(1), EndReason::Exited, &long_ago, Status::RuntimeError);
    }

    #[test]
    fn trailing_white_space_is_no_difference() {
        let check = |output: &str, expected| compare(Status::Success, output, expected);
        assert_eq!(check("1 \n2\n\n", "1\n2"), Status::Accepted);
        assert_eq!(check("1\n\n2", "1\n2"), Status::WrongAnswer);
        assert_eq!(check(" 1", "1"), Status::WrongAnswer);
        assert_eq!(compare(Status::Timeout, "1", "1"), Status::Timeout);
    }

    #[test]
    fn signals_have_their_names() {
        let name = |signal| exit_fields(Exit::Signal(signal)).1.unwrap();
        assert_eq!(
            [name(1), name(11), name(31), name(34), name(40)],
            ["SIGHUP", "SIGSEGV", "SIGSYS", "SIGRTMIN+0", "SIGRTMIN+6"]
        );
    }
}
