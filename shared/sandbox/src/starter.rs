//! The process that becomes a program: forked and confined, as far as can be, before the program
//! is known. It ends when its supervisor does.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, getpid, getppid, kill_process,
    set_dumpable_behavior, set_parent_process_death_signal, waitpid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::apply::{Confinement, Failure, execute};
use crate::meter::{Baseline, Meter};
use crate::plan::{ahead, plan};
use crate::sys::descriptors::{HAND_OVER, close_all_but, keep_as_hand_over};
use crate::sys::process::{Fork, default_signals, exit, fork};
use crate::terminal;
use crate::tree::Processes;
use crate::wire::{self, Message};
use crate::zygote::{Becomes, Waiting};
use crate::{CellSpec, Policy};

/// The supervisor's handle to such a process. Dropping it ends a process that still waits.
#[derive(Debug)]
pub(crate) struct Starter {
    /// None once it was told what to become.
    waiting: Option<Pid>,
    orders: UnixStream,
    reports: File,
    /// What it had when it began to wait.
    baseline: Baseline,
}

/// The process's own ends of what connects it to its supervisor.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) orders: UnixStream,
    pub(crate) reports: File,
}

impl Starter {
    /// Forks it, and waits until it waits if it goes on as what it is forked from. What fails in
    /// one that executes its program is told when it is asked to start.
    pub(crate) fn fork(
        spec: &CellSpec,
        meter: &Meter,
        becomes: Becomes<'_>,
    ) -> Result<Self, Failure> {
        let processes = meter.processes();
        let (orders, far) =
            UnixStream::pair().map_err(|it| Failure::of("make a socket pair", &it))?;
        orders
            .set_write_timeout(Some(PATIENCE))
            .map_err(|it| Failure::of("bound a socket's waits", &it))?;
        let (reports, reports_far) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|it| Failure::of("make a pipe", &it.into()))?;
        let supervisor = getpid();
        match fork().map_err(|it| Failure::of("fork the program", &it))? {
            Fork::Child => {
                let reports_far = out_of_the_way(reports_far);
                // Whoever holds what the supervisor holds would hide the supervisor's end.
                let mut kept = [far.as_raw_fd(), reports_far.as_raw_fd(), processes.as_raw_fd()];
                close_all_but(&mut kept);
                let lines = Lines { orders: far, reports: File::from(reports_far) };
                let Err(Failure { step, errno }) =
                    live(supervisor, &lines, spec, processes, becomes);
                let told = wire::send(&lines.reports, &Message::Failed { step, errno });
                exit(i32::from(told.is_err()));
            }
            Fork::Parent(process) => {
                drop(far);
                drop(reports_far);
                let (waiting, reports) = (Some(process), File::from(reports));
                let mut starter = Self { waiting, orders, reports, baseline: Baseline::default() };
                // An execution leaves nothing of what was there.
                if let Becomes::Itself { .. } = becomes {
                    starter.hear(|it| matches!(it, Message::Ready { .. }))?;
                    starter.baseline = meter.baseline(process);
                }
                Ok(starter)
            }
        }
    }

    /// Itself, if it still waits: something may have killed it, or a step may have failed.
    pub(crate) fn still_waits(mut self) -> Result<Option<Self>, Failure> {
        if matches!(waitpid(self.waiting, WaitOptions::NOHANG), Ok(None)) {
            return Ok(Some(self));
        }
        self.waiting = None;
        match wire::receive(&self.reports) {
            Ok(Message::Failed { step, errno }) => Err(Failure { step, errno }),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// What it has and has spent already, which is not the program's.
    pub(crate) fn baseline(&self) -> Baseline {
        self.waiting.map_or(self.baseline, |it| self.baseline.now(it))
    }

    /// Has it become the program of `policy`, and waits until it has. The fourth stream, if there
    /// is one, is where the program hears of what it is to do.
    pub(crate) fn start(mut self, policy: &Policy, streams: Vec<OwnedFd>) -> Result<Pid, Failure> {
        let Some(program) = self.waiting else { return Err(failed("it ended before")) };
        let descriptors: Vec<_> = streams.iter().map(AsFd::as_fd).collect();
        match wire::send_with(&self.orders, policy, &descriptors) {
            // One that is gone has perhaps told why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(Failure::of("tell what to start", &error));
            }
            Ok(()) | Err(_) => {}
        }
        // The program's end of its streams is to be the only one.
        drop(streams);
        self.hear(|it| matches!(it, Message::Started))?;
        self.until_executed()?;
        self.waiting = None;
        Ok(program)
    }

    /// Waits for the message that `is_it`.
    fn hear(&self, is_it: impl Fn(&Message) -> bool) -> Result<(), Failure> {
        self.until_readable()?;
        match wire::receive(&self.reports) {
            Ok(Message::Failed { step, errno }) => Err(Failure { step, errno }),
            Ok(message) if is_it(&message) => Ok(()),
            Ok(_) | Err(_) => Err(failed("it was ended before")),
        }
    }

    /// Waits until the program was executed: the pipe ends after its last word, unless that was not
    /// the last.
    fn until_executed(&self) -> Result<(), Failure> {
        self.until_readable()?;
        match wire::receive(&self.reports) {
            Ok(Message::Failed { step, errno }) => Err(Failure { step, errno }),
            Ok(_) => Err(failed("it says what it should not")),
            Err(_) => Ok(()),
        }
    }

    fn until_readable(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
            let mut polled = [PollFd::new(&self.reports, PollFlags::IN)];
            match poll(&mut polled, Some(&timeout)) {
                Ok(0) => return Err(failed("it does not answer")),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Failure::of("start the program", &error.into())),
            }
        }
    }
}

/// How long a process that was told to may take to execute its program. Beyond it, it was stopped.
const PATIENCE: Duration = Duration::from_secs(10);

fn failed(why: &str) -> Failure {
    Failure::of("start the program", &io::Error::other(why))
}

/// The same under a number that no program is promised.
fn out_of_the_way(descriptor: OwnedFd) -> OwnedFd {
    fcntl_dupfd_cloexec(&descriptor, HAND_OVER + 1).unwrap_or(descriptor)
}

impl Drop for Starter {
    fn drop(&mut self) {
        if let Some(process) = self.waiting {
            kill_process(process, Signal::KILL).unwrap_or_default();
            waitpid(Some(process), WaitOptions::empty()).unwrap_or_default();
        }
    }
}

/// Confines this process, waits for a policy, and becomes its program. Ends this process when
/// there will be none.
fn live(
    supervisor: Pid,
    lines: &Lines,
    spec: &CellSpec,
    processes: &Processes,
    becomes: Becomes<'_>,
) -> Result<Infallible, Failure> {
    if let Becomes::Executed = becomes {
        default_signals();
    }
    let mut confinement = Confinement::new(processes);
    confinement.apply(&ahead(spec))?;
    // A change of user forgets that, so it comes after.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|it| Failure::of("end with the supervisor", &it.into()))?;
    if getppid() != Some(supervisor) {
        exit(0);
    }
    if let Becomes::Itself { child, title } = becomes {
        child(Waiting::new(lines, spec, processes, confinement, title));
        exit(0);
    }
    let (policy, told) = until_told(lines)?;
    confinement.apply(&plan(&policy, spec))?;
    wire::send(&lines.reports, &Message::Started)
        .map_err(|it| Failure::of("tell of the start", &it))?;
    if let Some(told) = told {
        keep_as_hand_over(told).map_err(|it| Failure::of("keep the line to the server", &it))?;
    }
    Err(execute(&policy))
}

/// Waits for a policy and takes its streams. Beside the policy, where the program is to hear more.
pub(crate) fn until_told(lines: &Lines) -> Result<(Policy, Option<OwnedFd>), Failure> {
    let received = wire::receive_with::<Policy>(&lines.orders);
    let Some((policy, streams)) = received.map_err(|it| Failure::of("hear of a program", &it))?
    else {
        exit(0);
    };
    let told = take_streams(streams).map_err(|it| Failure::of("take over the streams", &it))?;
    Ok((policy, told))
}

/// Makes this process one that others of its user can look at, as every program is.
pub(crate) fn show_as_program() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

fn take_streams(streams: Vec<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    let mut streams = streams.into_iter();
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (streams.next(), streams.next(), streams.next())
    else {
        return Err(io::Error::other("some are missing"));
    };
    dup2_stdin(stdin)?;
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)?;
    terminal::take_control()?;
    Ok(streams.next())
}
