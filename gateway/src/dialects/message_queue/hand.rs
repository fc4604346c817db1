//! What a machine takes over its socket. It says how many tasks it takes; each that is pushed is its
//! own once it has accepted it, and goes back unspent if it does not in time or its socket ends.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use queue::{DEFAULT_QUEUE, JobId, Lane, Lease, Waiter};

use super::super::claims::{self, Granted, Terms, Wish};
use crate::error::ApiError;
use crate::handlers::worker::JOBS_MAX;
use crate::jobs::{Jobs, LOOK as SHORT};
use crate::shared::Shared;

/// Tasks of one claim.
const AT_ONCE: usize = 10;
/// Tasks that it has accepted and not told of.
const TAKEN_MAX: usize = 1000;
/// Without being told of work, it is looked for this often.
const LOOK: Duration = Duration::from_secs(5);

/// The tasks of one machine.
#[derive(Debug, Default)]
pub(super) struct Hand {
    /// What it takes, once it has said so.
    wish: Option<Wish>,
    /// How many tasks it still takes.
    left: usize,
    /// Its place among those who wait for work, while it takes any.
    waiter: Option<Waiter>,
    /// When the store is asked again.
    look: Option<Instant>,
    /// What it found last time was for others.
    not_before: Option<Instant>,
    /// What was pushed and not accepted yet, and until when it may be.
    offered: HashMap<JobId, (Lease, Instant)>,
    /// What it has accepted, and until when it has it.
    taken: HashMap<JobId, Instant>,
}

impl Hand {
    /// The machine takes so many tasks from now on, whatever it said before.
    pub(super) fn ready(&mut self, jobs: &Jobs, wish: Wish) {
        let lane = Lane::new(&wish.language, DEFAULT_QUEUE);
        self.left = wish.most;
        self.waiter = (self.left > 0).then(|| jobs.store.wakes().waiter(vec![lane]));
        self.look = None;
        self.wish = Some(wish);
    }

    /// Whether the store is to be asked for tasks now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_time = |it: Option<Instant>| it.is_none_or(|it| it <= now);
        self.most() > 0 && is_time(self.look) && is_time(self.not_before)
    }

    /// How many tasks can be pushed.
    fn most(&self) -> usize {
        let offered = JOBS_MAX.saturating_sub(self.offered.len());
        let held = TAKEN_MAX.saturating_sub(self.offered.len() + self.taken.len());
        self.left.min(offered).min(held).min(AT_ONCE)
    }

    /// Claims tasks to be pushed.
    pub(super) async fn claim(
        &mut self,
        shared: &Shared,
        jobs: &Jobs,
        terms: Terms<'_>,
    ) -> Result<Vec<Granted>, ApiError> {
        let most = self.most();
        let Some(wish) = &mut self.wish else { return Ok(Vec::new()) };
        let now = Instant::now();
        self.look = Some(now + LOOK);
        wish.most = most;
        let (granted, is_passed_over) = claims::offer(shared, jobs, wish, terms).await?;
        self.left = self.left.saturating_sub(granted.len());
        if granted.len() == most {
            // There may be more.
            self.look = Some(now);
        }
        // What it cannot take waits again, and would wake it at once.
        self.not_before = is_passed_over.then(|| now + SHORT);
        if self.left == 0 {
            self.waiter = None;
        }
        self.offered.extend(granted.iter().map(|it| (it.lease.id, (it.lease, it.until))));
        Ok(granted)
    }

    /// Waits until there may be something to claim.
    pub(super) async fn woken(&mut self) {
        let Some(waiter) = self.waiter.as_ref().filter(|_| self.most() > 0) else {
            return std::future::pending().await;
        };
        if self.not_before.is_some() {
            until(self.not_before).await;
        }
        tokio::select! {
            () = waiter.work() => {}
            () = until(self.look) => {}
        }
        self.look = None;
    }

    /// When something goes back, if nobody accepts it.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.offered.values().map(|(_, until)| *until).min()
    }

    /// The machine has a task: for how long.
    pub(super) async fn accept(&mut self, jobs: &Jobs, lease: Lease) -> Result<Duration, ApiError> {
        self.offered.retain(|_, (offered, _)| *offered != lease);
        let times = claims::accept(jobs, vec![lease]).await?;
        let time = times.into_iter().next().flatten().ok_or(ApiError::NoLease)?;
        self.taken.insert(lease.id, Instant::now() + time);
        Ok(time)
    }

    /// The machine has told what came of a task.
    pub(super) fn end(&mut self, id: JobId) {
        self.offered.remove(&id);
        self.taken.remove(&id);
    }

    /// What was not accepted in time. Who does not answer gets nothing more until it says again what
    /// it takes: others may be quicker.
    pub(super) fn late(&mut self, now: Instant) -> Vec<Lease> {
        self.taken.retain(|_, until| *until > now);
        let late = self.offered.extract_if(|_, (_, until)| *until <= now);
        let late: Vec<Lease> = late.map(|(_, (lease, _))| lease).collect();
        if !late.is_empty() {
            self.left = 0;
            self.waiter = None;
        }
        late
    }

    /// Everything that was not accepted.
    pub(super) fn rest(&mut self) -> Vec<Lease> {
        self.left = 0;
        self.waiter = None;
        self.offered.drain().map(|(_, (lease, _))| lease).collect()
    }
}

/// Waits until then, if there is such a time.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
