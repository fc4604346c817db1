//! The server's side of one process: its streams, and the socket on which the reaper tells of it and
//! is told what is to happen to it.

use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant as StdInstant};

use protocol::TerminalSize;
use sandbox::{ASK_USAGE, Ended, Message, Running, Size, Stop, Terminal};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::live::Control;
use crate::log::Gauge;
use crate::process::Fault;

/// How often the reaper is asked what the run has spent, if anybody is shown that.
const ASK_PERIOD: Duration = Duration::from_millis(500);

/// What the readers of both streams share.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    pub(crate) bytes: AtomicU64,
    pub(crate) too_much: Notify,
    pub(crate) unwanted: Notify,
    /// The program has a process that will not be replaced by another.
    pub(crate) began: Notify,
}

/// The near ends of a program's streams.
pub(crate) struct Streams {
    pub(crate) stdin: pipe::Sender,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
    pub(crate) terminal: Option<Terminal>,
    pub(crate) control: StdUnixStream,
}

impl Streams {
    pub(crate) fn of(running: Running) -> std::io::Result<Self> {
        let Running { stdin, stdout, stderr, terminal, control } = running;
        // Reading and writing are the same for the near end of a terminal, which never blocks.
        let (stdin, stdout) = match terminal {
            None => (pipe::Sender::from_owned_fd(stdin)?, pipe::Receiver::from_owned_fd(stdout)?),
            Some(_) => (
                pipe::Sender::from_owned_fd_unchecked(stdin)?,
                pipe::Receiver::from_owned_fd_unchecked(stdout)?,
            ),
        };
        let stderr = pipe::Receiver::from_owned_fd(stderr)?;
        Ok(Self { stdin, stdout, stderr, terminal, control })
    }
}

/// The server's side of a run's control socket.
pub(crate) struct Supervisor<'a> {
    socket: UnixStream,
    buffer: Vec<u8>,
    began: bool,
    launched: StdInstant,
    pub(crate) start: Option<Duration>,
    stopped: bool,
    /// Words for the reaper that are not written yet.
    unsent: Vec<u8>,
    controls: Option<&'a mut mpsc::Receiver<Control>>,
    /// Who is shown what the run spends, and when the reaper is asked for that.
    gauge: Option<Gauge>,
    asks: Interval,
    terminal: Option<Terminal>,
}

impl<'a> Supervisor<'a> {
    pub(crate) fn new(
        control: StdUnixStream,
        launched: StdInstant,
        (controls, gauge): (Option<&'a mut mpsc::Receiver<Control>>, Option<Gauge>),
        terminal: Option<Terminal>,
    ) -> std::io::Result<Self> {
        control.set_nonblocking(true)?;
        let mut asks = interval_at(Instant::from_std(launched) + ASK_PERIOD, ASK_PERIOD);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            socket: UnixStream::from_std(control)?,
            buffer: Vec::new(),
            began: false,
            launched,
            start: None,
            stopped: false,
            unsent: Vec::new(),
            controls,
            gauge,
            asks,
            terminal,
        })
    }

    /// Listens to the reaper until the end is told. May be dropped and called again.
    pub(crate) async fn until_end(
        &mut self,
        mut cancelled: watch::Receiver<bool>,
        drained: &Drained,
    ) -> Result<Ended, Fault> {
        loop {
            self.tell().await;
            tokio::select! {
                message = next_message(&mut self.socket, &mut self.buffer) => {
                    match message? {
                        Some(Message::Hello { .. } | Message::Ready { .. }) => {}
                        Some(Message::Gone) => return Err(Fault::Gone),
                        Some(Message::Accepted) => {
                            self.began = true;
                            drained.began.notify_one();
                        }
                        Some(Message::Started) => self.start = Some(self.launched.elapsed()),
                        Some(Message::Usage(usage)) => {
                            self.gauge.as_ref().map(|it| it.show(usage)).unwrap_or_default();
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
                () = drained.too_much.notified(), if !self.stopped => self.stop(Stop::Output),
                () = drained.unwanted.notified(), if !self.stopped => self.stop(Stop::Cancelled),
                () = is_true(&mut cancelled), if !self.stopped => self.stop(Stop::Cancelled),
                // A reaper listens once the program is there.
                _ = self.asks.tick(), if self.gauge.is_some() && self.start.is_some() => {
                    self.unsent.push(ASK_USAGE);
                }
                control = next_control(&mut self.controls), if self.start.is_some() => {
                    match control {
                        Control::Signal(signal) => self.unsent.push(signal.byte()),
                        Control::Resize(size) => self.resize(size),
                    }
                }
            }
        }
    }

    fn stop(&mut self, why: Stop) {
        self.stopped = true;
        self.unsent.push(why.byte());
    }

    /// Writes what is not written yet. May be dropped and called again.
    async fn tell(&mut self) {
        while !self.unsent.is_empty() {
            // A socket that is new is not known to take anything yet, and no word must be lost.
            self.socket.writable().await.unwrap_or_default();
            match self.socket.try_write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // If the reaper is gone, so is the run.
                Err(_) => self.unsent.clear(),
            }
        }
    }

    /// A program without a terminal has no size.
    fn resize(&self, size: TerminalSize) {
        let resized = self.terminal.as_ref().map(|it| it.resize(size_of(size)));
        resized.transpose().map(drop).unwrap_or_default();
    }
}

pub(crate) fn size_of(TerminalSize { cols, rows }: TerminalSize) -> Size {
    Size { cols, rows }
}

/// What is to happen to the program next; waits for ever where nobody can say.
async fn next_control(controls: &mut Option<&mut mpsc::Receiver<Control>>) -> Control {
    match controls {
        Some(controls) => match controls.recv().await {
            Some(control) => control,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
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
