//! `GET /health` and its two short forms. Health is what the last probes found, so it is quick.

use std::time::Instant;

use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use protocol::{HealthStatus, Level};
use queue::StoreError;
use serde::Serialize;

use crate::error::of_health;
use crate::fleet::{Circuit, View};
use crate::jobs::{Condition, Jobs};
use crate::shared::Shared;

/// The content type of health.
const HEALTH_TYPE: &str = "application/health+json";

/// The whole fleet's health.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FleetHealth {
    status: HealthStatus,
    service_id: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// Those that take jobs, and cannot be reached otherwise.
    workers: usize,
    executors: Vec<ExecutorLine>,
}

/// One executor's health, without where it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecutorLine {
    name: String,
    label: String,
    status: HealthStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// RFC 3339.
    since: String,
    latency_ms: Option<f64>,
    circuit: Circuit,
    isolation: Option<Level>,
    slots: usize,
    slots_free: usize,
    waiting: usize,
    in_flight: usize,
}

/// `GET /health`
pub(crate) async fn aggregate(shared: web::Data<Shared>) -> HttpResponse {
    let views = shared.fleet.views(Instant::now());
    let workers = shared.jobs.as_ref().map_or(0, |it| it.workers.live());
    let (status, output) = overall(&views, workers, shared.jobs.as_ref());
    answer(&FleetHealth {
        status,
        service_id: "gateway",
        version: env!("CARGO_PKG_VERSION"),
        output,
        workers,
        executors: views.into_iter().map(line).collect(),
    })
}

/// `GET /health/live`: this process answers.
pub(crate) async fn live() -> HttpResponse {
    short(HealthStatus::Pass)
}

/// `GET /health/ready`: there is an executor to send to, or a worker that takes jobs.
pub(crate) async fn ready(shared: web::Data<Shared>) -> HttpResponse {
    let workers = shared.jobs.as_ref().map_or(0, |it| it.workers.live());
    short(of_fleet(&shared.fleet.views(Instant::now()), workers).0)
}

/// The health of the fleet, and of the store of jobs if there is one.
pub(crate) fn overall(
    views: &[View],
    workers: usize,
    jobs: Option<&Jobs>,
) -> (HealthStatus, Option<String>) {
    let (status, output) = of_fleet(views, workers);
    let trouble = match jobs.map(Jobs::condition) {
        None | Some(Condition::Well) => None,
        Some(Condition::Full) => Some(StoreError::NoRoom.to_string()),
        Some(Condition::Away) => Some("jobs cannot be kept now".to_owned()),
    };
    if trouble.is_some() && status == HealthStatus::Pass {
        return (HealthStatus::Warn, trouble);
    }
    (status, output)
}

/// The fleet passes if every executor does, and fails if none is live. A gateway that has only
/// workers passes if it has any.
fn of_fleet(views: &[View], workers: usize) -> (HealthStatus, Option<String>) {
    if views.is_empty() && workers > 0 {
        return (HealthStatus::Pass, None);
    }
    if views.is_empty() {
        let output = "there are no executors; set <NAME>_EXECUTOR_URL".to_owned();
        return (HealthStatus::Fail, Some(output));
    }
    let live = views.iter().filter(|it| it.is_live()).count();
    let output = format!("{live} of {} executors are live", views.len());
    if live == 0 {
        (HealthStatus::Fail, Some(output))
    } else if live < views.len() {
        (HealthStatus::Warn, Some(output))
    } else if views.iter().any(|it| it.status == HealthStatus::Warn) {
        (HealthStatus::Warn, Some("an executor wants a look".to_owned()))
    } else {
        (HealthStatus::Pass, None)
    }
}

fn line(view: View) -> ExecutorLine {
    let health = view.health.as_ref();
    ExecutorLine {
        isolation: health.map(|it| it.isolation),
        slots: health.map_or(0, |it| it.slots),
        slots_free: health.map_or(0, |it| it.slots_free),
        waiting: health.map_or(0, |it| it.waiting),
        name: view.name,
        label: view.label,
        status: view.status,
        output: view.output,
        since: view.since.to_string(),
        latency_ms: view.latency_ms,
        circuit: view.circuit,
        in_flight: view.in_flight,
    }
}

fn short(status: HealthStatus) -> HttpResponse {
    answer(&FleetHealthShort { status, service_id: "gateway" })
}

/// Health in one word.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FleetHealthShort {
    status: HealthStatus,
    service_id: &'static str,
}

trait HasStatus: Serialize {
    fn status(&self) -> HealthStatus;
}

impl HasStatus for FleetHealth {
    fn status(&self) -> HealthStatus {
        self.status
    }
}

impl HasStatus for FleetHealthShort {
    fn status(&self) -> HealthStatus {
        self.status
    }
}

fn answer(health: &impl HasStatus) -> HttpResponse {
    HttpResponseBuilder::new(of_health(health.status()))
        .content_type(HEALTH_TYPE)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(health)
}
