//! Pure: joins what a program writes in small pieces, so that viewers get one event where there
//! would be hundreds. What comes after a silence is not kept back.

use std::time::{Duration, Instant};

/// An event at most in this time.
const INTERVAL: Duration = Duration::from_millis(20);

/// So many bytes wait for nothing.
const BYTES_MAX: usize = 16 << 10;

/// One of a program's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// What a piece belongs to: only what is alike is joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) stream: Stream,
    /// Index of the case, if there are cases.
    pub(crate) case: Option<usize>,
    /// Whether the bytes are whole characters.
    pub(crate) is_text: bool,
}

/// Something that a program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) origin: Origin,
    pub(crate) bytes: Vec<u8>,
}

/// What waits to be joined.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    waiting: Option<Piece>,
    /// When the last piece was given out.
    last: Option<Instant>,
}

impl Gather {
    /// Takes a piece in, and gives out what does not go together with it, or is enough.
    pub(crate) fn push(&mut self, piece: Piece, now: Instant) -> Vec<Piece> {
        let mut out = Vec::new();
        match &mut self.waiting {
            Some(waiting) if waiting.origin == piece.origin => waiting.bytes.extend(piece.bytes),
            waiting => out.extend(waiting.replace(piece)),
        }
        let is_enough = self.waiting.as_ref().is_some_and(|it| it.bytes.len() >= BYTES_MAX);
        if is_enough || self.due().is_some_and(|it| it <= now) {
            out.extend(self.waiting.take());
        }
        if !out.is_empty() {
            self.last = Some(now);
        }
        out
    }

    /// When what waits is to be given out, if anything waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.as_ref()?;
        Some(self.last.map_or_else(Instant::now, |it| it + INTERVAL))
    }

    /// Gives out what waits.
    pub(crate) fn flush(&mut self, now: Instant) -> Option<Piece> {
        let piece = self.waiting.take()?;
        self.last = Some(now);
        Some(piece)
    }
}

/// Bytes in parts of which none is too large for an event. Characters stay whole.
pub(crate) fn parts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while bytes.len() > BYTES_MAX {
        let starts = |at: &usize| bytes.get(*at).is_none_or(|it| it & 0b1100_0000 != 0b1000_0000);
        let cut = (BYTES_MAX - 3..=BYTES_MAX).rev().find(starts).unwrap_or(BYTES_MAX);
        let (part, rest) = bytes.split_at(cut);
        parts.push(part);
        bytes = rest;
    }
    parts.push(bytes);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_piece_is_cut_between_characters() {
        for text in ["x".repeat(100_000), "€".repeat(40_000), "a😀".repeat(20_000)] {
            let parts = parts(text.as_bytes());
            assert!(parts.iter().all(|it| it.len() <= BYTES_MAX));
            assert!(parts.iter().all(|it| std::str::from_utf8(it).is_ok()));
            assert_eq!(parts.concat(), text.as_bytes());
        }
        assert_eq!(parts(&vec![0x80; BYTES_MAX + 1]).len(), 2);
    }

    fn piece(stream: Stream, text: &str) -> Piece {
        let origin = Origin { stream, case: None, is_text: true };
        Piece { origin, bytes: text.as_bytes().to_vec() }
    }

    #[test]
    fn what_follows_a_silence_goes_at_once_and_what_follows_that_is_joined() {
        let mut gather = Gather::default();
        let start = Instant::now();
        gather.last = Some(start);
        let quiet = start + INTERVAL;
        assert_eq!(gather.push(piece(Stream::Stdout, "a"), quiet).len(), 1);
        for letter in ["b", "c"] {
            assert!(gather.push(piece(Stream::Stdout, letter), quiet).is_empty());
        }
        assert_eq!(gather.due(), Some(quiet + INTERVAL));
        let joined = gather.push(piece(Stream::Stdout, "d"), quiet + INTERVAL);
        assert_eq!(joined, [piece(Stream::Stdout, "bcd")]);
        assert_eq!(gather.flush(quiet), None);
    }

    #[test]
    fn streams_keep_their_order() {
        let mut gather = Gather::default();
        let now = Instant::now();
        gather.last = Some(now);
        assert!(gather.push(piece(Stream::Stdout, "a"), now).is_empty());
        assert_eq!(gather.push(piece(Stream::Stderr, "b"), now), [piece(Stream::Stdout, "a")]);
        assert_eq!(gather.flush(now), Some(piece(Stream::Stderr, "b")));
    }

    #[test]
    fn much_does_not_wait() {
        let mut gather = Gather::default();
        let now = Instant::now();
        gather.last = Some(now);
        let much = "x".repeat(BYTES_MAX);
        assert_eq!(gather.push(piece(Stream::Stdout, &much), now).len(), 1);
    }
}
