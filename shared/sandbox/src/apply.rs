//! Acts on a plan: one loop, one restriction a step, in the process that becomes the program.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{chdir, setsid, umask};
use rustix::thread::set_no_new_privs;

use crate::plan::{CountedWith, Step, plan};
use crate::sys::{descriptors, identity, landlock, limits, seccomp};
use crate::tree::Processes;
use crate::{CellSpec, Policy};

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Which one.
    pub(crate) step: String,
    /// The system's error number.
    pub(crate) errno: i32,
}

impl Failure {
    /// What `error` says of a step.
    pub(crate) fn of(step: &str, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or_default();
        let step = if errno == 0 { format!("{step}: {error}") } else { step.to_owned() };
        Self { step, errno }
    }
}

/// Confines this process and executes the program. Returns only on failure.
pub(crate) fn become_program(policy: &Policy, cell: &CellSpec, processes: &Processes) -> Failure {
    let steps = plan(policy, cell);
    if let Err(failure) = apply(&steps, processes) {
        return failure;
    }
    let mut arguments = policy.argv.iter();
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts programs")]
    let mut command = Command::new(&policy.program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env_clear().envs(policy.env.iter().map(|(name, value)| (name, value)));
    Failure::of("execute the program", &command.exec())
}

/// Applies the steps, in order, to this process.
fn apply(steps: &[Step], processes: &Processes) -> Result<(), Failure> {
    for step in steps {
        apply_one(step, processes)?;
    }
    Ok(())
}

fn apply_one(step: &Step, processes: &Processes) -> Result<(), Failure> {
    let system =
        |name: &str, result: io::Result<()>| result.map_err(|error| Failure::of(name, &error));
    match step {
        Step::NewSession => {
            let done = setsid().map(drop).map_err(io::Error::from);
            system("leave the session", done)?;
            system("mark descriptors", descriptors::close_on_exec_above_stderr())
        }
        Step::OomScore => {
            // Where `/proc` is masked, the host's choice among processes stands.
            processes.offer_to_oom_killer().unwrap_or_default();
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
        Step::Capabilities => {
            identity::drop_capabilities();
            Ok(())
        }
        Step::Processes { limit, counted_with } => {
            let others = match counted_with {
                CountedWith::Nobody => 0,
                CountedWith::Supervisor => 1,
                CountedWith::OthersOfItsUser => {
                    processes.tasks_of(identity::current_uid(), processes.own())
                }
            };
            system(
                "set the limit of processes",
                limits::set_processes(limit.saturating_add(others)),
            )
        }
        Step::NoNewPrivileges => {
            system("give up new privileges", set_no_new_privs(true).map_err(io::Error::from))
        }
        Step::Landlock { readable, writable, scope } => {
            let scoped = if *scope { landlock::Scoped::Yes } else { landlock::Scoped::No };
            match landlock::enter_files(readable, writable, scoped) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    Err(Failure::of("enter the Landlock domain", &io::Error::other("ignored")))
                }
                Err(error) => {
                    Err(Failure::of("enter the Landlock domain", &io::Error::other(error)))
                }
            }
        }
        Step::Seccomp(surface) => seccomp::install(*surface).map_err(|error| {
            Failure::of("install the system-call filter", &io::Error::other(error))
        }),
    }
}
