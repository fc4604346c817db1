//! What every store of documents does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::bus::{Bus, Heard};
use crate::invitation::{Invitation, InvitationId};
use crate::secret::SecretDigest;
use crate::snippet::SnippetId;
use crate::words::{RoomId, RoomRecord, Ticket, Visibility};
use crate::{PostgresStore, SqliteStore};

/// Keeps rooms: what is known of each, its document, tickets, and invitations; and snippets.
///
/// A document is a number of updates in the order of their numbers, and a snapshot that stands for
/// all of them up to one. An update that comes twice, or that a snapshot has already, does no harm,
/// so whoever is not sure whether something was written writes it again.
///
/// 1. What [`Self::append`] and [`Self::keep_snapshot`] acknowledge is durable.
/// 2. The updates of a room have the numbers 1, 2, 3 and so on: who knows one knows that nobody will
///    put another before it.
/// 3. Nothing is kept of a room that is deleted, nor is anything kept for it later.
/// 4. A ticket is taken once, and not after its time, nor after the invitation that it was made with.
///    An invitation is told of until its time is over.
/// 5. There are no more rooms or snippets, nor more bytes in them, than [`Bounds`] say; but for what
///    several write at the same moment.
/// 6. A server is told of as it announced itself last, by the store's own clock, until it leaves.
pub trait DocumentStore: Send + Sync + std::fmt::Debug {
    /// Keeps a new room. False if there are too many.
    fn create(&self, room: RoomRecord) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// What is known of a room.
    fn room(&self, id: RoomId) -> BoxFuture<'_, Result<Option<RoomRecord>, StoreError>>;

    /// Deletes a room, its document, its tickets and its invitations. False if there is none.
    fn delete(&self, id: RoomId) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// What was written of a document behind the update of this number, 0 for all; and notes that
    /// somebody was there.
    fn load(
        &self,
        id: RoomId,
        after: u64,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Loaded>, StoreError>>;

    /// Writes updates, all or none of them.
    fn append(
        &self,
        id: RoomId,
        updates: Vec<Bytes>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Appended, StoreError>>;

    /// Writes the document as it is with all updates up to this number, and forgets those. Nothing
    /// happens where a later one is kept.
    fn keep_snapshot(
        &self,
        id: RoomId,
        number: u64,
        state: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Deletes at most `limit` rooms that nobody touched since `before`, and tickets and
    /// invitations whose time was over at `now`. Returns the rooms.
    fn purge(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<RoomId>, StoreError>>;

    /// Keeps a ticket. False if there are too many of its room, or there is no such room, or no such
    /// invitation to it.
    fn keep_ticket(
        &self,
        digest: SecretDigest,
        ticket: Ticket,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Takes a ticket, so that it is none any more.
    fn take_ticket(
        &self,
        digest: SecretDigest,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Ticket>, StoreError>>;

    /// Keeps an invitation. False if there are too many to its room, or there is no such room.
    fn keep_invitation(
        &self,
        invitation: Invitation,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// The invitations to a room whose time is not over, the oldest first.
    fn invitations(
        &self,
        room: RoomId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<Invitation>, StoreError>>;

    /// Deletes an invitation, and the tickets that were made with it. False if there is none of this
    /// name to this room.
    fn end_invitation(
        &self,
        room: RoomId,
        id: InvitationId,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Keeps a snippet, or notes that somebody wanted it kept again. False if there are too many, or
    /// they would be too large together.
    fn keep_snippet(
        &self,
        id: SnippetId,
        data: Bytes,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// What a snippet says; and notes, to the hour, that somebody looked.
    fn snippet(
        &self,
        id: SnippetId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>>;

    /// Deletes at most `limit` snippets that nobody touched since `before`. Returns how many.
    fn purge_snippets(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// Tells other servers where the server of this name is from now on. Does nothing where there
    /// cannot be any.
    fn announce(&self, name: String, place: ServerPlace) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Where the server of this name is, if it has announced itself within `age`.
    fn server(
        &self,
        name: String,
        age: Duration,
    ) -> BoxFuture<'_, Result<Option<ServerPlace>, StoreError>>;

    /// Forgets the server of this name.
    fn leave(&self, name: String) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Starts to hear other servers by this store, and returns what tells them; none where there
    /// cannot be any.
    fn hear(&self, heard: mpsc::Sender<Heard>) -> Option<Arc<dyn Bus>>;
}

/// A look at a snippet is written down if the last one was longer ago than this.
pub(crate) const TOUCH_MILLISECONDS: i64 = 3_600_000;

/// How much a store keeps.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Rooms.
    pub rooms_max: u64,
    /// Bytes of all documents together.
    pub bytes_max: u64,
    /// Tickets of one room that nobody came with yet.
    pub tickets_max: u64,
    /// Invitations to one room.
    pub invitations_max: u64,
    /// Snippets.
    pub snippets_max: u64,
    /// Bytes of all snippets together.
    pub snippet_bytes_max: u64,
    /// How long to wait for another process to let go of the store.
    pub patience: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            rooms_max: 10_000,
            bytes_max: 1 << 30,
            tickets_max: 256,
            invitations_max: 32,
            snippets_max: 10_000,
            snippet_bytes_max: 256 << 20,
            patience: Duration::from_secs(10),
        }
    }
}

/// Where a server is, for others that share its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPlace {
    /// Scheme, host and port.
    pub url: String,
    /// What shows it that another server asks: a secret of those that read the store.
    pub token: String,
}

/// What was written of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The snapshot, if there is one that is not known yet.
    pub snapshot: Option<Bytes>,
    /// Updates behind it, in order.
    pub updates: Vec<Bytes>,
    /// The number of the last update.
    pub number: u64,
}

/// What came of writing updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// They are written.
    Written {
        /// The number of the last update before them.
        before: u64,
        /// The number of the last of them.
        number: u64,
    },
    /// There is no such room any more.
    NoRoom,
    /// All documents together are too large.
    Full,
}

/// Why a store cannot do what it is asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Rooms are not kept in such a store.
    #[error(
        "rooms are not kept at `{0}`; write `sqlite:PATH` or \
         `postgres://USER:PASSWORD@HOST:PORT/DATABASE`"
    )]
    Url(String),
    /// Servers do not tell each other of rooms there.
    #[error(
        "gateways cannot tell each other of rooms at `{0}`; write \
         `redis://USER:PASSWORD@HOST:PORT`, or `rediss://…` for TLS"
    )]
    BusUrl(String),
    /// There is a bus, and nobody to hear on it.
    #[error(
        "rooms in a file are one gateway's alone, and no bus shares them; keep them in PostgreSQL \
         by GATEWAY_ROOMS_URL, or leave GATEWAY_ROOMS_BUS_URL out"
    )]
    Alone,
    /// Another process has the file.
    #[error("{} is in use by another process; give each gateway a file of its own", .0.display())]
    Taken(PathBuf),
    /// A younger version of this program wrote it.
    #[error(
        "{place} has version {found} of the rooms' schema and this program knows {known} at most; \
         run a newer one, or give it another store"
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
    #[error("the rooms' store has no room left; free some on its disk")]
    NoRoom,
    /// It does not answer, or not as it should.
    #[error("the rooms' store cannot be used now: {0}")]
    Unavailable(String),
    /// What tells other servers does not answer, or not as it should.
    #[error("the bus of rooms cannot be used now: {0}")]
    BusUnavailable(String),
}

impl StoreError {
    /// Of a URL that names no store.
    pub(crate) fn url(url: &str) -> Self {
        Self::Url(shown(url))
    }
}

/// A URL without what may be a password.
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://…@{place}"),
        None => url.to_owned(),
    }
}

/// Opens the store that a URL names: `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`
/// (or `postgresql://…`).
pub async fn open(url: &str, bounds: Bounds) -> Result<Arc<dyn DocumentStore>, StoreError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(PostgresStore::open(url, bounds).await?));
    }
    let path = url.strip_prefix("sqlite:").map(|it| it.strip_prefix("//").unwrap_or(it));
    match path {
        Some(path) if !path.is_empty() => {
            Ok(Arc::new(SqliteStore::open(PathBuf::from(path), bounds).await?))
        }
        _ => Err(StoreError::url(url)),
    }
}

/// A room as a row has it.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) title: Option<String>,
    pub(crate) visibility: String,
    pub(crate) owner: String,
    pub(crate) created_at: i64,
    pub(crate) touched_at: i64,
    pub(crate) bytes: u64,
}

impl Row {
    /// The room that it stands for; none if somebody else wrote it.
    pub(crate) fn record(self) -> Option<RoomRecord> {
        Some(RoomRecord {
            id: self.id.parse().ok()?,
            title: self.title,
            visibility: self.visibility.parse().unwrap_or(Visibility::Private),
            owner: self.owner,
            created_at: time(self.created_at),
            touched_at: time(self.touched_at),
            bytes: self.bytes,
        })
    }
}

/// An invitation as a row has it.
pub(crate) struct InvitationRow {
    pub(crate) id: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) role: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
}

impl InvitationRow {
    /// The invitation that it stands for; none if somebody else wrote it.
    pub(crate) fn invitation(self, room: &RoomId) -> Option<Invitation> {
        Some(Invitation {
            id: self.id.parse().ok()?,
            room: room.clone(),
            digest: <[u8; 32]>::try_from(self.digest).ok()?.into(),
            role: self.role.parse().ok()?,
            created_at: time(self.created_at),
            expires_at: time(self.expires_at),
        })
    }
}

/// A ticket as a row has it.
pub(crate) struct TicketRow {
    pub(crate) room: String,
    pub(crate) role: String,
    pub(crate) name: Option<String>,
    pub(crate) expires_at: i64,
    pub(crate) invitation: Option<String>,
}

impl TicketRow {
    /// The ticket that it stands for; none if somebody else wrote it.
    pub(crate) fn ticket(self) -> Option<Ticket> {
        Some(Ticket {
            room: self.room.parse().ok()?,
            role: self.role.parse().ok()?,
            name: self.name,
            invitation: self.invitation.map(|it| it.parse()).transpose().ok()?,
            expires_at: time(self.expires_at),
        })
    }
}

/// A time as stores keep it.
pub(crate) fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
