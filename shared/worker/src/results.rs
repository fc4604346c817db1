//! Delivers results: those that are ready go out together, and whatever cannot go out is on the
//! disk until it can.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use protocol::worker::{Completed, Completions, JobResult};
use tokio::sync::mpsc;

use crate::gateway::CallError;
use crate::pull::Pull;
use crate::session::Backoff;
use crate::spool::Spool;

/// Results in one call.
const RESULTS_MAX: usize = 100;
/// All of them in one call, in bytes, but for a single one.
const BYTES_MAX: usize = 16 << 20;

/// Results on their way.
#[derive(Debug)]
pub(crate) struct Results {
    ready: mpsc::Receiver<JobResult>,
    waiting: VecDeque<JobResult>,
    spool: Arc<Spool>,
    /// How many of those that wait, from the first on, are on the disk.
    kept: usize,
}

impl Results {
    /// Those that come in by `ready`, after those that an earlier start left.
    pub(crate) fn new(ready: mpsc::Receiver<JobResult>, spool: Arc<Spool>) -> Self {
        let left = spool.all().unwrap_or_else(|error| {
            tracing::error!("the results of the last start cannot be read: {error}");
            Vec::new()
        });
        let kept = left.len();
        Self { ready, waiting: left.into(), spool, kept }
    }

    /// Delivers what an earlier start left, as long as its leases live.
    pub(crate) async fn deliver_left(&mut self, pull: &Arc<Pull>) {
        let mut backoff = Backoff::default();
        while !self.waiting.is_empty() {
            if let Err(error) = self.send(pull, false).await {
                tracing::warn!("results of the last start cannot be delivered yet: {error}");
                backoff.wait().await;
            }
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
                    self.wait(&mut backoff).await;
                }
            }
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

    /// Sends the first of those that wait, and asks for as many jobs if that is wanted.
    async fn send(&mut self, pull: &Arc<Pull>, asks: bool) -> Result<(), CallError> {
        let mut bytes = 0;
        let fits = |it: &&JobResult| {
            bytes += it.report.get().len();
            bytes <= BYTES_MAX
        };
        let count = self.waiting.iter().take(RESULTS_MAX).take_while(fits).count().max(1);
        let results: Vec<JobResult> = self.waiting.iter().take(count).cloned().collect();
        let poll = if asks { pull.next_poll(count) } else { None };
        let told = Completions { results, poll };
        let mut done =
            pull.session.gateway.call::<Completed>("complete", &told, Duration::ZERO).await;
        if matches!(done, Err(CallError::Unknown)) {
            // Results need no registration; the next poll will see to it.
            let told = Completions { poll: None, ..told };
            done = pull.session.gateway.call("complete", &told, Duration::ZERO).await;
        }
        let done = done?;
        for (index, result) in self.waiting.drain(..count).enumerate() {
            if index < self.kept {
                self.spool.let_go(&result);
            }
            tracing::info!(job.id = result.id, state = ?done.results.get(index), "told of a job");
            pull.told_of(&result.id);
        }
        self.kept = self.kept.saturating_sub(count);
        pull.take_on(done.work.unwrap_or_default(), count).await;
        Ok(())
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

impl Drop for Results {
    /// This process ends, and the next start delivers them.
    fn drop(&mut self) {
        while let Ok(result) = self.ready.try_recv() {
            self.waiting.push_back(result);
        }
        self.keep();
    }
}
