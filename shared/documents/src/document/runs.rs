//! The last runs of what is in a document, told in an array of it. Only the server writes there.

use std::collections::HashMap;

use jiff::Timestamp;
use yrs::branch::BranchPtr;
use yrs::{Any, Array as _, ArrayRef, Doc, GetString as _, Out, ReadTxn, TextRef, TransactionMut};

/// What the array is called.
const RUNS: &str = "runs";
/// Runs that are told.
const RUNS_MAX: usize = 20;

/// A run of what is in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunNote {
    /// Which run.
    pub run_id: String,
    /// Who started it.
    pub author: String,
    /// When.
    pub at: Timestamp,
}

/// The array, and what it has if nobody but us writes it.
pub(super) struct Runs {
    array: ArrayRef,
    told: Vec<Any>,
}

impl Runs {
    /// Those of a document in which there is nothing.
    pub(super) fn of(doc: &Doc) -> Self {
        Self { array: doc.get_or_insert_array(RUNS), told: Vec::new() }
    }

    /// Is to tell of one more, and to forget the oldest beyond the last twenty.
    pub(super) fn push(&mut self, note: &RunNote) {
        let text = |text: &str| Any::String(text.into());
        let told = [
            ("id".to_owned(), text(&note.run_id)),
            ("author".to_owned(), text(&note.author)),
            ("at".to_owned(), text(&note.at.to_string())),
        ];
        self.told.push(Any::from(HashMap::from(told)));
        let excess = self.told.len().saturating_sub(RUNS_MAX);
        self.told.drain(..excess);
    }

    /// Takes what is there for what was told.
    pub(super) fn believe(&mut self, transaction: &impl ReadTxn) {
        self.told = self.read(transaction).unwrap_or_default();
    }

    /// Writes what was told where there is something else.
    pub(super) fn restore(&self, transaction: &mut TransactionMut<'_>) {
        let there = self.read(transaction);
        if there.as_ref() == Some(&self.told) {
            return;
        }
        // Most often one is added, and one removed.
        let there = there.iter().flatten();
        let same = there.zip(&self.told).take_while(|(there, told)| there == told).count();
        let (first, length) =
            (u32::try_from(same).unwrap_or(u32::MAX), self.array.len(transaction));
        if first < length {
            self.array.remove_range(transaction, first, length - first);
        }
        for told in self.told.iter().skip(same) {
            self.array.push_back(transaction, told.clone());
        }
    }

    /// What is there; nothing if it is not of our making.
    ///
    /// The library never comes to the end of a text in an array if a letter of it is two units of
    /// UTF-16 (`BlockIter::slice` of version 0.28.1), so no array is read that has any text.
    pub(super) fn read(&self, transaction: &impl ReadTxn) -> Option<Vec<Any>> {
        let text = TextRef::from(BranchPtr::from(self.array.as_ref()));
        if !text.get_string(transaction).is_empty() {
            return None;
        }
        // One more than there may be is enough to see that there are too many.
        let all = self.array.iter(transaction).take(RUNS_MAX + 1);
        all.map(|it| if let Out::Any(it) = it { Some(it) } else { None }).collect()
    }
}
