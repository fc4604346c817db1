//! Who waits for what happens in a store. A wake is a hint: it may be lost, and whoever waits looks
//! again after a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::JobId;

/// The waiters of one process.
#[derive(Debug, Default)]
pub struct Wakes {
    work: Notify,
    jobs: Mutex<HashMap<JobId, watch::Sender<()>>>,
}

impl Wakes {
    /// Waits until there may be a job for somebody. One that came since the last call counts.
    pub async fn work(&self) {
        self.work.notified().await;
    }

    /// Hears of a job's changes. Look at the job after this, and then wait: so none is missed.
    pub fn watch(&self, id: JobId) -> watch::Receiver<()> {
        self.lock().entry(id).or_default().subscribe()
    }

    /// Tells that there may be work.
    pub fn tell_of_work(&self) {
        self.work.notify_one();
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

    /// Forgets jobs that nobody waits for any more.
    pub fn tidy(&self) {
        self.lock().retain(|_, it| it.receiver_count() > 0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<()>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
