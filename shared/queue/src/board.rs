//! What gateways that share a store tell each other of the workers that each of them hears: a
//! worker calls one of them, and whoever asks about it may ask another.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::StoreError;

/// Notices that are told at most.
pub(crate) const NOTICES_MAX: usize = 10_000;
/// A worker that nobody has heard of for so long is forgotten.
pub(crate) const FORGET: Duration = Duration::from_mins(10);

/// What is told of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Which.
    pub worker: String,
    /// What the gateway that hears it knows of it.
    pub body: Vec<u8>,
}

/// A notice as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// What was noted.
    pub notice: Notice,
    /// How long ago, by the store's clock.
    pub age: Duration,
    /// What the worker is to be told by whoever hears it.
    pub order: Option<String>,
}

/// Where gateways tell each other of workers.
pub trait Board: Send + Sync + std::fmt::Debug {
    /// Notes workers that were heard just now.
    fn note(&self, notices: Vec<Notice>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Everything that was noted in the last ten minutes, by worker.
    fn noted(&self) -> BoxFuture<'_, Result<Vec<Noted>, StoreError>>;

    /// Has whoever hears a worker tell it something; the last order counts. False if nothing is noted
    /// of the worker.
    fn order(&self, worker: String, order: String) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Forgets a worker that has left.
    fn forget(&self, worker: String) -> BoxFuture<'_, Result<(), StoreError>>;
}
