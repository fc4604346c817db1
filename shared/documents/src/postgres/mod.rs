//! The store in a server that several gateways share: PostgreSQL. Each operation is a transaction;
//! those of one room come one after another, by its row.

mod bus;
mod documents;
mod invitations;
mod place;
mod rooms;
mod schema;
mod servers;
mod snippets;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::bus::PostgresBus;
use self::place::{Fault, Place};
use crate::bus::{Bus, Heard};
use crate::invitation::{Invitation, InvitationId};
use crate::secret::SecretDigest;
use crate::snippet::SnippetId;
use crate::store::{Appended, Bounds, DocumentStore, Loaded, ServerPlace, StoreError};
use crate::words::{RoomId, RoomRecord, Ticket};

/// How long anybody waits for anything.
const ANSWER: Duration = Duration::from_millis(4_500);

/// Rooms in a PostgreSQL database, in its schema `flotilla_rooms`. Several servers may use it.
#[derive(Debug)]
pub struct PostgresStore {
    place: Place,
    pool: PgPool,
    bounds: Bounds,
    /// Those that tell other servers and hear of them; they end with this.
    bus: Mutex<JoinSet<()>>,
}

impl PostgresStore {
    /// Opens the database that a URL names, as `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, and
    /// makes its tables. A server that is not there is waited for as long as the bounds say.
    pub async fn open(url: &str, bounds: Bounds) -> Result<Self, StoreError> {
        let place = Place::parse(url).ok_or_else(|| StoreError::url(url))?;
        let mut connection = place.await_connection(bounds.patience).await?;
        schema::migrate(&mut connection, &place).await?;
        let pool = place.connections();
        Ok(Self { place, pool, bounds, bus: Mutex::default() })
    }
}

/// Does something within the time that anybody waits for it.
fn within<'a, T: Send + 'a>(
    done: impl Future<Output = Result<T, Fault>> + Send + 'a,
) -> BoxFuture<'a, Result<T, StoreError>> {
    async move { Ok(timeout(ANSWER, done).await.unwrap_or(Err(Fault::Late))?) }.boxed()
}

/// A number as the server takes it.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count that is never less than nothing.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl DocumentStore for PostgresStore {
    fn create(&self, room: RoomRecord) -> BoxFuture<'_, Result<bool, StoreError>> {
        within(async move { rooms::create(&self.pool, &room, self.bounds.rooms_max).await })
    }

    fn room(&self, id: RoomId) -> BoxFuture<'_, Result<Option<RoomRecord>, StoreError>> {
        within(async move { rooms::one(&self.pool, &id).await })
    }

    fn delete(&self, id: RoomId) -> BoxFuture<'_, Result<bool, StoreError>> {
        within(async move { rooms::delete(&self.pool, &id).await })
    }

    fn load(
        &self,
        id: RoomId,
        after: u64,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Loaded>, StoreError>> {
        within(async move { documents::load(&self.pool, &id, after, now).await })
    }

    fn append(
        &self,
        id: RoomId,
        updates: Vec<Bytes>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Appended, StoreError>> {
        let most = self.bounds.bytes_max;
        within(async move { documents::append(&self.pool, &id, &updates, (most, now)).await })
    }

    fn keep_snapshot(
        &self,
        id: RoomId,
        number: u64,
        state: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        within(async move { documents::keep_snapshot(&self.pool, &id, number, &state).await })
    }

    fn purge(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<RoomId>, StoreError>> {
        within(async move { rooms::purge(&self.pool, before, now, limit).await })
    }

    fn keep_ticket(
        &self,
        digest: SecretDigest,
        ticket: Ticket,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let most = self.bounds.tickets_max;
        within(async move { rooms::keep_ticket(&self.pool, digest, &ticket, (most, now)).await })
    }

    fn take_ticket(
        &self,
        digest: SecretDigest,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Ticket>, StoreError>> {
        within(async move { rooms::take_ticket(&self.pool, digest, now).await })
    }

    fn keep_invitation(
        &self,
        invitation: Invitation,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let most = self.bounds.invitations_max;
        within(async move { invitations::keep(&self.pool, &invitation, (most, now)).await })
    }

    fn invitations(
        &self,
        room: RoomId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<Invitation>, StoreError>> {
        within(async move { invitations::of(&self.pool, &room, now).await })
    }

    fn end_invitation(
        &self,
        room: RoomId,
        id: InvitationId,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        within(async move { invitations::end(&self.pool, &room, &id).await })
    }

    fn keep_snippet(
        &self,
        id: SnippetId,
        data: Bytes,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let bounds = self.bounds;
        within(async move { snippets::keep(&self.pool, &id, &data, (bounds, now)).await })
    }

    fn snippet(
        &self,
        id: SnippetId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        within(async move { snippets::one(&self.pool, &id, now).await })
    }

    fn purge_snippets(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<usize, StoreError>> {
        within(async move { snippets::purge(&self.pool, before, limit).await })
    }

    fn announce(&self, name: String, place: ServerPlace) -> BoxFuture<'_, Result<(), StoreError>> {
        within(async move { servers::announce(&self.pool, &name, &place).await })
    }

    fn server(
        &self,
        name: String,
        age: Duration,
    ) -> BoxFuture<'_, Result<Option<ServerPlace>, StoreError>> {
        within(async move { servers::one(&self.pool, &name, age).await })
    }

    fn leave(&self, name: String) -> BoxFuture<'_, Result<(), StoreError>> {
        within(async move { servers::leave(&self.pool, &name).await })
    }

    fn hear(&self, heard: mpsc::Sender<Heard>) -> Option<Arc<dyn Bus>> {
        let mut tasks = self.bus.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::new(PostgresBus::start(&self.place, heard, &mut tasks)))
    }
}
