//! Room for runs: a fixed number of slots, and a bounded queue in front of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

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
    /// A slot came free.
    freed: Notify,
    count: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
    quarantined: AtomicUsize,
    wait: Duration,
}

/// A slot that is taken. It comes free when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
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
    /// Makes `count` slots.
    pub(crate) fn new(count: usize, waiting_max: usize, wait: Duration) -> Self {
        let shared = Shared {
            semaphore: Arc::new(Semaphore::new(count)),
            freed: Notify::new(),
            count,
            waiting: AtomicUsize::new(0),
            waiting_max,
            quarantined: AtomicUsize::new(0),
            wait,
        };
        Self { shared: Arc::new(shared) }
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

    /// Waits until a slot is free, and takes none.
    pub(crate) async fn until_one_is_free(&self) {
        loop {
            let freed = self.shared.freed.notified();
            if self.free() > 0 {
                return;
            }
            freed.await;
        }
    }

    /// Waits until a slot comes free.
    pub(crate) async fn until_one_comes_free(&self) {
        self.shared.freed.notified().await;
    }

    fn slot(&self, permit: OwnedSemaphorePermit) -> Slot {
        Slot { slots: self.clone(), permit: Some(permit) }
    }
}

impl Slot {
    /// Takes the slot out of service for good: something of its run is left.
    pub(crate) fn quarantine(mut self) {
        self.slots.shared.quarantined.fetch_add(1, Ordering::AcqRel);
        if let Some(permit) = self.permit.take() {
            permit.forget();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.slots.shared.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(count: usize, waiting_max: usize) -> Slots {
        Slots::new(count, waiting_max, Duration::from_millis(20))
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
}
