//! Workers that only call out: who they are, what they have, and what they are to hear. All of it
//! is what they said themselves, so it is made anew after a restart; what counts is in the store.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use protocol::ExecutorInfo;
use protocol::worker::{Action, Beat, HeldLease, HostReport, Poll, Registration, WorkerState};
use queue::{JobId, Lease};
use serde::Serialize;
use tokio::sync::Notify;

use crate::error::ApiError;

/// Workers that are remembered at most.
const WORKERS_MAX: usize = 10_000;
/// Who has not been heard of for so long is not counted on.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Who has not been heard of for so long is forgotten.
const FORGET: Duration = Duration::from_mins(10);
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Every worker that this gateway has heard of.
#[derive(Debug, Default)]
pub(crate) struct Workers(Mutex<HashMap<String, Arc<Worker>>>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Worker {
    /// What the store knows it as: the name of its key, and its own.
    pub(crate) id: String,
    incarnation: String,
    /// What it runs.
    pub(crate) info: Arc<ExecutorInfo>,
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
    cancel: Vec<JobId>,
    action: Action,
    state: WorkerState,
    host: Option<HostReport>,
}

/// A worker as operators see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkerView {
    id: String,
    is_live: bool,
    state: WorkerState,
    version: String,
    languages: Vec<String>,
    isolation: protocol::Level,
    slots: usize,
    /// The jobs that it has.
    jobs: Vec<JobId>,
    /// RFC 3339.
    registered_at: String,
    /// RFC 3339.
    heard_at: String,
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
            version: told.version,
            since: Timestamp::now(),
            standing: Mutex::new(Standing {
                heard: Instant::now(),
                heard_at: Timestamp::now(),
                poll: String::new(),
                offered: HashMap::new(),
                holding: HashSet::new(),
                cancel: Vec::new(),
                action: Action::Continue,
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
    }

    /// What live workers run.
    pub(crate) fn infos(&self) -> Vec<Arc<ExecutorInfo>> {
        let workers = self.lock();
        workers.values().filter(|it| it.is_live()).map(|it| Arc::clone(&it.info)).collect()
    }

    /// How many are live.
    pub(crate) fn live(&self) -> usize {
        self.lock().values().filter(|it| it.is_live()).count()
    }

    /// All of them, by name.
    pub(crate) fn views(&self) -> Vec<WorkerView> {
        let mut views: Vec<WorkerView> = self.lock().values().map(|it| it.view()).collect();
        views.sort_by(|one, other| one.id.cmp(&other.id));
        views
    }

    /// Tells a worker what to do. None if there is no such worker.
    pub(crate) fn tell(&self, id: &str, action: Action) -> Option<WorkerView> {
        let worker = self.lock().get(id).cloned()?;
        worker.lock().action = action;
        worker.wake.notify_waiters();
        Some(worker.view())
    }

    /// Tells whoever has a job that it is not wanted any more.
    pub(crate) fn cancel(&self, id: JobId) {
        for worker in self.lock().values() {
            let mut standing = worker.lock();
            if standing.offered.contains_key(&id) || standing.holding.contains(&id) {
                standing.cancel.push(id);
                worker.wake.notify_waiters();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Worker>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// The languages that it runs.
    pub(crate) fn languages(&self) -> Vec<String> {
        self.info.languages.iter().map(|it| it.id.clone()).collect()
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
    pub(crate) fn news(&self, poll: &Poll) -> Option<(Vec<JobId>, Action)> {
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

    fn is_live(&self) -> bool {
        self.lock().heard.elapsed() < SILENCE_MAX
    }

    fn view(&self) -> WorkerView {
        let standing = self.lock();
        WorkerView {
            id: self.id.clone(),
            is_live: standing.heard.elapsed() < SILENCE_MAX,
            state: standing.state,
            version: self.version.clone(),
            languages: self.languages(),
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
