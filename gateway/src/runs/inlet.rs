//! What was typed into a run and is not read by its program yet. Everything is counted in bytes from
//! the run's beginning, and what those typed who have a name by itself, so that whoever lost a
//! connection knows what got through, and what comes twice counts once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::web::Bytes;
use serde::Deserialize;
use tokio::sync::watch;

/// Bytes that may wait for the program.
pub(crate) const BYTES_MAX: usize = 64 << 10;

/// Bytes that are passed on at a time.
const PIECE_BYTES_MAX: usize = 32 << 10;

/// Ends of a terminal's input that may wait.
const ENDS_MAX: usize = 64;

/// Named ones whose bytes are counted; whoever typed longest ago is forgotten.
const TYPISTS_MAX: usize = 64;

/// What was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How much in all: of whoever typed, if that has a name, and otherwise of everybody.
    pub(crate) bytes: u64,
    /// How much of what was typed had not come before.
    pub(crate) fresh: usize,
}

/// Why something that was typed is not taken. With each of them: how much was taken in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// The program has not read enough of what came before.
    Full(u64),
    /// Something is missing before it.
    Gap(u64),
    /// The input has ended.
    Closed(u64),
}

/// A piece for the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) from: u64,
    pub(crate) bytes: Bytes,
    /// How often the input has ended behind it.
    pub(crate) ends: u64,
}

/// How far the executor has written.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) ends: u64,
    pub(crate) is_closed: bool,
}

/// The input of one run.
#[derive(Debug)]
pub(crate) struct Inlet {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether an end is typed, and more may follow it.
    is_terminal: bool,
    /// Bytes that were taken in all.
    accepted: u64,
    /// Bytes that were taken of each who has a name; the last to type comes last.
    typists: VecDeque<(String, u64)>,
    /// Bytes that were written in all.
    written: u64,
    waiting: VecDeque<u8>,
    /// Behind how many bytes the input ends.
    ends: VecDeque<u64>,
    ends_written: u64,
    is_closed: bool,
}

impl Inlet {
    /// An input of which nothing is typed yet.
    pub(crate) fn new(is_terminal: bool) -> Self {
        let state = Mutex::new(State { is_terminal, ..State::default() });
        Self { state, changes: watch::Sender::new(()) }
    }

    /// Takes what was typed. With `from`, only what lies behind the bytes that were taken before.
    pub(crate) fn type_in(
        &self,
        who: Option<&str>,
        from: Option<u64>,
        bytes: &[u8],
    ) -> Result<Taken, NotTaken> {
        let mut state = self.lock();
        // Whoever is not known, or not any more, knows best.
        let before = state.taken_of(who).or(from).unwrap_or(0);
        let from = from.unwrap_or(before);
        if from > before {
            return Err(NotTaken::Gap(before));
        }
        let known = usize::try_from(before - from).unwrap_or(usize::MAX);
        let fresh = bytes.get(known..).unwrap_or_default();
        if fresh.is_empty() {
            return Ok(Taken { bytes: before, fresh: 0 });
        }
        if state.is_closed || (!state.is_terminal && !state.ends.is_empty()) {
            return Err(NotTaken::Closed(before));
        }
        if state.waiting.len() + fresh.len() > BYTES_MAX {
            return Err(NotTaken::Full(before));
        }
        state.waiting.extend(fresh);
        let taken = Taken { bytes: before + fresh.len() as u64, fresh: fresh.len() };
        state.accepted += fresh.len() as u64;
        if let Some(who) = who {
            state.note_typist(who, taken.bytes);
        }
        drop(state);
        self.changes.send_replace(());
        Ok(taken)
    }

    /// Ends the input behind what was typed.
    pub(crate) fn end(&self) -> Result<u64, NotTaken> {
        let mut state = self.lock();
        let accepted = state.accepted;
        if state.ends.len() >= ENDS_MAX {
            return Err(NotTaken::Full(accepted));
        }
        // That of a pipe ends once.
        let has_ended = state.is_closed || (!state.is_terminal && !state.ends.is_empty());
        if !has_ended {
            state.ends.push_back(accepted);
            drop(state);
            self.changes.send_replace(());
        }
        Ok(accepted)
    }

    /// What the program is to get next; waits until there is something.
    pub(crate) async fn next(&self) -> Piece {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(piece) = self.lock().next() {
                return piece;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Notes how far the executor has come.
    pub(crate) fn note(&self, told: Written) {
        self.lock().note(told);
        self.changes.send_replace(());
    }

    /// Whether there is room for at least half of what may wait.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.lock();
        state.waiting.len() <= BYTES_MAX / 2 && state.ends.len() <= ENDS_MAX / 2
    }

    /// How much was taken in all: of whoever has this name, or of everybody.
    pub(crate) fn taken_of(&self, who: Option<&str>) -> u64 {
        self.lock().taken_of(who).unwrap_or(0)
    }

    /// Learns of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// None for a name that is not known.
    fn taken_of(&self, who: Option<&str>) -> Option<u64> {
        let Some(who) = who else { return Some(self.accepted) };
        self.typists.iter().find(|(name, _)| name == who).map(|(_, bytes)| *bytes)
    }

    fn note_typist(&mut self, who: &str, bytes: u64) {
        self.typists.retain(|(name, _)| name != who);
        if self.typists.len() >= TYPISTS_MAX {
            self.typists.pop_front();
        }
        self.typists.push_back((who.to_owned(), bytes));
    }

    fn next(&self) -> Option<Piece> {
        if self.is_closed {
            return None;
        }
        let to_end = self.ends.front().map(|end| end.saturating_sub(self.written));
        let to_end = to_end.and_then(|it| usize::try_from(it).ok()).unwrap_or(usize::MAX);
        let count = self.waiting.len().min(PIECE_BYTES_MAX).min(to_end);
        let ends_here = self.ends.front().is_some() && count == to_end;
        if count == 0 && !ends_here {
            return None;
        }
        let bytes: Vec<u8> = self.waiting.iter().take(count).copied().collect();
        let ends = self.ends_written + u64::from(ends_here);
        Some(Piece { from: self.written, bytes: bytes.into(), ends })
    }

    fn note(&mut self, told: Written) {
        let fresh = told.bytes.saturating_sub(self.written);
        let fresh = usize::try_from(fresh).unwrap_or(usize::MAX).min(self.waiting.len());
        self.waiting.drain(..fresh);
        self.written += fresh as u64;
        while self.ends_written < told.ends && self.ends.pop_front().is_some() {
            self.ends_written += 1;
        }
        if told.is_closed {
            self.is_closed = true;
            self.waiting.clear();
            self.ends.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: u64, ends: u64) -> Written {
        Written { bytes, ends, is_closed: false }
    }

    fn taken(bytes: u64, fresh: usize) -> Taken {
        Taken { bytes, fresh }
    }

    #[test]
    fn what_comes_twice_counts_once() {
        let inlet = Inlet::new(false);
        assert_eq!(inlet.type_in(None, Some(0), b"abc"), Ok(taken(3, 3)));
        assert_eq!(inlet.type_in(None, Some(0), b"abc"), Ok(taken(3, 0)));
        assert_eq!(inlet.type_in(None, Some(1), b"bcd"), Ok(taken(4, 1)));
        assert_eq!(inlet.type_in(None, Some(9), b"x"), Err(NotTaken::Gap(4)));
        assert_eq!(inlet.type_in(None, None, b"e"), Ok(taken(5, 1)));
        assert_eq!(inlet.lock().next().unwrap().bytes, "abcde");
    }

    #[test]
    fn those_who_have_names_are_counted_apart() {
        let inlet = Inlet::new(false);
        let (ann, ben) = (Some("ann"), Some("ben"));
        assert_eq!(inlet.type_in(ann, Some(0), b"ab"), Ok(taken(2, 2)));
        assert_eq!(inlet.type_in(ben, Some(0), b"xyz"), Ok(taken(3, 3)));
        assert_eq!(inlet.type_in(ann, Some(0), b"ab"), Ok(taken(2, 0)), "that came before");
        assert_eq!(inlet.type_in(ann, Some(2), b"c"), Ok(taken(3, 1)));
        assert_eq!(inlet.type_in(ann, Some(4), b"d"), Err(NotTaken::Gap(3)));
        assert_eq!(inlet.type_in(None, Some(6), b"!"), Ok(taken(7, 1)), "all of it");
        assert_eq!((inlet.taken_of(ann), inlet.taken_of(None)), (3, 7));
        assert_eq!(inlet.lock().next().unwrap().bytes, "abxyzc!");
    }

    #[test]
    fn whoever_was_forgotten_goes_on_where_they_are() {
        let inlet = Inlet::new(false);
        for number in 0..=TYPISTS_MAX {
            inlet.type_in(Some(&number.to_string()), Some(0), b"x").unwrap();
        }
        assert_eq!(inlet.lock().typists.len(), TYPISTS_MAX);
        assert_eq!(inlet.type_in(Some("1"), Some(0), b"x"), Ok(taken(1, 0)), "it is known");
        assert_eq!(inlet.type_in(Some("0"), Some(1), b"y"), Ok(taken(2, 1)), "it was forgotten");
    }

    #[test]
    fn a_program_that_does_not_read_fills_it() {
        let inlet = Inlet::new(false);
        let much = vec![b'x'; BYTES_MAX];
        assert_eq!(inlet.type_in(None, None, &much), Ok(taken(65_536, 65_536)));
        assert_eq!(inlet.type_in(None, None, b"x"), Err(NotTaken::Full(65_536)));
        let piece = inlet.lock().next().unwrap();
        assert_eq!(piece.bytes.len(), PIECE_BYTES_MAX);
        inlet.note(written(40_000, 0));
        assert!(inlet.has_room());
        assert_eq!(inlet.lock().next().unwrap().from, 40_000);
    }

    #[test]
    fn the_end_of_a_pipe_comes_last_and_once() {
        let inlet = Inlet::new(false);
        inlet.type_in(None, None, b"ab").unwrap();
        assert_eq!((inlet.end(), inlet.end()), (Ok(2), Ok(2)));
        assert_eq!(inlet.type_in(None, None, b"c"), Err(NotTaken::Closed(2)));
        let piece = Piece { from: 0, bytes: Bytes::from_static(b"ab"), ends: 1 };
        assert_eq!(inlet.lock().next(), Some(piece));
        inlet.note(written(2, 0));
        let end = Piece { from: 2, bytes: Bytes::new(), ends: 1 };
        assert_eq!(inlet.lock().next(), Some(end));
        inlet.note(Written { is_closed: true, ..written(2, 1) });
        assert_eq!(inlet.lock().next(), None);
        assert_eq!(inlet.type_in(None, None, b"c"), Err(NotTaken::Closed(2)));
    }

    #[test]
    fn a_terminal_goes_on_behind_an_end() {
        let inlet = Inlet::new(true);
        inlet.type_in(None, None, b"a").unwrap();
        inlet.end().unwrap();
        assert_eq!(inlet.type_in(None, None, b"b"), Ok(taken(2, 1)));
        let first = inlet.lock().next().unwrap();
        assert_eq!((first.bytes.as_ref(), first.ends), (&b"a"[..], 1));
        inlet.note(written(1, 1));
        let second = inlet.lock().next().unwrap();
        assert_eq!((second.from, second.bytes.as_ref(), second.ends), (1, &b"b"[..], 1));
    }
}
