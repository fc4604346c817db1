//! The jobs that a worker has: from when they are granted until what came of them is told.

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
    jobs: Mutex<HashMap<String, Job>>,
    changed: Notify,
}

#[derive(Debug)]
struct Job {
    lease: HeldLease,
    confirmed: Instant,
    /// Tells whoever runs it to stop; none once it has ended, and waits to be told of.
    stop: Option<oneshot::Sender<Stop>>,
    is_running: bool,
}

impl Held {
    /// Has one more, which runs until it is finished.
    pub(crate) fn take(&self, lease: HeldLease, now: Instant) -> oneshot::Receiver<Stop> {
        let (stop, stopped) = oneshot::channel();
        let id = lease.id.clone();
        let job = Job { lease, confirmed: now, stop: Some(stop), is_running: true };
        self.lock().insert(id, job);
        stopped
    }

    /// Every lease.
    pub(crate) fn all(&self) -> Vec<HeldLease> {
        self.lock().values().map(|it| it.lease.clone()).collect()
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        self.lock().values().filter(|it| it.is_running).count()
    }

    /// The gateway knows that we have it.
    pub(crate) fn confirm(&self, id: &str, now: Instant) {
        if let Some(job) = self.lock().get_mut(id) {
            job.confirmed = now;
        }
    }

    /// It does not run any more, and its result is to be told.
    pub(crate) fn finish(&self, id: &str) {
        if let Some(job) = self.lock().get_mut(id) {
            job.is_running = false;
            job.stop = None;
        }
    }

    /// It is nobody's here any more.
    pub(crate) fn remove(&self, id: &str) {
        self.lock().remove(id);
        self.changed.notify_waiters();
    }

    /// Has one stopped.
    pub(crate) fn stop(&self, id: &str, why: Stop) {
        let stop = self.lock().get_mut(id).and_then(|it| it.stop.take());
        // It may have ended meanwhile.
        stop.map(|it| it.send(why).unwrap_or_default()).unwrap_or_default();
    }

    /// Has every one stopped.
    pub(crate) fn stop_all(&self, why: Stop) {
        for lease in self.all() {
            self.stop(&lease.id, why);
        }
    }

    /// Has those stopped that were not confirmed for `lease`: somebody else may have them.
    pub(crate) fn stop_unconfirmed(&self, lease: Duration, now: Instant) {
        let is_old = |it: &&Job| now.saturating_duration_since(it.confirmed) > lease;
        let old: Vec<String> =
            self.lock().values().filter(is_old).map(|it| it.lease.id.clone()).collect();
        for id in &old {
            self.stop(id, Stop::Lost);
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

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(id: &str) -> HeldLease {
        HeldLease { id: id.to_owned(), token: "t".to_owned() }
    }

    #[test]
    fn what_nobody_confirmed_is_stopped() {
        let (held, start) = (Held::default(), Instant::now());
        let mut old = held.take(lease("old"), start);
        let mut fresh = held.take(lease("fresh"), start);
        let later = start + Duration::from_secs(20);
        held.confirm("fresh", later);
        held.stop_unconfirmed(Duration::from_secs(15), later);
        assert_eq!(old.try_recv(), Ok(Stop::Lost));
        assert!(fresh.try_recv().is_err());
        held.finish("fresh");
        assert_eq!((held.running(), held.all().len()), (1, 2));
    }
}
