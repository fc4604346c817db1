//! Every room of this process, and the threads that they run on.

mod cleaning;
mod guests;
mod servers;
mod snippets;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use crate::bus::{Bus, Heard, Word};
use crate::document::RunNote;
use crate::home::Home;
use crate::invitation::InvitationId;
use crate::limits::{Close, Limits};
use crate::member::Member;
use crate::order::{Order, RoomState};
use crate::outbox::Outbox;
use crate::redis::RedisBus;
use crate::room::Newcomer;
use crate::store::{self, Bounds, StoreError};
use crate::task::{self, Means};
use crate::words::{Role, RoomId, RoomRecord, Visibility};

pub use guests::{NewInvitation, NewTicket};

/// Threads that rooms run on: one that has much to do does not hold up requests.
const THREADS: usize = 2;
/// The stack of each. The library deletes what is nested by recursion, as deep as it is.
const STACK_BYTES: usize = 64 << 20;
/// What may wait to be done by a room.
const ORDERS_MAX: usize = 64;
/// Rooms in memory at a time.
const LOADED_MAX: usize = 400;
/// How often a room that has just ended is opened again.
const TRIES: usize = 3;
/// Words of other servers that wait.
const HEARD_MAX: usize = 256;
/// How long all rooms may take to end.
const DRAIN_TIME: Duration = Duration::from_secs(15);

/// What an operator sets of rooms.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How much is kept.
    pub bounds: Bounds,
    /// What a room bears.
    pub limits: Limits,
    /// Rooms that nobody touches for so long are deleted.
    pub ttl: SignedDuration,
    /// So are snippets.
    pub snippet_ttl: SignedDuration,
    /// Where documents are.
    pub home: Home,
}

/// Rooms.
#[derive(Debug)]
pub struct Rooms {
    means: Means,
    ttl: SignedDuration,
    snippet_ttl: SignedDuration,
    loaded: Arc<Loaded>,
    next_number: AtomicU64,
    is_draining: AtomicBool,
    /// There until this is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

#[derive(Debug, Default)]
struct Loaded {
    rooms: Mutex<HashMap<RoomId, Entry>>,
    /// Told whenever one has ended.
    ended: Notify,
}

#[derive(Debug, Clone)]
struct Entry {
    number: u64,
    orders: mpsc::Sender<Order>,
    /// Whether it is to hear that it missed something.
    is_behind: Arc<AtomicBool>,
}

impl Entry {
    /// Has a room hear something, and waits for no room: all others are to hear it as well. One that is
    /// slow is told that it missed what it can find out.
    fn hear(self, order: Order) {
        let Err(TrySendError::Full(order)) = self.orders.try_send(order) else { return };
        if let Order::Heard {
            word: Word::Deleted | Word::InvitationEnded(_) | Word::ServerLeft,
            ..
        } = order
        {
            tokio::spawn(async move { drop(self.orders.send(order).await) });
        } else if !self.is_behind.swap(true, Ordering::AcqRel) {
            tokio::spawn(async move {
                let place = self.orders.reserve().await;
                self.is_behind.store(false, Ordering::Release);
                if let Ok(place) = place {
                    place.send(Order::Missed);
                }
            });
        }
    }
}

impl Loaded {
    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, Entry>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a room that has ended.
    fn forget(&self, id: &RoomId) {
        self.lock().remove(id);
        self.ended.notify_waiters();
    }

    /// Waits until a room that is about to end has, or others than it are meant.
    async fn gone(&self, id: &RoomId, number: u64) {
        loop {
            let ended = self.ended.notified();
            if self.lock().get(id).is_none_or(|it| it.number != number) {
                return;
            }
            ended.await;
        }
    }
}

/// Forgets a room however its task ends.
struct Registered {
    loaded: Arc<Loaded>,
    id: RoomId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.loaded.forget(&self.id);
    }
}

impl Rooms {
    /// Opens the store that a URL names, and starts the threads. Servers of one store tell each other
    /// of rooms by the bus that another URL names, or else by the store.
    pub async fn open(url: &str, bus_url: Option<&str>, terms: Terms) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_stack_size(STACK_BYTES)
            .thread_name("rooms")
            .enable_all()
            .build()
            .map_err(|it| StoreError::Unavailable(format!("no threads can be started: {it}")))?;
        let handle = runtime.handle().clone();
        let (url, bus_url, bounds) = (url.to_owned(), bus_url.map(str::to_owned), terms.bounds);
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        let opened = handle.spawn(async move {
            let store = store::open(&url, bounds).await?;
            let bus: Option<Arc<dyn Bus>> = match bus_url {
                Some(url) => Some(Arc::new(RedisBus::open(&url, bounds.patience, tell).await?)),
                None => store.hear(tell),
            };
            Ok((store, bus))
        });
        let opened = opened.await.unwrap_or_else(|it| Err(StoreError::Unavailable(it.to_string())));
        let (store, bus) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let loaded = Arc::<Loaded>::default();
        handle.spawn(pass_on(heard, Arc::clone(&loaded)));
        Ok(Self {
            means: Means { limits: terms.limits, store, bus, home: terms.home },
            ttl: terms.ttl,
            snippet_ttl: terms.snippet_ttl,
            loaded,
            next_number: AtomicU64::new(1),
            is_draining: AtomicBool::new(false),
            runtime: Some(runtime),
            handle,
        })
    }

    /// What a room bears.
    pub fn limits(&self) -> &Limits {
        &self.means.limits
    }

    /// Makes a room. None if there are too many.
    pub async fn create(
        &self,
        title: Option<String>,
        visibility: Visibility,
        owner: String,
    ) -> Result<Option<RoomRecord>, StoreError> {
        let now = now();
        let (id, bytes) = (RoomId::random(), 0);
        let (created_at, touched_at) = (now, now);
        let room = RoomRecord { id, title, visibility, owner, created_at, touched_at, bytes };
        let is_kept = self.means.store.create(room.clone()).await?;
        Ok(is_kept.then_some(room))
    }

    /// What is known of a room.
    pub async fn room(&self, id: &RoomId) -> Result<Option<RoomRecord>, StoreError> {
        self.means.store.room(id.clone()).await
    }

    /// How a room is that is in memory here.
    pub async fn state(&self, id: &RoomId) -> Option<RoomState> {
        let orders = self.loaded.lock().get(id)?.orders.clone();
        let (reply, answer) = oneshot::channel();
        orders.send(Order::Look { reply }).await.ok()?;
        answer.await.ok()
    }

    /// Deletes a room; whoever is in it is told. False if there is none.
    pub async fn delete(&self, id: &RoomId) -> Result<bool, StoreError> {
        let is_deleted = self.means.store.delete(id.clone()).await?;
        self.tell_deleted(id).await;
        Ok(is_deleted)
    }

    /// Lets somebody into a room, by an invitation if it came with one.
    pub async fn join(
        &self,
        id: &RoomId,
        role: Role,
        invitation: Option<InvitationId>,
    ) -> Result<Member, Close> {
        let member = self.enter(id, role, invitation.clone()).await?;
        let Some(invitation) = invitation else { return Ok(member) };
        // It may have ended before those were told who came by it.
        let all = self.invitations(id).await.map_err(|error| Close::from(&error))?;
        let is_good = all.iter().any(|it| it.id == invitation);
        if is_good { Ok(member) } else { Err(Close::Unauthorized) }
    }

    async fn enter(
        &self,
        id: &RoomId,
        role: Role,
        invitation: Option<InvitationId>,
    ) -> Result<Member, Close> {
        for _ in 0..TRIES {
            let entry = self.entry(id)?;
            let connection = self.next_number.fetch_add(1, Ordering::Relaxed);
            let outbox = Arc::new(Outbox::new(&self.means.limits));
            let (reply, answer) = oneshot::channel();
            let invitation = invitation.clone();
            let newcomer = Newcomer { role, invitation, outbox: Arc::clone(&outbox) };
            let order = Order::Join { connection, newcomer, reply };
            let (orders, handle) = (entry.orders.clone(), self.handle.clone());
            // If nobody waits for this any more, it leaves behind its coming.
            let member = Member { connection, role, orders, outbox, handle };
            if member.orders.send(order).await.is_ok()
                && let Ok(joined) = answer.await
            {
                return joined.map(|()| member);
            }
            self.loaded.gone(id, entry.number).await;
        }
        Err(Close::Resync)
    }

    /// Tells those in a room of a run: `runs` of its document has the last twenty.
    pub async fn note_run(&self, id: &RoomId, note: RunNote) -> Result<(), Close> {
        for _ in 0..TRIES {
            let entry = self.entry(id)?;
            let (reply, answer) = oneshot::channel();
            let order = Order::NoteRun { note: note.clone(), reply };
            if entry.orders.send(order).await.is_ok()
                && let Ok(noted) = answer.await
            {
                return noted;
            }
            self.loaded.gone(id, entry.number).await;
        }
        Err(Close::Resync)
    }

    /// Writes everything, and then ends every connection. Nobody comes in any more.
    pub async fn drain(&self) {
        let all: Vec<Entry> = {
            let rooms = self.loaded.lock();
            self.is_draining.store(true, Ordering::Release);
            rooms.values().cloned().collect()
        };
        for entry in all {
            // One that ends already is waited for, too.
            self.handle.spawn(async move { entry.orders.send(Order::Drain).await });
        }
        let all_ended = async {
            loop {
                let ended = self.loaded.ended.notified();
                if self.loaded.lock().is_empty() {
                    return;
                }
                ended.await;
            }
        };
        if timeout(DRAIN_TIME, all_ended).await.is_err() {
            tracing::error!("some rooms did not end in time");
        }
    }

    async fn tell_deleted(&self, id: &RoomId) {
        self.tell(id, Word::Deleted, Order::Delete).await;
    }

    /// Tells other servers something of a room, and the room itself, if it is in memory here.
    async fn tell(&self, id: &RoomId, word: Word, order: Order) {
        if let Some(bus) = &self.means.bus {
            bus.say(id, word);
        }
        let entry = self.loaded.lock().get(id).cloned();
        if let Some(entry) = entry {
            drop(entry.orders.send(order).await);
        }
    }

    /// The room, which is read if it is not in memory.
    fn entry(&self, id: &RoomId) -> Result<Entry, Close> {
        let mut rooms = self.loaded.lock();
        if let Some(entry) = rooms.get(id) {
            return Ok(entry.clone());
        }
        if self.is_draining.load(Ordering::Acquire) {
            return Err(Close::Draining);
        }
        if rooms.len() >= LOADED_MAX {
            return Err(Close::Full);
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let entry = Entry { number, orders, is_behind: Arc::default() };
        rooms.insert(id.clone(), entry.clone());
        let registered = Registered { loaded: Arc::clone(&self.loaded), id: id.clone() };
        let (id, means) = (id.clone(), self.means.clone());
        self.handle.spawn(async move {
            let _registered = registered;
            task::run(id, means, ordered).await;
        });
        Ok(entry)
    }
}

/// The time as stores keep it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// Has rooms hear what other servers say.
async fn pass_on(mut heard: mpsc::Receiver<Heard>, loaded: Arc<Loaded>) {
    while let Some(heard) = heard.recv().await {
        let all = || loaded.lock().values().cloned().collect::<Vec<Entry>>();
        let (entries, server, word) = match heard {
            Heard::Word { server, room, word } => {
                (loaded.lock().get(&room).cloned().into_iter().collect(), server, word)
            }
            Heard::Gone(server) => (all(), server, Word::ServerLeft),
            Heard::Missed => {
                for entry in all() {
                    entry.hear(Order::Missed);
                }
                continue;
            }
        };
        for entry in entries {
            entry.hear(Order::Heard { server, word: word.clone() });
        }
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
