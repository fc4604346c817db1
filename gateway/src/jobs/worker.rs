//! A worker that only calls out: what it said, and what it is to hear.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use protocol::ExecutorInfo;
use protocol::worker::{Action, Beat, HeldLease, HostReport, Poll, Registration, WorkerState};
use queue::{JobId, Lane, Lease};
use tokio::sync::Notify;

use super::board::{Order, Told};
use super::known::WorkerView;

/// Who has not been heard of for so long is not counted on.
pub(super) const SILENCE_MAX: Duration = Duration::from_mins(1);

/// One of them.
#[derive(Debug)]
pub(crate) struct Worker {
    /// What the store knows it as: the name of its key, and its own.
    pub(crate) id: String,
    /// Which start of it.
    pub(super) incarnation: String,
    /// What it runs.
    pub(crate) info: Arc<ExecutorInfo>,
    /// The queues whose jobs it asks for.
    pub(super) queues: Vec<String>,
    version: String,
    since: Timestamp,
    standing: Mutex<Standing>,
    /// Ends a poll that waits.
    wake: Notify,
}

/// What changes of a worker.
#[derive(Debug)]
struct Standing {
    heard: Instant,
    heard_at: Timestamp,
    poll: String,
    /// What polls gave it, and it has not said that it has it.
    offered: HashMap<JobId, Lease>,
    holding: HashSet<JobId>,
    /// Those of its jobs that are not wanted any more, and it has not heard that.
    cancel: BTreeSet<JobId>,
    action: Action,
    /// The last order of another gateway's that was carried out.
    carried_out: String,
    /// When it had been heard that others were told of it last.
    told: Option<Instant>,
    state: WorkerState,
    host: Option<HostReport>,
}

impl Worker {
    /// One that has registered, as the store knows it. `before` is what was known of the same start.
    pub(super) fn new(id: String, told: Registration, before: Option<&Self>) -> Self {
        Self {
            id,
            incarnation: told.incarnation,
            info: Arc::new(told.info),
            queues: told.queues,
            version: told.version,
            since: Timestamp::now(),
            standing: Mutex::new(Standing {
                heard: Instant::now(),
                heard_at: Timestamp::now(),
                poll: String::new(),
                offered: HashMap::new(),
                holding: HashSet::new(),
                cancel: BTreeSet::new(),
                action: Action::Continue,
                carried_out: String::new(),
                told: None,
                state: before.map_or(WorkerState::Active, |it| it.lock().state),
                host: None,
            }),
            wake: Notify::new(),
        }
    }

    /// Has it do something, once.
    pub(super) fn carry_out(&self, order: &Order) {
        let mut standing = self.lock();
        if standing.carried_out != order.id {
            standing.carried_out.clone_from(&order.id);
            standing.action = order.action;
            self.wake();
        }
    }

    /// Tells it, if it has a job, that it is not wanted any more.
    pub(super) fn cancel(&self, id: JobId) {
        let mut standing = self.lock();
        if standing.offered.contains_key(&id) || standing.holding.contains(&id) {
            standing.cancel.insert(id);
            self.wake();
        }
    }

    /// Ends a poll that waits, or has it look again.
    pub(super) fn wake(&self) {
        self.wake.notify_waiters();
    }

    /// When it was heard last.
    pub(super) fn heard(&self) -> Instant {
        self.lock().heard
    }

    /// Those whose jobs it runs.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        super::lanes(&self.info, &self.queues)
    }

    /// Notes a poll. What an earlier one gave and the worker does not have is no longer its own.
    pub(crate) fn polls(&self, poll: &Poll) -> Vec<Lease> {
        let held: HashSet<JobId> = leases(&poll.holding).iter().map(|it| it.id).collect();
        let mut standing = self.lock();
        let is_new = standing.poll != poll.poll;
        let mut lost = Vec::new();
        if is_new {
            standing.poll.clone_from(&poll.poll);
            self.wake.notify_waiters();
            lost.extend(
                standing.offered.drain().map(|(_, it)| it).filter(|it| !held.contains(&it.id)),
            );
        }
        standing.hears(held, poll.state, poll.host.as_ref());
        lost
    }

    /// Notes a beat.
    pub(crate) fn beats(&self, beat: &Beat) -> Action {
        let held: HashSet<JobId> = leases(&beat.holding).iter().map(|it| it.id).collect();
        let mut standing = self.lock();
        standing.offered.retain(|id, _| !held.contains(id));
        standing.hears(held, beat.state, beat.host.as_ref());
        std::mem::take(&mut standing.action)
    }

    /// Notes what a poll gives.
    pub(crate) fn offer(&self, offered: impl Iterator<Item = Lease>) {
        self.lock().offered.extend(offered.map(|it| (it.id, it)));
    }

    /// What the worker is to hear now; none if a later poll has come for that.
    pub(crate) fn news(&self, poll: &Poll) -> Option<(BTreeSet<JobId>, Action)> {
        let mut standing = self.lock();
        if standing.poll != poll.poll {
            return None;
        }
        Some((std::mem::take(&mut standing.cancel), std::mem::take(&mut standing.action)))
    }

    /// Waits until there may be news. Call this before [`Self::news`], and await it after.
    pub(crate) fn woken(&self) -> tokio::sync::futures::Notified<'_> {
        self.wake.notified()
    }

    pub(super) fn is_live(&self) -> bool {
        self.lock().heard.elapsed() < SILENCE_MAX
    }

    /// What others are to be told, if it has been heard since they were.
    pub(super) fn news_of(&self) -> Option<Told> {
        let mut standing = self.lock();
        let heard = Some(standing.heard);
        if standing.told == heard {
            return None;
        }
        standing.told = heard;
        drop(standing);
        Some(Told {
            incarnation: self.incarnation.clone(),
            info: (*self.info).clone(),
            queues: self.queues.clone(),
            view: self.view(),
        })
    }

    pub(super) fn view(&self) -> WorkerView {
        let standing = self.lock();
        WorkerView {
            id: self.id.clone(),
            is_live: standing.heard.elapsed() < SILENCE_MAX,
            state: standing.state,
            version: self.version.clone(),
            languages: self.info.languages.iter().map(|it| it.id.clone()).collect(),
            queues: self.queues.clone(),
            isolation: self.info.isolation.level,
            slots: self.info.slots,
            jobs: standing.holding.iter().copied().collect(),
            registered_at: self.since.to_string(),
            heard_at: standing.heard_at.to_string(),
            host: standing.host.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn hears(&mut self, holding: HashSet<JobId>, state: WorkerState, host: Option<&HostReport>) {
        self.heard = Instant::now();
        self.heard_at = Timestamp::now();
        self.holding = holding;
        let Self { holding, offered, cancel, .. } = self;
        cancel.retain(|it| holding.contains(it) || offered.contains_key(it));
        self.state = state;
        if let Some(host) = host {
            self.host = Some(host.clone());
        }
    }
}

/// Those leases that are any.
pub(crate) fn leases(held: &[HeldLease]) -> Vec<Lease> {
    held.iter().filter_map(lease).collect()
}

/// A lease as the store knows it.
pub(crate) fn lease(held: &HeldLease) -> Option<Lease> {
    Some(Lease { id: held.id.parse().ok()?, token: held.token.parse().ok()? })
}
