//! Acts on a plan: one loop, one restriction a step, in the process that becomes the program.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{chdir, setsid, umask};
use rustix::thread::set_no_new_privs;

use crate::Policy;
use crate::plan::{CountedWith, Step};
use crate::sys::landlock::{Domain, Scoped};
use crate::sys::{descriptors, identity, limits, seccomp};
use crate::tree::Processes;

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

/// Confines the process that it lives in, step by step.
#[derive(Debug)]
pub(crate) struct Confinement<'a> {
    processes: &'a Processes,
    /// Opened while this process may; where `/proc` is missing, the host's choice stands.
    oom_score: Option<OwnedFd>,
    domain: Option<Domain>,
}

impl<'a> Confinement<'a> {
    /// Of a process that nothing was done to yet.
    pub(crate) fn new(processes: &'a Processes) -> Self {
        Self { processes, oom_score: processes.open_oom_score().ok(), domain: None }
    }

    /// Applies steps, in order.
    pub(crate) fn apply(&mut self, steps: &[Step]) -> Result<(), Failure> {
        steps.iter().try_for_each(|step| self.apply_one(step))
    }

    fn apply_one(&mut self, step: &Step) -> Result<(), Failure> {
        let system =
            |name: &str, result: io::Result<()>| result.map_err(|error| Failure::of(name, &error));
        match step {
            Step::NewSession => {
                let done = setsid().map(drop).map_err(io::Error::from);
                system("leave the session", done)?;
                system("mark descriptors", descriptors::close_on_exec_above_stderr())
            }
            Step::Umask => {
                umask(Mode::from_bits_retain(0o077));
                Ok(())
            }
            Step::Limit { resource, soft, hard } => {
                system(&format!("set the limit {resource:?}"), limits::set(*resource, *soft, *hard))
            }
            Step::Identity(uid) => system("become the slot's user", identity::become_user(*uid)),
            Step::Capabilities => {
                identity::drop_capabilities();
                Ok(())
            }
            Step::NoNewPrivileges => {
                system("give up new privileges", set_no_new_privs(true).map_err(io::Error::from))
            }
            Step::Files { readable, scope } => {
                let scoped = if *scope { Scoped::Yes } else { Scoped::No };
                let domain = Domain::new(readable, scoped).map_err(io::Error::other);
                system("make the Landlock domain", domain.map(|it| self.domain = Some(it)))
            }
            Step::Seccomp(surface) => {
                let done = seccomp::install(*surface).map_err(io::Error::other);
                system("install the system-call filter", done)
            }
            Step::OomScore => {
                if let Some(file) = self.oom_score.take() {
                    rustix::io::write(&file, b"1000").unwrap_or_default();
                }
                Ok(())
            }
            Step::WorkDir(path) => {
                system("enter the work directory", chdir(path).map_err(io::Error::from))
            }
            Step::Processes { limit, counted_with } => {
                let others = match counted_with {
                    CountedWith::Nobody => 0,
                    CountedWith::Supervisor => 1,
                    CountedWith::OthersOfItsUser { soon } => {
                        let user = identity::current_uid();
                        self.processes.tasks_of(user, self.processes.own()).saturating_add(*soon)
                    }
                };
                let limit = limit.saturating_add(others);
                system("set the limit of processes", limits::set_processes(limit))
            }
            Step::Landlock { readable, writable } => {
                let Some(domain) = self.domain.take() else {
                    let missing = io::Error::other("it was not made");
                    return Err(Failure::of("enter the Landlock domain", &missing));
                };
                let done = match domain.enter(readable, writable) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(io::Error::other("ignored")),
                    Err(error) => Err(io::Error::other(error)),
                };
                system("enter the Landlock domain", done)
            }
        }
    }
}

/// Executes the program. Returns only on failure.
pub(crate) fn execute(policy: &Policy) -> Failure {
    let mut arguments = policy.argv.iter();
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts programs")]
    let mut command = Command::new(&policy.program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env_clear().envs(policy.env.iter().map(|(name, value)| (name, value)));
    Failure::of("execute the program", &command.exec())
}
