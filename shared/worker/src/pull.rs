//! Asks for jobs, runs them, and says that they go on.

mod beats;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::worker::{
    Action, Ended, Failures, GrantedJob, HeldLease, JobFailure, JobResult, Leave, Poll, Releases,
    Work, WorkerState,
};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::executor::{Executor, Ran};
use crate::gateway::{CallError, Gateway};
use crate::held::{Held, Stop};
use crate::host::Machine;
use crate::results::Results;
use crate::session::{Backoff, Session, random};
use crate::spool::Spool;
use crate::{WorkerError, WorkerSettings};

/// How long a poll may wait.
const WAIT: Duration = Duration::from_secs(25);
/// The same while others use the executor: it may come free without a word.
const SHORT_WAIT: Duration = Duration::from_millis(500);
/// How long a job waits whose executor has no room though it said so.
const PAUSE: Duration = Duration::from_millis(500);
/// How often what came to nothing is told, if the gateway does not hear it.
const TELL_TRIES: usize = 4;

/// One start of a worker.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) session: Session,
    spool: Arc<Spool>,
    place: PathBuf,
    machine: Machine,
    /// Jobs that the poll that is open asks for.
    asked: AtomicUsize,
    held: Held,
    ready: mpsc::Sender<JobResult>,
    results: Mutex<Option<Results>>,
    /// More jobs could be started than the open poll asks for.
    freed: Notify,
    ends: watch::Sender<bool>,
    /// What was not told by now is for the next start.
    given_up: Notify,
    is_drained: AtomicBool,
}

impl Pull {
    pub(crate) fn new(
        settings: &WorkerSettings,
        gateway: Gateway,
        executor: Executor,
    ) -> Result<Self, WorkerError> {
        let path = settings.spool.clone();
        let spool = Spool::open(&path);
        let spool = spool.map_err(|source| WorkerError::Spool { path: path.clone(), source })?;
        let spool = Arc::new(spool);
        let (ready, results) = mpsc::channel(1024);
        let results = Results::new(results, Arc::clone(&spool));
        Ok(Self {
            session: Session::new(
                gateway,
                executor,
                (settings.name.clone(), settings.queues.clone()),
            ),
            spool,
            place: path,
            machine: Machine::default(),
            asked: AtomicUsize::new(0),
            held: Held::default(),
            ready,
            results: Mutex::new(Some(results)),
            freed: Notify::new(),
            ends: watch::Sender::new(false),
            given_up: Notify::new(),
            is_drained: AtomicBool::new(false),
        })
    }

    /// Pulls until it is drained, tells of everything, and leaves.
    pub(crate) async fn run(self: Arc<Self>) {
        let taken = self.results.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut results) = taken else { return };
        tokio::select! {
            () = self.begin(&mut results) => {}
            () = self.ended() => return,
        }
        let results = tokio::spawn(results.deliver(Arc::clone(&self)));
        let beats = tokio::spawn(Arc::clone(&self).beats());
        let fence = tokio::spawn(Arc::clone(&self).fence());
        self.polls().await;
        let has_told = tokio::select! {
            () = self.held.emptied() => true,
            () = self.given_up.notified() => false,
        };
        results.abort();
        beats.abort();
        fence.abort();
        // What it keeps is kept when it is gone.
        drop(results.await);
        if !has_told {
            return;
        }
        let leave =
            Leave { worker: self.session.name(), incarnation: self.session.incarnation.clone() };
        drop(self.session.gateway.call::<Ended>("leave", &leave, Duration::ZERO).await);
    }

    /// Waits for the executor, delivers what an earlier start left, and registers.
    async fn begin(self: &Arc<Self>, results: &mut Results) {
        let info = loop {
            if let Some(info) = self.session.executor.info().await {
                break info;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        self.session.take_name(&info);
        results.deliver_left(self).await;
        let mut backoff = Backoff::default();
        while let Err(error) = self.session.register(info.clone(), true).await {
            self.session.note(&error);
            backoff.wait().await;
        }
    }

    /// Keeps a poll open until this process drains.
    async fn polls(self: &Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut id = random();
        while !*self.ends.borrow() {
            let (poll, wait) = self.poll(&id).await;
            self.asked.store(poll.free, Ordering::Release);
            let answer = tokio::select! {
                answer = self.session.gateway.call::<Work>("poll", &poll, wait) => answer,
                // Only one that asks for nothing is given up: nothing can be lost with it.
                () = self.freed.notified(), if poll.free == 0 => {
                    id = random();
                    continue;
                }
                () = self.ended() => break,
            };
            self.asked.store(0, Ordering::Release);
            match answer {
                Ok(work) => {
                    id = random();
                    backoff = Backoff::default();
                    self.session.is_well();
                    self.take_on(work, 0).await;
                }
                Err(error) => self.mend(&error, &mut backoff).await,
            }
        }
        self.asked.store(0, Ordering::Release);
    }

    /// Does what helps after a call that came to nothing, and waits before the next.
    async fn mend(&self, error: &CallError, backoff: &mut Backoff) {
        let again = match error {
            CallError::Unknown => self.session.register_again().await,
            _ => Err(error.clone()),
        };
        if let Err(error) = again {
            self.session.note(&error);
            tokio::select! {
                () = backoff.wait() => {}
                () = self.ended() => {}
            }
        }
    }

    /// A poll for what could be started now, and how long it may wait.
    async fn poll(&self, id: &str) -> (Poll, Duration) {
        let own = self.session.slots().saturating_sub(self.held.running());
        let free = if own == 0 || !self.spool.has_room() {
            0
        } else {
            self.session.executor.free().await.min(own)
        };
        let wait = if free < own { SHORT_WAIT } else { WAIT };
        (self.poll_for(id.to_owned(), free, wait), wait)
    }

    /// A poll that goes out with `told` results, and is answered at once.
    pub(crate) fn next_poll(&self, told: usize) -> Option<Poll> {
        if *self.ends.borrow() || self.state() != WorkerState::Active {
            return None;
        }
        let taken = self.held.running() + self.asked.load(Ordering::Acquire);
        let free = told.min(self.session.slots().saturating_sub(taken));
        (free > 0).then(|| self.poll_for(random(), free, Duration::ZERO))
    }

    fn poll_for(&self, poll: String, free: usize, wait: Duration) -> Poll {
        Poll {
            worker: self.session.name(),
            incarnation: self.session.incarnation.clone(),
            poll,
            free,
            wait_ms: millis(wait),
            holding: self.held.all(),
            state: self.state(),
            host: Some(self.machine.report(&self.place)),
        }
    }

    /// Does what an answer says. `expected` more jobs could be started meanwhile.
    pub(crate) async fn take_on(self: &Arc<Self>, work: Work, expected: usize) {
        for id in &work.cancel {
            self.held.cancel(id);
        }
        self.heed(work.action);
        if work.jobs.len() < expected {
            self.freed.notify_one();
        }
        if work.jobs.is_empty() {
            return;
        }
        let now = Instant::now();
        let taken: Vec<_> = work
            .jobs
            .into_iter()
            .map(|job| {
                let stopped = self.held.take(job.lease(), now);
                (job, stopped)
            })
            .collect();
        // Until they are accepted nothing of them is run.
        if self.beat().await.is_ok() {
            for (job, stopped) in taken {
                drop(tokio::spawn(Arc::clone(self).run_one(job, stopped)));
            }
            return;
        }
        let leases = taken.iter().map(|(job, _)| job.lease());
        drop(tokio::spawn(Arc::clone(self).hand_back(leases.collect())));
    }

    /// Hands back jobs that may be ours, or not: otherwise others had to wait until their leases end,
    /// and would think that we died of them.
    async fn hand_back(self: Arc<Self>, leases: Vec<HeldLease>) {
        self.tell("release", &Releases { leases: leases.clone() }).await;
        for lease in &leases {
            self.told_of(lease);
        }
    }

    fn heed(&self, action: Action) {
        match action {
            Action::Continue => return,
            Action::Drain => self.is_drained.store(true, Ordering::Release),
            Action::Resume => self.is_drained.store(false, Ordering::Release),
        }
        tracing::info!(?action, "the gateway says");
        self.freed.notify_one();
    }

    async fn run_one(self: Arc<Self>, job: GrantedJob, stopped: oneshot::Receiver<Stop>) {
        let (began, lease) = (Instant::now(), job.lease());
        let ran = tokio::select! {
            biased;
            // The executor stops what nobody waits for.
            Ok(why) = stopped => match why {
                Stop::Cancelled => failed("cancelled", false),
                Stop::Drain => failed("drain", true),
                Stop::Lost => return self.told_of(&lease),
            },
            ran = self.session.executor.run(&job) => ran,
        };
        match ran {
            Ran::Report(report) => {
                self.held.finish(&lease);
                let run_ms = millis(began.elapsed());
                let result = JobResult { id: lease.id, token: lease.token, run_ms, report };
                // There is room for more than there are slots.
                drop(self.ready.send(result).await);
                return;
            }
            Ran::NotNow => {
                tokio::time::sleep(PAUSE).await;
                self.tell("release", &Releases { leases: vec![lease.clone()] }).await;
            }
            Ran::Failed { reason, is_retryable, may_have_run } => {
                let lease = lease.clone();
                let failure = JobFailure { lease, reason, is_retryable, may_have_run };
                self.tell("fail", &Failures { failures: vec![failure] }).await;
            }
        }
        self.told_of(&lease);
    }

    /// Tells something that the gateway finds out by itself otherwise.
    async fn tell(&self, name: &str, body: &(impl Serialize + Sync)) {
        let mut backoff = Backoff::default();
        for _ in 0..TELL_TRIES {
            match self.session.gateway.call::<Ended>(name, body, Duration::ZERO).await {
                Ok(_) => return,
                Err(error) => tracing::warn!("the gateway does not hear of a job: {error}"),
            }
            backoff.wait().await;
        }
    }

    /// A lease is nobody's here any more.
    pub(crate) fn told_of(&self, lease: &HeldLease) {
        self.held.remove(lease);
        self.freed.notify_one();
    }

    /// Takes no more jobs.
    pub(crate) fn drain(&self) {
        self.ends.send_replace(true);
    }

    /// The same, and has those stopped that run.
    pub(crate) fn stop_all(&self) {
        self.drain();
        self.held.stop_all(Stop::Drain);
    }

    /// Tells nobody of anything any more.
    pub(crate) fn give_up(&self) {
        self.given_up.notify_one();
    }

    async fn ended(&self) {
        // It is gone only when nobody can wait any more.
        drop(self.ends.subscribe().wait_for(|it| *it).await);
    }

    fn state(&self) -> WorkerState {
        let drains = *self.ends.borrow() || self.is_drained.load(Ordering::Acquire);
        if drains { WorkerState::Draining } else { WorkerState::Active }
    }
}

fn failed(reason: &str, is_retryable: bool) -> Ran {
    Ran::Failed { reason: reason.to_owned(), is_retryable, may_have_run: true }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
