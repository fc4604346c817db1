//! One confined process: launches it, feeds it, drains it within bounds, and learns how it
//! ended. Whatever happens, this returns only when nothing of it is left, or says that it failed
//! to see to that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::TerminalSize;
use sandbox::{Assignment, Cell, Ended, LaunchError, Policy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::watch;

use crate::live::{Inlet, Live};
use crate::log::Gauge;
use crate::supervisor::{Drained, Streams, Supervisor, size_of};

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
#[derive(Debug)]
pub(crate) struct Traffic<'a> {
    /// Standard input, or the first of it.
    pub(crate) input: Bytes,
    /// Whoever takes part in the run.
    pub(crate) live: Option<&'a mut Live>,
    /// Who is shown what it spends while it runs.
    pub(crate) gauge: Option<Gauge>,
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
    /// The same, on a terminal.
    OnTerminal(Policy, TerminalSize),
    /// The process that waits in the cell is told of it.
    HandOver(Assignment),
}

impl Start {
    fn wall_ms(&self) -> u64 {
        match self {
            Self::Launch(policy) | Self::OnTerminal(policy, _) => policy.limits.wall_ms,
            Self::HandOver(assignment) => assignment.limits.wall_ms,
        }
    }
}

/// Runs one process to its end.
pub(crate) async fn run<S: Sink>(
    cell: &mut Cell,
    start: &Start,
    traffic: Traffic<'_>,
    sinks: (S, S),
) -> Result<Finished, Fault> {
    let launched = Instant::now();
    let running = match start {
        Start::Launch(policy) => cell.launch(policy),
        Start::OnTerminal(policy, size) => cell.launch_on_terminal(policy, size_of(*size)),
        Start::HandOver(assignment) => cell.hand_over(assignment),
    };
    let running = match running {
        Err(LaunchError::Lost) => return Err(Fault::LostEarly),
        running => running?,
    };
    let Streams { stdin, stdout, stderr, terminal, control } = Streams::of(running)?;
    let (inlet, controls) = match traffic.live {
        Some(Live { inlet, controls, .. }) => (Some(inlet), Some(controls)),
        None => (None, None),
    };
    let mut supervisor = Supervisor::new(control, launched, (controls, traffic.gauge), terminal)?;
    let drained = Arc::new(Drained::default());
    let feeding = feed(stdin, traffic.input, inlet, Arc::clone(&drained));
    tokio::pin!(feeding);
    let mut is_fed = false;
    let drain =
        |from, stream, sink| drain(from, stream, sink, traffic.output, Arc::clone(&drained));
    let streams = async {
        tokio::join!(drain(stdout, Stream::Stdout, sinks.0), drain(stderr, Stream::Stderr, sinks.1),)
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
            () = &mut feeding, if !is_fed => is_fed = true,
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
    let (stdout, stderr) = captured.ok_or(Fault::Unread)?;
    Ok(Finished { ended, stdout, stderr, start: supervisor.start.unwrap_or_default() })
}

/// How long after its last moment a run may take to be told as ended. Beyond it, something hangs
/// inside the kernel.
const OVERDUE: Duration = Duration::from_secs(30);

/// How long the last output of a dead process may take to be read and passed on.
const DRAIN_PATIENCE: Duration = Duration::from_secs(15);

/// How much of the end of a stream is kept.
const TAIL_BYTES: usize = crate::verdict::LAST_WORDS_BYTES;

/// Writes the input, and what comes later. A program that does not read it is its own business.
async fn feed(
    mut stdin: pipe::Sender,
    input: Bytes,
    inlet: Option<&mut Inlet>,
    drained: Arc<Drained>,
) {
    stdin.write_all(&input).await.unwrap_or_default();
    let Some(inlet) = inlet else { return };
    // What comes later comes once, so it must not go to a process that is not there.
    drained.began.notified().await;
    inlet.pour(stdin).await;
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
