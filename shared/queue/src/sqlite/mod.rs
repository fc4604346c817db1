//! The store in a file: SQLite, in the process of the one gateway that uses it.

mod callbacks;
mod claim;
mod enqueue;
mod finish;
mod look;
mod place;
mod purge;
mod reserve;
mod schema;
mod sweep;
mod thread;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rusqlite::ffi::SQLITE_FULL;
use rusqlite::{Connection, ErrorCode};

use self::place::{lock, open_private, told};
use self::reserve::Reserve;
use self::thread::Thread;
use crate::{
    Attempt, Board, Bounds, Callback, CallbackOutcome, Cancelled, Claim, Clock, Completed,
    Completion, Counts, DueCallbacks, Durability, Enqueued, Extended, Failed, Failure, Filter,
    Gone, Grant, Held, Job, JobId, JobStore, Lane, Lease, NewJob, OpenCallback, Page, QueueStats,
    Released, StoreError, StoredResult, Swept, Timestamp, Wakes,
};

/// The oldest version of SQLite that is fit: those before could corrupt a file whose log is written
/// back while it is written to (<https://sqlite.org/wal.html#walresetbug>).
const OLDEST: i32 = 3_051_003;
/// How long a lock of the file is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// After a start, leases of workers that ran on get so much more time.
const GRACE: Duration = Duration::from_secs(15);
/// Steps in which room is given back each time that jobs are deleted: together 200 MB.
const TIDIED_MAX: usize = 50;
/// Threads that read.
const READERS: usize = 2;

/// Jobs in a file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Thread,
    readers: Vec<Thread>,
    next_reader: AtomicUsize,
    claims: AtomicU64,
    bounds: Bounds,
    clock: Clock,
    wakes: Arc<Wakes>,
    reserve: Arc<Reserve>,
}

/// What kept an operation from being done.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Fault(#[from] rusqlite::Error);

impl Fault {
    /// Of a machine that has no random numbers.
    fn of_chance(error: getrandom::Error) -> Self {
        Self(rusqlite::Error::ToSqlConversionFailure(error.to_string().into()))
    }

    /// Of a disk that has room only for what is there.
    fn of_no_room() -> Self {
        Self(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(SQLITE_FULL), None))
    }
}

impl From<Fault> for StoreError {
    fn from(Fault(error): Fault) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::NoRoom,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl SqliteStore {
    /// Opens a file, or makes it. Its directory must be there.
    pub async fn open(path: PathBuf, bounds: Bounds, clock: Clock) -> Result<Self, StoreError> {
        let opened = tokio::task::spawn_blocking(move || Self::open_now(&path, bounds, clock));
        opened.await.map_err(|it| StoreError::Unavailable(it.to_string()))?
    }

    fn open_now(path: &Path, bounds: Bounds, clock: Clock) -> Result<Self, StoreError> {
        if rusqlite::version_number() < OLDEST {
            let version = rusqlite::version();
            return Err(StoreError::Unavailable(format!("SQLite {version} is too old")));
        }
        let lock = lock(path, bounds.patience)?;
        // What follows may need room itself.
        let reserve = Arc::new(Reserve::of(path));
        // Nobody else reads what callers submitted. The log beside it takes the same mode.
        open_private(path).map_err(|it| told(path, &it))?;
        let mut connection = Connection::open(path).map_err(Fault::from)?;
        connection.busy_timeout(BUSY).map_err(Fault::from)?;
        let version = schema::version(&connection, &path.display().to_string())?;
        // Room is given back only if that was said before the first table. The log is written back
        // when it has 8 MiB, by the one connection that writes.
        let settings = "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; \
             PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=2048; PRAGMA foreign_keys=ON; \
             PRAGMA temp_store=MEMORY; PRAGMA cache_size=-65536; \
             PRAGMA journal_size_limit=67108864;";
        connection.execute_batch(settings).map_err(Fault::from)?;
        connection.set_prepared_statement_cache_capacity(64);
        schema::migrate(&mut connection, version)?;
        sweep::grant_grace(&connection, clock.now(), GRACE)?;
        let readers = (0..READERS).map(|_| Thread::reader(path)).collect::<Result<_, _>>()?;
        Ok(Self {
            writer: Thread::writer(connection, lock, Arc::clone(&reserve))?,
            readers,
            next_reader: AtomicUsize::new(0),
            claims: AtomicU64::new(0),
            bounds,
            clock,
            wakes: Arc::default(),
            reserve,
        })
    }

    fn reader(&self) -> Option<&Thread> {
        self.readers.get(self.next_reader.fetch_add(1, Ordering::Relaxed) % READERS)
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        async move { self.reader().unwrap_or(&self.writer).run(work).await }.boxed()
    }

    /// Has something written. Its time is that when it is done, so that times are in the order of what
    /// was done.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, Timestamp) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let clock = self.clock.clone();
        self.writer.run(move |connection| work(connection, clock.now())).await
    }

    /// Does something to each of `items`, and tells who waits for those jobs.
    fn for_each<I, T>(
        &self,
        items: Vec<I>,
        id: impl Fn(&I) -> JobId,
        work: impl Fn(&Connection, &I, Timestamp) -> Result<T, Fault> + Send + 'static,
    ) -> BoxFuture<'_, Result<Vec<T>, StoreError>>
    where
        I: Send + 'static,
        T: Send + 'static,
    {
        let ids: Vec<JobId> = items.iter().map(id).collect();
        async move {
            let done = self.write(move |connection, now| {
                items.iter().map(|item| work(connection, item, now)).collect::<Result<Vec<_>, _>>()
            });
            let done = done.await?;
            self.wakes.tell_of(ids);
            Ok(done)
        }
        .boxed()
    }
}

impl JobStore for SqliteStore {
    fn enqueue(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Enqueued>, StoreError>> {
        let (bounds, reserve) = (self.bounds, Arc::clone(&self.reserve));
        let work = move |connection: &Connection, job: &NewJob, now| {
            enqueue::enqueue(connection, job, (&bounds, &reserve), now)
        };
        let lanes: Vec<Lane> = jobs.iter().map(|it| it.lane.clone()).collect();
        let done = self.for_each(jobs, |job| job.id, work);
        async move {
            let done = done.await?;
            self.wakes.tell_of_work_in(lanes);
            Ok(done)
        }
        .boxed()
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Grant>, StoreError>> {
        async move {
            let turn = self.claims.fetch_add(1, Ordering::Relaxed);
            let granted =
                self.write(move |connection, now| claim::claim(connection, &claim, turn, now));
            let granted = granted.await?;
            self.wakes.tell_of(granted.iter().map(|it| it.lease.id));
            Ok(granted)
        }
        .boxed()
    }

    fn extend(
        &self,
        leases: Vec<Lease>,
        time: Duration,
    ) -> BoxFuture<'_, Result<Vec<Extended>, StoreError>> {
        async move {
            let extended = self.write(move |connection, now| {
                let extend = |lease: &Lease| claim::extend(connection, lease, time, now);
                leases.iter().map(extend).collect::<Result<Vec<_>, _>>()
            });
            extended.await
        }
        .boxed()
    }

    fn complete(
        &self,
        completions: Vec<Completion>,
    ) -> BoxFuture<'_, Result<Vec<Completed>, StoreError>> {
        self.for_each(completions, |it| it.lease.id, finish::complete)
    }

    fn fail(&self, failures: Vec<Failure>) -> BoxFuture<'_, Result<Vec<Failed>, StoreError>> {
        self.for_each(failures, |it| it.lease.id, finish::fail)
    }

    fn release(&self, leases: Vec<Lease>) -> BoxFuture<'_, Result<Vec<Released>, StoreError>> {
        let done = self.for_each(leases, |it| it.id, finish::release);
        async move {
            let done = done.await?;
            self.wakes.tell_of_work();
            Ok(done)
        }
        .boxed()
    }

    fn abandon(&self, worker: String, gone: Gone) -> BoxFuture<'_, Result<usize, StoreError>> {
        async move {
            let ended = self.write(move |connection, now| {
                sweep::abandon(connection, (worker.as_str(), gone), now)
            });
            let ended = ended.await?;
            self.wakes.tell_of(ended.iter().copied());
            self.wakes.tell_of_work();
            Ok(ended.len())
        }
        .boxed()
    }

    fn cancel(&self, id: JobId) -> BoxFuture<'_, Result<Cancelled, StoreError>> {
        async move {
            let done =
                self.write(move |connection, now| finish::cancel(connection, id, now)).await?;
            self.wakes.tell_of([id]);
            Ok(done)
        }
        .boxed()
    }

    fn sweep(&self, limit: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        async move {
            let (swept, changed) =
                self.write(move |connection, now| sweep::sweep(connection, limit, now)).await?;
            if !changed.is_empty() {
                self.wakes.tell_of(changed);
                self.wakes.tell_of_work();
            }
            Ok(swept)
        }
        .boxed()
    }

    fn redrive(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        async move {
            let done =
                self.write(move |connection, now| finish::redrive(connection, id, now)).await?;
            self.wakes.tell_of([id]);
            self.wakes.tell_of_work();
            Ok(done)
        }
        .boxed()
    }

    fn purge(&self, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        let bounds = self.bounds;
        async move {
            let purged =
                self.write(move |connection, now| purge::purge(connection, limit, &bounds, now));
            let purged = purged.await?;
            self.wakes.tidy();
            // In steps, as others write as well.
            for _ in 0..TIDIED_MAX {
                if !self.writer.tidy().await {
                    break;
                }
            }
            Ok(purged)
        }
        .boxed()
    }

    fn held(&self, worker: String, limit: usize) -> BoxFuture<'_, Result<Vec<Held>, StoreError>> {
        let now = self.clock.now();
        self.read(move |connection| look::held(connection, &worker, limit, now))
    }

    fn job(&self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        self.read(move |connection| look::job(connection, id))
    }

    fn versions(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<(JobId, u64)>, StoreError>> {
        self.read(move |connection| look::versions(connection, &ids))
    }

    fn body(&self, id: JobId) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.read(move |connection| look::body(connection, id))
    }

    fn result(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredResult>, StoreError>> {
        self.read(move |connection| look::result(connection, id))
    }

    fn attempts(&self, id: JobId) -> BoxFuture<'_, Result<Vec<Attempt>, StoreError>> {
        self.read(move |connection| look::attempts(connection, id))
    }

    fn list(
        &self,
        filter: Filter,
        from: Option<i64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.read(move |connection| look::list(connection, &filter, from, limit))
    }

    fn counts(&self, caller: Option<String>) -> BoxFuture<'_, Result<Counts, StoreError>> {
        self.read(move |connection| look::counts(connection, caller.as_deref()))
    }

    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreError>> {
        let now = self.clock.now();
        self.read(move |connection| look::stats(connection, now))
    }

    fn has_room(&self) -> BoxFuture<'_, Result<bool, StoreError>> {
        let reserve = Arc::clone(&self.reserve);
        self.writer.run(move |_| Ok(reserve.has_room())).boxed()
    }

    fn due_callbacks(
        &self,
        wish: DueCallbacks,
    ) -> BoxFuture<'_, Result<Vec<Callback>, StoreError>> {
        let due = move |connection: &Connection, now| callbacks::due(connection, &wish, now);
        async move { self.write(due).await }.boxed()
    }

    fn note_callback(
        &self,
        number: i64,
        outcome: CallbackOutcome,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let noted = move |connection: &Connection, now| {
                callbacks::note(connection, number, &outcome, now)
            };
            self.write(noted).await
        }
        .boxed()
    }

    fn callbacks(
        &self,
        caller: String,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenCallback>, StoreError>> {
        self.read(move |connection| callbacks::open(connection, &caller, limit))
    }

    fn durability(&self) -> Durability {
        Durability::PowerLoss
    }

    fn board(&self) -> Option<&dyn Board> {
        None
    }

    fn wakes(&self) -> &Arc<Wakes> {
        &self.wakes
    }
}
