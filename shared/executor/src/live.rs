//! What reaches a program while it runs: more input and its end, signals, and the size of its
//! terminal. Whoever sends has a key to the run that nobody can guess.
//!
//! Invariant: a piece of input that comes twice is written once, so whoever lost an answer may send
//! again; and what waits for the program is one piece.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::{Interactive, TerminalSize};
use sandbox::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};

/// Signals and sizes that may wait for a program to be there.
const CONTROLS_MAX: usize = 32;

/// What a terminal takes for the end of its input.
const END_OF_TRANSMISSION: u8 = 4;

/// The name of a run for whoever takes part in it: a secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RunKey(String);

impl std::fmt::Debug for RunKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RunKey")
    }
}

impl RunKey {
    /// Takes 32 to 64 hexadecimal digits for one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_hex = text.bytes().all(|it| it.is_ascii_hexdigit());
        (is_hex && (32..=64).contains(&text.len())).then(|| Self(text.to_owned()))
    }
}

/// More input of a run.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Bytes of the run's input that come before these.
    pub(crate) from: u64,
    /// The bytes.
    pub(crate) bytes: Bytes,
    /// How often the input has ended behind them. That of a pipe ends once; that of a terminal is
    /// typed.
    pub(crate) ends: u64,
}

/// What happens to a program beside its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// It gets a signal.
    Signal(Signal),
    /// Its terminal changes.
    Resize(TerminalSize),
}

/// How far a run's input is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Ends.
    pub(crate) ends: u64,
    /// Whether nothing more can be.
    pub(crate) is_closed: bool,
}

/// The run's side. Dropping it makes the run unknown.
#[derive(Debug)]
pub(crate) struct Live {
    /// The terminal that it wants.
    pub(crate) terminal: Option<TerminalSize>,
    /// Signals and sizes.
    pub(crate) controls: mpsc::Receiver<Control>,
    /// Further input.
    pub(crate) inlet: Inlet,
    _known: Known,
}

/// Where further input of a run comes from.
#[derive(Debug)]
pub(crate) struct Inlet {
    /// None if the first input is all.
    pieces: Option<mpsc::Receiver<Piece>>,
    written: watch::Sender<Written>,
    is_terminal: bool,
}

/// The side of whoever takes part in a run.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    pub(crate) pieces: mpsc::Sender<Piece>,
    pub(crate) written: watch::Receiver<Written>,
    /// Stops the run when it turns true.
    pub(crate) cancel: watch::Sender<bool>,
    controls: mpsc::Sender<Control>,
    serial: Arc<AtomicU64>,
}

impl Lines {
    /// Passes something on, unless it has come before. The error says that there is no room, or
    /// nobody.
    pub(crate) fn control(&self, serial: u64, control: Control) -> Result<(), NotTaken> {
        if self.serial.load(Ordering::Acquire) >= serial {
            return Ok(());
        }
        self.controls.try_send(control).map_err(|_full_or_gone| NotTaken)?;
        self.serial.fetch_max(serial, Ordering::AcqRel);
        Ok(())
    }
}

/// A run has too much to do already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotTaken;

/// Every run that somebody has a key of.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveRuns(Arc<Mutex<HashMap<RunKey, Lines>>>);

/// A run that is known by its key until this is dropped.
#[derive(Debug)]
struct Known {
    runs: LiveRuns,
    key: RunKey,
}

impl LiveRuns {
    /// Makes a run known; none if the key is another's. `cancel` is to stop it.
    pub(crate) fn open(
        &self,
        key: RunKey,
        interactive: Option<Interactive>,
        cancel: watch::Sender<bool>,
    ) -> Option<Live> {
        let (pieces, coming) = mpsc::channel(1);
        let (controls, controlling) = mpsc::channel(CONTROLS_MAX);
        let (writing, written) = watch::channel(Written::default());
        let serial = Arc::default();
        let lines = Lines { pieces, written, cancel, controls, serial };
        let mut runs = self.lock();
        if runs.contains_key(&key) {
            return None;
        }
        runs.insert(key.clone(), lines);
        let terminal = interactive.and_then(|it| it.terminal);
        let inlet = Inlet {
            pieces: interactive.is_some().then_some(coming),
            written: writing,
            is_terminal: terminal.is_some(),
        };
        let known = Known { runs: self.clone(), key };
        Some(Live { terminal, controls: controlling, inlet, _known: known })
    }

    /// The run of a key.
    pub(crate) fn find(&self, key: &RunKey) -> Option<Lines> {
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunKey, Lines>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.runs.lock().remove(&self.key);
    }
}

impl Inlet {
    /// Writes what comes, until the input ends or nobody reads it any more. May be dropped
    /// whenever the program is over.
    pub(crate) async fn pour(&mut self, mut stdin: pipe::Sender) {
        let Some(pieces) = &mut self.pieces else { return };
        let mut last = b'\n';
        while let Some(piece) = pieces.recv().await {
            let before = *self.written.borrow();
            if piece.from > before.bytes {
                // Something is missing in between: whoever sent it learns how far we are.
                continue;
            }
            let known = usize::try_from(before.bytes - piece.from).unwrap_or(usize::MAX);
            let mut left = piece.bytes.get(known..).unwrap_or_default();
            while let (false, Some(end)) = (left.is_empty(), left.last()) {
                let Ok(count @ 1..) = stdin.write(left).await else {
                    self.written.send_modify(|it| it.is_closed = true);
                    return;
                };
                last = *end;
                left = left.get(count..).unwrap_or_default();
                self.written.send_modify(|it| it.bytes += count as u64);
            }
            for _ in before.ends..piece.ends {
                if !self.is_terminal {
                    self.written
                        .send_modify(|it| *it = Written { ends: 1, is_closed: true, ..*it });
                    return;
                }
                // The first one only hands over a line that was begun.
                let typed: &[u8] = if matches!(last, b'\n' | b'\r' | END_OF_TRANSMISSION) {
                    &[END_OF_TRANSMISSION]
                } else {
                    &[END_OF_TRANSMISSION; 2]
                };
                last = END_OF_TRANSMISSION;
                stdin.write_all(typed).await.unwrap_or_default();
                self.written.send_modify(|it| it.ends += 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn open(interactive: bool) -> (LiveRuns, Live, Lines) {
        let runs = LiveRuns::default();
        let key = RunKey::parse(&"a1".repeat(16)).unwrap();
        let detach_timeout = std::time::Duration::from_secs(1);
        let interactive = interactive.then_some(Interactive { terminal: None, detach_timeout });
        let live = runs.open(key.clone(), interactive, watch::Sender::new(false)).unwrap();
        let lines = runs.find(&key).unwrap();
        (runs, live, lines)
    }

    fn piece(from: u64, text: &'static str, ends: u64) -> Piece {
        Piece { from, bytes: Bytes::from_static(text.as_bytes()), ends }
    }

    #[test]
    fn a_key_is_what_nobody_guesses() {
        for bad in ["", "a1", &"g0".repeat(16), &"a".repeat(65)] {
            assert!(RunKey::parse(bad).is_none(), "{bad}");
        }
        let (runs, live, _) = open(true);
        let key = RunKey::parse(&"a1".repeat(16)).unwrap();
        assert!(runs.open(key.clone(), None, watch::Sender::new(false)).is_none());
        drop(live);
        assert!(runs.find(&key).is_none());
    }

    #[tokio::test]
    async fn what_comes_twice_is_written_once_and_gaps_are_not() {
        let (_runs, mut live, lines) = open(true);
        let (stdin, mut program) = pipe::pipe().unwrap();
        let sending = async {
            for it in [
                piece(0, "ab", 0),
                piece(0, "abc", 0),
                piece(9, "lost", 0),
                piece(2, "c", 0),
                piece(3, "d", 1),
            ] {
                lines.pieces.send(it).await.unwrap();
            }
        };
        tokio::join!(sending, live.inlet.pour(stdin));
        let mut read = String::new();
        program.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "abcd");
        let written = *lines.written.borrow();
        assert_eq!(written, Written { bytes: 4, ends: 1, is_closed: true });
    }

    #[tokio::test]
    async fn a_program_that_closed_its_input_takes_no_more() {
        let (_runs, mut live, lines) = open(true);
        let (stdin, program) = pipe::pipe().unwrap();
        drop(program);
        lines.pieces.send(piece(0, "x", 0)).await.unwrap();
        live.inlet.pour(stdin).await;
        assert!(lines.written.borrow().is_closed);
    }

    #[test]
    fn a_control_counts_once() {
        let (_runs, mut live, lines) = open(false);
        let control = Control::Signal(Signal::Interrupt);
        assert_eq!(lines.control(1, control), Ok(()));
        assert_eq!(lines.control(1, control), Ok(()));
        assert_eq!(live.controls.try_recv(), Ok(control));
        assert!(live.controls.try_recv().is_err());
        let all = (2..100).flat_map(|it| lines.control(it, control)).count();
        assert_eq!(all, CONTROLS_MAX);
    }
}
