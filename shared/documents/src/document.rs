//! A shared text: the library's document, with bounds around it, and a wall against its panics.
//!
//! The library panics at some updates that are well formed. What it leaves then cannot be used, nor
//! dropped without care: a transaction that is dropped while a panic unwinds commits itself, and a
//! second panic there would end the process. So a transaction is never dropped by unwinding.

mod runs;

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use yrs::block::ClientID;
use yrs::updates::decoder::Decode as _;
use yrs::updates::encoder::Encode as _;
use yrs::{
    Doc, OffsetKind, Options, ReadTxn as _, StateVector, Transact as _, TransactionMut, Update,
    WriteTxn as _,
};

use self::runs::Runs;
use crate::guard::{Measure, check_state, without_gaps};
use crate::limits::Limits;
use crate::wire::Malformed;

pub use self::runs::RunNote;

/// Updates that may be left out of a document that would break at them.
const BROKEN_MAX: usize = 8;
/// The state of who has nothing.
pub(crate) const NOTHING: [u8; 1] = [0];
/// What the library tells of when nothing can be told.
const NO_CHANGE: [u8; 2] = [0, 0];
/// Who listens to the library's document.
const LISTENER: &str = "room";

/// Why a document does not take something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It is no update, or no state.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There would be too much.
    #[error("the document would be too large")]
    TooLarge,
    /// The library panicked, or worse: this document is to be made anew.
    #[error("the document broke at it")]
    Broken,
    /// Its process was ended by somebody else, or there can be none: it may be tried again.
    #[error("the document has no process")]
    Lost,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    /// What has changed.
    pub(crate) emitted: Vec<Bytes>,
    /// Whether all of it was taken; or what it builds on is not here.
    pub(crate) is_whole: bool,
}

/// A document.
pub(crate) struct Document {
    /// Always there, save while it is dropped.
    doc: Option<Doc>,
    /// Changes that the library told of, and nobody took yet.
    emitted: Arc<Mutex<Vec<Vec<u8>>>>,
    runs: Runs,
    /// At most this much is in it.
    size: Measure,
    is_exact: bool,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Document").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        let doc = self.doc.take();
        guarded(move || drop(doc)).unwrap_or_default();
    }
}

impl Document {
    /// One with nothing in it.
    pub(crate) fn new() -> Self {
        // Places in texts are counted as JavaScript does.
        let options = Options { offset_kind: OffsetKind::Utf16, ..Options::default() };
        let doc = Doc::with_options(options);
        let emitted = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let told = Arc::clone(&emitted);
        let listens = doc.observe_update_v1(LISTENER, move |_, event| {
            told.lock().unwrap_or_else(PoisonError::into_inner).push(event.update.clone());
        });
        debug_assert!(listens.is_ok(), "nobody else has the document");
        let runs = Runs::of(&doc);
        Self { doc: Some(doc), emitted, runs, size: Measure::default(), is_exact: true }
    }

    /// Takes one of the changes that it is made of.
    pub(crate) fn gather(&mut self, update: &[u8]) -> Result<(), Refused> {
        // It passed the guard when it came, but the file may be another's work.
        self.take_in(update, |_, _| ())?;
        Ok(())
    }

    /// Takes what it has now for its beginning: nobody is told of it.
    pub(crate) fn settle(&mut self) -> Result<(), Refused> {
        self.take_emitted()?;
        self.measure()?;
        self.believe_runs()
    }

    /// Takes a change of somebody that we do not trust.
    pub(crate) fn apply(&mut self, update: &[u8], limits: &Limits) -> Result<Applied, Refused> {
        let incoming = Measure::of(update)?;
        if self.would_be_too_large(incoming, limits) {
            self.measure()?;
            if self.would_be_too_large(incoming, limits) {
                return Err(Refused::TooLarge);
            }
        }
        let is_whole = self.take_in(update, Runs::restore)?;
        Ok(Applied { emitted: self.take_emitted()?, is_whole })
    }

    /// Takes a change that the store or another server has kept, and returns what has changed.
    pub(crate) fn merge(&mut self, update: &[u8]) -> Result<Vec<Bytes>, Refused> {
        self.take_in(update, |_, _| ())?;
        self.believe_runs()?;
        self.take_emitted()
    }

    /// Tells of a run, and forgets the oldest beyond the last twenty.
    pub(crate) fn note_run(&mut self, note: &RunNote) -> Result<Vec<Bytes>, Refused> {
        self.runs.push(note);
        self.transact(|runs, transaction| {
            runs.restore(transaction);
            Ok(())
        })?;
        self.take_emitted()
    }

    /// What it has, as a state vector.
    pub(crate) fn state_vector(&self) -> Result<Vec<u8>, Refused> {
        let doc = self.doc()?;
        guarded(|| doc.transact().state_vector().encode_v1())
    }

    /// What whoever has `state` lacks.
    pub(crate) fn diff(&self, state: &[u8]) -> Result<Vec<u8>, Refused> {
        check_state(state)?;
        let doc = self.doc()?;
        guarded(|| {
            let state = StateVector::decode_v1(state).or(Err(Malformed("it is no state")))?;
            Ok(doc.transact().encode_diff_v1(&state))
        })?
    }

    /// The same, unless there is nothing that `state` does not count. Deletions are not counted.
    pub(crate) fn news_to(&self, state: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
        check_state(state)?;
        let doc = self.doc()?;
        let is_behind = guarded(|| {
            let state = StateVector::decode_v1(state).or(Err(Malformed("it is no state")))?;
            let own = doc.transact().state_vector();
            Ok::<bool, Refused>(own.iter().any(|(client, clock)| state.get(client) < *clock))
        })??;
        is_behind.then(|| self.diff(state)).transpose()
    }

    /// All of it as one update.
    pub(crate) fn state(&self) -> Result<Vec<u8>, Refused> {
        self.diff(&NOTHING)
    }

    /// Its size when it was last looked at, and what came since.
    pub(crate) fn bytes(&self) -> usize {
        self.size.bytes
    }

    fn doc(&self) -> Result<&Doc, Refused> {
        self.doc.as_ref().ok_or(Refused::Broken)
    }

    fn would_be_too_large(&self, incoming: Measure, limits: &Limits) -> bool {
        let mut size = self.size;
        size += incoming;
        size.bytes > limits.document_bytes
            || size.blocks > limits.document_blocks
            || size.types > limits.document_types
    }

    /// Looks at how large it is.
    fn measure(&mut self) -> Result<(), Refused> {
        if !self.is_exact {
            let state = self.state()?;
            self.size = Measure::of(&state).or(Err(Refused::Broken))?;
            self.is_exact = true;
        }
        Ok(())
    }

    /// Takes as much of a change as builds on what is here, does something about the runs before anybody
    /// is told, and says whether all of the change was taken.
    fn take_in(
        &mut self,
        update: &[u8],
        then: impl FnOnce(&Runs, &mut TransactionMut<'_>),
    ) -> Result<bool, Refused> {
        Measure::of(update)?;
        let doc = self.doc()?;
        let state = guarded(|| doc.transact().state_vector())?;
        let known = |client| u64::from(state.get(&ClientID::new(client)));
        let (update, is_less) = without_gaps(update, known)?;
        let mut is_whole = !is_less;
        self.transact(|runs, transaction| {
            let update = Update::decode_v1(&update);
            let update = update.or(Err(Malformed("the library does not read it")))?;
            transaction.apply_update(update).or(Err(Refused::Broken))?;
            if transaction.has_missing_updates() {
                is_whole = false;
                drop(transaction.prune_pending());
            }
            then(runs, transaction);
            Ok(())
        })?;
        Ok(is_whole)
    }

    /// Takes what is in the array of runs for what was told.
    fn believe_runs(&mut self) -> Result<(), Refused> {
        let doc = self.doc.as_ref().ok_or(Refused::Broken)?;
        guarded(|| self.runs.believe(&doc.transact()))
    }

    /// Does something in a transaction, and commits it whatever comes of it.
    fn transact(
        &mut self,
        act: impl FnOnce(&Runs, &mut TransactionMut<'_>) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let doc = self.doc.as_ref().ok_or(Refused::Broken)?;
        let mut transaction = ManuallyDrop::new(doc.transact_mut());
        let acted = guarded(|| act(&self.runs, &mut transaction));
        let committed = guarded(move || drop(ManuallyDrop::into_inner(transaction)));
        self.is_exact = false;
        acted.and_then(|acted| acted).and(committed)
    }

    fn take_emitted(&mut self) -> Result<Vec<Bytes>, Refused> {
        let emitted =
            std::mem::take(&mut *self.emitted.lock().unwrap_or_else(PoisonError::into_inner));
        let mut told = Vec::new();
        for update in emitted {
            if update != NO_CHANGE {
                self.size += Measure::of(&update).or(Err(Refused::Broken))?;
                told.push(update.into());
            }
        }
        Ok(told)
    }
}

/// The document that these updates make. Those that break it are left out; says which. None is where
/// documents are lost.
pub(crate) fn gather<D>(
    updates: &[Bytes],
    new: impl Fn() -> Result<D, Refused>,
    take: impl Fn(&mut D, &Bytes) -> Result<(), Refused>,
) -> Result<(D, Vec<usize>), Refused> {
    let mut broken = Vec::new();
    loop {
        let mut document = new()?;
        let mut all = updates.iter().enumerate().filter(|(index, _)| !broken.contains(index));
        let refused =
            all.find_map(|(index, update)| Some((index, take(&mut document, update).err()?)));
        match refused {
            None => return Ok((document, broken)),
            Some((_, Refused::Lost)) => return Err(Refused::Lost),
            Some(_) if broken.len() == BROKEN_MAX => return Err(Refused::Broken),
            Some((index, _)) => broken.push(index),
        }
    }
}

/// Does something that may panic.
fn guarded<T>(act: impl FnOnce() -> T) -> Result<T, Refused> {
    catch_unwind(AssertUnwindSafe(act)).or(Err(Refused::Broken))
}

#[cfg(test)]
pub(crate) mod tests;
