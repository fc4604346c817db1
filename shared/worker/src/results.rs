//! Delivers results: those that are ready go out together, and whatever cannot go out is on the
//! disk until it can.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::worker::{Completed, Completions, Ended, Failures, JobFailure, JobResult};
use tokio::sync::mpsc;

use crate::batch::{Batch, Fate};
use crate::gateway::CallError;
use crate::pull::Pull;
use crate::session::Backoff;
use crate::spool::Spool;

/// How long those of an earlier start hold up this one while the gateway answers: their leases do
/// not live longer.
const LEFT_TIME_MAX: Duration = Duration::from_secs(30);

/// Results on their way.
#[derive(Debug)]
pub(crate) struct Results {
    ready: mpsc::Receiver<JobResult>,
    waiting: VecDeque<JobResult>,
    spool: Arc<Spool>,
    /// How many of those that wait, from the first on, are on the disk.
    kept: usize,
    batch: Batch,
}

impl Results {
    /// Those that come in by `ready`, after those that an earlier start left.
    pub(crate) fn new(ready: mpsc::Receiver<JobResult>, spool: Arc<Spool>) -> Self {
        let left = spool.all().unwrap_or_else(|error| {
            tracing::error!("the results of the last start cannot be read: {error}");
            Vec::new()
        });
        let kept = left.len();
        Self { ready, waiting: left.into(), spool, kept, batch: Batch::default() }
    }

    /// Delivers what an earlier start left, as long as its leases live. What is left of it then goes
    /// out with the results of this start.
    pub(crate) async fn deliver_left(&mut self, pull: &Arc<Pull>) {
        let mut backoff = Backoff::default();
        let mut since = Instant::now();
        while !self.waiting.is_empty() && since.elapsed() < LEFT_TIME_MAX {
            let late = || CallError::Cut("the gateway took too long".to_owned());
            let sent = tokio::time::timeout(LEFT_TIME_MAX, self.send(pull, false)).await;
            let Err(error) = sent.unwrap_or_else(|_| Err(late())) else { continue };
            tracing::warn!("results of the last start cannot be delivered yet: {error}");
            if matches!(error, CallError::Away(_)) {
                // Nobody would hear us register, either.
                since = Instant::now();
            }
            self.let_others_go_first(&error);
            backoff.wait().await;
        }
    }

    /// Delivers what comes, until nothing can come any more.
    pub(crate) async fn deliver(mut self, pull: Arc<Pull>) {
        let mut backoff = Backoff::default();
        loop {
            if self.waiting.is_empty() {
                let Some(result) = self.ready.recv().await else { return };
                self.waiting.push_back(result);
            }
            while let Ok(result) = self.ready.try_recv() {
                self.waiting.push_back(result);
            }
            match self.send(&pull, true).await {
                Ok(()) => backoff = Backoff::default(),
                Err(error) => {
                    tracing::warn!(results = self.waiting.len(), "not delivered yet: {error}");
                    self.keep();
                    self.let_others_go_first(&error);
                    self.wait(&mut backoff).await;
                }
            }
        }
    }

    /// One that is refused, by the gateway or by something before it, does not hold up others.
    fn let_others_go_first(&mut self, error: &CallError) {
        if matches!(error, CallError::Refused(_)) && self.kept == self.waiting.len() {
            self.waiting.rotate_left(1);
        }
    }

    /// Waits a while, and keeps what comes meanwhile.
    async fn wait(&mut self, backoff: &mut Backoff) {
        let waited = backoff.wait();
        tokio::pin!(waited);
        loop {
            tokio::select! {
                () = &mut waited => return,
                Some(result) = self.ready.recv() => {
                    self.waiting.push_back(result);
                    self.keep();
                }
            }
        }
    }

    /// Sends the first of those that wait, and asks for as many jobs if that is wanted. One that the
    /// gateway never takes is told as a failure of its job.
    async fn send(&mut self, pull: &Arc<Pull>, asks: bool) -> Result<(), CallError> {
        let count = self.batch.count(self.waiting.iter().map(|it| it.report.get().len()));
        let results: Vec<JobResult> = self.waiting.iter().take(count).cloned().collect();
        let bytes = results.iter().map(|it| it.report.get().len()).sum();
        let poll = if asks { pull.next_poll(count) } else { None };
        match complete(pull, Completions { results, poll }).await {
            Ok(done) => {
                self.batch.went(count);
                for (index, result) in self.let_go(pull, count).into_iter().enumerate() {
                    let state = done.results.get(index);
                    tracing::info!(job.id = result.id, ?state, "told of a job");
                }
                pull.take_on(done.work.unwrap_or_default(), count).await;
                Ok(())
            }
            Err(error) => match self.batch.failed(count, bytes, &error) {
                Fate::Waits => Err(error),
                Fate::GoesAgain => {
                    tracing::warn!(results = count, "told in smaller parts: {error}");
                    Ok(())
                }
                Fate::Fails(reason) => self.fail_first(pull, reason, &error).await,
            },
        }
    }

    /// Has the job of the first result fail, as nobody takes that. Until this is heard, it stays.
    async fn fail_first(
        &mut self,
        pull: &Arc<Pull>,
        reason: &str,
        error: &CallError,
    ) -> Result<(), CallError> {
        let Some(result) = self.waiting.front() else { return Ok(()) };
        let failure = JobFailure {
            lease: result.lease(),
            reason: reason.to_owned(),
            is_retryable: false,
            may_have_run: true,
        };
        let told = Failures { failures: vec![failure] };
        match pull.session.gateway.call::<Ended>("fail", &told, Duration::ZERO).await {
            Ok(_) | Err(CallError::Unfit(_) | CallError::TooLarge(_)) => {}
            Err(error) => return Err(error),
        }
        for result in self.let_go(pull, 1) {
            tracing::error!(job.id = result.id, "the result of a job is lost: {error}");
        }
        self.batch.went(1);
        Ok(())
    }

    /// Has nothing more to do with the first of those that wait.
    fn let_go(&mut self, pull: &Pull, count: usize) -> Vec<JobResult> {
        let gone: Vec<JobResult> = self.waiting.drain(..count).collect();
        for result in gone.iter().take(self.kept) {
            self.spool.let_go(result);
        }
        self.kept = self.kept.saturating_sub(count);
        for result in &gone {
            pull.told_of(&result.lease());
        }
        gone
    }

    /// Puts everything that waits on the disk.
    fn keep(&mut self) {
        while let Some(result) = self.waiting.get(self.kept) {
            if let Err(error) = self.spool.keep(result) {
                tracing::error!("a result is in memory only: {error}");
                return;
            }
            self.kept += 1;
        }
    }
}

/// Tells results. They need no registration, as the poll that goes along does: the next one will see
/// to that.
async fn complete(pull: &Pull, told: Completions) -> Result<Completed, CallError> {
    let gateway = &pull.session.gateway;
    let done = gateway.call("complete", &told, Duration::ZERO).await;
    if told.poll.is_some() && matches!(done, Err(CallError::Unknown | CallError::Refused(_))) {
        let told = Completions { poll: None, ..told };
        return gateway.call("complete", &told, Duration::ZERO).await;
    }
    done
}

impl Drop for Results {
    /// This process ends, and the next start delivers them.
    fn drop(&mut self) {
        while let Ok(result) = self.ready.try_recv() {
            self.waiting.push_back(result);
        }
        self.keep();
    }
}
