//! The server's handle to its spawner, which it keeps alive.

use std::collections::HashSet;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command as Program, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, WaitOptions, getpid, set_child_subreaper, set_dumpable_behavior, wait,
};

use crate::packet::{self, Request};
use crate::warden::{pause, sweep};
use crate::{Policy, launcher, tree, wire};

/// How long a launch may wait for the spawner to take it, a restart included.
const PATIENCE: Duration = Duration::from_secs(5);

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
}

#[derive(Debug)]
struct State {
    socket: Option<OwnedFd>,
    spawner: Option<Pid>,
    /// Reapers that live, by process id: they are spared when strays are swept.
    reapers: HashSet<Pid>,
    restarts: u64,
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
    /// Where the reaper tells [`crate::Message`]s and takes a [`crate::Stop`]. Closing it kills the
    /// run.
    pub control: UnixStream,
}

impl Spawner {
    /// Starts the spawner and the thread that keeps it alive. Call it while there is one thread.
    pub fn start() -> Result<Self, LaunchError> {
        let system = |what| {
            move |source: rustix::io::Errno| LaunchError::System { what, source: source.into() }
        };
        set_child_subreaper(Some(getpid())).map_err(system("become a subreaper"))?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(system("hide this process"))?;
        let state = State { socket: None, spawner: None, reapers: HashSet::new(), restarts: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let spawner = start_process(&shared)?;
        let keeper = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("spawner-keeper".to_owned())
            .spawn(move || keep_alive(&keeper, spawner))
            .map_err(|source| LaunchError::System { what: "start a thread", source })?;
        Ok(Self { shared })
    }

    /// Launches one run. Returns as soon as a reaper was asked for; what becomes of it is told on
    /// the control socket.
    pub fn launch(&self, policy: &Policy) -> Result<Running, LaunchError> {
        let pipe = || {
            pipe_with(PipeFlags::CLOEXEC)
                .map_err(|it| LaunchError::System { what: "make a pipe", source: it.into() })
        };
        let (stdin_far, stdin) = pipe()?;
        let (stdout, stdout_far) = pipe()?;
        let (stderr, stderr_far) = pipe()?;
        let (control, control_far) = control_pair()?;
        let far = [control_far.as_fd(), stdin_far.as_fd(), stdout_far.as_fd(), stderr_far.as_fd()];
        self.request(Request::Launch, &far)?;
        drop((control_far, stdin_far, stdout_far, stderr_far));
        wire::send(&control, policy)
            .map_err(|source| LaunchError::System { what: "send the policy", source })?;
        Ok(Running { stdin, stdout, stderr, control })
    }

    /// Waits until nothing is left of a run whose reaper died, and says whether that is so. Its
    /// orphans come to the spawner, or to this process if the spawner died first. Blocks for at
    /// most some seconds.
    pub fn settle(&self, reaper: i32) -> bool {
        let Ok((mut near, far)) = control_pair() else { return false };
        if self.request(Request::Settle(reaper), &[far.as_fd()]).is_err() {
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
            if tree::children(getpid()).iter().all(expected) {
                return true;
            }
            drop(state);
            pause(Duration::from_millis(1));
        }
        false
    }

    /// Notes that a reaper lives.
    pub fn note_reaper(&self, pid: i32) {
        if let Some(pid) = Pid::from_raw(pid) {
            self.shared.lock().reapers.insert(pid);
        }
    }

    /// Notes that a reaper ended.
    pub fn forget_reaper(&self, pid: i32) {
        if let Some(pid) = Pid::from_raw(pid) {
            self.shared.lock().reapers.remove(&pid);
        }
    }

    /// How often the spawner had to be started again.
    pub fn restarts(&self) -> u64 {
        self.shared.lock().restarts
    }

    /// Hands a request to the spawner; if it died, to the next one.
    fn request(&self, request: Request, far: &[BorrowedFd<'_>]) -> Result<(), LaunchError> {
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
            match start_process(shared) {
                Ok(pid) => spawner = pid,
                Err(_) => pause(Duration::from_millis(200)),
            }
        }
        // Whatever came to us when a spawner or a reaper of its died is a stray; reapers that live
        // go on with their runs.
        keep.insert(spawner);
        sweep(&keep);
    }
}

fn is_gone(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    [Errno::PIPE, Errno::CONNRESET, Errno::NOTCONN, Errno::CONNREFUSED].contains(&error)
}
