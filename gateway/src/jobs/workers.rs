//! Workers that only call out: who they are, what they have, and what they are to hear. All of it
//! is what they said themselves, so it is made anew after a restart; what counts is in the store.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use protocol::ExecutorInfo;
use protocol::worker::{Action, Beat, HeldLease, HostReport, Poll, Registration, WorkerState};
use queue::{Board, DEFAULT_QUEUE, JobId, Lane, Lease};
use tokio::sync::Notify;
use uuid::Uuid;

use super::board::{Order, Told};
use super::known::{Known, Other, WorkerView};
use crate::error::ApiError;
use crate::settings::is_queue;

/// Workers that are remembered at most.
const WORKERS_MAX: usize = 10_000;
/// Who has not been heard of for so long is not counted on.
pub(super) const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Who has not been heard of for so long is forgotten.
const FORGET: Duration = Duration::from_mins(10);
/// Queues that one worker asks for at most.
const QUEUES_MAX: usize = 32;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Every worker that this gateway has heard of, itself or by others on the same store.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    own: Mutex<HashMap<String, Arc<Worker>>>,
    others: Mutex<HashMap<String, Other>>,
}

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

impl Workers {
    /// Remembers a worker of a key; who had its name before is nobody now. Says whether this start
    /// of it was known.
    pub(crate) fn register(
        &self,
        key: &str,
        told: Registration,
    ) -> Result<(Arc<Worker>, bool), ApiError> {
        let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
        if !(1..=NAME_BYTES_MAX).contains(&told.worker.len()) || !told.worker.chars().all(is_plain)
        {
            let problem = "is 1 to 100 letters, digits, `-`, `_` and `.`";
            return Err(ApiError::invalid("/worker", problem));
        }
        if told.queues.len() > QUEUES_MAX || !told.queues.iter().all(|it| is_queue(it)) {
            let problem = format!("are at most {QUEUES_MAX} names of queues");
            return Err(ApiError::invalid("/queues", problem));
        }
        let queues = match told.queues {
            none if none.is_empty() => vec![DEFAULT_QUEUE.to_owned()],
            some => some,
        };
        let id = id_of(key, &told.worker);
        let mut workers = self.lock();
        workers.retain(|_, it| it.lock().heard.elapsed() < FORGET);
        let known = workers.get(&id).filter(|it| it.incarnation == told.incarnation);
        let is_known = known.is_some();
        let state = known.map_or(WorkerState::Active, |it| it.lock().state);
        if workers.len() >= WORKERS_MAX && !workers.contains_key(&id) {
            return Err(ApiError::TooManyWorkers(WORKERS_MAX));
        }
        let worker = Arc::new(Worker {
            id: id.clone(),
            incarnation: told.incarnation,
            info: Arc::new(told.info),
            queues,
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
                state,
                host: None,
            }),
            wake: Notify::new(),
        });
        if let Some(before) = workers.insert(id, Arc::clone(&worker)) {
            before.wake.notify_waiters();
        }
        Ok((worker, is_known))
    }

    /// A worker that has registered. Another start of it has not.
    pub(crate) fn find(
        &self,
        key: &str,
        name: &str,
        incarnation: &str,
    ) -> Result<Arc<Worker>, ApiError> {
        let found = self.lock().get(&id_of(key, name)).cloned();
        let found = found.ok_or(ApiError::UnknownWorker)?;
        if found.incarnation == incarnation { Ok(found) } else { Err(ApiError::WorkerReplaced) }
    }

    /// Forgets a worker that leaves.
    pub(crate) fn remove(&self, worker: &Worker) {
        self.lock().remove(&worker.id);
        self.lock_others().remove(&worker.id);
    }

    /// What workers run, live or not long gone.
    pub(crate) fn infos(&self) -> Vec<Arc<ExecutorInfo>> {
        self.each(|it| Some(Arc::clone(it.info())))
    }

    /// The queues that they ask for.
    pub(crate) fn queues(&self) -> BTreeSet<String> {
        self.each(|it| Some(it.queues().to_vec())).into_iter().flatten().collect()
    }

    /// Slots of the live ones that run jobs of a lane, or of all, and how many workers those are.
    pub(crate) fn slots(&self, lane: Option<&Lane>) -> (usize, usize) {
        let runs = |it: Known<'_>| {
            lane.is_none_or(|lane| super::lanes(it.info(), it.queues()).contains(lane))
        };
        let slots = self.each(|it| (it.is_live() && runs(it)).then(|| it.info().slots));
        (slots.iter().sum(), slots.len())
    }

    /// How many are live.
    pub(crate) fn live(&self) -> usize {
        self.slots(None).1
    }

    /// All of them, by name.
    pub(crate) fn views(&self) -> Vec<WorkerView> {
        let mut views = self.each(|it| Some(it.view()));
        views.sort_by(|one, other| one.id.cmp(&other.id));
        views
    }

    /// Tells a worker what to do, or who hears it, through `board`.
    pub(crate) async fn tell(
        &self,
        id: &str,
        action: Action,
        board: Option<&dyn Board>,
    ) -> Result<WorkerView, ApiError> {
        let view = |it: Known<'_>| (it.id() == id).then(|| (it.incarnation(), it.view()));
        let found = self.each(view).into_iter().next();
        let (incarnation, view) = found.ok_or(ApiError::UnknownWorker)?;
        let order = Order { id: Uuid::now_v7().to_string(), incarnation, action };
        if self.carry_out(id, &order) {
            return Ok(view);
        }
        let text = serde_json::to_string(&order).or(Err(ApiError::Internal))?;
        let board = board.ok_or(ApiError::UnknownWorker)?;
        if board.order(id.to_owned(), text).await? {
            Ok(view)
        } else {
            Err(ApiError::UnknownWorker)
        }
    }

    /// Has a worker that calls this gateway do something, once. False if it calls another one.
    pub(super) fn carry_out(&self, id: &str, order: &Order) -> bool {
        let heard = self.lock_others().get(id).map(|it| it.heard);
        let worker = self.lock().get(id).filter(|it| it.incarnation == order.incarnation).cloned();
        let Some(worker) = worker.filter(|it| heard.is_none_or(|heard| it.lock().heard >= heard))
        else {
            return false;
        };
        let mut standing = worker.lock();
        if standing.carried_out != order.id {
            standing.carried_out.clone_from(&order.id);
            standing.action = order.action;
            worker.wake.notify_waiters();
        }
        true
    }

    /// What others have not been told yet of workers that were heard here.
    pub(super) fn news(&self) -> Vec<(String, Told)> {
        self.lock().values().filter_map(|it| Some((it.id.clone(), it.news_of()?))).collect()
    }

    /// Notes what gateways told, this one included.
    pub(super) fn hear_of(&self, others: Vec<Other>) {
        let others = others.into_iter().map(|it| (it.id.clone(), it)).collect();
        *self.lock_others() = others;
    }

    /// Tells whoever has a job that it is not wanted any more.
    pub(crate) fn cancel(&self, id: JobId) {
        for worker in self.lock().values() {
            let mut standing = worker.lock();
            if standing.offered.contains_key(&id) || standing.holding.contains(&id) {
                standing.cancel.insert(id);
                worker.wake.notify_waiters();
            }
        }
    }

    /// Goes through all, each as whoever heard it last knows it.
    fn each<T>(&self, take: impl Fn(Known<'_>) -> Option<T>) -> Vec<T> {
        let (own, others) = (self.lock(), self.lock_others());
        let is_ours = |it: &Other| {
            own.get(&it.id).is_some_and(|own| own.lock().heard.elapsed() <= it.heard.elapsed())
        };
        let theirs: Vec<&Other> = others.values().filter(|it| !is_ours(it)).collect();
        let superseded: HashSet<&str> = theirs.iter().map(|it| it.id.as_str()).collect();
        let ours = own.values().filter(|it| !superseded.contains(it.id.as_str()));
        let all = ours.map(|it| Known::Own(it)).chain(theirs.into_iter().map(Known::Other));
        all.filter_map(take).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Worker>>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_others(&self) -> MutexGuard<'_, HashMap<String, Other>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
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
    fn news_of(&self) -> Option<Told> {
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

/// What the store knows a worker as. Nobody has another's name who has not its key.
fn id_of(key: &str, name: &str) -> String {
    format!("{key}:{name}")
}

/// Those leases that are any.
pub(crate) fn leases(held: &[HeldLease]) -> Vec<Lease> {
    held.iter().filter_map(lease).collect()
}

/// A lease as the store knows it.
pub(crate) fn lease(held: &HeldLease) -> Option<Lease> {
    Some(Lease { id: held.id.parse().ok()?, token: held.token.parse().ok()? })
}
