//! The task of one room: it does what connections order one after another, and has what changes
//! written. It ends when nobody has been there for a while and everything is written.

mod ending;
mod opening;
mod others;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use crate::awareness::Speaker;
use crate::bus::{Bus, ServerId, Word};
use crate::document::{Refused, RunNote};
use crate::home::Home;
use crate::limits::{Close, Limits};
use crate::order::{Order, RoomState};
use crate::room::{Room, Taken};
use crate::saver::{Due, Saver};
use crate::store::{Appended, DocumentStore, Loaded, StoreError};
use crate::words::RoomId;

/// Before what others have written is looked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// How many documents may be lost at one thing: it may be what the kernel is short of memory for.
const TRIES: usize = 2;

/// What a room needs beside its orders.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    pub(crate) limits: Limits,
    pub(crate) store: Arc<dyn DocumentStore>,
    pub(crate) bus: Option<Arc<dyn Bus>>,
    pub(crate) home: Home,
}

/// Why a room ends.
enum End {
    /// Nobody is there, and everything is written.
    Idle,
    /// It cannot go on; connections come again.
    Failed(Close),
    /// All is to be written first.
    Drain,
}

/// Something that the store does meanwhile.
type Doing<T> = Option<JoinHandle<Result<T, StoreError>>>;

struct Task {
    id: RoomId,
    means: Means,
    orders: mpsc::Receiver<Order>,
    room: Room,
    saver: Saver,
    /// The document has every update up to this number.
    number: u64,
    writing: Doing<Option<Appended>>,
    reading: Doing<Option<Loaded>>,
    idle_since: Option<Instant>,
    /// When to read what others may have written.
    behind_at: Option<Instant>,
    /// Servers that told of changes which they may not have written.
    tellers: BTreeSet<ServerId>,
}

/// Runs a room until it ends.
pub(crate) async fn run(id: RoomId, means: Means, mut orders: mpsc::Receiver<Order>) {
    let now = Instant::now();
    let (document, number, updates) = match opening::load(&id, &means, Vec::new()).await {
        Ok(loaded) => loaded,
        Err(close) => return opening::refuse(&mut orders, close).await,
    };
    let mut task = Task {
        saver: Saver::new(means.limits, updates, now),
        room: Room::new(means.limits, document),
        id,
        means,
        orders,
        number,
        writing: None,
        reading: None,
        idle_since: Some(now),
        behind_at: None,
        tellers: BTreeSet::new(),
    };
    task.ask();
    let end = task.work().await;
    task.end(end).await;
}

impl Task {
    async fn work(&mut self) -> End {
        loop {
            if let Err(close) = self.find_document().await {
                return End::Failed(close);
            }
            let now = Instant::now();
            if let Some(end) = self.look(now) {
                return end;
            }
            let idle_at = self.idle_since.map(|it| it + self.means.limits.idle_time);
            let idle_at = idle_at.filter(|it| *it > now);
            let read_at = self.behind_at.filter(|_| self.reading.is_none());
            let wake = [self.saver.next_at(), idle_at, read_at];
            let wake = wake.into_iter().flatten().min();
            tokio::select! {
                order = self.orders.recv() => match order {
                    None => return End::Drain,
                    Some(order) => {
                        // Whoever comes next is not who it ended with.
                        if let Err(close) = self.find_document().await {
                            return End::Failed(close);
                        }
                        if let Some(end) = self.act(order).await {
                            return end;
                        }
                    }
                },
                written = done(&mut self.writing) => {
                    if let Err(close) = self.note_written(written) {
                        return End::Failed(close);
                    }
                }
                read = done(&mut self.reading) => {
                    if let Err(close) = self.catch_up(read).await {
                        return End::Failed(close);
                    }
                }
                () = sleep_until(wake.unwrap_or(now).into()), if wake.is_some() => {}
            }
            self.spread();
        }
    }

    /// Has written and read what is due, and says whether this is the end.
    fn look(&mut self, now: Instant) -> Option<End> {
        if self.saver.unsaved_bytes() > self.means.limits.unsaved_bytes {
            tracing::error!(room.id = %self.id, "a room's changes cannot be written; it is left");
            return Some(End::Failed(Close::Resync));
        }
        if let Some(due) = self.saver.take(now) {
            self.write(due);
        }
        if self.reading.is_none() && self.behind_at.take_if(|it| *it <= now).is_some() {
            self.read();
        }
        let is_idle = self.idle_since.is_some_and(|it| now >= it + self.means.limits.idle_time);
        (is_idle && self.saver.is_done()).then_some(End::Idle)
    }

    /// Has what is new kept, and other servers told.
    fn spread(&mut self) {
        let news = self.room.take_news();
        for update in &news.updates {
            self.say(Word::Update(update.clone()));
        }
        // Cursors are behind the text that they are in.
        self.say_clients(&news.clients);
        self.saver.add(news.updates, Instant::now());
    }

    async fn act(&mut self, order: Order) -> Option<End> {
        let now = Instant::now();
        match order {
            Order::Join { connection, newcomer, reply } => {
                let joined = self.room.join(connection, newcomer, now);
                // Who does not wait for the answer any more leaves by itself.
                reply.send(joined).unwrap_or_default();
            }
            Order::Frame { connection, frame } => {
                if let Err(close) = self.take(connection, &frame, now).await {
                    return Some(End::Failed(close));
                }
            }
            Order::Leave { connection } => self.room.leave(connection),
            Order::NoteRun { note, reply } => {
                let noted = self.note_run(&note).await;
                reply.send(noted).unwrap_or_default();
            }
            Order::Look { reply } => drop(reply.send(RoomState {
                clients: self.room.clients(),
                unsaved_bytes: self.saver.unsaved_bytes(),
                document_bytes: self.room.document().bytes(),
            })),
            Order::Heard { server, word } => {
                if let Err(close) = self.hear(server, &word).await {
                    return Some(End::Failed(close));
                }
            }
            Order::Missed => {
                self.note_behind();
                // Whoever left meanwhile is not told of again, and the others are.
                for server in self.room.awareness().servers() {
                    self.room.end_of(Speaker::There(server));
                }
                self.say(Word::Written(self.number));
                self.say_clients(&self.room.awareness().all_here());
                self.ask();
            }
            Order::EndInvitation { id } => self.room.end_invitation(&id),
            Order::Delete => return Some(End::Failed(Close::Deleted)),
            Order::Drain => return Some(End::Drain),
        }
        match (self.room.clients(), self.idle_since) {
            (0, None) => self.idle_since = Some(now),
            (0, Some(_)) => {}
            _ => self.idle_since = None,
        }
        None
    }

    /// Takes a frame. Where its document is lost meanwhile, the next one takes it.
    async fn take(&mut self, connection: u64, frame: &[u8], now: Instant) -> Result<(), Close> {
        for _ in 0..TRIES {
            match self.room.frame(connection, frame, now) {
                Taken::Well | Taken::Closed => return Ok(()),
                Taken::Broken => {
                    tracing::error!(room.id = %self.id, "a document broke at a change; it is read anew");
                    return self.mend().await;
                }
                Taken::Lost => self.find_document().await?,
            }
        }
        self.room.close(connection, Close::Resync);
        Ok(())
    }

    /// Tells of a run, in the same way.
    async fn note_run(&mut self, note: &RunNote) -> Result<(), Close> {
        for _ in 0..TRIES {
            match self.room.note_run(note) {
                Ok(()) => return Ok(()),
                Err(Refused::Lost) => self.find_document().await?,
                Err(_) => break,
            }
        }
        Err(Close::Resync)
    }

    /// Makes the document anew if it broke or is lost, as it may be though nobody asked anything of it.
    async fn find_document(&mut self) -> Result<(), Close> {
        if self.room.document().is_lost() {
            tracing::error!(room.id = %self.id, "a document is lost; it is read anew");
            self.mend().await?;
        }
        Ok(())
    }

    /// Makes the document anew of what is written and what waits to be.
    async fn mend(&mut self) -> Result<(), Close> {
        // What others were told of is not lost with the old one.
        self.spread();
        let unsaved: Vec<Bytes> = self.saver.unsaved().cloned().collect();
        let loaded = opening::load(&self.id, &self.means, unsaved).await;
        let is_gone = |close| if close == Close::NoRoom { Close::Deleted } else { close };
        let (document, number, _) = loaded.map_err(is_gone)?;
        self.number = number;
        self.room.replace(document);
        // What others told of and have not written yet was in the old one only.
        self.ask_for_rest();
        Ok(())
    }

    fn read(&mut self) {
        let (store, id) = (Arc::clone(&self.means.store), self.id.clone());
        let number = self.number;
        self.reading =
            Some(tokio::spawn(async move { store.load(id, number, Timestamp::now()).await }));
    }

    /// Takes what others have written.
    async fn catch_up(&mut self, read: Result<Option<Loaded>, StoreError>) -> Result<(), Close> {
        let loaded = match read {
            Ok(loaded) => loaded.ok_or(Close::Deleted)?,
            Err(error) => {
                tracing::warn!(room.id = %self.id, "a room may be behind: {error}");
                self.behind_at = Some(Instant::now() + AGAIN);
                return Ok(());
            }
        };
        for update in loaded.snapshot.into_iter().chain(loaded.updates) {
            if let Err(Refused::Broken | Refused::Lost) = self.room.merge(&update) {
                return self.mend().await;
            }
        }
        self.number = self.number.max(loaded.number);
        Ok(())
    }

    fn write(&mut self, due: Due) {
        let (store, id) = (Arc::clone(&self.means.store), self.id.clone());
        self.writing = match due {
            Due::Updates(updates) => Some(tokio::spawn(async move {
                store.append(id, updates, Timestamp::now()).await.map(Some)
            })),
            Due::Snapshot => {
                let (state, number) = (self.room.document().state(), self.number);
                Some(tokio::spawn(async move {
                    let state = state.map_err(|it| StoreError::Unavailable(it.to_string()))?;
                    store.keep_snapshot(id, number, state).await.map(|()| None)
                }))
            }
        };
    }

    fn note_written(&mut self, outcome: Result<Option<Appended>, StoreError>) -> Result<(), Close> {
        match outcome {
            Ok(None) => self.saver.written(),
            Ok(Some(Appended::Written { before, number })) => {
                self.saver.written();
                if before == self.number {
                    self.number = number;
                } else {
                    // Somebody else wrote between; what was ours comes again with it.
                    self.note_behind();
                }
                self.say(Word::Written(number));
            }
            Ok(Some(Appended::NoRoom)) => return Err(Close::Deleted),
            Ok(Some(Appended::Full)) => {
                tracing::error!(
                    room.id = %self.id,
                    "all documents together are too large; set GATEWAY_ROOMS_MB, or delete rooms"
                );
                return Err(Close::StoreFull);
            }
            // Nobody is to go on writing what would be lost.
            Err(error @ StoreError::NoRoom) if self.saver.unsaved_bytes() > 0 => {
                tracing::error!(room.id = %self.id, "a room cannot be written: {error}");
                return Err(Close::from(&error));
            }
            Err(error) => {
                tracing::error!(room.id = %self.id, "a room cannot be written now: {error}");
                self.saver.failed(Instant::now());
            }
        }
        Ok(())
    }
}

/// Waits until what the store does is done, for ever if it does nothing.
async fn done<T>(doing: &mut Doing<T>) -> Result<T, StoreError> {
    let Some(task) = doing else { return std::future::pending().await };
    let outcome = task.await.unwrap_or_else(|it| Err(StoreError::Unavailable(it.to_string())));
    *doing = None;
    outcome
}
