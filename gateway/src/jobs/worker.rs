//! A worker that only calls out: what it said, and what it is to hear.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use protocol::ExecutorInfo;
use protocol::worker::{Action, Beat, HeldLease, HostReport, Poll, Registration, WorkerState};
use queue::{JobId, Lane, Lease};
use tokio::sync::Notify;

use super::BEAT;
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
    /// What it is to do, until it says that it does so.
    wanted: Option<Wanted>,
    /// The last order that was carried out: those of other gateways come again.
    carried_out: String,
    /// When it had been heard that others were told of it last.
    told: Option<Instant>,
    state: WorkerState,
    host: Option<HostReport>,
}

/// What a worker is to do.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    action: Action,
    /// When the answer to a poll told it last.
    told: Option<Instant>,
}

/// What a worker is to hear with the next answer.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) cancel: BTreeSet<JobId>,
    pub(crate) action: Action,
    /// Whether the answer is not to wait.
    pub(crate) is_due: bool,
}

impl Worker {
    /// One that has registered, as the store knows it. `before` is what was known of the same start.
    pub(super) fn new(id: String, told: Registration, before: Option<&Self>) -> Self {
        let (state, wanted, carried_out) = before.map(Self::bidden).unwrap_or_default();
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
                wanted,
                carried_out,
                told: None,
                state,
                host: None,
            }),
            wake: Notify::new(),
        }
    }

    /// Has it do something. An order that comes again changes nothing.
    pub(super) fn carry_out(&self, order: &Order) {
        let mut standing = self.lock();
        if standing.carried_out != order.id {
            standing.carried_out.clone_from(&order.id);
            standing.wanted = Some(Wanted { action: order.action, told: None });
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

    /// Notes that jobs are over that it may have had. Others hear of that, too.
    pub(crate) fn lets_go(&self, over: &HashSet<JobId>) {
        let mut standing = self.lock();
        let before = standing.holding.len();
        standing.holding.retain(|it| !over.contains(it));
        if standing.holding.len() < before {
            standing.told = None;
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
            self.wake();
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
        standing.action()
    }

    /// Notes what a poll gives.
    pub(crate) fn offer(&self, offered: impl Iterator<Item = Lease>) {
        self.lock().offered.extend(offered.map(|it| (it.id, it)));
    }

    /// What the worker is to hear now; none if a later poll has come for that.
    pub(crate) fn news(&self, poll: &Poll) -> Option<News> {
        let mut standing = self.lock();
        if standing.poll != poll.poll {
            return None;
        }
        let cancel = std::mem::take(&mut standing.cancel);
        let is_due = !cancel.is_empty() || standing.is_action_due(Instant::now());
        Some(News { cancel, action: standing.action(), is_due })
    }

    /// Whether it is to take no more jobs, though it may not have heard that yet.
    pub(crate) fn is_to_drain(&self) -> bool {
        self.lock().action() == Action::Drain
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

    /// How it is, and what it is to do.
    fn bidden(&self) -> (WorkerState, Option<Wanted>, String) {
        let standing = self.lock();
        (standing.state, standing.wanted, standing.carried_out.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn action(&self) -> Action {
        self.wanted.map(|it| it.action).unwrap_or_default()
    }

    /// Whether a poll is to be answered for the action's sake. An answer may be lost, so that it is told
    /// again; whoever does not heed it is not answered any faster.
    fn is_action_due(&mut self, now: Instant) -> bool {
        let Some(wanted) = &mut self.wanted else { return false };
        let is_due = wanted.told.is_none_or(|at| now.duration_since(at) >= BEAT);
        if is_due {
            wanted.told = Some(now);
        }
        is_due
    }

    fn hears(&mut self, holding: HashSet<JobId>, state: WorkerState, host: Option<&HostReport>) {
        self.heard = Instant::now();
        self.heard_at = Timestamp::now();
        self.holding = holding;
        let Self { holding, offered, cancel, .. } = self;
        cancel.retain(|it| holding.contains(it) || offered.contains_key(it));
        self.state = state;
        // What it said before it was told may come later.
        if self.wanted.is_some_and(|it| it.told.is_some() && it.is_done(state)) {
            self.wanted = None;
        }
        if let Some(host) = host {
            self.host = Some(host.clone());
        }
    }
}

impl Wanted {
    /// Whether a worker that is in this state does it.
    fn is_done(&self, state: WorkerState) -> bool {
        match self.action {
            Action::Drain => state == WorkerState::Draining,
            Action::Resume => state == WorkerState::Active,
            Action::Continue => true,
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
