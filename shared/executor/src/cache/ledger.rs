//! What this process knows of the directory of the cache. Other executors may change it at any
//! time, so a sweep brings it up to date.

use std::collections::HashMap;
use std::time::SystemTime;

use super::manifest::Digest;
use super::sweep::{self, Found};
use crate::tree::Survey;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    bytes: u64,
    weights: HashMap<String, u64>,
    known: HashMap<String, Known>,
    swept: Option<SystemTime>,
}

/// An entry whose content is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// The digest of its manifest.
    pub(super) manifest: Digest,
    /// What the program's files looked like when they were read; nothing if they were not yet.
    pub(super) survey: Survey,
}

impl Ledger {
    /// All entries together, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What each entry counts of them.
    pub(super) fn weights(&self) -> &HashMap<String, u64> {
        &self.weights
    }

    /// What is known of the content of an entry.
    pub(super) fn known(&self, name: &str) -> Option<&Known> {
        self.known.get(name)
    }

    /// Learns the content of an entry.
    pub(super) fn learn(&mut self, name: &str, known: Known) {
        self.known.insert(name.to_owned(), known);
    }

    /// Counts an entry.
    pub(super) fn add(&mut self, name: &str, weight: u64) {
        let before = self.weights.insert(name.to_owned(), weight).unwrap_or_default();
        self.bytes = (self.bytes + weight).saturating_sub(before);
    }

    /// Forgets an entry.
    pub(super) fn remove(&mut self, name: &str) {
        let weight = self.weights.remove(name).unwrap_or_default();
        self.known.remove(name);
        self.bytes = self.bytes.saturating_sub(weight);
    }

    /// Takes over what a sweep found.
    pub(super) fn replace(&mut self, found: &Found, now: SystemTime) {
        self.swept = Some(now);
        self.weights = found.entries.iter().map(|(name, it)| (name.clone(), it.bytes)).collect();
        self.bytes = self.weights.values().sum();
        self.known.retain(|name, _| found.entries.contains_key(name));
    }

    /// Whether it is time to look at the directory again.
    pub(super) fn is_sweep_due(&self, bytes_max: u64, now: SystemTime) -> bool {
        // It may stay too full, while all of it is held.
        let period = if self.bytes > bytes_max { sweep::FULL_PERIOD } else { sweep::PERIOD };
        self.swept.is_none_or(|it| sweep::age(it, now) > period)
    }
}
