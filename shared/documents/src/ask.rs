//! What a document is asked and what it answers, as values and as bytes between two processes.

use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::document::{Document, Refused, RunNote};
use crate::limits::Limits;
use crate::wire::{Malformed, Reader, write_buffer, write_number};

/// At most this much is said at once, in bytes: a whole document, and what was added to it.
const MESSAGE_MAX: usize = 64 << 20;
/// In no more parts than these; most have one or none.
const COUNT_MAX: usize = 256;

/// What a document is to do: see its methods.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Gather(Bytes),
    Settle,
    Apply(Bytes, Limits),
    Merge(Bytes),
    NoteRun(RunNote),
    StateVector,
    Diff(Bytes),
    NewsTo(Bytes),
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Changes, or what else was asked for.
    pub(crate) parts: Vec<Bytes>,
    /// Whether all of a change was taken.
    pub(crate) is_whole: bool,
    /// How large the document is now.
    pub(crate) bytes: usize,
}

impl Ask {
    /// Has a document do it.
    pub(crate) fn of(self, document: &mut Document) -> Result<Answer, Refused> {
        let (mut parts, mut is_whole) = (Vec::new(), true);
        match self {
            Self::Gather(update) => document.gather(&update)?,
            Self::Settle => document.settle()?,
            Self::Apply(update, limits) => {
                let applied = document.apply(&update, &limits)?;
                (parts, is_whole) = (applied.emitted, applied.is_whole);
            }
            Self::Merge(update) => parts = document.merge(&update)?,
            Self::NoteRun(note) => parts = document.note_run(&note)?,
            Self::StateVector => parts.push(document.state_vector()?.into()),
            Self::Diff(state) => parts.push(document.diff(&state)?.into()),
            Self::NewsTo(state) => parts.extend(document.news_to(&state)?.map(Bytes::from)),
        }
        Ok(Answer { parts, is_whole, bytes: document.bytes() })
    }

    /// Says it to another process.
    pub(crate) fn say(&self, to: &mut impl Write) -> io::Result<()> {
        let (kind, numbers, parts) = match self {
            Self::Gather(update) => (0, Vec::new(), vec![update.clone()]),
            Self::Settle => (1, Vec::new(), Vec::new()),
            Self::Apply(update, limits) => {
                let numbers =
                    [limits.document_bytes, limits.document_blocks, limits.document_types];
                (2, numbers.to_vec(), vec![update.clone()])
            }
            Self::Merge(update) => (3, Vec::new(), vec![update.clone()]),
            Self::NoteRun(RunNote { run_id, author, at }) => {
                let parts = [run_id.clone(), author.clone(), at.to_string()];
                (4, Vec::new(), parts.map(Bytes::from).to_vec())
            }
            Self::StateVector => (5, Vec::new(), Vec::new()),
            Self::Diff(state) => (6, Vec::new(), vec![state.clone()]),
            Self::NewsTo(state) => (7, Vec::new(), vec![state.clone()]),
        };
        Message { kind, numbers, parts }.write(to)
    }

    /// Hears one, or nothing if the other process has ended.
    pub(crate) fn hear(from: &mut impl Read) -> io::Result<Option<Self>> {
        let Some(Message { kind, numbers, parts }) = Message::read(from)? else { return Ok(None) };
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).map_err(io::Error::other);
        Ok(Some(match (kind, &*numbers, &*parts) {
            (0, [], [update]) => Self::Gather(update.clone()),
            (1, [], []) => Self::Settle,
            (2, [document_bytes, document_blocks, document_types], [update]) => {
                let limits = Limits {
                    document_bytes: *document_bytes,
                    document_blocks: *document_blocks,
                    document_types: *document_types,
                    ..Limits::default()
                };
                Self::Apply(update.clone(), limits)
            }
            (3, [], [update]) => Self::Merge(update.clone()),
            (4, [], [run_id, author, at]) => {
                let at = text(at)?.parse().map_err(io::Error::other)?;
                Self::NoteRun(RunNote { run_id: text(run_id)?, author: text(author)?, at })
            }
            (5, [], []) => Self::StateVector,
            (6, [], [state]) => Self::Diff(state.clone()),
            (7, [], [state]) => Self::NewsTo(state.clone()),
            _ => return Err(io::Error::other("nothing that a document does is asked of it")),
        }))
    }
}

/// Says what came of it to the process that asked.
pub(crate) fn answer(to: &mut impl Write, outcome: Result<Answer, Refused>) -> io::Result<()> {
    let message = match outcome {
        Ok(Answer { parts, is_whole, bytes }) => {
            Message { kind: 0, numbers: vec![usize::from(is_whole), bytes], parts }
        }
        Err(Refused::Malformed(Malformed(why))) => {
            Message { kind: 1, numbers: Vec::new(), parts: vec![why.into()] }
        }
        Err(Refused::TooLarge) => Message { kind: 2, numbers: Vec::new(), parts: Vec::new() },
        Err(Refused::Broken | Refused::Lost) => {
            Message { kind: 3, numbers: Vec::new(), parts: Vec::new() }
        }
    };
    message.write(to)
}

/// Hears what came of it.
pub(crate) fn hear_answer(from: &mut impl Read) -> io::Result<Result<Answer, Refused>> {
    let message = Message::read(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(match (message.kind, &*message.numbers) {
        (0, [is_whole, bytes]) => {
            Ok(Answer { parts: message.parts, is_whole: *is_whole != 0, bytes: *bytes })
        }
        (1, []) => {
            let why = message.parts.first().map(|it| String::from_utf8_lossy(it));
            tracing::debug!("a document refused a change: {}", why.unwrap_or_default());
            Err(Refused::Malformed(Malformed("the document refused it")))
        }
        (2, []) => Err(Refused::TooLarge),
        (3, []) => Err(Refused::Broken),
        _ => return Err(io::Error::other("a document answered what is no answer")),
    })
}

/// What goes between the two: a kind, some numbers, and some bytes, all behind their length.
struct Message {
    kind: u64,
    numbers: Vec<usize>,
    parts: Vec<Bytes>,
}

/// The same number, if there may be so many.
fn few(count: usize) -> Result<usize, Malformed> {
    if count <= COUNT_MAX { Ok(count) } else { Err(Malformed("it has too many parts")) }
}

impl Message {
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut body = vec![0; 4];
        write_number(&mut body, self.kind);
        write_number(&mut body, self.numbers.len() as u64);
        for number in &self.numbers {
            write_number(&mut body, *number as u64);
        }
        write_number(&mut body, self.parts.len() as u64);
        for part in &self.parts {
            write_buffer(&mut body, part);
        }
        let length = body.len() - 4;
        if length > MESSAGE_MAX {
            return Err(io::Error::other("more is said at once than may be"));
        }
        let length = u32::try_from(length).map_err(io::Error::other)?;
        if let Some(head) = body.first_chunk_mut() {
            *head = length.to_le_bytes();
        }
        to.write_all(&body)
    }

    /// None if the other process has ended.
    fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut length = [0; 4];
        match from.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > MESSAGE_MAX {
            return Err(io::Error::other("more is said at once than may be"));
        }
        // Memory for what came, not for what is said to come.
        let mut body = Vec::new();
        from.take(length as u64).read_to_end(&mut body)?;
        if body.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::parse(&body.into()).map(Some).map_err(io::Error::other)
    }

    fn parse(body: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let kind = reader.number()?;
        let mut numbers = Vec::new();
        for _ in 0..few(reader.count(1)?)? {
            let number = usize::try_from(reader.number()?);
            numbers.push(number.or(Err(Malformed("a number is too large")))?);
        }
        let mut parts = Vec::new();
        for _ in 0..few(reader.count(1)?)? {
            parts.push(body.slice_ref(reader.buffer()?));
        }
        let is_all = reader.is_at_end();
        is_all.then_some(Self { kind, numbers, parts }).ok_or(Malformed("it goes on after its end"))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_is_asked_is_heard_as_it_was_said() {
        let part = Bytes::from_static(b"part");
        let at = Timestamp::UNIX_EPOCH;
        let note = RunNote { run_id: "run_1".to_owned(), author: "ann".to_owned(), at };
        let mut said = Vec::new();
        let all = [
            Ask::Gather(part.clone()),
            Ask::Settle,
            Ask::Apply(part.clone(), Limits { document_bytes: 7, ..Limits::default() }),
            Ask::Merge(part.clone()),
            Ask::NoteRun(note),
            Ask::StateVector,
            Ask::Diff(part.clone()),
            Ask::NewsTo(part),
        ];
        for ask in &all {
            ask.say(&mut said).unwrap();
        }
        let mut from = &*said;
        for ask in all {
            let heard = Ask::hear(&mut from).unwrap().unwrap();
            assert_eq!(format!("{heard:?}"), format!("{ask:?}"));
        }
        assert!(Ask::hear(&mut from).unwrap().is_none(), "the other process has ended");
    }

    #[test]
    fn an_answer_is_heard_as_it_was_said() {
        let parts = vec![Bytes::from_static(b"a"), Bytes::new()];
        let malformed = Refused::Malformed(Malformed("the document refused it"));
        for outcome in [
            Ok(Answer { parts, is_whole: true, bytes: 12 }),
            Ok(Answer::default()),
            Err(malformed),
            Err(Refused::TooLarge),
            Err(Refused::Broken),
        ] {
            let mut said = Vec::new();
            answer(&mut said, outcome.clone()).unwrap();
            assert_eq!(hear_answer(&mut &*said).unwrap(), outcome);
            assert!(hear_answer(&mut &said[..said.len() - 1]).is_err());
        }
        for said in [&[][..], &[255; 9], &[2, 0, 0, 0, 9, 0], &[5, 0, 0, 0, 0, 0, 1, 9, 9]] {
            assert!(hear_answer(&mut &*said).is_err(), "{said:?}");
        }
    }
}
