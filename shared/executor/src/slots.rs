//! Room for runs: a fixed number of slots, each with its own user where we are root, and a
//! bounded queue in front of them.

use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cells::NextCell;

/// Why there is no slot for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSlot {
    /// Too many wait already.
    #[error("every slot is taken and {0} requests wait already; try again soon")]
    QueueFull(usize),
    /// The wait was in vain.
    #[error("no slot came free within {0} s; try again soon")]
    WaitedTooLong(u64),
}

/// The slots of an executor.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    semaphore: Arc<Semaphore>,
    free: Mutex<Vec<Place>>,
    count: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
    quarantined: AtomicUsize,
    wait: Duration,
}

/// A slot's lasting part: its user, the claim on that user, and the cell of its next run.
#[derive(Debug)]
struct Place {
    uid: Option<u32>,
    next: NextCell,
    _claim: Option<UnixListener>,
}

/// A slot that is taken. It comes free when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    place: Option<Place>,
    permit: Option<OwnedSemaphorePermit>,
}

/// Somebody in the queue; leaving it is counted whichever way it happens.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Slots {
    /// Makes `count` slots. With `uid_base`, each claims the first user from there on that no
    /// other executor of this host has claimed.
    pub(crate) fn new(
        count: usize,
        waiting_max: usize,
        wait: Duration,
        uid_base: Option<u32>,
    ) -> anyhow::Result<Self> {
        let mut free = Vec::with_capacity(count);
        let mut next = uid_base;
        for _ in 0..count {
            let place = match next {
                Some(from) => {
                    let (uid, claim) = claim_user(from)?;
                    next = Some(uid + 1);
                    Place { uid: Some(uid), next: NextCell::default(), _claim: Some(claim) }
                }
                None => Place { uid: None, next: NextCell::default(), _claim: None },
            };
            free.push(place);
        }
        let shared = Shared {
            semaphore: Arc::new(Semaphore::new(count)),
            free: Mutex::new(free),
            count,
            waiting: AtomicUsize::new(0),
            waiting_max,
            quarantined: AtomicUsize::new(0),
            wait,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Takes a slot, waiting for one within the bounds of the queue.
    pub(crate) async fn take(&self) -> Result<Slot, NoSlot> {
        let semaphore = Arc::clone(&self.shared.semaphore);
        if let Ok(permit) = Arc::clone(&semaphore).try_acquire_owned() {
            return Ok(self.slot(permit));
        }
        let before = self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.shared.waiting);
        if before >= self.shared.waiting_max {
            return Err(NoSlot::QueueFull(before));
        }
        match tokio::time::timeout(self.shared.wait, semaphore.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(self.slot(permit)),
            Ok(Err(_)) | Err(_) => Err(NoSlot::WaitedTooLong(self.shared.wait.as_secs())),
        }
    }

    /// Slots in all.
    pub(crate) fn count(&self) -> usize {
        self.shared.count
    }

    /// Slots that run nothing.
    pub(crate) fn free(&self) -> usize {
        self.shared.semaphore.available_permits()
    }

    /// Slots that are out of service.
    pub(crate) fn quarantined(&self) -> usize {
        self.shared.quarantined.load(Ordering::Acquire)
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Acquire)
    }

    fn slot(&self, permit: OwnedSemaphorePermit) -> Slot {
        let place = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Slot { slots: self.clone(), place, permit: Some(permit) }
    }
}

impl Slot {
    /// The user of programs in this slot.
    pub(crate) fn uid(&self) -> Option<u32> {
        self.place.as_ref().and_then(|place| place.uid)
    }

    /// The cell that was made for its next run.
    pub(crate) fn next_cell(&self) -> Option<&NextCell> {
        self.place.as_ref().map(|place| &place.next)
    }

    /// Takes the slot out of service for good: something of its run is left.
    pub(crate) fn quarantine(mut self) {
        self.slots.shared.quarantined.fetch_add(1, Ordering::AcqRel);
        drop(self.next_cell().and_then(NextCell::take));
        // The claim on the user is kept for as long as this process lives.
        std::mem::forget(self.place.take());
        if let Some(permit) = self.permit.take() {
            permit.forget();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.slots.shared.free.lock().unwrap_or_else(PoisonError::into_inner).push(place);
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

    fn slots(count: usize, waiting_max: usize) -> Slots {
        Slots::new(count, waiting_max, Duration::from_millis(20), None).unwrap()
    }

    #[tokio::test]
    async fn a_slot_comes_back_when_it_is_dropped() {
        let slots = slots(1, 1);
        let slot = slots.take().await.unwrap();
        assert_eq!(slots.free(), 0);
        drop(slot);
        assert_eq!(slots.free(), 1);
        slots.take().await.unwrap();
    }

    #[tokio::test]
    async fn the_queue_is_bounded_in_length_and_in_time() {
        let slots = slots(1, 0);
        let _slot = slots.take().await.unwrap();
        assert_eq!(slots.take().await.unwrap_err(), NoSlot::QueueFull(0));
        let patient = self::slots(1, 1);
        let _taken = patient.take().await.unwrap();
        assert_eq!(patient.take().await.unwrap_err(), NoSlot::WaitedTooLong(0));
        assert_eq!(patient.waiting(), 0);
    }

    #[tokio::test]
    async fn a_quarantined_slot_never_comes_back() {
        let slots = slots(2, 0);
        slots.take().await.unwrap().quarantine();
        assert_eq!((slots.free(), slots.quarantined()), (1, 1));
        let _last = slots.take().await.unwrap();
        assert!(slots.take().await.is_err());
    }

    #[test]
    fn two_executors_never_share_a_user() {
        let make = || Slots::new(2, 0, Duration::ZERO, Some(4_000_000)).unwrap();
        let (one, other) = (make(), make());
        let users = |slots: &Slots| {
            let free = slots.shared.free.lock().unwrap();
            free.iter().filter_map(|place| place.uid).collect::<Vec<_>>()
        };
        assert!(users(&one).iter().all(|uid| !users(&other).contains(uid)));
    }
}
