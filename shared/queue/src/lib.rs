//! Durable jobs: programs that are submitted now, run later, and never get lost.
//!
//! # Theory of operation
//!
//! A [`Job`] waits in a [`JobStore`] until a worker claims it. What the worker gets is a [`Lease`]: the
//! right to finish the job, known by a random token, until a time that the worker has to put off
//! again and again. Whoever has no such token changes nothing, however late, twice, or in another's
//! name it comes. A lease that nobody extends ends by [`JobStore::sweep`], and the job goes to another
//! worker, or is dead where that would not help. So a job may be executed more than once, and has at
//! most one result.
//!
//! All times are the store's, by its own clock: a worker's is never asked. The rules that every
//! store keeps are listed at [`JobStore`], and the suite in `tests/` holds every store against them.
//!
//! That a program fails is a result. Only faults of ours are retried.

mod board;
mod callback;
mod clock;
mod job;
mod lane;
mod lease;
mod postgres;
mod redis;
mod retry;
mod sqlite;
mod store;
mod turns;
mod wakes;

pub use board::{Board, Noted, Notice};
pub use callback::{Callback, CallbackOutcome, DueCallbacks, OpenCallback};
pub use clock::{Clock, Timestamp};
pub use job::{
    Attempt, Counts, Delivery, Filter, IdempotencyKey, Job, JobId, LaneStats, NewJob, Page,
    Priority, QueueStats, State, StoredResult,
};
pub use lane::{DEFAULT_QUEUE, Lane};
pub use lease::{
    Claim, Completed, Completion, Extended, Failed, Failure, Grant, Held, InvalidToken, Lease,
    Released, Token,
};
pub use postgres::PostgresStore;
pub use redis::RedisStore;
pub use sqlite::SqliteStore;
pub use store::{Bounds, Cancelled, Durability, Enqueued, Gone, JobStore, StoreError, Swept, open};
pub use wakes::{Waiter, Wakes};
