//! What every request handler has at hand.

use std::sync::Arc;
use std::time::Instant;

use documents::Rooms;
use jiff::Timestamp;

use crate::audit::Audit;
use crate::auth::Keys;
use crate::body::Budget;
use crate::dialects;
use crate::dialects::job_api::JobApi;
use crate::dialects::message_queue::MessageQueue;
use crate::dialects::queue_service::QueueService;
use crate::dispatch::Dispatcher;
use crate::drain::Drain;
use crate::error::ApiError;
use crate::fleet::Fleet;
use crate::jobs::Jobs;
use crate::metrics::Metrics;
use crate::peers::Identity;
use crate::rate_limit::RateLimit;
use crate::rooms::{Presence, RoomError};
use crate::routing::{Remembered, Snapshot};
use crate::running::Running;
use crate::runs::Runs;
use crate::settings::Settings;

/// One of each, for the whole process.
#[derive(Debug)]
pub(crate) struct Shared {
    /// When this process began to serve.
    pub started: Timestamp,
    /// What the operator set.
    pub settings: Settings,
    /// What other gateways know this one as.
    pub identity: Identity,
    /// The executors.
    pub fleet: Arc<Fleet>,
    /// Who may come in.
    pub keys: Arc<Keys>,
    /// What they did who can do more than submit.
    pub audit: Audit,
    /// Programs of keys that may have only so many running.
    pub running: Running,
    /// Runs that people take part in.
    pub runs: Arc<Runs>,
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
    /// Where several people write one program together, if that is kept.
    pub rooms: Option<Arc<Rooms>>,
    /// In how many rooms one address is.
    pub presence: Presence,
    /// Whether this process ends.
    pub drain: Drain,
    /// The job API, if it is served.
    pub job_api: Option<JobApi>,
    /// The message queue, if it is served.
    pub message_queue: Option<MessageQueue>,
    /// The queue service, if it is served.
    pub queue_service: Option<QueueService>,
}

impl Shared {
    /// What is kept to be run later, where anything is.
    pub(crate) fn jobs(&self) -> Result<&Jobs, ApiError> {
        self.jobs.as_ref().ok_or(ApiError::NoStore)
    }

    /// Rooms, where they are kept.
    pub(crate) fn rooms(&self) -> Result<&Rooms, ApiError> {
        self.rooms.as_deref().ok_or(ApiError::Room(RoomError::NoStore))
    }

    /// What the fleet and the workers run that take its jobs.
    pub(crate) fn snapshot_for_jobs(&self) -> Snapshot {
        let mut snapshot = self.fleet.snapshot(&self.fleet.members(), Instant::now());
        let workers = self.jobs.iter().flat_map(|it| it.workers.infos());
        let remembered = workers.map(|it| Remembered { names: Vec::new(), info: Some(it) });
        snapshot.remembered.extend(remembered);
        snapshot
    }

    /// How many jobs those callers may have running who are not bounded as everybody is.
    pub(crate) fn running_max_of(&self) -> Vec<(String, u64)> {
        let mut bounds = self.keys.running_max_of();
        bounds.extend(dialects::running_max_of(&self.settings));
        bounds
    }

    /// Everything as settings want it.
    pub(crate) fn new(
        settings: Settings,
        (identity, keys, audit): (Identity, Keys, Audit),
        metrics: Metrics,
        fleet: Arc<Fleet>,
        (jobs, rooms): (Option<Jobs>, Option<Arc<Rooms>>),
    ) -> Self {
        let dispatcher = Dispatcher {
            fleet: Arc::clone(&fleet),
            token: settings.executor_token.clone(),
            answer_bytes_max: settings.answer_mb << 20,
        };
        Self {
            started: Timestamp::now(),
            runs: Arc::new(Runs::new(&settings, identity.name.clone())),
            identity,
            fleet,
            keys: Arc::new(keys),
            audit,
            running: Running::default(),
            rate_limit: Arc::new(RateLimit::new(settings.rate_per_minute, settings.rate_burst)),
            metrics,
            bodies: Budget::new(settings.bodies_mb),
            dispatcher,
            jobs,
            rooms,
            presence: Presence::default(),
            drain: Drain::default(),
            job_api: JobApi::new(&settings),
            message_queue: settings.message_queue.then(MessageQueue::default),
            queue_service: settings.queue_service.then(QueueService::default),
            settings,
        }
    }
}
