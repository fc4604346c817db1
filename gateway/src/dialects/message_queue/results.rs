//! The results that a front-end waits for over its socket.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use queue::{JobId, Wakes};
use serde_json::Value;
use tokio::sync::watch::Receiver;

use super::super::owner::Owner;
use super::{messages, outcome};
use crate::error::ApiError;
use crate::jobs::Jobs;

/// Results that one socket waits for.
pub(super) const WAITS_MAX: usize = 1000;
/// What could not be looked at is looked at again so soon.
const AGAIN: Duration = Duration::from_secs(5);

/// Hears of one job.
type Changes = (JobId, Receiver<()>);

/// What a socket waits for.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// The tasks, as their owner calls them.
    names: HashMap<JobId, String>,
    waiting: FuturesUnordered<BoxFuture<'static, Changes>>,
    /// Those that may be over.
    due: VecDeque<Changes>,
}

impl Results {
    /// Refuses to wait for more than it may, `coming` ones included.
    pub(super) fn has_room(&self, coming: usize) -> Result<(), ApiError> {
        if self.names.len() + coming < WAITS_MAX {
            return Ok(());
        }
        Err(ApiError::TooManyWaits(WAITS_MAX))
    }

    /// Waits for a job, and tells of it by that name.
    pub(super) fn follow(&mut self, wakes: &Wakes, id: JobId, name: String) {
        if self.names.insert(id, name).is_none() {
            // Hearing comes before looking, so that nothing is missed in between.
            self.due.push_back((id, wakes.watch(id)));
        }
    }

    /// Whether one is to be looked at.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Waits until one is.
    pub(super) async fn changed(&mut self) {
        match self.waiting.next().await {
            Some(changes) => self.due.push_back(changes),
            None => std::future::pending().await,
        }
    }

    /// Looks at the next one that may be over: what is to be told of it.
    pub(super) async fn look(&mut self, jobs: &Jobs, owner: &Owner) -> Option<String> {
        let (id, changes) = self.due.pop_front()?;
        let name = self.names.get(&id)?;
        match told(jobs, owner, id, name).await {
            Ok(None) => {
                self.waiting.push(Box::pin(change(id, changes)));
                None
            }
            Err(ApiError::Store(_)) => {
                let waited = async move {
                    tokio::time::sleep(AGAIN).await;
                    (id, changes)
                };
                self.waiting.push(Box::pin(waited));
                None
            }
            Ok(Some(result)) => {
                self.names.remove(&id);
                Some(messages::push("result", result))
            }
            Err(error) => {
                let name = self.names.remove(&id);
                Some(messages::error(None, name.as_deref(), &error))
            }
        }
    }
}

async fn told(
    jobs: &Jobs,
    owner: &Owner,
    id: JobId,
    name: &str,
) -> Result<Option<Value>, ApiError> {
    let job = owner.job(jobs, id).await?;
    if job.state.is_final() { outcome(jobs, &job, name).await.map(Some) } else { Ok(None) }
}

async fn change(id: JobId, mut changes: Receiver<()>) -> Changes {
    if changes.changed().await.is_err() {
        // Nobody tells any more.
        std::future::pending::<()>().await;
    }
    (id, changes)
}
