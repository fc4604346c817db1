//! Places for runs, and what is made ready in them before a run is known. A place has a user of its
//! own where we are root, and holds one run at a time; there are more of them than runs, so that
//! what waits for the next runs is out of reach of those that go on.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sandbox::Cell;
use tokio::sync::Notify;

use crate::workspace::Directories;

/// What can be made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A cell, in which a program is executed.
    Cell,
    /// A cell with a process that waits for its program.
    Warm(WarmKind),
}

/// What a waiting process was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct WarmKind {
    /// Which of the executor's runtimes.
    pub(crate) runtime: usize,
    /// What it has read ahead.
    pub(crate) profile: usize,
    /// What its program may use, in MiB, where that must be known ahead; 0 elsewhere.
    pub(crate) memory_mb: u64,
}

/// What is ready in a place.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) cell: Cell,
    pub(crate) directories: Directories,
}

/// The places of an executor. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something is wanted.
    wanted: Notify,
    /// A place came free.
    freed: Notify,
    /// Most that is ready at a time.
    depth: usize,
}

#[derive(Debug, Default)]
struct State {
    bare: Vec<Place>,
    ready: VecDeque<Ready>,
    /// What is to be made, the most urgent first.
    wanted: VecDeque<Kind>,
    making: usize,
}

impl State {
    /// What is ready or about to be.
    fn all(&self) -> usize {
        self.ready.len() + self.wanted.len() + self.making
    }
}

/// A place's user, and the claim on that user.
#[derive(Debug)]
struct Place {
    uid: Option<u32>,
    _claim: Option<UnixListener>,
}

#[derive(Debug)]
struct Ready {
    kind: Kind,
    made: Made,
    since: Instant,
    place: Place,
}

/// A place that is taken. It comes free when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pool: Pool,
    place: Option<Place>,
    /// Whether it is held to be made ready.
    for_later: bool,
}

/// A place, and what was ready in it.
type Taken = (Held, Option<(Kind, Made)>);

/// How long what is over may take to be cleaned up.
const CLEANING_MAX: Duration = Duration::from_secs(5);

/// What the pool holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stock {
    /// Cells without a process.
    pub(crate) cells: usize,
    /// Processes that wait.
    pub(crate) warm: usize,
}

impl Pool {
    /// Makes places for `runs` at a time and for `depth` that are ready. With `uid_base`, each
    /// claims the first user from there on that no other executor of this host has claimed.
    pub(crate) fn new(runs: usize, depth: usize, uid_base: Option<u32>) -> anyhow::Result<Self> {
        let mut bare = Vec::with_capacity(runs + depth);
        let mut next = uid_base;
        for _ in 0..runs + depth {
            let place = match next {
                Some(from) => {
                    let (uid, claim) = claim_user(from)?;
                    next = Some(uid + 1);
                    Place { uid: Some(uid), _claim: Some(claim) }
                }
                None => Place { uid: None, _claim: None },
            };
            bare.push(place);
        }
        let state = Mutex::new(State { bare, ..State::default() });
        Ok(Self {
            shared: Arc::new(Shared { state, wanted: Notify::new(), freed: Notify::new(), depth }),
        })
    }

    /// Takes a place with what is ready of a kind, or else of the kind `instead`, or else one with
    /// nothing in it. Another of the kind is wanted from then on. Waits for a while where what is
    /// over is still being cleaned up; none if every place stays taken, which means that more runs
    /// are under way than there are slots.
    pub(crate) async fn take(&self, kind: Kind, instead: Kind) -> Option<Taken> {
        let until = tokio::time::Instant::now() + CLEANING_MAX;
        loop {
            let mut freed = pin!(self.shared.freed.notified());
            // From here on a place that comes free is told to somebody who looks, one to each.
            freed.as_mut().enable();
            if let Some(taken) = self.take_now(kind, instead) {
                return Some(taken);
            }
            tokio::time::timeout_at(until, freed).await.ok()?;
        }
    }

    fn take_now(&self, kind: Kind, instead: Kind) -> Option<Taken> {
        let mut state = self.lock();
        let index = [kind, instead]
            .into_iter()
            .find_map(|kind| state.ready.iter().position(|it| it.kind == kind));
        if let Some(found) = index.and_then(|it| state.ready.remove(it)) {
            self.want(&mut state, kind);
            return Some((self.held(found.place, false), Some((found.kind, found.made))));
        }
        let bare = state.bare.pop();
        // What is ready of other kinds, and would keep this one from being made, goes.
        let is_full = state.all() >= self.shared.depth;
        let other = if bare.is_none() || is_full { state.ready.pop_front() } else { None };
        self.want(&mut state, kind);
        drop(state);
        let emptied = other.map(|Ready { made, place, .. }| {
            drop(made);
            self.held(place, false)
        });
        // If there are two, the other one goes back.
        let bare = bare.map(|place| self.held(place, false));
        bare.or(emptied).map(|held| (held, None))
    }

    /// Takes a place with nothing in it.
    pub(crate) fn take_bare(&self) -> Option<Held> {
        let place = self.lock().bare.pop()?;
        Some(self.held(place, false))
    }

    /// Has as much of a kind made as there is room for, and nothing that was wanted before.
    pub(crate) fn fill(&self, kind: Kind) {
        let mut state = self.lock();
        state.wanted.clear();
        for _ in 0..self.shared.depth {
            self.want(&mut state, kind);
        }
    }

    /// A place, and what is to be made ready in it; waits until something is wanted.
    pub(crate) async fn next_wanted(&self) -> (Held, Kind) {
        loop {
            let wanted = self.shared.wanted.notified();
            if let Some(next) = self.take_wanted() {
                return next;
            }
            wanted.await;
        }
    }

    fn take_wanted(&self) -> Option<(Held, Kind)> {
        let mut state = self.lock();
        let kind = state.wanted.front().copied()?;
        let place = state.bare.pop()?;
        state.wanted.pop_front();
        state.making += 1;
        if !state.wanted.is_empty() {
            self.shared.wanted.notify_one();
        }
        Some((self.held(place, true), kind))
    }

    /// Keeps what was made ready.
    pub(crate) fn put(&self, mut held: Held, kind: Kind, made: Made) {
        let Some(place) = held.place.take() else { return };
        // The place is no longer to be made ready in the moment in which it is ready.
        let mut state = self.lock();
        if std::mem::take(&mut held.for_later) {
            state.making -= 1;
        }
        state.ready.push_back(Ready { kind, made, since: Instant::now(), place });
    }

    /// Drops what has waited for longer than `age`, and wants it anew.
    pub(crate) fn renew(&self, age: Duration) {
        let mut state = self.lock();
        let all = std::mem::take(&mut state.ready).into_iter();
        let (old, young) = all.partition(|it: &Ready| it.since.elapsed() > age);
        state.ready = young;
        for Ready { kind, .. } in &old {
            self.want(&mut state, *kind);
        }
        drop(state);
        self.give_up(old);
    }

    /// Drops everything that is ready, and wants nothing.
    pub(crate) fn empty(&self) {
        let mut state = self.lock();
        state.wanted.clear();
        let ready = std::mem::take(&mut state.ready);
        drop(state);
        self.give_up(ready);
    }

    fn give_up(&self, ready: VecDeque<Ready>) {
        for Ready { made, place, .. } in ready {
            drop(made);
            drop(self.held(place, false));
        }
    }

    /// What it holds now.
    pub(crate) fn stock(&self) -> Stock {
        let state = self.lock();
        let cells = state.ready.iter().filter(|it| it.kind == Kind::Cell).count();
        Stock { cells, warm: state.ready.len() - cells }
    }

    /// Most that is ready at a time.
    pub(crate) fn depth(&self) -> usize {
        self.shared.depth
    }

    /// Notes that one more of a kind is to be made, as far as there is room.
    fn want(&self, state: &mut State, kind: Kind) {
        if state.all() < self.shared.depth {
            state.wanted.push_back(kind);
            self.shared.wanted.notify_one();
        }
    }

    fn held(&self, place: Place, for_later: bool) -> Held {
        Held { pool: self.clone(), place: Some(place), for_later }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The user of programs in this place.
    pub(crate) fn uid(&self) -> Option<u32> {
        self.place.as_ref().and_then(|place| place.uid)
    }

    /// Takes the place out of service for good: something of its run is left. The claim on its
    /// user is kept for as long as this process lives.
    pub(crate) fn forsake(&mut self) {
        std::mem::forget(self.place.take());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        if self.for_later {
            state.making -= 1;
        }
        if let Some(place) = self.place.take() {
            state.bare.push(place);
            self.pool.shared.freed.notify_one();
        }
        if !state.wanted.is_empty() {
            self.pool.shared.wanted.notify_one();
        }
    }
}

/// Users that slots may have.
pub(crate) const USERS: RangeInclusive<u32> = 1000..=4_000_000;

/// The first user of slots, where `wanted` is 0 by chance among those that this host has.
pub(crate) fn first_user(wanted: u32) -> anyhow::Result<u32> {
    /// Beyond those that people and services usually have.
    const FIRST: u32 = 59_000;
    if wanted != 0 {
        return Ok(wanted);
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let ends = map.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let first: u32 = words.next()?.parse().ok()?;
        let count: u32 = words.nth(1)?.parse().ok()?;
        let end = first.saturating_add(count);
        (first..end).contains(&FIRST).then_some(end)
    });
    let end = ends.max().unwrap_or(FIRST).min(*USERS.end());
    let choice = end.saturating_sub(FIRST + TRIED_MAX).max(1);
    let mut random = [0; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(FIRST + u32::from_le_bytes(random) % choice)
}

/// How many users are tried for a slot.
const TRIED_MAX: u32 = 1000;

/// Claims the first free user id from `from` on. The claim is a socket name, which goes with its
/// process, however that ends.
fn claim_user(from: u32) -> anyhow::Result<(u32, UnixListener)> {
    for uid in from..from.saturating_add(TRIED_MAX) {
        let name = SocketAddr::from_abstract_name(format!("flotilla-slot-user-{uid}"))?;
        if let Ok(claim) = UnixListener::bind_addr(&name) {
            return Ok((uid, claim));
        }
    }
    anyhow::bail!("no user id from {from} on is free for a slot; set EXECUTOR_UID_BASE")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARM: Kind = Kind::Warm(WarmKind { runtime: 0, profile: 0, memory_mb: 128 });

    fn pool(runs: usize, depth: usize) -> Pool {
        Pool::new(runs, depth, None).unwrap()
    }

    #[tokio::test]
    async fn what_is_taken_is_wanted_again_up_to_the_depth() {
        let pool = pool(1, 2);
        let (_run, made) = pool.take_now(WARM, Kind::Cell).unwrap();
        assert!(made.is_none());
        let (first, kind) = pool.next_wanted().await;
        assert_eq!(kind, WARM);
        pool.fill(Kind::Cell);
        let (second, kind) = pool.next_wanted().await;
        assert_eq!(kind, Kind::Cell);
        assert!(pool.lock().wanted.is_empty(), "two are being made, and that is the depth");
        drop((first, second));
        assert_eq!(pool.lock().bare.len(), 2);
        assert_eq!(pool.lock().making, 0);
    }

    #[test]
    fn there_are_as_many_places_as_runs_and_ready_ones() {
        let pool = pool(2, 1);
        let held: Vec<_> = (0..3).filter_map(|_| pool.take_now(Kind::Cell, Kind::Cell)).collect();
        assert_eq!(held.len(), 3);
        assert!(pool.take_now(Kind::Cell, Kind::Cell).is_none());
    }

    #[test]
    fn a_forsaken_place_never_comes_back() {
        let pool = pool(1, 0);
        let (mut held, _) = pool.take_now(Kind::Cell, Kind::Cell).unwrap();
        held.forsake();
        drop(held);
        assert!(pool.take_now(Kind::Cell, Kind::Cell).is_none());
    }

    #[tokio::test]
    async fn whoever_comes_while_a_place_is_cleaned_up_waits_for_it() {
        let pool = pool(1, 0);
        let (held, _) = pool.take(Kind::Cell, Kind::Cell).await.unwrap();
        let next = tokio::spawn({
            let pool = pool.clone();
            async move { pool.take(Kind::Cell, Kind::Cell).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(held);
        assert!(next.await.unwrap());
    }

    #[test]
    fn two_executors_never_share_a_user() {
        let make = || Pool::new(1, 1, Some(4_000_000)).unwrap();
        let (one, other) = (make(), make());
        let users =
            |pool: &Pool| pool.lock().bare.iter().filter_map(|place| place.uid).collect::<Vec<_>>();
        assert!(users(&one).iter().all(|uid| !users(&other).contains(uid)));
    }
}
