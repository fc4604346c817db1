//! Jobs that this gateway has executors run: from when each is granted until what came of it is told.
//! They are told apart by their leases: a job may be granted again while an earlier run has not ended.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use queue::{JobId, Lane, Lease};
use tokio::sync::oneshot;

/// Why a run stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The job is not wanted any more.
    Cancelled,
    /// The job is somebody else's.
    Lost,
    /// This process ends.
    Drain,
}

/// All of them: no more than executors have slots.
#[derive(Default)]
pub(super) struct Runs(Mutex<Vec<Run>>);

struct Run {
    lease: Lease,
    lane: Lane,
    /// Tells whoever waits for it to stop.
    stop: Option<oneshot::Sender<Stop>>,
}

impl Runs {
    /// Has one more, until it is removed. Who is granted a job again has lost it before.
    pub(super) fn take(&self, lease: Lease, lane: Lane) -> oneshot::Receiver<Stop> {
        let (stop, stopped) = oneshot::channel();
        self.stop_where(|it| it.id == lease.id, Stop::Lost);
        self.lock().push(Run { lease, lane, stop: Some(stop) });
        stopped
    }

    /// Their leases.
    pub(super) fn leases(&self) -> Vec<Lease> {
        self.lock().iter().map(|it| it.lease).collect()
    }

    /// How many are in one of these lanes.
    pub(super) fn count_in(&self, lanes: &BTreeSet<Lane>) -> usize {
        self.lock().iter().filter(|it| lanes.contains(&it.lane)).count()
    }

    /// Has one stopped.
    pub(super) fn stop(&self, lease: Lease, why: Stop) {
        self.stop_where(|it| *it == lease, why);
    }

    /// Has a job stopped that is not wanted any more.
    pub(super) fn cancel(&self, id: JobId) {
        self.stop_where(|it| it.id == id, Stop::Cancelled);
    }

    /// Has every one stopped.
    pub(super) fn stop_all(&self, why: Stop) {
        self.stop_where(|_| true, why);
    }

    /// What came of it is told.
    pub(super) fn remove(&self, lease: Lease) {
        self.lock().retain(|it| it.lease != lease);
    }

    fn stop_where(&self, is_it: impl Fn(&Lease) -> bool, why: Stop) {
        for run in self.lock().iter_mut().filter(|it| is_it(&it.lease)) {
            if let Some(stop) = run.stop.take() {
                // It may have ended meanwhile.
                stop.send(why).unwrap_or_default();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Run>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use queue::DEFAULT_QUEUE;

    use super::*;

    #[test]
    fn a_job_that_is_granted_again_has_its_earlier_run_stopped_and_keeps_the_later_lease() {
        let (runs, id) = (Runs::default(), JobId::random());
        let lease = |digit: &str| Lease { id, token: digit.repeat(32).parse().unwrap() };
        let lane = || Lane::new("alpha", DEFAULT_QUEUE);
        let (first, second) = (lease("1"), lease("2"));
        let mut before = runs.take(first, lane());
        let mut after = runs.take(second, lane());
        assert_eq!(before.try_recv(), Ok(Stop::Lost));
        assert_eq!(runs.count_in(&BTreeSet::from([lane()])), 2, "the earlier one has not ended");
        // Whatever comes of the first lease is nothing to the second.
        runs.stop(first, Stop::Lost);
        runs.remove(first);
        assert!(after.try_recv().is_err());
        assert_eq!(runs.leases(), [second]);
        runs.cancel(id);
        assert_eq!(after.try_recv(), Ok(Stop::Cancelled));
    }
}
