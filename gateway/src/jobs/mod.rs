//! Jobs: programs that are submitted now and run later. The store keeps them; here they are taken
//! in, shown, and run at executors that can be reached.

mod address;
mod board;
mod callbacks;
mod intake;
mod janitor;
mod known;
mod own;
mod push;
mod recheck;
mod runs;
mod submission;
pub(crate) mod view;
pub(crate) mod worker;
pub(crate) mod workers;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use protocol::ExecutorInfo;
use queue::{Bounds, Clock, JobId, JobStore, Lane, QueueStats, StoreError};
use reqwest::Client;
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};

use callbacks::Callbacks;
pub(crate) use intake::{Terms, id_of, take_in};
pub(crate) use janitor::Condition;
use janitor::Noted;
use own::Own;
use push::Push;
pub(crate) use submission::is_key;
use workers::Workers;

use crate::settings::Settings;
use crate::shared::Shared;

/// How long a lease is before it is accepted.
pub(crate) const GRANT: Duration = Duration::from_secs(5);
/// How long it is afterwards, each time it is extended.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// How often leases are extended.
pub(crate) const BEAT: Duration = Duration::from_secs(5);
/// How often the store is looked at though nobody told of work.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// How old what is told of the whole queue may be.
const STATS_AGE: Duration = Duration::from_millis(250);

/// Those whose jobs somebody can run who says this of itself and takes jobs of these queues.
pub(crate) fn lanes(info: &ExecutorInfo, queues: &[String]) -> Vec<Lane> {
    let of = |queue: &String| {
        let languages = info.languages.iter();
        languages.map(|it| Lane::new(&it.id, queue)).collect::<Vec<_>>()
    };
    queues.iter().flat_map(of).collect()
}

/// The jobs of a gateway.
#[derive(Debug)]
pub(crate) struct Jobs {
    /// Where they are kept.
    pub(crate) store: Arc<dyn JobStore>,
    /// Workers that only call out.
    pub(crate) workers: Arc<Workers>,
    push: OnceLock<Arc<Push>>,
    stats: Mutex<Option<(Instant, Arc<QueueStats>)>>,
    noted: Noted,
}

/// What runs jobs and keeps the store clean.
#[derive(Debug)]
pub(crate) struct Work {
    push: JoinHandle<()>,
    others: JoinSet<()>,
}

impl Jobs {
    /// Opens the store that settings name, if they do.
    pub(crate) async fn open(settings: &Settings) -> Result<Option<Self>, StoreError> {
        let Some(url) = &settings.store_url else { return Ok(None) };
        let bounds = Bounds {
            waiting_max: settings.jobs_waiting_max,
            waiting_per_caller_max: settings.jobs_waiting_per_caller_max,
            kept_max: settings.jobs_kept_max,
            ..Bounds::default()
        };
        let store = queue::open(url.expose_secret(), bounds, Clock::steady()).await?;
        tracing::info!(durability = ?store.durability(), "jobs are kept");
        Ok(Some(Self {
            store,
            workers: Arc::default(),
            push: OnceLock::new(),
            stats: Mutex::default(),
            noted: Noted::default(),
        }))
    }

    /// Starts to run jobs, as the gateway that listens at `port`.
    pub(crate) fn start(&self, port: u16, shared: &Arc<Shared>, client: Client) -> Work {
        let own = Own::new(&*self.store, port);
        let push = Push::new(own, Arc::clone(shared), Arc::clone(&self.store), client);
        let push = Arc::clone(self.push.get_or_init(|| push));
        let mut others = JoinSet::new();
        let cleanup = Duration::from_secs(shared.settings.jobs_cleanup_seconds);
        others.spawn(janitor::keep(Arc::clone(&self.store), cleanup, self.noted.clone()));
        others.spawn(recheck::keep(Arc::clone(&self.store)));
        others.spawn(board::share(Arc::clone(&self.store), Arc::clone(&self.workers)));
        if let Some(secret) = &shared.settings.callback_secret {
            let callbacks = Callbacks {
                store: Arc::clone(&self.store),
                secret: secret.clone(),
                may_be_private: shared.settings.callback_private,
            };
            others.spawn(callbacks.send_all());
        }
        let grace = Duration::from_secs(shared.settings.drain_seconds);
        Work { push: tokio::spawn(push.run(grace)), others }
    }

    /// What waits and what goes on, or did at most [`STATS_AGE`] ago: every submission is told when it
    /// is likely to be started.
    pub(crate) async fn stats(&self) -> Result<Arc<QueueStats>, StoreError> {
        let mut known = self.stats.lock().await;
        if let Some((since, stats)) = &*known
            && since.elapsed() < STATS_AGE
        {
            return Ok(Arc::clone(stats));
        }
        let stats = Arc::new(self.store.stats().await?);
        *known = Some((Instant::now(), Arc::clone(&stats)));
        Ok(stats)
    }

    /// Queues that settings name, or a worker that asks for their jobs.
    pub(crate) fn queues(&self, settings: &Settings) -> BTreeSet<String> {
        let set = settings.jobs_queues.iter().chain(&settings.jobs_push_queues).cloned();
        set.chain(self.workers.queues()).collect()
    }

    /// How the store was when it was last swept.
    pub(crate) fn condition(&self) -> Condition {
        self.noted.condition()
    }

    /// Tells whoever runs a job here that it is not wanted any more.
    pub(crate) fn cancel(&self, id: JobId) {
        if let Some(push) = self.push.get() {
            push.cancel(id);
        }
        self.workers.cancel(id);
    }
}

impl Work {
    /// Waits for the jobs that run. No more are taken once the gateway drains.
    pub(crate) async fn end(mut self) {
        if let Err(error) = self.push.await {
            tracing::error!("the jobs did not end as they should: {error}");
        }
        self.others.shutdown().await;
    }
}
