//! How the queues of others are, in their words: what waits and runs, and who is there to run it.

use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use protocol::HealthStatus;
use serde_json::json;

use crate::error::{ApiError, of_health};
use crate::jobs::{Condition, Jobs};
use crate::shared::Shared;

/// The jobs of a store, as a queue counts them.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) waiting: u64,
    pub(super) running: u64,
    pub(super) dead: u64,
    /// How long runs took lately.
    pub(super) average_seconds: f64,
}

/// How many jobs there are now.
pub(super) async fn numbers(jobs: &Jobs) -> Result<Numbers, ApiError> {
    let lanes = jobs.store.stats().await?.lanes;
    let sum = |of: fn(&queue::LaneStats) -> u64| lanes.iter().map(of).sum::<u64>();
    let averages: Vec<u64> = lanes.iter().filter_map(|it| it.average_run_ms).collect();
    let (count, total) = (averages.len().max(1), averages.iter().sum::<u64>());
    let average = Duration::from_millis(total / u64::try_from(count).unwrap_or(1));
    Ok(Numbers {
        waiting: sum(|it| it.ready.saturating_add(it.scheduled)),
        running: sum(|it| it.leased),
        dead: sum(|it| it.dead),
        average_seconds: average.as_secs_f64(),
    })
}

/// How a queue is that so many tasks wait in, for so many workers.
pub(super) fn health(jobs: &Jobs, waiting: u64, workers: usize) -> HealthStatus {
    match jobs.condition() {
        Condition::Well if waiting == 0 || workers > 0 => HealthStatus::Pass,
        Condition::Well | Condition::Full => HealthStatus::Warn,
        Condition::Away => HealthStatus::Fail,
    }
}

/// The word for it in these queues.
pub(super) fn health_word(health: HealthStatus) -> &'static str {
    match health {
        HealthStatus::Pass => "healthy",
        HealthStatus::Warn => "degraded",
        HealthStatus::Fail => "unhealthy",
    }
}

/// Whether tasks can be kept: the answer to those who look after servers.
pub(super) fn health_answer(jobs: &Jobs) -> HttpResponse {
    let health = health(jobs, 0, 0);
    let mut answer = HttpResponseBuilder::new(of_health(health));
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    answer.json(json!({ "status": health_word(health) }))
}

/// Executors and workers of the fleet that are live.
pub(super) fn live(shared: &Shared) -> usize {
    let snapshot = shared.fleet.snapshot(&shared.fleet.members(), Instant::now());
    let executors = snapshot.candidates.iter().filter(|it| it.is_live).count();
    executors + shared.jobs.as_ref().map_or(0, |it| it.workers.live())
}
