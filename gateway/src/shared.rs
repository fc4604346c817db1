//! What every request handler has at hand.

use std::sync::Arc;

use crate::auth::Keys;
use crate::body::Budget;
use crate::dialects::job_api::JobApi;
use crate::dispatch::Dispatcher;
use crate::error::ApiError;
use crate::fleet::Fleet;
use crate::jobs::Jobs;
use crate::metrics::Metrics;
use crate::rate_limit::RateLimit;
use crate::settings::Settings;

/// One of each, for the whole process.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What the operator set.
    pub settings: Settings,
    /// The executors.
    pub fleet: Arc<Fleet>,
    /// Who may come in.
    pub keys: Arc<Keys>,
    /// How often.
    pub rate_limit: Arc<RateLimit>,
    /// What is counted.
    pub metrics: Metrics,
    /// Memory for request bodies.
    pub bodies: Budget,
    /// What sends to executors.
    pub dispatcher: Dispatcher,
    /// What is kept to be run later, if anything is.
    pub jobs: Option<Jobs>,
    /// The job API, if it is served.
    pub job_api: Option<JobApi>,
}

impl Shared {
    /// What is kept to be run later, where anything is.
    pub(crate) fn jobs(&self) -> Result<&Jobs, ApiError> {
        self.jobs.as_ref().ok_or(ApiError::NoStore)
    }

    /// Everything as settings want it.
    pub(crate) fn new(
        settings: Settings,
        keys: Keys,
        metrics: Metrics,
        fleet: Arc<Fleet>,
        jobs: Option<Jobs>,
    ) -> Self {
        let dispatcher = Dispatcher {
            fleet: Arc::clone(&fleet),
            token: settings.executor_token.clone(),
            answer_bytes_max: settings.answer_mb << 20,
        };
        Self {
            fleet,
            keys: Arc::new(keys),
            rate_limit: Arc::new(RateLimit::new(settings.rate_per_minute, settings.rate_burst)),
            metrics,
            bodies: Budget::new(settings.bodies_mb),
            dispatcher,
            jobs,
            job_api: JobApi::new(&settings),
            settings,
        }
    }
}
