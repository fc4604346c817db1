//! Whose tasks are left in the queues of others, and asked for.

use actix_web::HttpRequest;
use queue::{Job, JobId};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::handlers::jobs::{caller, waiting_max};
use crate::jobs::Jobs;

/// One of their callers.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    /// What the store knows the caller as.
    pub(super) caller: String,
    /// How many jobs of the caller may wait, where that is not as for everybody.
    pub(super) waiting_max: Option<u64>,
}

impl Owner {
    /// Whoever sends a request.
    pub(super) fn of(request: &HttpRequest) -> Self {
        Self { caller: caller(request), waiting_max: waiting_max(request) }
    }

    /// A caller that holds a connection.
    pub(super) fn named(caller: &Caller) -> Self {
        let waiting_max = caller.holder().and_then(|it| it.waiting);
        Self { caller: caller.id().unwrap_or_default(), waiting_max }
    }

    /// A job of the caller's own. Others' are not there.
    pub(super) async fn job(&self, jobs: &Jobs, id: JobId) -> Result<Job, ApiError> {
        let job = jobs.store.job(id).await?.filter(|it| it.caller == self.caller);
        job.ok_or(ApiError::NoJob)
    }
}
