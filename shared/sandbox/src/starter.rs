//! The process that becomes a program: forked and confined, as far as can be, before the program
//! is known. It ends when its supervisor does.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_parent_process_death_signal,
    waitpid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::apply::{Confinement, Failure, execute};
use crate::plan::{ahead, plan};
use crate::sys::descriptors::close_all_but;
use crate::sys::process::{Fork, default_signals, exit, fork, processor_time_of};
use crate::tree::Processes;
use crate::wire::{self, Message};
use crate::{CellSpec, Policy};

/// The supervisor's handle to such a process. Dropping it ends a process that still waits.
#[derive(Debug)]
pub(crate) struct Starter {
    /// None once it was told what to become.
    waiting: Option<Pid>,
    orders: UnixStream,
    reports: File,
}

impl Starter {
    /// Forks it. What fails then is told when it is asked to start.
    pub(crate) fn fork(spec: &CellSpec, processes: &Processes) -> Result<Self, Failure> {
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
                // Whoever holds what the supervisor holds would hide the supervisor's end.
                let mut kept = [far.as_raw_fd(), reports_far.as_raw_fd(), processes.as_raw_fd()];
                close_all_but(&mut kept);
                let reports = File::from(reports_far);
                let Err(Failure { step, errno }) =
                    become_program(supervisor, &far, &reports, spec, processes);
                let told = wire::send(&reports, &Message::Failed { step, errno });
                exit(i32::from(told.is_err()));
            }
            Fork::Parent(process) => {
                Ok(Self { waiting: Some(process), orders, reports: File::from(reports) })
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

    /// What it spent already, which is not the program's.
    pub(crate) fn spent(&self) -> Duration {
        self.waiting.map(processor_time_of).unwrap_or_default()
    }

    /// Has it become the program of `policy`, and waits until it has.
    pub(crate) fn start(mut self, policy: &Policy, streams: [OwnedFd; 3]) -> Result<Pid, Failure> {
        let Some(program) = self.waiting else { return Err(failed("it ended before")) };
        let descriptors = streams.each_ref().map(|it| it.as_fd());
        match wire::send_with(&self.orders, policy, &descriptors) {
            // One that is gone has perhaps told why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(Failure::of("tell what to start", &error));
            }
            Ok(()) | Err(_) => {}
        }
        // The program's end of its streams is to be the only one.
        drop(streams);
        self.until_executed()?;
        self.waiting = None;
        Ok(program)
    }

    /// Waits until the program was executed: its last word before, and then the end of the pipe,
    /// mean that.
    fn until_executed(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut is_about_to = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
            let mut polled = [PollFd::new(&self.reports, PollFlags::IN)];
            match poll(&mut polled, Some(&timeout)) {
                Ok(0) => return Err(failed("it does not answer")),
                Ok(_) => {}
                Err(error) => return Err(Failure::of("start the program", &error.into())),
            }
            match wire::receive(&self.reports) {
                Ok(Message::Failed { step, errno }) => return Err(Failure { step, errno }),
                Ok(_) => is_about_to = true,
                Err(_) if is_about_to => return Ok(()),
                Err(_) => return Err(failed("it was ended before")),
            }
        }
    }
}

/// How long a process that was told to may take to execute its program. Beyond it, it was stopped.
const PATIENCE: Duration = Duration::from_secs(10);

fn failed(why: &str) -> Failure {
    Failure::of("start the program", &io::Error::other(why))
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
fn become_program(
    supervisor: Pid,
    orders: &UnixStream,
    reports: &File,
    spec: &CellSpec,
    processes: &Processes,
) -> Result<Infallible, Failure> {
    default_signals();
    let mut confinement = Confinement::new(processes);
    confinement.apply(&ahead(spec))?;
    // A change of user forgets that, so it comes after.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|it| Failure::of("end with the supervisor", &it.into()))?;
    if getppid() != Some(supervisor) {
        exit(0);
    }
    let received = wire::receive_with::<Policy>(orders);
    let Some((policy, streams)) = received.map_err(|it| Failure::of("hear of a program", &it))?
    else {
        exit(0);
    };
    take_streams(streams).map_err(|it| Failure::of("take over the streams", &it))?;
    confinement.apply(&plan(&policy, spec))?;
    wire::send(reports, &Message::Started).map_err(|it| Failure::of("tell of the start", &it))?;
    Err(execute(&policy))
}

fn take_streams(streams: Vec<OwnedFd>) -> io::Result<()> {
    let streams = <[OwnedFd; 3]>::try_from(streams);
    let [stdin, stdout, stderr] = streams.map_err(|_few| io::Error::other("some are missing"))?;
    dup2_stdin(stdin)?;
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)?;
    Ok(())
}
