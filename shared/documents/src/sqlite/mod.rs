//! The store in a file: SQLite, in the process of the one server that uses it.

mod documents;
mod invitations;
mod rooms;
mod schema;
mod snippets;
mod thread;

use std::fs::{File, TryLockError};
use std::future::ready;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::mpsc;

use self::thread::Thread;
use crate::bus::{Bus, Heard};
use crate::invitation::{Invitation, InvitationId};
use crate::secret::SecretDigest;
use crate::snippet::SnippetId;
use crate::store::{Appended, Bounds, DocumentStore, Loaded, ServerPlace, StoreError};
use crate::words::{RoomId, RoomRecord, Ticket};

/// The oldest version of SQLite that is fit: those before could corrupt a file whose log is written
/// back while it is written to (<https://sqlite.org/wal.html#walresetbug>).
const OLDEST: i32 = 3_051_003;
/// How long a lock of the file is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// How often a lock that another process has is looked at.
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// Rooms in a file.
#[derive(Debug)]
pub struct SqliteStore {
    thread: Thread,
    bounds: Bounds,
}

/// What kept an operation from being done.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Fault(#[from] rusqlite::Error);

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
    pub async fn open(path: PathBuf, bounds: Bounds) -> Result<Self, StoreError> {
        let opened = tokio::task::spawn_blocking(move || Self::open_now(&path, bounds));
        opened.await.map_err(|it| StoreError::Unavailable(it.to_string()))?
    }

    fn open_now(path: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        if rusqlite::version_number() < OLDEST {
            let version = rusqlite::version();
            return Err(StoreError::Unavailable(format!("SQLite {version} is too old")));
        }
        let lock = lock(path, bounds.patience)?;
        // Nobody else reads what callers wrote. The log beside it takes the same mode.
        open_private(path).map_err(|it| told(path, &it))?;
        let mut connection = Connection::open(path).map_err(Fault::from)?;
        connection.busy_timeout(BUSY).map_err(Fault::from)?;
        let version = schema::version(&connection, &path.display().to_string())?;
        // Room is given back only if that was said before the first table.
        let settings = "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; \
             PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=2048; PRAGMA foreign_keys=ON; \
             PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16384; \
             PRAGMA journal_size_limit=67108864;";
        connection.execute_batch(settings).map_err(Fault::from)?;
        connection.set_prepared_statement_cache_capacity(32);
        schema::migrate(&mut connection, version)?;
        Ok(Self { thread: Thread::start(connection, lock)?, bounds })
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        self.thread.run(work).boxed()
    }
}

impl DocumentStore for SqliteStore {
    fn create(&self, room: RoomRecord) -> BoxFuture<'_, Result<bool, StoreError>> {
        let most = self.bounds.rooms_max;
        self.run(move |connection| rooms::create(connection, &room, most))
    }

    fn room(&self, id: RoomId) -> BoxFuture<'_, Result<Option<RoomRecord>, StoreError>> {
        self.run(move |connection| rooms::one(connection, &id))
    }

    fn delete(&self, id: RoomId) -> BoxFuture<'_, Result<bool, StoreError>> {
        let deleted = self.run(move |connection| rooms::delete(connection, &id));
        async move {
            let is_deleted = deleted.await?;
            self.thread.tidy();
            Ok(is_deleted)
        }
        .boxed()
    }

    fn load(
        &self,
        id: RoomId,
        after: u64,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Loaded>, StoreError>> {
        self.run(move |connection| documents::load(connection, &id, after, now))
    }

    fn append(
        &self,
        id: RoomId,
        updates: Vec<Bytes>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Appended, StoreError>> {
        let most = self.bounds.bytes_max;
        self.run(move |connection| documents::append(connection, &id, &updates, (most, now)))
    }

    fn keep_snapshot(
        &self,
        id: RoomId,
        number: u64,
        state: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| documents::keep_snapshot(connection, &id, number, &state))
    }

    fn purge(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<RoomId>, StoreError>> {
        let purged = self.run(move |connection| rooms::purge(connection, before, now, limit));
        async move {
            let purged = purged.await?;
            if !purged.is_empty() {
                self.thread.tidy();
            }
            Ok(purged)
        }
        .boxed()
    }

    fn keep_ticket(
        &self,
        digest: SecretDigest,
        ticket: Ticket,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let most = self.bounds.tickets_max;
        self.run(move |connection| rooms::keep_ticket(connection, digest, &ticket, (most, now)))
    }

    fn take_ticket(
        &self,
        digest: SecretDigest,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Ticket>, StoreError>> {
        self.run(move |connection| rooms::take_ticket(connection, digest, now))
    }

    fn keep_invitation(
        &self,
        invitation: Invitation,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let most = self.bounds.invitations_max;
        self.run(move |connection| invitations::keep(connection, &invitation, (most, now)))
    }

    fn invitations(
        &self,
        room: RoomId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<Invitation>, StoreError>> {
        self.run(move |connection| invitations::of(connection, &room, now))
    }

    fn end_invitation(
        &self,
        room: RoomId,
        id: InvitationId,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.run(move |connection| invitations::end(connection, &room, &id))
    }

    fn keep_snippet(
        &self,
        id: SnippetId,
        data: Bytes,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let bounds = self.bounds;
        self.run(move |connection| snippets::keep(connection, &id, &data, (bounds, now)))
    }

    fn snippet(
        &self,
        id: SnippetId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.run(move |connection| snippets::one(connection, &id, now))
    }

    fn purge_snippets(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<usize, StoreError>> {
        let purged = self.run(move |connection| snippets::purge(connection, before, limit));
        async move {
            let purged = purged.await?;
            if purged > 0 {
                self.thread.tidy();
            }
            Ok(purged)
        }
        .boxed()
    }

    fn announce(
        &self,
        _name: String,
        _place: ServerPlace,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    fn server(
        &self,
        _name: String,
        _age: Duration,
    ) -> BoxFuture<'_, Result<Option<ServerPlace>, StoreError>> {
        ready(Ok(None)).boxed()
    }

    fn leave(&self, _name: String) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    fn hear(&self, _heard: mpsc::Sender<Heard>) -> Option<Arc<dyn Bus>> {
        None
    }
}

/// Opens a file that nobody else may look into, or makes it.
fn open_private(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn told(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

/// Keeps other processes from the file: neither would hear of the other's changes.
fn lock(path: &Path, patience: Duration) -> Result<File, StoreError> {
    let until = Instant::now() + patience;
    let mut place = path.as_os_str().to_owned();
    place.push(".lock");
    let place = PathBuf::from(place);
    let file = open_private(&place).map_err(|it| told(&place, &it))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Taken(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(told(&place, &error)),
        }
        #[expect(clippy::disallowed_methods, reason = "it is opened on a thread for such work")]
        std::thread::sleep(LOCK_LOOK);
    }
}
