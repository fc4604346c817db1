//! The process that becomes a program: forked and confined, as far as can be, before the program
//! is known. It holds nothing of its supervisor's, and ends when that does.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::apply::{Confinement, Failure, execute};
use crate::plan::{ahead, plan};
use crate::sys::descriptors::close_all_but;
use crate::sys::process::{Fork, default_signals, exit, fork};
use crate::tree::Processes;
use crate::wire::{self, Message};
use crate::{CellSpec, Policy};

/// The supervisor's handle to such a process. Dropping it ends a process that still waits.
#[derive(Debug)]
pub(crate) struct Starter {
    /// None once it was told what to become.
    waiting: Option<Pid>,
    orders: UnixStream,
    failures: File,
}

impl Starter {
    /// Forks it. What fails then is told when it is asked to start.
    pub(crate) fn fork(spec: &CellSpec, processes: &Processes) -> Result<Self, Failure> {
        let (orders, far) =
            UnixStream::pair().map_err(|it| Failure::of("make a socket pair", &it))?;
        let (failures, failures_far) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|it| Failure::of("make a pipe", &it.into()))?;
        match fork().map_err(|it| Failure::of("fork the program", &it))? {
            Fork::Child => {
                // Whoever holds what the supervisor holds would hide the supervisor's end.
                let mut kept = [far.as_raw_fd(), failures_far.as_raw_fd(), processes.as_raw_fd()];
                close_all_but(&mut kept);
                let Err(Failure { step, errno }) = become_program(&far, spec, processes);
                let failed = Message::Failed { step, errno };
                let told = wire::send(File::from(failures_far), &failed);
                exit(i32::from(told.is_err()));
            }
            Fork::Parent(process) => {
                Ok(Self { waiting: Some(process), orders, failures: File::from(failures) })
            }
        }
    }

    /// Itself, if it still waits: something may have killed it.
    pub(crate) fn still_waits(mut self) -> Option<Self> {
        if matches!(waitpid(self.waiting, WaitOptions::NOHANG), Ok(None)) {
            return Some(self);
        }
        self.waiting = None;
        None
    }

    /// Has it become the program of `policy`, and waits until it has.
    pub(crate) fn start(mut self, policy: &Policy, streams: [OwnedFd; 3]) -> Result<Pid, Failure> {
        // One that failed before tells why below.
        wire::send_with(&self.orders, policy, &streams.each_ref().map(|it| it.as_fd()))
            .unwrap_or_default();
        // The program's end of its streams is to be the only one.
        drop(streams);
        // Nothing but the end of the pipe means that the program was executed.
        let Some(program) = self.waiting else {
            return Err(Failure::of("start the program", &io::Error::other("it did already")));
        };
        if let Ok(Message::Failed { step, errno }) = wire::receive(&self.failures) {
            return Err(Failure { step, errno });
        }
        self.waiting = None;
        Ok(program)
    }
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
    orders: &UnixStream,
    spec: &CellSpec,
    processes: &Processes,
) -> Result<Infallible, Failure> {
    default_signals();
    let mut confinement = Confinement::new(processes);
    confinement.apply(&ahead(spec))?;
    let received = wire::receive_with::<Policy>(orders);
    let Some((policy, streams)) = received.map_err(|it| Failure::of("hear of a program", &it))?
    else {
        exit(0);
    };
    take_streams(streams).map_err(|it| Failure::of("take over the streams", &it))?;
    confinement.apply(&plan(&policy, spec))?;
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
