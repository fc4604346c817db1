//! Jobs: programs that are submitted now and run later. The store keeps them; here they are taken
//! in, shown, and run at executors that can be reached.

mod intake;
mod janitor;
mod push;
mod submission;

use std::sync::Arc;
use std::time::Duration;

use queue::{Bounds, Clock, JobId, JobStore, StoreError};
use reqwest::Client;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub(crate) use intake::take_in;
use push::Push;
pub(crate) use submission::is_key;

use crate::settings::Settings;
use crate::shared::Shared;

/// The jobs of a gateway.
#[derive(Debug)]
pub(crate) struct Jobs {
    /// Where they are kept.
    pub(crate) store: Arc<dyn JobStore>,
    push: std::sync::OnceLock<Arc<Push>>,
}

/// What runs jobs and keeps the store clean.
#[derive(Debug)]
pub(crate) struct Work {
    drain: Arc<Notify>,
    push: JoinHandle<()>,
    janitor: JoinHandle<()>,
}

impl Jobs {
    /// Opens the store that settings name, if they do.
    pub(crate) async fn open(settings: &Settings) -> Result<Option<Self>, StoreError> {
        let Some(url) = &settings.store_url else { return Ok(None) };
        let bounds = Bounds {
            waiting_max: settings.jobs_waiting_max,
            waiting_per_caller_max: settings.jobs_waiting_per_caller_max,
            ..Bounds::default()
        };
        let store = queue::open(url, bounds, Clock::steady()).await?;
        tracing::info!(durability = ?store.durability(), "jobs are kept");
        Ok(Some(Self { store, push: std::sync::OnceLock::new() }))
    }

    /// Starts to run jobs.
    pub(crate) fn start(&self, shared: &Arc<Shared>, client: Client) -> Work {
        let push = Push::new(Arc::clone(shared), Arc::clone(&self.store), client);
        let push = Arc::clone(self.push.get_or_init(|| push));
        let drain = Arc::new(Notify::new());
        let grace = Duration::from_secs(shared.settings.drain_seconds);
        Work {
            push: tokio::spawn(push.run(Arc::clone(&drain), grace)),
            janitor: tokio::spawn(janitor::keep(Arc::clone(&self.store))),
            drain,
        }
    }

    /// Tells whoever runs a job here that it is not wanted any more.
    pub(crate) fn cancel(&self, id: JobId) {
        if let Some(push) = self.push.get() {
            push.cancel(id);
        }
    }
}

impl Work {
    /// Takes no more jobs, and waits for those that run.
    pub(crate) async fn drain(self) {
        self.drain.notify_one();
        if let Err(error) = self.push.await {
            tracing::error!("the jobs did not end as they should: {error}");
        }
        self.janitor.abort();
    }
}
