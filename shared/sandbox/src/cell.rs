//! The server's handle to a cell: the part of a run's confinement that is made before there is a
//! program, and the supervisor that waits in it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroup, Directories, GroupLimits};
use crate::spawner::{LaunchError, Spawner};
use crate::terminal::{Size, Terminal};
use crate::wire::{self, Message, Order};
use crate::{Assignment, CellSpec, Limits, Policy};

/// What the reaper of a cell is told first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CellRequest {
    pub(crate) spec: CellSpec,
    pub(crate) group: Option<Directories>,
}

/// A cell, in which programs of one run are run one after the other. Dropping it kills what is in
/// it and gives everything back; that goes on after this returns.
#[derive(Debug)]
pub struct Cell {
    spawner: Spawner,
    control: UnixStream,
    reaper: i32,
    files: Option<OwnedFd>,
    group: Option<Cgroup>,
    limits: Option<GroupLimits>,
    waiting: Option<WarmProcess>,
}

/// The streams of a process that waits for its program. It is told that at most once.
#[derive(Debug)]
struct WarmProcess {
    streams: [OwnedFd; 3],
    /// Memory that it has in use, and that is not its program's, in bytes.
    baseline_bytes: u64,
}

impl WarmProcess {
    /// The bounds of a cell in which its program gets `limits`.
    fn beside(&self, limits: Limits) -> Limits {
        let memory_bytes = limits.memory_bytes.saturating_add(self.baseline_bytes);
        Limits { memory_bytes, ..limits }
    }
}

/// A run that was launched: the near ends of its streams.
#[derive(Debug)]
pub struct Running {
    /// Write end of standard input.
    pub stdin: OwnedFd,
    /// Read end of standard output.
    pub stdout: OwnedFd,
    /// Read end of standard error.
    pub stderr: OwnedFd,
    /// What the streams are handles of, if it is a terminal. Nothing comes as standard error then.
    pub terminal: Option<Terminal>,
    /// Where the reaper tells [`crate::Message`]s and takes a [`crate::Stop`] or a
    /// [`crate::Signal`]; a second handle of the cell's own.
    pub control: UnixStream,
}

impl Cell {
    /// Makes a cell. Blocks until it is ready.
    pub(crate) fn make(spawner: Spawner, spec: &CellSpec) -> Result<Self, LaunchError> {
        let group = spawner.make_group(spec)?;
        let control = match spawner.reaper() {
            Ok(control) => control,
            Err(error) => {
                if let Some(group) = group {
                    spawner.keeper().remove_later(group);
                }
                return Err(error);
            }
        };
        let mut cell =
            Self { spawner, control, reaper: 0, files: None, group, limits: None, waiting: None };
        cell.prepare(spec)?;
        Ok(cell)
    }

    fn prepare(&mut self, spec: &CellSpec) -> Result<(), LaunchError> {
        let group = self.group.as_ref().map(|it| it.directories().clone());
        wire::send(&self.control, &CellRequest { spec: spec.clone(), group })
            .map_err(|source| LaunchError::System { what: "ask for a cell", source })?;
        loop {
            let told = wire::receive_with(&self.control)
                .map_err(|source| LaunchError::System { what: "hear of a cell", source })?;
            match told {
                Some((Message::Hello { pid }, _)) => {
                    self.reaper = pid;
                    self.spawner.keeper().note_reaper(pid);
                }
                Some((Message::Ready { .. }, files)) => {
                    self.files = files.into_iter().next();
                    return Ok(());
                }
                Some((Message::Failed { step, errno }, _)) => {
                    return Err(LaunchError::Cell { step, errno });
                }
                Some(_) | None => return Err(LaunchError::Lost),
            }
        }
    }

    /// The root of the file system that programs write to, if the cell has one: it holds `work`,
    /// `tmp` and `out`.
    pub fn files(&self) -> Option<BorrowedFd<'_>> {
        self.files.as_ref().map(|it| it.as_fd())
    }

    /// Waits until nothing is left of a cell whose supervisor died, and says whether that is so.
    /// Blocks for at most some seconds.
    pub fn settle(self) -> bool {
        self.spawner.keeper().forget_reaper(self.reaper);
        self.spawner.settle(self.reaper)
    }

    /// Launches one program. Returns as soon as it was asked for; what becomes of it is told on
    /// the control socket. The one before must have been told as ended.
    pub fn launch(&mut self, policy: &Policy) -> Result<Running, LaunchError> {
        // One process after the other: whatever waits is not told any more.
        self.waiting = None;
        self.limit(policy.limits)?;
        let streams = self.order_with_streams(&Order::Run(policy.clone()))?;
        self.running(streams)
    }

    /// As [`Self::launch`], with a terminal of this size as all streams of the program.
    pub fn launch_on_terminal(
        &mut self,
        policy: &Policy,
        size: Size,
    ) -> Result<Running, LaunchError> {
        let system = |what| move |source| LaunchError::System { what, source };
        self.waiting = None;
        self.limit(policy.limits)?;
        let (terminal, far) = Terminal::make(size).map_err(system("make a terminal"))?;
        let handle = || terminal.handle().map_err(system("share a terminal"));
        let (stderr, nobody) = pipe()?;
        drop(nobody);
        let streams = [handle()?, handle()?, stderr];
        let far = far.as_fd();
        self.order(&Order::Run(policy.clone()), &[far, far, far])?;
        Ok(Running { terminal: Some(terminal), ..self.running(streams)? })
    }

    /// Starts a process that makes itself ready for a program that is not known yet, within the
    /// limits of `policy`, and waits until it is ready. It has descriptor 3 as well: there it says
    /// so with the byte `r`, and hears of its program. The cell is bounded ahead by what that is
    /// likely to get, `next`. Blocks for at most the wall clock of the policy, and never for more
    /// than some seconds.
    pub fn warm(&mut self, policy: &Policy, next: Limits) -> Result<(), LaunchError> {
        self.limit(policy.limits)?;
        let streams = self.order_with_streams(&Order::Warm(policy.clone()))?;
        let told = wire::receive_with(&self.control)
            .map_err(|source| LaunchError::System { what: "hear of a process", source })?;
        match told {
            Some((Message::Ready { baseline_bytes }, _)) => {
                let waiting = WarmProcess { streams, baseline_bytes };
                self.limit(waiting.beside(next))?;
                self.waiting = Some(waiting);
                Ok(())
            }
            Some((Message::Failed { step, errno }, _)) => Err(LaunchError::Cell { step, errno }),
            Some(_) | None => Err(LaunchError::Lost),
        }
    }

    /// Tells the process that waits what its program is. What becomes of it is told on the control
    /// socket, as for [`Self::launch`]; [`Message::Gone`] if there is no such process any more.
    pub fn hand_over(&mut self, assignment: &Assignment) -> Result<Running, LaunchError> {
        let Some(waiting) = self.waiting.take() else { return Err(LaunchError::NotWarm) };
        self.limit(waiting.beside(assignment.limits))?;
        self.order(&Order::HandOver(assignment.clone()), &[])?;
        self.running(waiting.streams)
    }

    /// Makes the pipes of a program, and sends their far ends with an order.
    fn order_with_streams(&self, order: &Order) -> Result<[OwnedFd; 3], LaunchError> {
        let (stdin_far, stdin) = pipe()?;
        let (stdout, stdout_far) = pipe()?;
        let (stderr, stderr_far) = pipe()?;
        self.order(order, &[stdin_far.as_fd(), stdout_far.as_fd(), stderr_far.as_fd()])?;
        Ok([stdin, stdout, stderr])
    }

    fn order(&self, order: &Order, streams: &[BorrowedFd<'_>]) -> Result<(), LaunchError> {
        wire::send_with(&self.control, order, streams).map_err(|source| match source.kind() {
            std::io::ErrorKind::BrokenPipe => LaunchError::Lost,
            _ => LaunchError::System { what: "send an order", source },
        })
    }

    fn running(&self, [stdin, stdout, stderr]: [OwnedFd; 3]) -> Result<Running, LaunchError> {
        let control = self.control.try_clone();
        let control = control
            .map_err(|source| LaunchError::System { what: "share the control socket", source })?;
        Ok(Running { stdin, stdout, stderr, terminal: None, control })
    }

    /// Sets the bounds of the cell as a whole. Each launch does; whoever knows what the next
    /// program is likely to get has it done before there is one.
    pub fn limit(&mut self, limits: Limits) -> Result<(), LaunchError> {
        let Some(group) = &self.group else { return Ok(()) };
        // The supervisor is in the group, too.
        let limits = GroupLimits {
            memory_bytes: limits.memory_bytes,
            processes: limits.processes.saturating_add(1),
            processors: limits.processors,
        };
        if self.limits == Some(limits) {
            return Ok(());
        }
        self.limits = Some(limits);
        group
            .limit(limits)
            .map_err(|source| LaunchError::System { what: "bound the control group", source })
    }
}

/// A pipe: where it is read, and where it is written.
fn pipe() -> Result<(OwnedFd, OwnedFd), LaunchError> {
    pipe_with(PipeFlags::CLOEXEC)
        .map_err(|it| LaunchError::System { what: "make a pipe", source: it.into() })
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.spawner.keeper().let_reaper_end(self.reaper);
        // The reaper ends when it sees that; only then can the group be removed.
        self.control.shutdown(std::net::Shutdown::Both).unwrap_or_default();
        if let Some(group) = self.group.take() {
            self.spawner.keeper().remove_later(group);
        }
    }
}
