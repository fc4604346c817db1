//! The server's handle to its spawner, which it keeps alive.

use std::collections::HashSet;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command as Program, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{
    DumpableBehavior, Pid, WaitOptions, getpid, set_child_subreaper, set_dumpable_behavior, wait,
};

use crate::cell::Cell;
use crate::cgroup::{Cgroup, Cgroups};
use crate::packet::{self, Request};
use crate::sys::limits::raise_open_files;
use crate::view::Foundation;
use crate::warden::{children, pause, sweep};
use crate::{CellSpec, launcher};

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

/// The server's handle to its spawner. Clones share one spawner.
#[derive(Debug, Clone)]
pub struct Spawner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    grounds: Grounds,
    /// Control groups of cells that are gone.
    emptied: Sender<Cgroup>,
}

#[derive(Debug)]
struct State {
    socket: Option<OwnedFd>,
    spawner: Option<Pid>,
    /// Reapers that live, by process id: they are spared when strays are swept.
    reapers: HashSet<Pid>,
    restarts: u64,
}

impl Spawner {
    /// Starts the spawner and the threads that keep it alive and clean up. Call it while there is
    /// one thread.
    pub fn start(grounds: Grounds) -> Result<Self, LaunchError> {
        let system = |what| {
            move |source: rustix::io::Errno| LaunchError::System { what, source: source.into() }
        };
        set_child_subreaper(Some(getpid())).map_err(system("become a subreaper"))?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(system("hide this process"))?;
        raise_open_files()
            .map_err(|source| LaunchError::System { what: "raise the limit of files", source })?;
        let state = State { socket: None, spawner: None, reapers: HashSet::new(), restarts: 0 };
        let (emptied, to_remove) = channel();
        let changed = Condvar::new();
        let shared = Arc::new(Shared { state: Mutex::new(state), changed, grounds, emptied });
        let spawner = start_process(&shared)?;
        let keeper = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("spawner-keeper".to_owned())
            .spawn(move || keep_alive(&keeper, spawner))
            .map_err(|source| LaunchError::System { what: "start a thread", source })?;
        std::thread::Builder::new()
            .name("cgroup-remover".to_owned())
            .spawn(move || remove_groups(&to_remove))
            .map_err(|source| LaunchError::System { what: "start a thread", source })?;
        Ok(Self { shared })
    }

    /// Makes a cell, in which a run can be launched later. Blocks until it is ready.
    pub fn cell(&self, spec: &CellSpec) -> Result<Cell, LaunchError> {
        Cell::make(self.clone(), spec)
    }

    /// Has a reaper forked, and returns the near end of its control socket.
    pub(crate) fn reaper(&self) -> Result<UnixStream, LaunchError> {
        let (control, control_far) = control_pair()?;
        self.request(Request::Launch, control_far.as_fd())?;
        Ok(control)
    }

    /// Makes the control group of a cell, where cells have one.
    pub(crate) fn make_group(&self, spec: &CellSpec) -> Result<Option<Cgroup>, LaunchError> {
        let cgroups = self.shared.grounds.cgroups.as_ref().filter(|_| spec.mechanisms.cgroup);
        let group = cgroups.map(Cgroups::make).transpose();
        group.map_err(|source| LaunchError::System { what: "make a control group", source })
    }

    /// Removes a control group once everything in it is gone.
    pub(crate) fn remove_later(&self, group: Cgroup) {
        // Without its thread, this process is at its end.
        self.shared.emptied.send(group).unwrap_or_default();
    }

    /// Waits until nothing is left of a run whose reaper died, and says whether that is so. Its
    /// orphans come to the spawner, or to this process if the spawner died first. Blocks for at
    /// most some seconds.
    pub(crate) fn settle(&self, reaper: i32) -> bool {
        let Ok((mut near, far)) = control_pair() else { return false };
        if self.request(Request::Settle(reaper), far.as_fd()).is_err() {
            return false;
        }
        drop(far);
        let mut answer = [0];
        let swept = near.read_exact(&mut answer).is_ok() && answer == [b'y'];
        swept && self.has_no_strays()
    }

    /// Waits until this process has no children but the spawner and reapers; the keeper kills
    /// all others.
    fn has_no_strays(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let state = self.shared.lock();
            let expected = |pid: &Pid| state.reapers.contains(pid) || state.spawner == Some(*pid);
            if children().iter().all(expected) {
                return true;
            }
            drop(state);
            pause(Duration::from_millis(1));
        }
        false
    }

    /// Notes that a reaper lives.
    pub(crate) fn note_reaper(&self, pid: i32) {
        if let Some(pid) = Pid::from_raw(pid) {
            self.shared.lock().reapers.insert(pid);
        }
    }

    /// Notes that a reaper ended.
    pub(crate) fn forget_reaper(&self, pid: i32) {
        if let Some(pid) = Pid::from_raw(pid) {
            self.shared.lock().reapers.remove(&pid);
        }
    }

    /// How often the spawner had to be started again.
    pub fn restarts(&self) -> u64 {
        self.shared.lock().restarts
    }

    /// Hands a request to the spawner; if it died, to the next one.
    fn request(&self, request: Request, far: BorrowedFd<'_>) -> Result<(), LaunchError> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        loop {
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
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LaunchError::NoSpawner);
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn control_pair() -> Result<(UnixStream, UnixStream), LaunchError> {
    let (near, far) = UnixStream::pair()
        .map_err(|source| LaunchError::System { what: "make a socket pair", source })?;
    near.set_write_timeout(Some(PATIENCE))
        .and_then(|()| near.set_read_timeout(Some(2 * PATIENCE)))
        .map_err(|source| LaunchError::System { what: "bound a socket's waits", source })?;
    Ok((near, far))
}

/// Starts the process and makes its socket the current one.
fn start_process(shared: &Shared) -> Result<Pid, LaunchError> {
    let system = |what| move |source| LaunchError::System { what, source };
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|it| LaunchError::System { what: "make a socket pair", source: it.into() })?;
    // Not among its arguments: those are seen by the programs of its namespaces.
    packet::send_foundation(near.as_fd(), shared.grounds.foundation.as_ref())
        .map_err(system("describe the file tree"))?;
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts the spawner")]
    let child = Program::new("/proc/self/exe")
        .arg(launcher::ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(far))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(system("start the spawner"))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| system("name the spawner")(io::Error::other("no process id")))?;
    let mut state = shared.lock();
    state.socket = Some(near);
    state.spawner = Some(pid);
    drop(state);
    shared.changed.notify_all();
    Ok(pid)
}

/// Reaps what comes to the server, and starts the spawner again when it ends.
fn keep_alive(shared: &Shared, mut spawner: Pid) {
    let mut started = Instant::now();
    loop {
        let ended = match wait(WaitOptions::empty()) {
            Ok(Some((pid, _))) => pid,
            Ok(None) => continue,
            // Without children there is no spawner either.
            Err(_) => spawner,
        };
        let mut keep = {
            let mut state = shared.lock();
            state.reapers.remove(&ended);
            if ended == spawner {
                state.socket = None;
                state.spawner = None;
                state.restarts += 1;
            }
            state.reapers.clone()
        };
        while ended == spawner {
            if started.elapsed() < SHORT_LIFE {
                pause(SHORT_LIFE);
            }
            started = Instant::now();
            if let Ok(pid) = start_process(shared) {
                spawner = pid;
            }
        }
        // Whatever came to us when a spawner or a reaper of its died is a stray; reapers that live
        // go on with their runs.
        keep.insert(spawner);
        sweep(&keep);
    }
}

/// Removes control groups as soon as they are empty. One that stays in use is given up after a
/// while; the next server removes it.
fn remove_groups(groups: &Receiver<Cgroup>) {
    let mut waiting: Vec<(Cgroup, Instant)> = Vec::new();
    loop {
        let next = if waiting.is_empty() {
            groups.recv().map_err(|_closed| RecvTimeoutError::Disconnected)
        } else {
            groups.recv_timeout(Duration::from_millis(2))
        };
        match next {
            Ok(group) => waiting.push((group, Instant::now() + PATIENCE)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        waiting.retain(|(group, until)| !group.remove() && Instant::now() < *until);
    }
}

fn is_gone(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    [Errno::PIPE, Errno::CONNRESET, Errno::NOTCONN, Errno::CONNREFUSED].contains(&error)
}
