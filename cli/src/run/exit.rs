//! What a run's end becomes as an exit code.

use protocol::{RunReport, Status};

/// A wrong option, or a file that cannot be read.
pub(crate) const USAGE: u8 = 120;
/// Nobody answers at the fleet's address.
pub(super) const UNREACHABLE: u8 = 121;
/// The fleet did not take the run, or could not do it.
pub(super) const REFUSED: u8 = 122;
/// The program was ended at a limit.
pub(super) const LIMIT: u8 = 123;
/// The run broke off.
pub(super) const STREAM_BROKE: u8 = 124;
/// A fault of this program.
pub(crate) const INTERNAL: u8 = 125;
/// The program did not compile, or printed something else than expected.
const FAILURE: u8 = 1;

/// Signals by number, as Linux numbers them on every machine we run on (signal(7)).
const SIGNALS: [(&str, u8); 31] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// The exit code for a report.
pub(super) fn code(report: &RunReport) -> u8 {
    match report.status {
        Status::Success | Status::Accepted => 0,
        Status::CompileError | Status::WrongAnswer => FAILURE,
        Status::Timeout | Status::MemoryLimit | Status::OutputLimit => LIMIT,
        Status::Cancelled => STREAM_BROKE,
        Status::RuntimeError => {
            let own = report.exit_code.and_then(|it| u8::try_from(it).ok());
            own.or_else(|| signal_code(report.signal.as_deref()?)).unwrap_or(INTERNAL)
        }
    }
}

/// What a shell makes of a signal. Real-time signals are called `SIGRTMIN+N`, from 34 on.
fn signal_code(name: &str) -> Option<u8> {
    const FIRST_REAL_TIME: u8 = 34;
    let named = SIGNALS.iter().find(|(it, _)| *it == name).map(|(_, number)| *number);
    let number = named.or_else(|| match name.strip_prefix("SIGRTMIN")? {
        "" => Some(FIRST_REAL_TIME),
        plus => plus.strip_prefix('+')?.parse::<u8>().ok()?.checked_add(FIRST_REAL_TIME),
    });
    number?.checked_add(128)
}

#[cfg(test)]
mod tests {
    use protocol::{Level, Timings};

    use super::*;

    fn check(status: Status, exit_code: Option<i32>, signal: Option<&str>, expected: u8) {
        let report = RunReport {
            request_id: String::new(),
            status,
            output: String::new(),
            error: String::new(),
            output_base64: None,
            output_truncated: false,
            error_truncated: false,
            execution_time: 0.0,
            cpu_time: 0.0,
            memory_used: 0,
            approximate: false,
            exit_code,
            signal: signal.map(str::to_owned),
            compile: None,
            cases: Vec::new(),
            files: Vec::new(),
            timings: Timings::default(),
            warm: false,
            isolation: Level::Bare,
            language: String::new(),
            version: String::new(),
        };
        assert_eq!(code(&report), expected, "{status:?} {exit_code:?} {signal:?}");
    }

    #[test]
    fn a_program_s_own_exit_code_is_passed_through() {
        check(Status::Success, Some(0), None, 0);
        for exit_code in [1, 2, 121, 255] {
            check(Status::RuntimeError, Some(exit_code), None, u8::try_from(exit_code).unwrap());
        }
    }

    #[test]
    fn a_signal_is_told_as_a_shell_tells_it() {
        check(Status::RuntimeError, None, Some("SIGSEGV"), 139);
        check(Status::RuntimeError, None, Some("SIGSYS"), 159);
        check(Status::RuntimeError, None, Some("SIGRTMIN+1"), 163);
    }

    #[test]
    fn a_limit_is_no_exit_code_of_the_program() {
        check(Status::Timeout, None, Some("SIGKILL"), LIMIT);
        check(Status::MemoryLimit, Some(1), None, LIMIT);
        check(Status::OutputLimit, None, Some("SIGKILL"), LIMIT);
    }

    #[test]
    fn what_cannot_be_told_is_a_fault_of_ours() {
        check(Status::RuntimeError, None, None, INTERNAL);
        check(Status::RuntimeError, Some(-1), None, INTERNAL);
        check(Status::RuntimeError, None, Some("SIGRTMIN+200"), INTERNAL);
        check(Status::CompileError, None, None, 1);
        check(Status::Cancelled, None, None, STREAM_BROKE);
    }
}
