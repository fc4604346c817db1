//! The server's handle to a spawner, which it starts again when it ends.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{ChildStderr, Command as Program, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;

use crate::cell::Cell;
use crate::cgroup::{Cgroup, Cgroups};
use crate::keeper::Keeper;
use crate::packet::{self, Request};
use crate::view::Foundation;
use crate::warden::pause;
use crate::{CellSpec, launcher, zygote};

/// How long a launch may wait for the spawner to take it, a restart included.
const PATIENCE: Duration = Duration::from_secs(5);

/// A spawner that ends before this is not started again at once.
const SHORT_LIFE: Duration = Duration::from_millis(200);

/// Why a run could not be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The system refused a descriptor, a process or memory.
    #[error("the system refused to {what}: {source}")]
    System {
        /// What it refused.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The spawner is gone and could not be started again in time.
    #[error("the spawner does not answer; see the log for why it ended")]
    NoSpawner,
    /// A step of making a cell failed.
    #[error("the step `{step}` of making a cell failed (error {errno})")]
    Cell {
        /// Which one.
        step: String,
        /// The system's error number.
        errno: i32,
    },
    /// No process waits in the cell.
    #[error("no process waits for its program in the cell")]
    NotWarm,
    /// The supervisor of the cell is gone; nothing was launched.
    #[error("the supervisor of the cell is gone")]
    Lost,
}

/// What runs of a spawner stand on, as far as the host grants it.
#[derive(Debug, Clone, Default)]
pub struct Grounds {
    /// The file tree of runs that have namespaces of their own.
    pub foundation: Option<Foundation>,
    /// Where each cell gets a control group.
    pub cgroups: Option<Cgroups>,
}

/// An interpreter that stands in for a spawner: what is forked from it needs not begin anew. It
/// must call [`crate::serve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preload {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
}

/// The server's handle to a spawner. Clones share one, which ends with the last of them and with
/// the cells that came from it.
#[derive(Debug, Clone)]
pub struct Spawner {
    process: Arc<Process>,
}

/// A spawner process, or the next one if it ended.
#[derive(Debug)]
pub(crate) struct Process {
    keeper: Arc<Keeper>,
    state: Mutex<State>,
    grounds: Grounds,
    /// None for the spawner that has read nothing ahead.
    preload: Option<Preload>,
}

#[derive(Debug, Default)]
struct State {
    /// None while there is no process.
    socket: Option<OwnedFd>,
    pid: Option<Pid>,
    started: Option<Instant>,
    restarts: u64,
}

impl Spawner {
    /// Starts the spawner and the threads that keep the server clean. Call it while there is one
    /// thread, and once.
    pub fn start(grounds: Grounds) -> Result<Self, LaunchError> {
        let keeper = Keeper::start()?;
        let spawner = Self::with(Arc::clone(&keeper), grounds, None)?;
        keeper.watch()?;
        Ok(spawner)
    }

    /// Starts a zygote beside this spawner, on the same grounds.
    pub fn zygote(&self, preload: Preload) -> Result<Self, LaunchError> {
        let Process { keeper, grounds, .. } = &*self.process;
        Self::with(Arc::clone(keeper), grounds.clone(), Some(preload))
    }

    fn with(
        keeper: Arc<Keeper>,
        grounds: Grounds,
        preload: Option<Preload>,
    ) -> Result<Self, LaunchError> {
        let state = Mutex::default();
        let process = Arc::new(Process { keeper, state, grounds, preload });
        let mut state = process.lock();
        process.start(&mut state)?;
        drop(state);
        Ok(Self { process })
    }

    /// Makes a cell, in which a run can be launched later. Blocks until it is ready.
    pub fn cell(&self, spec: &CellSpec) -> Result<Cell, LaunchError> {
        Cell::make(self.clone(), spec)
    }

    /// Has a reaper forked, and returns the near end of its control socket.
    pub(crate) fn reaper(&self) -> Result<UnixStream, LaunchError> {
        let (control, control_far) = control_pair()?;
        self.process.request(Request::Launch, control_far.as_fd())?;
        Ok(control)
    }

    /// Makes the control group of a cell, where cells have one.
    pub(crate) fn make_group(&self, spec: &CellSpec) -> Result<Option<Cgroup>, LaunchError> {
        let cgroups = self.process.grounds.cgroups.as_ref().filter(|_| spec.mechanisms.cgroup);
        let group = cgroups.map(Cgroups::make).transpose();
        group.map_err(|source| LaunchError::System { what: "make a control group", source })
    }

    /// What it shares with the server's other spawners.
    pub(crate) fn keeper(&self) -> &Keeper {
        &self.process.keeper
    }

    /// Waits until nothing is left of a run whose reaper died, and says whether that is so. Its
    /// orphans come to the spawner, or to this process if the spawner died first. Blocks for at
    /// most some seconds.
    pub(crate) fn settle(&self, reaper: i32) -> bool {
        self.ask_to_settle(reaper) && self.process.keeper.has_no_strays()
    }

    fn ask_to_settle(&self, reaper: i32) -> bool {
        let Ok((mut near, far)) = control_pair() else { return false };
        if self.process.request(Request::Settle(reaper), far.as_fd()).is_err() {
            return false;
        }
        drop(far);
        let mut answer = [0];
        near.read_exact(&mut answer).is_ok() && answer == [b'y']
    }

    /// Waits until the process serves requests, and says whether it does. Blocks for at most some
    /// seconds.
    pub fn answers(&self) -> bool {
        self.ask_to_settle(0)
    }

    /// How often it had to be started again.
    pub fn restarts(&self) -> u64 {
        self.process.lock().restarts
    }
}

impl Process {
    /// Notes that the process ended. The next request starts another.
    pub(crate) fn note_end(&self, ended: Pid) {
        let mut state = self.lock();
        if state.pid == Some(ended) {
            state.socket = None;
            state.pid = None;
        }
    }

    /// Hands a request to the process; if it died, to the next one.
    fn request(self: &Arc<Self>, request: Request, far: BorrowedFd<'_>) -> Result<(), LaunchError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut state = self.lock();
            if state.socket.is_none() {
                let too_soon = state.started.is_some_and(|it| it.elapsed() < SHORT_LIFE);
                if !too_soon && self.start(&mut state).is_ok() {
                    state.restarts += 1;
                }
            }
            if let Some(socket) = &state.socket {
                match packet::send(socket.as_fd(), request, far) {
                    Ok(()) => return Ok(()),
                    Err(error) if is_gone(error) => state.socket = None,
                    Err(error) => {
                        let source = error.into();
                        return Err(LaunchError::System { what: "pass on descriptors", source });
                    }
                }
            }
            drop(state);
            if Instant::now() > deadline {
                return Err(LaunchError::NoSpawner);
            }
            pause(Duration::from_millis(5));
        }
    }

    /// Starts the process and makes its socket the current one.
    fn start(self: &Arc<Self>, state: &mut State) -> Result<(), LaunchError> {
        let (near, far) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|it| LaunchError::System {
                    what: "make a socket pair",
                    source: it.into(),
                })?;
        // Not among its arguments: those are seen by the programs of its namespaces.
        packet::send_foundation(near.as_fd(), self.grounds.foundation.as_ref())
            .map_err(|source| LaunchError::System { what: "describe the file tree", source })?;
        state.started = Some(Instant::now());
        let weak: Weak<Self> = Arc::downgrade(self);
        let started = self.keeper.expect_spawner(weak, || {
            execute(self.preload.as_ref(), far)
                .map_err(|source| LaunchError::System { what: "start the spawner", source })
        })?;
        state.socket = Some(near);
        state.pid = Some(started);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn execute(preload: Option<&Preload>, far: OwnedFd) -> io::Result<Pid> {
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts spawners")]
    let mut program = Program::new("/proc/self/exe");
    program.env_clear().current_dir("/").stdin(Stdio::from(far)).stdout(Stdio::null());
    match preload {
        None => program.arg(launcher::ARGUMENT).stderr(Stdio::inherit()),
        Some(Preload { program: interpreter, arguments, env }) => {
            let variables = env.iter().map(|(name, value)| (name, value));
            // Interpreters look at what their streams are: those of programs are pipes.
            let words = program.arg(zygote::ARGUMENT).arg(interpreter).args(arguments);
            words.envs(variables).stderr(Stdio::piped())
        }
    };
    let mut child = program.spawn()?;
    if let Some(complaints) = child.stderr.take() {
        std::thread::Builder::new()
            .name("zygote-stderr".to_owned())
            .spawn(move || pass_on(complaints))?;
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::other("it has no process id"))
}

/// Passes what a zygote complains of on to standard error, up to a bound, and reads the rest.
fn pass_on(mut complaints: ChildStderr) {
    const BYTES_MAX: u64 = 16 * 1024;
    let mut head = (&mut complaints).take(BYTES_MAX);
    io::copy(&mut head, &mut io::stderr()).unwrap_or_default();
    io::copy(&mut complaints, &mut io::sink()).unwrap_or_default();
}

fn control_pair() -> Result<(UnixStream, UnixStream), LaunchError> {
    let (near, far) = UnixStream::pair()
        .map_err(|source| LaunchError::System { what: "make a socket pair", source })?;
    near.set_write_timeout(Some(PATIENCE))
        .and_then(|()| near.set_read_timeout(Some(2 * PATIENCE)))
        .map_err(|source| LaunchError::System { what: "bound a socket's waits", source })?;
    Ok((near, far))
}

fn is_gone(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    [Errno::PIPE, Errno::CONNRESET, Errno::NOTCONN, Errno::CONNREFUSED].contains(&error)
}
