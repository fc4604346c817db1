//! One confined process: launches it, feeds it, drains it within bounds, and learns how it
//! ended. Whatever happens, this returns only when nothing of it is left, or says that it failed
//! to see to that.

use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sandbox::{Assignment, Cell, Ended, LaunchError, Message, Policy, Stop};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, watch};

/// Why we could not run a process, or lost it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It never started.
    #[error("the run could not be launched: {0}")]
    Launch(#[from] LaunchError),
    /// A step of its confinement failed.
    #[error("the step `{step}` of the launch failed (error {errno})")]
    Step {
        /// Which one.
        step: String,
        /// The system's error number.
        errno: i32,
    },
    /// The system refused a descriptor or the like.
    #[error("the system refused to serve the run: {0}")]
    System(#[from] std::io::Error),
    /// The process that waited for it is gone; nothing of it ran.
    #[error("the process that waited for the run is gone")]
    Gone,
    /// Its supervisor died before it had done anything.
    #[error("the run's supervisor died before it did anything")]
    LostEarly,
    /// Its supervisor died while it ran.
    #[error("the run's supervisor died; the run was stopped")]
    Lost,
    /// It ended, and whoever reads its output takes too long over it.
    #[error("the output was not read in time; the run was stopped")]
    Unread,
    /// Something of it could not be killed; the slot is out of service.
    #[error("the run could not be cleaned up; its slot is out of service")]
    Unclean,
}

/// Where the output of a process goes while it runs. Returning false stops the process.
pub(crate) trait Sink: Send {
    /// Takes bytes of standard output, or of standard error.
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> impl Future<Output = bool> + Send;

    /// Learns that the stream ended, and whether more was written than was passed on.
    fn finish(self, stream: Stream, truncated: bool) -> impl Future<Output = ()> + Send;
}

/// One of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Bounds on what is read of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputBounds {
    /// Kept of each stream, in bytes.
    pub(crate) keep: usize,
    /// Both together, in bytes, beyond which the process is stopped.
    pub(crate) kill: u64,
}

/// The head of one stream.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// What was kept.
    pub(crate) head: Vec<u8>,
    /// The last bytes that were written, whether they were kept or not.
    pub(crate) tail: Vec<u8>,
    /// Whether more was written than was kept.
    pub(crate) truncated: bool,
}

/// A process that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) ended: Ended,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
    /// From the launch to the program's first instruction.
    pub(crate) start: Duration,
}

/// What a process is fed and what it may say.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    /// Standard input.
    pub(crate) input: Bytes,
    /// Bounds on its output.
    pub(crate) output: OutputBounds,
    /// Turns true when nobody wants the run any more.
    pub(crate) cancelled: watch::Receiver<bool>,
}

/// How a program gets its process.
#[derive(Debug)]
pub(crate) enum Start {
    /// It is started.
    Launch(Policy),
    /// The process that waits in the cell is told of it.
    HandOver(Assignment),
}

impl Start {
    fn wall_ms(&self) -> u64 {
        match self {
            Self::Launch(policy) => policy.limits.wall_ms,
            Self::HandOver(assignment) => assignment.limits.wall_ms,
        }
    }
}

/// Runs one process to its end.
pub(crate) async fn run<S: Sink>(
    cell: &mut Cell,
    start: &Start,
    traffic: Traffic,
    sinks: (S, S),
) -> Result<Finished, Fault> {
    let launched = Instant::now();
    let running = match start {
        Start::Launch(policy) => cell.launch(policy),
        Start::HandOver(assignment) => cell.hand_over(assignment),
    };
    let running = match running {
        Err(LaunchError::Lost) => return Err(Fault::LostEarly),
        running => running?,
    };
    let stdin = pipe::Sender::from_owned_fd(running.stdin)?;
    let stdout = pipe::Receiver::from_owned_fd(running.stdout)?;
    let stderr = pipe::Receiver::from_owned_fd(running.stderr)?;
    let mut supervisor = Supervisor::new(running.control, launched)?;
    let drained = Arc::new(Drained::default());
    let drain =
        |from, stream, sink| drain(from, stream, sink, traffic.output, Arc::clone(&drained));
    let streams = async {
        tokio::join!(
            feed(stdin, traffic.input),
            drain(stdout, Stream::Stdout, sinks.0),
            drain(stderr, Stream::Stderr, sinks.1),
        )
    };
    tokio::pin!(streams);
    let mut captured = None;
    let overdue = tokio::time::sleep(Duration::from_millis(start.wall_ms()) + OVERDUE);
    tokio::pin!(overdue);
    let outcome = loop {
        tokio::select! {
            () = &mut overdue => break Err(Fault::Unclean),
            outcome = supervisor.until_end(traffic.cancelled.clone(), &drained) => break outcome,
            done = &mut streams, if captured.is_none() => captured = Some(done),
        }
    };
    // Every writer is dead, so the streams end, unless their reader is slow.
    if captured.is_none() {
        captured = tokio::time::timeout(DRAIN_PATIENCE, streams).await.ok();
    }
    let ended = outcome?;
    if !ended.clean {
        return Err(Fault::Unclean);
    }
    let ((), stdout, stderr) = captured.ok_or(Fault::Unread)?;
    Ok(Finished { ended, stdout, stderr, start: supervisor.start })
}

/// How long after its last moment a run may take to be told as ended. Beyond it, something hangs
/// inside the kernel.
const OVERDUE: Duration = Duration::from_secs(30);

/// How long the last output of a dead process may take to be read and passed on.
const DRAIN_PATIENCE: Duration = Duration::from_secs(15);

/// How much of the end of a stream is kept.
const TAIL_BYTES: usize = crate::verdict::LAST_WORDS_BYTES;

/// What the readers of both streams share.
#[derive(Debug, Default)]
struct Drained {
    bytes: AtomicU64,
    too_much: Notify,
    unwanted: Notify,
}

/// The server's side of a run's control socket.
struct Supervisor {
    socket: UnixStream,
    buffer: Vec<u8>,
    began: bool,
    launched: Instant,
    start: Duration,
    stopped: bool,
}

impl Supervisor {
    fn new(control: StdUnixStream, launched: Instant) -> std::io::Result<Self> {
        control.set_nonblocking(true)?;
        let socket = UnixStream::from_std(control)?;
        let start = Duration::ZERO;
        Ok(Self { socket, buffer: Vec::new(), began: false, launched, start, stopped: false })
    }

    /// Listens to the reaper until the end is told. May be dropped and called again.
    async fn until_end(
        &mut self,
        mut cancelled: watch::Receiver<bool>,
        drained: &Drained,
    ) -> Result<Ended, Fault> {
        loop {
            tokio::select! {
                message = next_message(&mut self.socket, &mut self.buffer) => {
                    match message? {
                        Some(Message::Hello { .. } | Message::Ready { .. }) => {}
                        Some(Message::Gone) => return Err(Fault::Gone),
                        Some(Message::Accepted) => self.began = true,
                        Some(Message::Started) => {
                            self.start = self.launched.elapsed();
                        }
                        Some(Message::Ended(ended)) => return Ok(ended),
                        Some(Message::Failed { step, errno }) => {
                            return Err(Fault::Step { step, errno });
                        }
                        // A reaper accepts before it does anything.
                        None if self.began => return Err(Fault::Lost),
                        None => return Err(Fault::LostEarly),
                    }
                }
                () = drained.too_much.notified(), if !self.stopped => self.stop(Stop::Output).await,
                () = drained.unwanted.notified(), if !self.stopped => self.stop(Stop::Cancelled).await,
                () = is_true(&mut cancelled), if !self.stopped => self.stop(Stop::Cancelled).await,
            }
        }
    }

    async fn stop(&mut self, why: Stop) {
        // A socket that is new is not known to take anything yet, and a stop must not be lost.
        self.socket.writable().await.unwrap_or_default();
        self.stopped = true;
        // One byte always fits; if the reaper is gone, so is the run.
        self.socket.try_write(&[why.byte()]).unwrap_or_default();
    }
}

async fn next_message(
    socket: &mut UnixStream,
    buffer: &mut Vec<u8>,
) -> Result<Option<Message>, Fault> {
    loop {
        if let Some(message) = Message::decode(buffer)? {
            return Ok(Some(message));
        }
        // Reading into the buffer is safe against being dropped in between.
        match socket.read_buf(buffer).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

async fn is_true(cancelled: &mut watch::Receiver<bool>) {
    if cancelled.wait_for(|yes| *yes).await.is_err() {
        // Nobody can cancel any more.
        std::future::pending::<()>().await;
    }
}

/// Writes the input. A program that does not read it is its own business.
async fn feed(mut stdin: pipe::Sender, input: Bytes) {
    stdin.write_all(&input).await.unwrap_or_default();
}

/// Reads a stream to its end; keeps and passes on the head.
async fn drain<S: Sink>(
    mut from: pipe::Receiver,
    stream: Stream,
    mut sink: S,
    bounds: OutputBounds,
    drained: Arc<Drained>,
) -> Captured {
    let mut captured = Captured::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        let before = drained.bytes.fetch_add(count as u64, Ordering::AcqRel);
        if before + count as u64 > bounds.kill {
            drained.too_much.notify_one();
        }
        keep_tail(&mut captured.tail, bytes);
        let room = bounds.keep - captured.head.len();
        let kept = bytes.get(..room.min(count)).unwrap_or_default();
        captured.truncated |= kept.len() < count;
        captured.head.extend_from_slice(kept);
        if !kept.is_empty() && !sink.take(stream, kept).await {
            drained.unwanted.notify_one();
        }
    }
    sink.finish(stream, captured.truncated).await;
    captured
}

/// Keeps at least the last bytes, and at most twice as many, so that few of them are ever moved.
fn keep_tail(tail: &mut Vec<u8>, bytes: &[u8]) {
    tail.extend_from_slice(bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default());
    if tail.len() > 2 * TAIL_BYTES {
        tail.drain(..tail.len() - TAIL_BYTES);
    }
}
