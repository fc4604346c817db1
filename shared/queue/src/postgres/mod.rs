//! The store in a server that several gateways share: PostgreSQL.
//!
//! One task of each gateway writes, many operations in one transaction (`writer`, `batch`). It reads
//! the jobs that they are about, changes them in memory by the rules (`finish`, `sweep`, `enqueue`,
//! `claim`), and writes them if they are still as they were read. Whoever only looks does so on
//! connections of its own (`look`). Times are the database's.

mod batch;
mod board;
mod bus;
mod callbacks;
mod claim;
mod enqueue;
mod finish;
mod line;
mod look;
mod place;
mod purge;
mod schema;
mod shares;
mod sweep;
mod table;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::batch::{Done, Work};
use self::bus::Bus;
use self::place::{Fault, Place};
use self::writer::Writer;
use crate::{
    Attempt, Board, Bounds, Callback, CallbackOutcome, Cancelled, Claim, Clock, Completed,
    Completion, Counts, DueCallbacks, Durability, Enqueued, Extended, Failed, Failure, Filter,
    Gone, Grant, Held, Job, JobId, JobStore, Lane, Lease, NewJob, OpenCallback, Page, QueueStats,
    Released, StoreError, StoredResult, Swept, Wakes,
};

/// How long anybody waits for what only has to be looked up.
const LOOK: Duration = Duration::from_millis(4_500);
/// How long a server that refused a job for want of room is taken to have none.
const FULL: Duration = Duration::from_secs(30);

/// Jobs in a PostgreSQL database, in its schema `flotilla`. Several gateways may use it.
#[derive(Debug)]
pub struct PostgresStore {
    writer: Writer,
    readers: PgPool,
    claims: AtomicU64,
    clock: Clock,
    durability: Durability,
    wakes: Arc<Wakes>,
    /// When a job was last refused for want of room, if none was taken since.
    full: Mutex<Option<Instant>>,
    /// Those that tell other gateways and hear of them; they end with this.
    _bus: JoinSet<()>,
}

impl PostgresStore {
    /// Opens the database that a URL names, as `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, and
    /// makes its tables. A server that is not there is waited for as long as the bounds say.
    pub async fn open(url: &str, bounds: Bounds, clock: Clock) -> Result<Self, StoreError> {
        let place = Place::parse(url).ok_or_else(|| StoreError::url(url))?;
        let mut connection = place.await_connection(bounds.patience).await?;
        let durability = schema::look_over(&mut connection, &place).await?;
        schema::migrate(&mut connection, &place).await?;
        let (wakes, bus) = (Arc::<Wakes>::default(), Arc::new(Bus::new()));
        let tasks = bus.start(&place, &wakes);
        let readers = place.readers();
        let whose = (place, bounds, clock.clone());
        let writer = Writer::start(connection, whose, (Arc::clone(&wakes), bus)).await?;
        Ok(Self {
            writer,
            readers,
            claims: AtomicU64::new(0),
            clock,
            durability,
            wakes,
            full: Mutex::default(),
            _bus: tasks,
        })
    }

    fn full(&self) -> MutexGuard<'_, Option<Instant>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has something done, and takes the answer to it.
    fn ask<T: Send + 'static>(
        &self,
        work: Work,
        take: fn(Done) -> Option<T>,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        async move {
            let done = self.writer.ask(work).await?;
            take(done).ok_or_else(|| StoreError::Unavailable("another answer was meant".to_owned()))
        }
        .boxed()
    }
}

/// What takes one kind of answer.
macro_rules! just {
    ($kind:ident) => {
        |done| match done {
            Done::$kind(it) => Some(it),
            _ => None,
        }
    };
}

/// Looks something up, for as long as anybody waits for that.
fn look<'a, T: Send + 'a>(
    found: impl Future<Output = Result<T, Fault>> + Send + 'a,
) -> BoxFuture<'a, Result<T, StoreError>> {
    async move { Ok(timeout(LOOK, found).await.unwrap_or(Err(Fault::Late))?) }.boxed()
}

/// A text as the server can keep it: it has no room for the character 0.
fn plain(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn plain_lane(lane: &Lane) -> Lane {
    Lane::from_text(plain((**lane).to_owned()))
}

impl JobStore for PostgresStore {
    fn enqueue(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Enqueued>, StoreError>> {
        let plain_job = |mut job: NewJob| {
            job.caller = plain(job.caller);
            job.lane = plain_lane(&job.lane);
            job.callback_url = job.callback_url.map(plain);
            if let Some(key) = &mut job.idempotency {
                key.key = plain(std::mem::take(&mut key.key));
            }
            job
        };
        let jobs = jobs.into_iter().map(plain_job).collect();
        let done = self.ask(Work::Enqueue(jobs), just!(Enqueued));
        async move {
            let done = done.await;
            match &done {
                Ok(_) => *self.full() = None,
                Err(StoreError::NoRoom) => *self.full() = Some(Instant::now()),
                Err(_) => {}
            }
            done
        }
        .boxed()
    }

    fn has_room(&self) -> BoxFuture<'_, Result<bool, StoreError>> {
        // Nobody can ask the server, and to try would take of the little that there is.
        let is_full = self.full().is_some_and(|it| it.elapsed() < FULL);
        async move { Ok(!is_full) }.boxed()
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Grant>, StoreError>> {
        let turn = self.claims.fetch_add(1, Ordering::Relaxed);
        let claim = Claim {
            worker: plain(claim.worker),
            poll: claim.poll.map(plain),
            lanes: claim.lanes.iter().map(plain_lane).collect(),
            ..claim
        };
        self.ask(Work::Claim(claim, turn), just!(Granted))
    }

    fn extend(
        &self,
        leases: Vec<Lease>,
        time: Duration,
    ) -> BoxFuture<'_, Result<Vec<Extended>, StoreError>> {
        self.ask(Work::Extend(leases, time), just!(Extended))
    }

    fn complete(
        &self,
        completions: Vec<Completion>,
    ) -> BoxFuture<'_, Result<Vec<Completed>, StoreError>> {
        self.ask(Work::Complete(completions), just!(Completed))
    }

    fn fail(&self, failures: Vec<Failure>) -> BoxFuture<'_, Result<Vec<Failed>, StoreError>> {
        let plain_one = |it: Failure| Failure { reason: plain(it.reason), ..it };
        let failures = failures.into_iter().map(plain_one).collect();
        self.ask(Work::Fail(failures), just!(Failed))
    }

    fn release(&self, leases: Vec<Lease>) -> BoxFuture<'_, Result<Vec<Released>, StoreError>> {
        self.ask(Work::Release(leases), just!(Released))
    }

    fn abandon(&self, worker: String, gone: Gone) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.ask(Work::Abandon(plain(worker), gone), just!(Abandoned))
    }

    fn cancel(&self, id: JobId) -> BoxFuture<'_, Result<Cancelled, StoreError>> {
        self.ask(Work::Cancel(id), just!(Cancelled))
    }

    fn sweep(&self, limit: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.ask(Work::Sweep(limit), just!(Swept))
    }

    fn redrive(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.ask(Work::Redrive(id), just!(Redriven))
    }

    fn purge(&self, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.wakes.tidy();
        self.ask(Work::Purge(limit), just!(Purged))
    }

    fn held(&self, worker: String, limit: usize) -> BoxFuture<'_, Result<Vec<Held>, StoreError>> {
        let now = self.clock.fixed();
        look(async move { look::held(&self.readers, &plain(worker), limit, now).await })
    }

    fn job(&self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        look(look::job(&self.readers, id))
    }

    fn versions(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<(JobId, u64)>, StoreError>> {
        look(look::versions(&self.readers, ids))
    }

    fn body(&self, id: JobId) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        look(look::body(&self.readers, id))
    }

    fn result(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredResult>, StoreError>> {
        look(look::result(&self.readers, id))
    }

    fn attempts(&self, id: JobId) -> BoxFuture<'_, Result<Vec<Attempt>, StoreError>> {
        look(look::attempts(&self.readers, id))
    }

    fn list(
        &self,
        filter: Filter,
        from: Option<i64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        let filter = Filter {
            caller: filter.caller.map(plain),
            language: filter.language.map(plain),
            queue: filter.queue.map(plain),
            ..filter
        };
        look(async move { look::list(&self.readers, &filter, from, limit).await })
    }

    fn counts(&self, caller: Option<String>) -> BoxFuture<'_, Result<Counts, StoreError>> {
        let caller = caller.map(plain);
        look(async move { look::counts(&self.readers, caller.as_deref()).await })
    }

    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreError>> {
        look(look::stats(&self.readers, self.clock.fixed()))
    }

    fn due_callbacks(
        &self,
        wish: DueCallbacks,
    ) -> BoxFuture<'_, Result<Vec<Callback>, StoreError>> {
        self.ask(Work::TakeCallbacks(wish), just!(Callbacks))
    }

    fn note_callback(
        &self,
        number: i64,
        outcome: CallbackOutcome,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let outcome = match outcome {
            CallbackOutcome::Delivered => CallbackOutcome::Delivered,
            CallbackOutcome::Again { after, reason } => {
                CallbackOutcome::Again { after, reason: plain(reason) }
            }
            CallbackOutcome::Dead(reason) => CallbackOutcome::Dead(plain(reason)),
        };
        self.ask(Work::NoteCallback(number, outcome), |done| {
            matches!(done, Done::Noted).then_some(())
        })
    }

    fn callbacks(
        &self,
        caller: String,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenCallback>, StoreError>> {
        look(async move { callbacks::open(&self.readers, &plain(caller), limit).await })
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn board(&self) -> Option<&dyn Board> {
        Some(self)
    }

    fn wakes(&self) -> &Arc<Wakes> {
        &self.wakes
    }
}
