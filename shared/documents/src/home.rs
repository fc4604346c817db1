//! Where documents are: in a process of their own each, or, for tests, in this one.

use bytes::Bytes;

use crate::ask::{Answer, Ask};
use crate::document::{Applied, Document, Refused, RunNote, gather};
use crate::limits::Limits;
use crate::process::Process;

/// Where documents are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Each in a process of its own: this program, started anew, which is to call
    /// [`serve_document`](crate::serve_document) first of all if it
    /// [`is_document`](crate::is_document). What takes all of its memory, never ends or destroys it
    /// is the matter of one room.
    Apart,
    /// In this process. It is as good a home where nobody is hostile.
    Here,
}

/// A document, wherever it is.
#[derive(Debug)]
pub(crate) struct Housed {
    place: Place,
    bytes: usize,
    /// Whether it is to be made anew.
    is_broken: bool,
}

#[derive(Debug)]
enum Place {
    Apart(Process),
    Here(Box<Document>),
}

impl Housed {
    /// One with nothing in it.
    pub(crate) fn new(home: Home) -> Result<Self, Refused> {
        let place = match home {
            Home::Apart => Place::Apart(Process::start()?),
            Home::Here => Place::Here(Box::new(Document::new())),
        };
        Ok(Self { place, bytes: 0, is_broken: false })
    }

    /// The document that these updates make. Those that break it are left out; says which.
    pub(crate) fn load(home: Home, updates: &[Bytes]) -> Result<(Self, Vec<usize>), Refused> {
        let take = |document: &mut Self, update: &Bytes| {
            document.ask(Ask::Gather(update.clone())).map(drop)
        };
        let (mut document, broken) = gather(updates, || Self::new(home), take)?;
        document.ask(Ask::Settle)?;
        Ok((document, broken))
    }

    /// Takes a change of somebody that we do not trust.
    pub(crate) fn apply(&mut self, update: &[u8], limits: &Limits) -> Result<Applied, Refused> {
        let answer = self.ask(Ask::Apply(Bytes::copy_from_slice(update), *limits))?;
        Ok(Applied { emitted: answer.parts, is_whole: answer.is_whole })
    }

    /// Takes a change that the store or another server has kept, and returns what has changed.
    pub(crate) fn merge(&mut self, update: &[u8]) -> Result<Vec<Bytes>, Refused> {
        Ok(self.ask(Ask::Merge(Bytes::copy_from_slice(update)))?.parts)
    }

    /// Tells of a run, and forgets the oldest beyond the last twenty.
    pub(crate) fn note_run(&mut self, note: &RunNote) -> Result<Vec<Bytes>, Refused> {
        Ok(self.ask(Ask::NoteRun(note.clone()))?.parts)
    }

    /// What it has, as a state vector.
    pub(crate) fn state_vector(&mut self) -> Result<Bytes, Refused> {
        self.one(Ask::StateVector)?.ok_or(Refused::Broken)
    }

    /// What whoever has `state` lacks.
    pub(crate) fn diff(&mut self, state: &[u8]) -> Result<Bytes, Refused> {
        self.one(Ask::Diff(Bytes::copy_from_slice(state)))?.ok_or(Refused::Broken)
    }

    /// The same, unless there is nothing that `state` does not count. Deletions are not counted.
    pub(crate) fn news_to(&mut self, state: &[u8]) -> Result<Option<Bytes>, Refused> {
        self.one(Ask::NewsTo(Bytes::copy_from_slice(state)))
    }

    /// All of it as one update.
    pub(crate) fn state(&mut self) -> Result<Bytes, Refused> {
        self.diff(&crate::document::NOTHING)
    }

    /// Its size when it was last looked at, and what came since.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it broke at something, or has gone though nobody asked anything of it.
    pub(crate) fn is_lost(&mut self) -> bool {
        self.is_broken
            || match &mut self.place {
                Place::Apart(process) => process.has_ended(),
                Place::Here(_) => false,
            }
    }

    fn one(&mut self, ask: Ask) -> Result<Option<Bytes>, Refused> {
        Ok(self.ask(ask)?.parts.into_iter().next())
    }

    fn ask(&mut self, ask: Ask) -> Result<Answer, Refused> {
        let answer = match &mut self.place {
            Place::Apart(process) => process.ask(&ask),
            Place::Here(document) => ask.of(document),
        };
        self.is_broken |= matches!(answer, Err(Refused::Broken | Refused::Lost));
        let answer = answer?;
        self.bytes = answer.bytes;
        Ok(answer)
    }
}
