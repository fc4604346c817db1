//! What every store of jobs does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Serialize;

use crate::{
    Attempt, Board, Callback, CallbackOutcome, Claim, Clock, Completed, Completion, Counts,
    DueCallbacks, Extended, Failed, Failure, Filter, Grant, Held, Job, JobId, Lease, NewJob,
    OpenCallback, Page, PostgresStore, QueueStats, RedisStore, Released, SqliteStore, State,
    StoredResult, Wakes,
};

/// Keeps jobs.
///
/// 1. What [`Self::enqueue`] acknowledges is durable, as [`Self::durability`] says. A commit that
///    fails acknowledges nothing.
/// 2. A caller's idempotency key stands for one job for as long as that is kept, and for a time of its
///    own; with other content it is a conflict.
/// 3. A job has at most one live token.
/// 4. Nothing but the holder of that token extends, completes, fails or releases a leased job.
/// 5. A job has at most one result, written with the change of its state.
/// 6. A late result whose token is still the job's is taken. Only sweeping and cancelling end leases.
/// 7. The same result again is a duplicate, and no error.
/// 8. What a sweep changes is still as it saw it.
/// 9. An attempt is spent when a job is claimed, and given back when it is released, was never
///    accepted, or ended because its worker was asked to leave.
/// 10. A job that had two workers die in a row is dead.
/// 11. Retries wait longer each time, up to a bound.
/// 12. What may run only once is dead when its worker is gone.
/// 13. A sweep gets past whatever it does not change.
/// 14. A store says how durable it is.
pub trait JobStore: Send + Sync + std::fmt::Debug {
    /// Keeps jobs, all or none of them durable when this returns. One answer for each.
    fn enqueue(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Enqueued>, StoreError>>;

    /// Grants leases of ready jobs, the most urgent first, with turns among callers.
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Grant>, StoreError>>;

    /// Extends leases to `time` from now, or to the end of the attempt if that is sooner. The first
    /// time, it accepts them.
    fn extend(
        &self,
        leases: Vec<Lease>,
        time: Duration,
    ) -> BoxFuture<'_, Result<Vec<Extended>, StoreError>>;

    /// Records results.
    fn complete(
        &self,
        completions: Vec<Completion>,
    ) -> BoxFuture<'_, Result<Vec<Completed>, StoreError>>;

    /// Ends attempts that came to nothing through a fault of ours.
    fn fail(&self, failures: Vec<Failure>) -> BoxFuture<'_, Result<Vec<Failed>, StoreError>>;

    /// Hands back jobs that were not started.
    fn release(&self, leases: Vec<Lease>) -> BoxFuture<'_, Result<Vec<Released>, StoreError>>;

    /// Ends every lease of a worker that has none any more, so that its jobs go on at once. Says how
    /// many there were.
    fn abandon(&self, worker: String, gone: Gone) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// Ends a job that is not wanted any more, or asks its worker to.
    fn cancel(&self, id: JobId) -> BoxFuture<'_, Result<Cancelled, StoreError>>;

    /// Ends leases whose time is over, makes jobs ready whose time has come, and ends those that
    /// were not started in time; at most `limit` of each.
    fn sweep(&self, limit: usize) -> BoxFuture<'_, Result<Swept, StoreError>>;

    /// Makes a dead job ready again. False if it is not dead.
    fn redrive(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Deletes at most `limit` of each kind of what has been kept for long enough; says how much that
    /// was. With the last job of a lane that is kept, all that is known of the lane goes.
    fn purge(&self, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// At most `limit` leases that a worker has, those of older jobs first: it, or a gateway that
    /// speaks for it, may have forgotten their tokens. Those that are late and not swept yet are
    /// among them.
    fn held(&self, worker: String, limit: usize) -> BoxFuture<'_, Result<Vec<Held>, StoreError>>;

    /// A job.
    fn job(&self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>>;

    /// Which of these jobs there are, and the version of each, in any order: whoever waits for many
    /// looks at all of them at once.
    fn versions(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<(JobId, u64)>, StoreError>>;

    /// What is run: the body of a job, as it came.
    fn body(&self, id: JobId) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>>;

    /// The result of a job.
    fn result(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredResult>, StoreError>>;

    /// The last hundred attempts of a job at most, the oldest of them first.
    fn attempts(&self, id: JobId) -> BoxFuture<'_, Result<Vec<Attempt>, StoreError>>;

    /// At most `limit` jobs, the newest first, from where the last page ended.
    fn list(
        &self,
        filter: Filter,
        from: Option<i64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// How many jobs of a caller, or of all, there are in each state.
    fn counts(&self, caller: Option<String>) -> BoxFuture<'_, Result<Counts, StoreError>>;

    /// What waits and what goes on.
    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreError>>;

    /// Whether more can be kept. While it cannot, jobs are refused, and those that are there come to
    /// their end as far as that is possible.
    fn has_room(&self) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Callbacks that are due, those before others that are due for longer: but those of a caller who
    /// has enough on their way come behind the others. As long as a callback is tried its job is kept,
    /// if there are not too many.
    fn due_callbacks(&self, wish: DueCallbacks)
    -> BoxFuture<'_, Result<Vec<Callback>, StoreError>>;

    /// Notes what came of a callback: it is over, due again then, or given up for this reason.
    fn note_callback(
        &self,
        number: i64,
        outcome: CallbackOutcome,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The callbacks of a caller's jobs that were not taken yet, or are given up; at most `limit`,
    /// the newest first.
    fn callbacks(
        &self,
        caller: String,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenCallback>, StoreError>>;

    /// What an acknowledged job outlives.
    fn durability(&self) -> Durability;

    /// Where the gateways of this store tell each other of workers, if there can be several.
    fn board(&self) -> Option<&dyn Board>;

    /// Who waits for what happens here.
    fn wakes(&self) -> &Arc<Wakes>;
}

/// How a worker came to have none of its leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Whoever spoke for it ended, or it left. That is no sign that a job killed it, and no attempt is
    /// spent.
    Cut,
    /// It has started anew, and told of nothing before it ended: it died with what it ran, as one does
    /// whose leases nobody extends.
    Died,
}

/// How many jobs a store keeps waiting.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of all callers.
    pub waiting_max: u64,
    /// Of one caller.
    pub waiting_per_caller_max: u64,
    /// Jobs that are over and still kept; the oldest go first. Of callbacks, and of idempotency keys,
    /// ten times as many are.
    pub kept_max: u64,
    /// How long an idempotency key is kept at least, and while its job is kept it stays; one whose job is
    /// over may go before, if there are too many.
    pub key_ttl: Duration,
    /// How long to wait for another process to let go of the store: the gateway before this one may
    /// still be draining.
    pub patience: Duration,
}

impl Bounds {
    /// Callbacks that are kept; the oldest go first, whether they were taken or not.
    pub(crate) fn callbacks_max(&self) -> u64 {
        self.kept_max.saturating_mul(10)
    }

    /// Idempotency keys that are kept. The oldest whose jobs are over go first, and those of others do
    /// not.
    pub(crate) fn keys_max(&self) -> u64 {
        self.kept_max.saturating_mul(10)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            waiting_max: 1_000_000,
            waiting_per_caller_max: 100_000,
            kept_max: 1_000_000,
            key_ttl: Duration::from_hours(48),
            patience: Duration::from_secs(10),
        }
    }
}

/// What came of submitting a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is kept.
    Created(JobId),
    /// It came before, and this is its name.
    Existing(JobId),
    /// Something else came with its key before.
    Conflict,
    /// So many jobs wait already.
    Full {
        /// How many may.
        waiting_max: u64,
        /// Whether the caller's own are too many.
        is_callers: bool,
    },
}

/// What came of cancelling a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It ends here.
    Now,
    /// Its worker is asked to stop it.
    Requested,
    /// It is final already.
    AlreadyFinal(State),
    /// There is no such job.
    Unknown,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leases that it ended.
    pub leases: usize,
    /// Jobs that it made ready.
    pub promoted: usize,
    /// Jobs that were not started in time.
    pub expired: usize,
}

/// What an acknowledged job outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// The loss of power.
    PowerLoss,
    /// The end of the server, and not always the loss of power.
    ProcessCrash,
    /// The end of the server. The loss of power, or of a server before its replica has everything,
    /// takes what was acknowledged in about a second before it.
    AboutASecond,
}

/// Why a store cannot do what it is asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The URL is none that we know.
    #[error(
        "`{0}` is no store; write `sqlite:PATH`, `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, or \
         `redis://` or `rediss://USER:PASSWORD@HOST:PORT`"
    )]
    Url(String),
    /// Another process has the file.
    #[error("{} is in use by another process; give each gateway a file of its own", .0.display())]
    Taken(PathBuf),
    /// A younger version of this program wrote it.
    #[error(
        "{place} has version {found} of the schema and this program knows {known} at most; run a \
         newer one, or give it another store"
    )]
    Newer {
        /// Which store.
        place: String,
        /// What it has.
        found: i64,
        /// What we know.
        known: i64,
    },
    /// There is no room left.
    #[error("the store has no room left; free some on its disk")]
    NoRoom,
    /// It does not answer, or not as it should.
    #[error("the store cannot be used now: {0}")]
    Unavailable(String),
}

impl StoreError {
    /// Of a URL that names no store. What may be a password is not shown.
    pub(crate) fn url(url: &str) -> Self {
        let Some((scheme, rest)) = url.split_once("://") else { return Self::Url(url.to_owned()) };
        let place =
            rest.rsplit_once('@').map_or(rest.to_owned(), |(_, place)| format!("…@{place}"));
        Self::Url(format!("{scheme}://{place}"))
    }
}

/// Opens the store that a URL names: `sqlite:PATH`; `postgres://USER:PASSWORD@HOST:PORT/DATABASE`
/// (or `postgresql://…`), which takes the parameters of libpq such as `?sslmode=verify-full`; or
/// `redis://USER:PASSWORD@HOST:PORT/NUMBER` of a Redis or Valkey server, with TLS as `rediss://…`.
pub async fn open(
    url: &str,
    bounds: Bounds,
    clock: Clock,
) -> Result<Arc<dyn JobStore>, StoreError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(PostgresStore::open(url, bounds, clock).await?));
    }
    if url.starts_with("redis://") || url.starts_with("rediss://") {
        return Ok(Arc::new(RedisStore::open(url, bounds, clock).await?));
    }
    let path = url.strip_prefix("sqlite:").map(|it| it.strip_prefix("//").unwrap_or(it));
    match path {
        Some(path) if !path.is_empty() => {
            Ok(Arc::new(SqliteStore::open(PathBuf::from(path), bounds, clock).await?))
        }
        _ => Err(StoreError::url(url)),
    }
}
