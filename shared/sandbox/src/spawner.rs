//! The single-threaded launcher, and the server's handle to it.

use std::collections::HashSet;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command as Program, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, WaitOptions, getpid, set_child_subreaper, set_dumpable_behavior, wait,
};
use rustix::stdio::dup2_stdin;

use crate::Policy;
use crate::reaper::{self, Ends};
use crate::sys::process::{Fork, exit, fork};
use crate::warden::{pause, reap_one, sweep};
use crate::{tree, wire};

/// First argument of a process that is the spawner.
pub(crate) const ARGUMENT: &str = "sandbox-spawner";

/// What the spawner is asked for, and the process that it is about.
type Packet = [u8; 5];

/// The first byte of a packet.
const LAUNCH: u8 = b'l';
const SETTLE: u8 = b's';

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
        self.request(&[LAUNCH], &far)?;
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
        if self.request(&settle_packet(reaper), &[far.as_fd()]).is_err() {
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
    fn request(&self, packet: &[u8], far: &[BorrowedFd<'_>]) -> Result<(), LaunchError> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        loop {
            if let Some(socket) = &state.socket {
                match send_packet(socket.as_fd(), packet, far) {
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
        .arg(ARGUMENT)
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

fn send_packet(
    socket: BorrowedFd<'_>,
    packet: &[u8],
    far: &[BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(far));
    sendmsg(socket, &[IoSlice::new(packet)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The spawner itself: forks a reaper for every launch, until the server's end closes.
pub(crate) fn serve() -> ! {
    let prepared = set_child_subreaper(Some(getpid()))
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if prepared.is_err() {
        exit(1);
    }
    let socket = io::stdin();
    let mut reapers = HashSet::new();
    loop {
        let ready = wait_for_packet(socket.as_fd(), !reapers.is_empty());
        reap(&mut reapers);
        if !ready {
            continue;
        }
        match receive_packet(socket.as_fd()) {
            Ok(Some(([LAUNCH, ..], far))) => launch(far, &mut reapers),
            Ok(Some(([SETTLE, pid @ ..], far))) => {
                answer(far, settle(i32::from_le_bytes(pid), &mut reapers));
            }
            Ok(Some(_)) => {}
            // The server is gone; reapers see that by themselves and end their runs.
            Ok(None) | Err(_) => exit(0),
        }
    }
}

/// Waits for a packet; while reapers live it looks up now and then to reap them.
fn wait_for_packet(socket: BorrowedFd<'_>, reapers_live: bool) -> bool {
    let moment = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    let ready = poll(&mut polled, reapers_live.then_some(&moment));
    ready.is_ok_and(|count| count > 0)
}

/// Reaps reapers. One that did not end well leaves orphans, which are killed.
fn reap(reapers: &mut HashSet<Pid>) {
    let mut stray = false;
    while let Some((pid, status)) = reap_one() {
        let ended_well = reapers.remove(&pid) && status.exit_status() == Some(0);
        stray |= !ended_well;
    }
    if stray {
        sweep(reapers);
    }
}

/// Waits until a reaper that is dying is dead, and everything of its run too. Its sockets close
/// before it can be reaped, so whoever asks may be early.
fn settle(reaper: i32, reapers: &mut HashSet<Pid>) -> bool {
    let reaper = Pid::from_raw(reaper);
    let deadline = Instant::now() + PATIENCE;
    while reaper.is_some_and(|pid| reapers.contains(&pid)) && Instant::now() < deadline {
        reap(reapers);
        pause(Duration::from_millis(1));
    }
    if let Some(reaper) = reaper {
        // One that will not die is a stray itself.
        reapers.remove(&reaper);
    }
    sweep(reapers)
}

fn settle_packet(reaper: i32) -> Packet {
    let [one, two, three, four] = reaper.to_le_bytes();
    [SETTLE, one, two, three, four]
}

fn launch(far: Vec<OwnedFd>, reapers: &mut HashSet<Pid>) {
    let Ok([control, stdin, stdout, stderr]) = <[OwnedFd; 4]>::try_from(far) else { return };
    match fork() {
        Ok(Fork::Child) => {
            // The spawner's socket is the spawner's alone: it must close when that dies. Its
            // standard output leads nowhere, which is as good an input.
            if dup2_stdin(io::stdout()).is_err() {
                exit(1);
            }
            reaper::serve(Ends { control, stdin, stdout, stderr })
        }
        Ok(Fork::Parent(pid)) => {
            reapers.insert(pid);
        }
        // Closing the control socket tells the server.
        Err(_) => {}
    }
}

fn answer(far: Vec<OwnedFd>, clean: bool) {
    let Some(far) = far.into_iter().next() else { return };
    let answer = if clean { b"y" } else { b"n" };
    // Perhaps nobody waits for it any more.
    UnixStream::from(far).write_all(answer).unwrap_or_default();
}

fn receive_packet(socket: BorrowedFd<'_>) -> io::Result<Option<(Packet, Vec<OwnedFd>)>> {
    let mut packet = Packet::default();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut packet)], &mut ancillary, flags)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut far = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            far.extend(descriptors);
        }
    }
    Ok(Some((packet, far)))
}
