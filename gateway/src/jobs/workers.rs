//! Workers that only call out: who they are, what they have, and what they are to hear. All of it
//! is what they said themselves, so it is made anew after a restart; what counts is in the store.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::ExecutorInfo;
use protocol::worker::{Action, Registration};
use queue::{Board, DEFAULT_QUEUE, JobId, Lane};
use uuid::Uuid;

use super::board::{Order, Told};
use super::known::{Known, Other, WorkerView};
use super::worker::Worker;
use crate::error::ApiError;
use crate::settings::is_queue;

/// Workers that are remembered at most.
const WORKERS_MAX: usize = 10_000;
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

impl Workers {
    /// Remembers a worker of a key; who had its name before is nobody now. Says whether this start
    /// of it was known.
    pub(crate) fn register(
        &self,
        key: &str,
        mut told: Registration,
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
        if told.queues.is_empty() {
            told.queues.push(DEFAULT_QUEUE.to_owned());
        }
        let id = id_of(key, &told.worker);
        let mut workers = self.lock();
        workers.retain(|_, it| it.heard().elapsed() < FORGET);
        if workers.len() >= WORKERS_MAX && !workers.contains_key(&id) {
            return Err(ApiError::TooManyWorkers(WORKERS_MAX));
        }
        let known = workers.get(&id).filter(|it| it.incarnation == told.incarnation);
        let is_known = known.is_some();
        let worker = Arc::new(Worker::new(id.clone(), told, known.map(Arc::as_ref)));
        if let Some(before) = workers.insert(id, Arc::clone(&worker)) {
            before.wake();
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

    /// Tells a worker what to do, and whoever hears it, through `board`.
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
        let text = serde_json::to_string(&order).or(Err(ApiError::Internal))?;
        // Of what is on the board the last counts, again and again: it must not be an earlier one.
        let is_told = match board {
            Some(board) => board.order(id.to_owned(), text).await?,
            None => false,
        };
        if self.carry_out(id, &order) || is_told { Ok(view) } else { Err(ApiError::UnknownWorker) }
    }

    /// Has a worker that calls this gateway do something, once. False if it calls another one.
    pub(super) fn carry_out(&self, id: &str, order: &Order) -> bool {
        let heard = self.lock_others().get(id).map(|it| it.heard);
        let worker = self.lock().get(id).filter(|it| it.incarnation == order.incarnation).cloned();
        let Some(worker) = worker.filter(|it| heard.is_none_or(|heard| it.heard() >= heard)) else {
            return false;
        };
        worker.carry_out(order);
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
        self.lock().values().for_each(|it| it.cancel(id));
    }

    /// Notes that jobs are over, or wait again. A worker that has nothing left says so only with its
    /// next poll.
    pub(crate) fn let_go(&self, over: impl Iterator<Item = JobId>) {
        let over: HashSet<JobId> = over.collect();
        if !over.is_empty() {
            self.lock().values().for_each(|it| it.lets_go(&over));
        }
    }

    /// Goes through all, each as whoever heard it last knows it.
    fn each<T>(&self, take: impl Fn(Known<'_>) -> Option<T>) -> Vec<T> {
        let (own, others) = (self.lock(), self.lock_others());
        let is_ours = |it: &Other| {
            own.get(&it.id).is_some_and(|own| own.heard().elapsed() <= it.heard.elapsed())
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

/// What the store knows a worker as. Nobody has another's name who has not its key.
fn id_of(key: &str, name: &str) -> String {
    format!("{key}:{name}")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use protocol::worker::{PROTOCOL, Poll};
    use queue::{Noted, Notice, StoreError};

    use super::*;
    use crate::fleet::sample;

    /// A board on which there is one worker.
    #[derive(Debug, Default)]
    struct Kept(Mutex<String>);

    impl Board for Kept {
        fn note(&self, _: Vec<Notice>) -> BoxFuture<'_, Result<(), StoreError>> {
            async { Ok(()) }.boxed()
        }

        fn noted(&self) -> BoxFuture<'_, Result<Vec<Noted>, StoreError>> {
            async { Ok(Vec::new()) }.boxed()
        }

        fn order(&self, _: String, order: String) -> BoxFuture<'_, Result<bool, StoreError>> {
            *self.0.lock().unwrap() = order;
            async { Ok(true) }.boxed()
        }

        fn forget(&self, _: String) -> BoxFuture<'_, Result<(), StoreError>> {
            async { Ok(()) }.boxed()
        }
    }

    #[tokio::test]
    async fn the_last_order_counts_whichever_gateway_it_was_given_to() {
        let (workers, board) = (Workers::default(), Kept::default());
        let told = Registration {
            worker: "w".to_owned(),
            incarnation: "a".to_owned(),
            is_fresh: true,
            version: "1".to_owned(),
            protocol: [PROTOCOL, PROTOCOL],
            queues: Vec::new(),
            info: sample::info("alpha"),
        };
        let (worker, _) = workers.register("key", told).unwrap();
        let comes_again = || {
            let order: Order = serde_json::from_str(&board.0.lock().unwrap()).unwrap();
            assert!(workers.carry_out(&worker.id, &order));
        };
        let elsewhere =
            Order { id: "1".to_owned(), incarnation: "a".to_owned(), action: Action::Drain };
        *board.0.lock().unwrap() = serde_json::to_string(&elsewhere).unwrap();
        comes_again();
        workers.tell(&worker.id, Action::Resume, Some(&board)).await.unwrap();
        comes_again();
        let poll = Poll { poll: "1".to_owned(), ..Poll::default() };
        worker.polls(&poll);
        assert_eq!(worker.news(&poll).unwrap().action, Action::Resume);
    }
}
