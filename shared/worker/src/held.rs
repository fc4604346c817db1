//! The jobs that a worker has: from when they are granted until what came of them is told. Each is held
//! by its lease: the same job may be granted again while a run of an earlier lease has not ended.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::worker::HeldLease;
use tokio::sync::{Notify, oneshot};

/// Why a run stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The job is not wanted any more.
    Cancelled,
    /// The job is somebody else's.
    Lost,
    /// This process ends.
    Drain,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Held {
    jobs: Mutex<HashMap<HeldLease, Job>>,
    changed: Notify,
}

#[derive(Debug)]
struct Job {
    confirmed: Instant,
    /// Tells whoever runs it to stop; none once it has ended, and waits to be told of.
    stop: Option<oneshot::Sender<Stop>>,
    is_running: bool,
}

impl Held {
    /// Has one more, which runs until it is finished. Who is granted a job again has lost it before.
    pub(crate) fn take(&self, lease: HeldLease, now: Instant) -> oneshot::Receiver<Stop> {
        let (stop, stopped) = oneshot::channel();
        self.stop_where(|it, _| it.id == lease.id, Stop::Lost);
        let job = Job { confirmed: now, stop: Some(stop), is_running: true };
        self.lock().insert(lease, job);
        stopped
    }

    /// Every lease.
    pub(crate) fn all(&self) -> Vec<HeldLease> {
        self.lock().keys().cloned().collect()
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        self.lock().values().filter(|it| it.is_running).count()
    }

    /// The gateway knows that we have it.
    pub(crate) fn confirm(&self, lease: &HeldLease, now: Instant) {
        if let Some(job) = self.lock().get_mut(lease) {
            job.confirmed = now;
        }
    }

    /// It does not run any more, and its result is to be told.
    pub(crate) fn finish(&self, lease: &HeldLease) {
        if let Some(job) = self.lock().get_mut(lease) {
            job.is_running = false;
            job.stop = None;
        }
    }

    /// It is nobody's here any more.
    pub(crate) fn remove(&self, lease: &HeldLease) {
        self.lock().remove(lease);
        self.changed.notify_waiters();
    }

    /// Has one stopped.
    pub(crate) fn stop(&self, lease: &HeldLease, why: Stop) {
        self.stop_where(|it, _| it == lease, why);
    }

    /// Has a job stopped that is not wanted any more.
    pub(crate) fn cancel(&self, id: &str) {
        self.stop_where(|it, _| it.id == id, Stop::Cancelled);
    }

    /// Has every one stopped.
    pub(crate) fn stop_all(&self, why: Stop) {
        self.stop_where(|_, _| true, why);
    }

    /// Has each stopped as soon as it was not confirmed for a lease, however long others wait for the
    /// gateway: somebody else may have it. Does so until it is dropped.
    pub(crate) async fn fence(&self, lease: impl Fn() -> Duration) {
        loop {
            let (lease, now) = (lease(), Instant::now());
            self.stop_unconfirmed(lease, now);
            // What is taken or confirmed meanwhile does not end before.
            let end = self.first_end(lease).unwrap_or(now + lease);
            tokio::time::sleep_until(end.into()).await;
        }
    }

    fn stop_unconfirmed(&self, lease: Duration, now: Instant) {
        self.stop_where(|_, job| job.confirmed + lease <= now, Stop::Lost);
    }

    /// When the first of those that can still be stopped has to be; none if there is none.
    fn first_end(&self, lease: Duration) -> Option<Instant> {
        let jobs = self.lock();
        jobs.values().filter(|it| it.stop.is_some()).map(|it| it.confirmed + lease).min()
    }

    fn stop_where(&self, is_it: impl Fn(&HeldLease, &Job) -> bool, why: Stop) {
        let mut jobs = self.lock();
        for (_, job) in jobs.iter_mut().filter(|(lease, job)| is_it(lease, job)) {
            if let Some(stop) = job.stop.take() {
                // It may have ended meanwhile.
                stop.send(why).unwrap_or_default();
            }
        }
    }

    /// Waits until there is none.
    pub(crate) async fn emptied(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.lock().is_empty() {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HeldLease, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(id: &str, token: &str) -> HeldLease {
        HeldLease { id: id.to_owned(), token: token.to_owned() }
    }

    #[test]
    fn what_nobody_confirmed_is_stopped() {
        let (held, start) = (Held::default(), Instant::now());
        let mut old = held.take(lease("old", "t"), start);
        let mut fresh = held.take(lease("fresh", "t"), start);
        let later = start + Duration::from_secs(20);
        held.confirm(&lease("fresh", "t"), later);
        held.stop_unconfirmed(Duration::from_secs(15), later);
        assert_eq!(old.try_recv(), Ok(Stop::Lost));
        assert!(fresh.try_recv().is_err());
        assert_eq!(held.first_end(Duration::from_secs(15)), Some(later + Duration::from_secs(15)));
        held.finish(&lease("fresh", "t"));
        assert_eq!((held.running(), held.all().len()), (1, 2));
        assert_eq!(held.first_end(Duration::from_secs(15)), None);
    }

    #[tokio::test]
    async fn a_run_is_stopped_when_its_lease_ends_though_nobody_beats() {
        let held = Held::default();
        let stopped = held.take(lease("job", "t"), Instant::now());
        tokio::select! {
            () = held.fence(|| Duration::from_millis(1)) => {}
            why = stopped => assert_eq!(why, Ok(Stop::Lost)),
        }
    }

    #[test]
    fn a_job_that_is_granted_again_has_its_earlier_run_stopped_and_keeps_the_later_lease() {
        let (held, start) = (Held::default(), Instant::now());
        let (first, second) = (lease("job", "first"), lease("job", "second"));
        let mut before = held.take(first.clone(), start);
        let mut after = held.take(second.clone(), start);
        assert_eq!(before.try_recv(), Ok(Stop::Lost));
        assert_eq!(held.running(), 2, "the earlier one is there until it has ended");
        // Whatever comes of the first lease is nothing to the second.
        held.stop(&first, Stop::Lost);
        held.finish(&first);
        held.remove(&first);
        assert!(after.try_recv().is_err());
        assert_eq!((held.running(), held.all()), (1, vec![second.clone()]));
        held.confirm(&first, start + Duration::from_secs(20));
        held.stop_unconfirmed(Duration::from_secs(15), start + Duration::from_secs(20));
        assert_eq!(after.try_recv(), Ok(Stop::Lost));
    }

    #[test]
    fn a_job_is_cancelled_whichever_lease_it_is_held_by() {
        let (held, start) = (Held::default(), Instant::now());
        let mut job = held.take(lease("job", "t"), start);
        let mut other = held.take(lease("other", "t"), start);
        held.cancel("job");
        assert_eq!(job.try_recv(), Ok(Stop::Cancelled));
        assert!(other.try_recv().is_err());
    }
}
