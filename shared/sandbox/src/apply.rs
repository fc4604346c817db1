//! Acts on a plan: one loop, one restriction a step, in the process that becomes the program.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{chdir, getpid, setsid, umask};
use rustix::thread::set_no_new_privs;

use crate::Policy;
use crate::plan::{Step, plan};
use crate::sys::{descriptors, identity, landlock, limits, seccomp};

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Which one.
    pub(crate) step: String,
    /// The system's error number.
    pub(crate) errno: i32,
}

/// Confines this process and executes the program. Returns only on failure.
pub(crate) fn become_program(policy: &Policy) -> Failure {
    let steps = plan(policy);
    if let Err(failure) = apply(&steps) {
        return failure;
    }
    let mut arguments = policy.argv.iter();
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts programs")]
    let mut command = Command::new(&policy.program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env_clear().envs(policy.env.iter().map(|(name, value)| (name, value)));
    fail("execute the program", &command.exec())
}

/// Applies the steps, in order, to this process.
pub(crate) fn apply(steps: &[Step]) -> Result<(), Failure> {
    for step in steps {
        apply_one(step)?;
    }
    Ok(())
}

fn apply_one(step: &Step) -> Result<(), Failure> {
    let system = |name: &str, result: io::Result<()>| result.map_err(|error| fail(name, &error));
    match step {
        Step::NewSession => {
            let done = setsid().map(drop).map_err(io::Error::from);
            system("leave the session", done)?;
            system("mark descriptors", descriptors::close_on_exec_above_stderr())
        }
        Step::OomScore => {
            // Where `/proc` is missing or masked, the host's choice among processes stands.
            drop(fs::write("/proc/self/oom_score_adj", "1000"));
            Ok(())
        }
        Step::Umask => {
            umask(Mode::from_bits_retain(0o077));
            Ok(())
        }
        Step::WorkDir(path) => {
            system("enter the work directory", chdir(path).map_err(io::Error::from))
        }
        Step::Limit { resource, soft, hard } => {
            system(&format!("set the limit {resource:?}"), limits::set(*resource, *soft, *hard))
        }
        Step::Identity(uid) => system("become the slot's user", identity::become_user(*uid)),
        Step::Processes { limit, shared_user } => {
            let others = if *shared_user { tasks_of_this_user() } else { 0 };
            system("set the limit of processes", limits::set_processes(limit + others))
        }
        Step::NoNewPrivileges => {
            system("give up new privileges", set_no_new_privs(true).map_err(io::Error::from))
        }
        Step::Landlock { readable, writable, scope } => {
            match landlock::enter_files(readable, writable, *scope) {
                Ok(true) => Ok(()),
                Ok(false) => Err(fail("enter the Landlock domain", &io::Error::other("ignored"))),
                Err(error) => Err(fail("enter the Landlock domain", &io::Error::other(error))),
            }
        }
        Step::Seccomp(owns) => seccomp::install(*owns)
            .map_err(|error| fail("install the system-call filter", &io::Error::other(error))),
    }
}

fn fail(step: &str, error: &io::Error) -> Failure {
    let errno = error.raw_os_error().unwrap_or_default();
    let step = if errno == 0 { format!("{step}: {error}") } else { step.to_owned() };
    Failure { step, errno }
}

/// Processes and threads that this user has already: they count against the same limit. Those of
/// other containers are not seen and do count; the limit then bites early, never late.
fn tasks_of_this_user() -> u64 {
    let uid = identity::current_uid();
    let own = getpid();
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|it| it.parse::<u32>().is_ok()))
        .filter(|entry| entry.file_name() != own.to_string().as_str())
        .filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok())
        .filter(|status| status_field(status, "Uid:") == Some(u64::from(uid)))
        .filter_map(|status| status_field(&status, "Threads:"))
        .sum()
}

fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
