//! `/v1/queue`: how the queue is as a whole.

use std::time::Instant;

use actix_web::{HttpResponse, web};
use protocol::{ExecutorInfo, HealthStatus};
use queue::{Lane, QueueStats, StoreError};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::jobs::{Condition, Jobs, lanes};
use crate::shared::Shared;

/// `GET /v1/queue`
pub(crate) async fn look(shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let jobs = shared.jobs()?;
    let stats = jobs.store.stats().await?;
    let (slots, executors, workers) = capacity(&shared, None);
    let languages: Vec<Value> = stats.lanes.iter().map(|it| json!(it)).collect();
    let (health, reason) = condition(&shared, jobs, &stats);
    Ok(HttpResponse::Ok().json(json!({
        "durability": jobs.store.durability(),
        "health": health,
        "reason": reason,
        "slots": slots,
        "executors": executors,
        "workers": workers,
        "bytes": stats.bytes,
        "languages": languages,
    })))
}

/// How the queue is: jobs that wait need somebody to run them.
fn condition(shared: &Shared, jobs: &Jobs, stats: &QueueStats) -> (HealthStatus, Option<String>) {
    match jobs.condition() {
        Condition::Well => {}
        Condition::Full => return (HealthStatus::Warn, Some(StoreError::NoRoom.to_string())),
        Condition::Away => {
            return (HealthStatus::Fail, Some("the store does not answer".to_owned()));
        }
    }
    let waiting = stats.lanes.iter().filter(|it| it.ready > 0);
    let stuck = waiting.map(|it| &it.lane).find(|it| capacity(shared, Some(it)).0 == 0);
    match stuck {
        Some(lane) => (HealthStatus::Warn, Some(format!("nobody runs {lane} now"))),
        None => (HealthStatus::Pass, None),
    }
}

/// Slots of those live executors and workers that run jobs of a lane, or of all, and how many
/// executors and how many workers those are.
pub(crate) fn capacity(shared: &Shared, lane: Option<&Lane>) -> (usize, usize, usize) {
    let queues = &shared.settings.jobs_push_queues;
    let is_meant = |info: &ExecutorInfo| lane.is_none_or(|it| lanes(info, queues).contains(it));
    let snapshot = shared.fleet.snapshot(&shared.fleet.members(), Instant::now());
    let live = snapshot.candidates.iter().filter(|it| it.is_live);
    let executors: Vec<usize> =
        live.filter(|it| it.info.as_deref().is_some_and(is_meant)).map(|it| it.slots).collect();
    let (slots, workers) = shared.jobs.as_ref().map_or((0, 0), |it| it.workers.slots(lane));
    (slots + executors.iter().sum::<usize>(), executors.len(), workers)
}
