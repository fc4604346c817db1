//! Requests to end: signals, and the end of standard input where it matters.

use std::io::{self, Read as _};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Listens for requests to end this process.
#[derive(Debug)]
pub struct Ending {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
    stdin: Option<oneshot::Receiver<()>>,
}

impl Ending {
    /// Listens for SIGTERM and SIGINT, and with `end_with_stdin` for SIGHUP and the end of
    /// standard input. Needs a tokio runtime.
    pub fn listen(end_with_stdin: bool) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: end_with_stdin.then(|| signal(SignalKind::hangup())).transpose()?,
            stdin: end_with_stdin.then(end_of_stdin),
        })
    }

    /// Waits for the next request. May be dropped and called again.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = hang_up(&mut self.hang_up) => {}
            () = stdin(&mut self.stdin) => {}
        }
    }
}

async fn hang_up(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

async fn stdin(end: &mut Option<oneshot::Receiver<()>>) {
    match end {
        Some(receiver) => drop(receiver.await),
        None => std::future::pending().await,
    }
    // It ends once.
    *end = None;
}

/// Tells when standard input ends. Nobody waits for the thread: it ends with the process.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (ended, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 512];
        while io::stdin().read(&mut ignored).is_ok_and(|count| count > 0) {}
        ended.send(()).unwrap_or_default();
    });
    receiver
}
