//! Who waits for what happens in a store. A wake is a hint: it may be lost, and whoever waits looks
//! again after a while.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::{JobId, Lane};

/// The waiters of one process.
#[derive(Debug, Default)]
pub struct Wakes {
    workers: Mutex<VecDeque<Waiting>>,
    jobs: Mutex<HashMap<JobId, watch::Sender<()>>>,
}

/// Somebody who waits for jobs to run.
#[derive(Debug)]
struct Waiting {
    /// Those that it runs; every one if there is none here.
    lanes: Vec<Lane>,
    /// Holds a wake that came while it did not wait.
    notify: Arc<Notify>,
}

/// A place among those who wait for jobs to run.
#[derive(Debug)]
pub struct Waiter {
    wakes: Arc<Wakes>,
    notify: Arc<Notify>,
}

impl Waiter {
    /// Waits until there may be a job. One that came since the last call counts.
    pub async fn work(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.wakes.lock_workers().retain(|it| !Arc::ptr_eq(&it.notify, &self.notify));
    }
}

impl Wakes {
    /// Waits from now on for jobs in `lanes`; in any if there is none.
    pub fn waiter(self: &Arc<Self>, lanes: Vec<Lane>) -> Waiter {
        let notify = Arc::new(Notify::new());
        let waiting = Waiting { lanes, notify: Arc::clone(&notify) };
        self.lock_workers().push_back(waiting);
        Waiter { wakes: Arc::clone(self), notify }
    }

    /// Hears of a job's changes. Look at the job after this, and then wait: so none is missed.
    pub fn watch(&self, id: JobId) -> watch::Receiver<()> {
        self.lock().entry(id).or_default().subscribe()
    }

    /// Tells that there is a job in each of `lanes`: one waiter each, in turns. Those who wait for any
    /// job are told as well, since they may have nobody now who runs it.
    pub fn tell_of_work_in(&self, lanes: impl IntoIterator<Item = Lane>) {
        let mut workers = self.lock_workers();
        for lane in lanes {
            workers.iter().filter(|it| it.lanes.is_empty()).for_each(|it| it.notify.notify_one());
            let Some(place) = workers.iter().position(|it| it.lanes.contains(&lane)) else {
                continue;
            };
            if let Some(waiting) = workers.remove(place) {
                waiting.notify.notify_one();
                workers.push_back(waiting);
            }
        }
    }

    /// Tells every waiter that there may be work.
    pub fn tell_of_work(&self) {
        self.lock_workers().iter().for_each(|it| it.notify.notify_one());
    }

    /// Tells that jobs changed.
    pub fn tell_of(&self, ids: impl IntoIterator<Item = JobId>) {
        let mut jobs = self.lock();
        for id in ids {
            if jobs.get(&id).is_some_and(|it| it.send(()).is_err()) {
                jobs.remove(&id);
            }
        }
    }

    /// Has everybody look, after something may have happened unheard.
    pub(crate) fn tell_everybody(&self) {
        self.lock().retain(|_, it| it.send(()).is_ok());
        self.tell_of_work();
    }

    /// Jobs that somebody waits for.
    pub fn watched(&self) -> Vec<JobId> {
        let jobs = self.lock();
        jobs.iter().filter(|(_, it)| it.receiver_count() > 0).map(|(id, _)| *id).collect()
    }

    /// How many these are, and those that nobody waits for any more and that are not forgotten yet.
    pub fn watched_count(&self) -> usize {
        self.lock().len()
    }

    /// Forgets jobs that nobody waits for any more.
    pub fn tidy(&self) {
        self.lock().retain(|_, it| it.receiver_count() > 0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<()>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_workers(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::DEFAULT_QUEUE;

    fn is_woken(waiter: &Waiter) -> bool {
        waiter.work().now_or_never().is_some()
    }

    #[test]
    fn a_job_wakes_one_of_those_who_can_run_it_in_turns() {
        let lane = |language: &str| Lane::new(language, DEFAULT_QUEUE);
        let wakes = Arc::new(Wakes::default());
        let waiter =
            |languages: &[&str]| wakes.waiter(languages.iter().copied().map(lane).collect());
        let [a, b, both, any] = [&["a"][..], &["b"], &["a", "b"], &[]].map(waiter);
        let tell = |language: &str| wakes.tell_of_work_in([lane(language)]);
        tell("b");
        assert_eq!([&a, &b, &both, &any].map(is_woken), [false, true, false, true]);
        tell("b");
        assert_eq!([&a, &b, &both, &any].map(is_woken), [false, false, true, true]);
        tell("c");
        assert_eq!([&a, &b, &both, &any].map(is_woken), [false, false, false, true]);
        drop(both);
        tell("b");
        assert_eq!([&a, &b].map(is_woken), [false, true]);
        wakes.tell_of_work();
        assert_eq!([&a, &b].map(is_woken), [true, true]);
    }
}
