//! A document in a process of its own. The library that keeps it has faults that nothing in a process
//! can catch: changes that pass every check here make it take all memory, go on for hours, end the
//! process, or use memory that it gave back. There it does so alone, with limits, and without rights.

mod confine;

use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::ask::{Answer, Ask, answer, hear_answer};
use crate::document::{Document, Refused};

/// The only argument of such a process.
const ARGUMENT: &str = "room-document";
/// What somebody sees who lists processes.
const NAME: &str = "flotilla-document";
/// This program, also where its file was replaced since.
const PROGRAM: &str = "/proc/self/exe";
/// What one thing may take of a processor.
const CPU_MAX: Duration = Duration::from_secs(5);
/// How long it may take in all, on a machine that has much to do.
const TIME_MAX: Duration = Duration::from_secs(20);
/// How often both are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Before the other side is not waited for any more.
const PATIENCE: Duration = Duration::from_secs(22);
/// How a process ends that took too long in all, and not of a processor.
const LATE: u8 = 75;
/// Signals that only others send: the kernel where memory is short, and operators.
const SENT: [i32; 5] = [libc::SIGKILL, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];
/// How long a process may take to end that speaks no more.
const LAST_MOMENTS: Duration = Duration::from_secs(1);
/// The stack of the thread that does it: the library deletes what is nested by recursion.
const STACK_BYTES: usize = 64 << 20;

/// The process of one document. It ends with this.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    socket: UnixStream,
}

impl Process {
    /// Starts one, and waits until it answers: whatever ends it before has broken at nothing.
    pub(crate) fn start() -> Result<Self, Refused> {
        let mut process = Self::try_start().map_err(|error| {
            tracing::error!("the process of a document cannot be started: {error}");
            Refused::Lost
        })?;
        process.ask(&Ask::StateVector).or(Err(Refused::Lost))?;
        Ok(process)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that starts them")]
    fn try_start() -> io::Result<Self> {
        let (socket, far) = UnixStream::pair()?;
        // What it inherits is its socket, and where it may tell of its end.
        let child = Command::new(PROGRAM)
            .arg0(NAME)
            .arg(ARGUMENT)
            .env_clear()
            .current_dir("/")
            // What a terminal tells its foreground is the gateway's to hear.
            .process_group(0)
            .stdin(OwnedFd::from(far))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { child, socket })
    }

    /// Has the document do something.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Result<Answer, Refused> {
        // Other rooms go on meanwhile.
        tokio::task::block_in_place(|| {
            self.exchange(ask).unwrap_or_else(|error| {
                let is_others_doing = self.ended_by_others(&error);
                let ended = self.end();
                tracing::error!("the process of a document ended at a change: {error}; {ended}");
                Err(if is_others_doing { Refused::Lost } else { Refused::Broken })
            })
        })
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn exchange(&mut self, ask: &Ask) -> io::Result<Result<Answer, Refused>> {
        let mut socket = Until { end: Instant::now() + PATIENCE, socket: &self.socket };
        ask.say(&mut socket)?;
        hear_answer(&mut socket)
    }

    /// Whether somebody else ended it, or a machine that stood still: it cannot send itself a signal.
    fn ended_by_others(&mut self, error: &io::Error) -> bool {
        // This process ends one that says nothing.
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            return false;
        }
        let until = Instant::now() + LAST_MOMENTS;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => pause(),
                Ok(Some(status)) => {
                    let is_late = status.code() == Some(LATE.into());
                    return is_late || status.signal().is_some_and(|it| SENT.contains(&it));
                }
                _ => return false,
            }
        }
    }

    /// Ends it, and says how it did.
    fn end(&mut self) -> String {
        // One that has ended is not killed.
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

/// Speaks with a process that may be anybody's by now, for no longer than this.
struct Until<'a> {
    socket: &'a UnixStream,
    end: Instant,
}

impl Until<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing else is done on this thread meanwhile")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether this process is to keep a document, by its arguments.
pub fn is_document(mut arguments: impl Iterator<Item = String>) -> bool {
    arguments.nth(1).as_deref() == Some(ARGUMENT)
}

/// Keeps a document for the process that started this one, until that ends. It may have no other
/// thread yet.
///
/// It ends by itself, and with failure, if something takes more than 5 s of a processor, 20 s in all or
/// 512 MiB.
pub fn serve_document() -> ExitCode {
    let served = io::stdin().as_fd().try_clone_to_owned().and_then(|it| serve(it.into()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => ExitCode::from(LATE),
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(mut socket: UnixStream) -> io::Result<()> {
    confine::limit();
    let (order, ordered) = mpsc::channel::<Ask>();
    let (done, outcome) = mpsc::channel();
    let work = move || {
        let mut document = Document::new();
        for ask in ordered {
            if done.send(ask.of(&mut document)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work)?;
    confine::confine();
    while let Some(ask) = Ask::hear(&mut socket)? {
        order.send(ask).map_err(io::Error::other)?;
        answer(&mut socket, in_time(&outcome)?)?;
    }
    Ok(())
}

/// Waits for what comes of something while that takes no more than it may.
fn in_time<T>(outcome: &mpsc::Receiver<T>) -> io::Result<T> {
    let (began, spent_max) = (Instant::now(), spent() + CPU_MAX);
    loop {
        let (is_late, is_spent) = (began.elapsed() >= TIME_MAX, spent() >= spent_max);
        match outcome.recv_timeout(LOOK) {
            Err(mpsc::RecvTimeoutError::Timeout) if !is_late && !is_spent => {}
            Err(mpsc::RecvTimeoutError::Timeout) if !is_spent => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            outcome => return outcome.map_err(io::Error::other),
        }
    }
}

/// What this process has had of processors.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.try_into().unwrap_or_default()
}
