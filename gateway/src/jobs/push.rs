//! Runs jobs at executors that can be reached. To the store it is a worker like others: it claims
//! no more than the executors have slots for, extends its leases, and tells what came of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use queue::{
    Claim, Completion, Extended, Failure, Grant, JobId, JobStore, Lane, Lease, StoreError,
};
use reqwest::Client;
use sha2::{Digest as _, Sha256};
use telemetry::RequestContext;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use super::own::Own;
use super::runs::{Runs, Stop};
use super::{BEAT, GRANT, LEASE, LOOK, lanes};
use crate::admission::Action;
use crate::dispatch::{Answer, Call, DispatchError, Document, Form};
use crate::error::{ApiError, is_ok, is_overloaded, is_refusal};
use crate::shared::Shared;

/// How long a job waits whose executor has no room though it said so.
const PAUSE: Duration = Duration::from_millis(500);
/// What an executor calls a run whose supervisor died: unlike with others that it tells as
/// unavailable, something of it may have been run.
const RUN_LOST: &str = "run_lost";
/// How long a store that cannot be written to is told again what came of a job.
const TELL: Duration = Duration::from_mins(2);

/// Runs jobs.
pub(crate) struct Push {
    /// What the store knows this process as: other gateways may share it.
    own: Own,
    shared: Arc<Shared>,
    store: Arc<dyn JobStore>,
    client: Client,
    runs: Runs,
    /// A slot may have come free.
    freed: Notify,
}

/// What came of a run.
enum Outcome {
    Done(Document, Duration),
    Failed {
        reason: String,
        is_retryable: bool,
        may_have_run: bool,
    },
    /// Nothing was run, and somebody else may do it, or we a little later.
    NotNow,
    Lost,
}

impl Push {
    pub(crate) fn new(
        own: Own,
        shared: Arc<Shared>,
        store: Arc<dyn JobStore>,
        client: Client,
    ) -> Arc<Self> {
        let (runs, freed) = (Runs::default(), Notify::new());
        Arc::new(Self { own, shared, store, client, runs, freed })
    }

    /// Runs jobs until the gateway drains, and then lets those that run have `grace` to end.
    pub(crate) async fn run(self: Arc<Self>, grace: Duration) {
        if let Err(error) = self.own.begin(&*self.store).await {
            tracing::error!("the jobs of the last run are not given back: {error}");
        }
        let mut runs = JoinSet::new();
        let beat = tokio::spawn(Arc::clone(&self).beat());
        let noting = Arc::clone(&self);
        let noted = tokio::spawn(async move { noting.own.keep(&*noting.store).await });
        let waiter = self.store.wakes().waiter(Vec::new());
        loop {
            tokio::select! {
                () = self.shared.drain.begun() => break,
                () = self.claim_all(&mut runs) => {}
            }
            tokio::select! {
                () = self.shared.drain.begun() => break,
                () = waiter.work() => {}
                () = self.freed.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            while runs.try_join_next().is_some() {}
        }
        let all = async { while runs.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            self.runs.stop_all(Stop::Drain);
            while runs.join_next().await.is_some() {}
        }
        beat.abort();
        noted.abort();
        // What it says last is that it is gone.
        drop(noted.await);
        self.own.leave(&*self.store).await;
    }

    /// Claims as much as executors have room for.
    async fn claim_all(self: &Arc<Self>, runs: &mut JoinSet<()>) {
        for (lanes, most) in self.room() {
            let claim = Claim {
                worker: self.own.name.clone(),
                poll: None,
                lanes,
                most,
                lease: GRANT,
                running_max: self.shared.settings.jobs_running_max,
                running_max_of: self.shared.running_max_of(),
            };
            match self.store.claim(claim).await {
                Ok(grants) => {
                    for grant in grants {
                        runs.spawn(Arc::clone(self).run_one(grant));
                    }
                }
                Err(error) => {
                    tracing::error!("no jobs can be claimed: {error}");
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    /// How many jobs there is room for, by the lanes of executors that run the same ones.
    fn room(&self) -> Vec<(Vec<Lane>, usize)> {
        let queues = &self.shared.settings.jobs_push_queues;
        let now = Instant::now();
        let snapshot = self.shared.fleet.snapshot(&self.shared.fleet.members(), now);
        let mut groups: HashMap<BTreeSet<Lane>, (usize, usize)> = HashMap::new();
        for candidate in snapshot.candidates.iter().filter(|it| it.is_live) {
            let Some(info) = &candidate.info else { continue };
            let lanes = lanes(info, queues).into_iter().collect();
            let (slots, busy) = groups.entry(lanes).or_default();
            *slots += candidate.slots;
            *busy += candidate.in_flight;
        }
        let room = groups.into_iter().map(|(lanes, (slots, busy))| {
            // One that was claimed just now is not on its way yet.
            let ours = self.runs.count_in(&lanes);
            (lanes.into_iter().collect(), slots.saturating_sub(busy.max(ours)))
        });
        room.filter(|(_, most)| *most > 0).collect()
    }

    async fn run_one(self: Arc<Self>, grant: Grant) {
        let lease = grant.lease;
        let stopped = self.runs.take(lease, grant.lane.clone());
        let outcome = self.attempt(grant, stopped).await;
        if let Err(error) = self.tell(lease, outcome).await {
            // The lease ends by itself, and the job goes on from there.
            tracing::error!(job.id = %lease.id, "what came of a job cannot be told: {error}");
        }
        self.runs.remove(lease);
        self.freed.notify_one();
    }

    async fn attempt(&self, grant: Grant, stopped: oneshot::Receiver<Stop>) -> Outcome {
        match self.store.extend(vec![grant.lease], LEASE).await.as_deref() {
            Ok([Extended::Held { cancel: false, .. }]) => {}
            Ok([Extended::Held { cancel: true, .. }]) => return cancelled(),
            Ok(_) | Err(_) => return Outcome::Lost,
        }
        let call = Call {
            action: Action::Execute,
            body: Bytes::from(grant.body),
            language: grant.lane.language().to_owned(),
            form: Form::Whole,
            context: RequestContext::from_headers(None, None),
            caller: Some(grant.caller).filter(|it| !it.is_empty()),
            deadline: grant.attempt_max,
            key: None,
        };
        let began = Instant::now();
        tokio::select! {
            answer = self.shared.dispatcher.send(&self.client, call) => {
                outcome(answer, began.elapsed())
            }
            // An executor stops what nobody waits for.
            Ok(why) = stopped => match why {
                Stop::Cancelled => cancelled(),
                Stop::Lost => Outcome::Lost,
                Stop::Drain => failed("drain", true, true),
            },
        }
    }

    /// Tells the store what came of a lease. One that was away for a while hears of it: what has run
    /// need not run again.
    async fn tell(&self, lease: Lease, outcome: Outcome) -> Result<(), StoreError> {
        if matches!(outcome, Outcome::NotNow) {
            tokio::time::sleep(PAUSE).await;
        }
        let until = Instant::now() + TELL;
        loop {
            let told = self.tell_once(lease, &outcome).await;
            if told.is_ok() || Instant::now() >= until {
                return told;
            }
            tokio::select! {
                () = self.shared.drain.begun() => return self.tell_once(lease, &outcome).await,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn tell_once(&self, lease: Lease, outcome: &Outcome) -> Result<(), StoreError> {
        match outcome {
            Outcome::Done(document, run_time) => {
                let digest = Sha256::digest(&document.body).into();
                let (body, run_time) = (document.body.to_vec(), *run_time);
                let completion = Completion { lease, body, digest, was_cancelled: false, run_time };
                self.store.complete(vec![completion]).await.map(drop)
            }
            Outcome::Failed { reason, is_retryable, may_have_run } => {
                let failure = Failure {
                    lease,
                    reason: reason.clone(),
                    is_retryable: *is_retryable,
                    may_have_run: *may_have_run,
                };
                self.store.fail(vec![failure]).await.map(drop)
            }
            Outcome::NotNow => self.store.release(vec![lease]).await.map(drop),
            Outcome::Lost => Ok(()),
        }
    }

    /// Extends every lease in one call, again and again, and hears which jobs are to stop.
    async fn beat(self: Arc<Self>) {
        loop {
            tokio::time::sleep(BEAT).await;
            let leases = self.runs.leases();
            if leases.is_empty() {
                continue;
            }
            let Ok(extended) = self.store.extend(leases.clone(), LEASE).await else { continue };
            for (lease, extended) in leases.into_iter().zip(extended) {
                match extended {
                    Extended::Held { cancel: false, .. } => {}
                    Extended::Held { cancel: true, .. } => self.runs.stop(lease, Stop::Cancelled),
                    Extended::Lost => self.runs.stop(lease, Stop::Lost),
                }
            }
        }
    }

    /// Stops a job that runs here, without waiting for its next beat.
    pub(crate) fn cancel(&self, id: JobId) {
        self.runs.cancel(id);
    }
}

impl std::fmt::Debug for Push {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Push")
            .field("running", &self.runs.leases().len())
            .finish_non_exhaustive()
    }
}

fn outcome(answer: Result<Answer, ApiError>, run_time: Duration) -> Outcome {
    match answer {
        // We did not cancel it: its executor ends, and could not wait for it.
        Ok(Answer::Whole(document, _)) if is_ok(document.status) && was_cut_short(&document) => {
            failed("executor_drained", true, true)
        }
        Ok(Answer::Whole(document, _)) if is_ok(document.status) => {
            Outcome::Done(document, run_time)
        }
        // Nothing of it was run, unless it says so.
        Ok(Answer::Whole(document, _))
            if is_overloaded(document.status) && code_of(&document) != RUN_LOST =>
        {
            Outcome::NotNow
        }
        Ok(Answer::Whole(document, _)) => {
            let reason = code_of(&document);
            // What an executor refuses it has not run, and will refuse again.
            let is_refused = is_refusal(document.status);
            failed(&reason, !is_refused, !is_refused)
        }
        Ok(Answer::Events(_)) => failed("bad_executor_answer", true, true),
        Err(ApiError::Dispatch(DispatchError::Unreachable) | ApiError::NoChoice(_)) => {
            Outcome::NotNow
        }
        Err(error) => failed(error.code(), true, true),
    }
}

/// What an executor calls its problem.
fn code_of(document: &Document) -> String {
    let problem = serde_json::from_slice::<protocol::Problem>(&document.body);
    problem.map_or_else(|_| "bad_executor_answer".to_owned(), |it| it.code)
}

/// Whether a run was ended before its program was.
fn was_cut_short(document: &Document) -> bool {
    #[derive(serde::Deserialize)]
    struct Peek {
        status: protocol::Status,
    }
    let peek = serde_json::from_slice::<Peek>(&document.body);
    peek.is_ok_and(|it| it.status == protocol::Status::Cancelled)
}

fn cancelled() -> Outcome {
    failed("cancelled", false, true)
}

fn failed(reason: &str, is_retryable: bool, may_have_run: bool) -> Outcome {
    Outcome::Failed { reason: reason.to_owned(), is_retryable, may_have_run }
}
