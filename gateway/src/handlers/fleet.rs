//! `GET /v1/fleet`: everything that the fleet's page shows, for machines as well.

use std::time::Instant;

use actix_web::http::header;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use protocol::{Guarantee, HealthStatus, Level, RuntimeInfo, WarmInfo};
use queue::Durability;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::fleet::history::{Summary, Window};
use crate::fleet::{Circuit, Member, View};
use crate::handlers::health::overall;
use crate::jobs::{Condition, Jobs};
use crate::shared::Shared;

/// What is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    window: Option<String>,
    #[serde(default)]
    points: bool,
}

/// The fleet, its gateway, and what each did lately.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FleetReport {
    /// What `history` is of.
    window: &'static str,
    /// Seconds of each of its points.
    step_seconds: u64,
    /// Where the first of them begins, in seconds since 1970.
    from: u64,
    gateway: GatewayReport,
    executors: Vec<ExecutorReport>,
}

/// The gateway itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayReport {
    status: HealthStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    version: &'static str,
    /// RFC 3339. No history is older.
    started_at: String,
    draining: bool,
    /// Live ones, which take jobs and cannot be reached otherwise.
    workers: usize,
    /// None where no jobs are kept.
    jobs: Option<JobsReport>,
}

/// What the gateway keeps to be run later.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobsReport {
    durability: Durability,
    /// Whether the store answers; the counts are none if not.
    well: bool,
    counts: Option<JobCounts>,
}

/// Jobs of all languages.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobCounts {
    scheduled: u64,
    ready: u64,
    leased: u64,
    dead: u64,
    oldest_ready_ms: Option<u64>,
}

/// One executor, without where it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecutorReport {
    name: String,
    label: String,
    status: HealthStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// RFC 3339.
    since: String,
    probe_ms: Option<f64>,
    circuit: Circuit,
    slots: usize,
    slots_free: usize,
    slots_quarantined: usize,
    waiting: usize,
    in_flight: usize,
    /// What it said of itself when it was last heard.
    info: Option<Told>,
    history: Summary,
}

/// What people want to know of an executor's own words.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    /// Of its program.
    version: String,
    languages: Vec<String>,
    runtimes: Vec<RuntimeInfo>,
    isolation: IsolationTold,
    warm: WarmInfo,
    samples_passed: usize,
    samples_failed: usize,
    notes: Vec<String>,
}

/// The isolation that its runs really get.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct IsolationTold {
    level: Level,
    rung: u8,
    minimum: Level,
    guarantees: Vec<Guarantee>,
    /// What the host would have to grant for more.
    raise: Vec<String>,
    outer: Vec<String>,
    self_test: Option<SelfTestTold>,
}

/// How the executor's last attempt to break its own promises went.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SelfTestTold {
    passed: bool,
    time: String,
    attempts: usize,
}

/// `GET /v1/fleet`
pub(crate) async fn report(
    request: HttpRequest,
    query: web::Query<Wanted>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let name = query.window.as_deref().unwrap_or("1h");
    let found = Window::ALL.into_iter().find(|it| it.0 == name);
    let names = || Window::ALL.map(|it| it.0).join(", ");
    let wrong = || ApiError::invalid("/window", format!("`window` is one of {}", names()));
    let (window_name, window) = found.ok_or_else(wrong)?;
    let (now, time) = (Instant::now(), Timestamp::now());
    let of =
        |member: &Member| executor(member.view(now), member.summary(window, time, query.points));
    let members = shared.fleet.members();
    let mut executors: Vec<ExecutorReport> = members.iter().map(|it| of(it)).collect();
    if is_stranger(&request, &shared) {
        // What an operator should know is for those who have a key.
        executors.iter_mut().filter_map(|it| it.info.as_mut()).for_each(|it| it.notes.clear());
    }
    let report = FleetReport {
        window: window_name,
        step_seconds: window.step(),
        from: window.from(u64::try_from(time.as_second()).unwrap_or(0)),
        gateway: gateway(&shared, now).await,
        executors,
    };
    let Ok(body) = serde_json::to_vec(&report) else { return Err(ApiError::Internal) };
    Ok(tagged(&request, body))
}

/// Whether somebody looks who has no key, where there are keys.
fn is_stranger(request: &HttpRequest, shared: &Shared) -> bool {
    let extensions = request.extensions();
    let caller = extensions.get::<Caller>();
    !shared.keys.is_open() && caller.and_then(Caller::holder).is_none()
}

async fn gateway(shared: &Shared, now: Instant) -> GatewayReport {
    let workers = shared.jobs.as_ref().map_or(0, |it| it.workers.live());
    let (status, output) = overall(&shared.fleet.views(now), workers, shared.jobs.as_ref());
    let jobs = match &shared.jobs {
        None => None,
        Some(jobs) => Some(kept(jobs).await),
    };
    GatewayReport {
        status,
        output,
        version: env!("CARGO_PKG_VERSION"),
        started_at: shared.started.to_string(),
        draining: shared.drain.is_draining(),
        workers,
        jobs,
    }
}

async fn kept(jobs: &Jobs) -> JobsReport {
    let counts = jobs.stats().await.ok().map(|stats| {
        let mut all = JobCounts::default();
        for lane in &stats.lanes {
            all.scheduled += lane.scheduled;
            all.ready += lane.ready;
            all.leased += lane.leased;
            all.dead += lane.dead;
            all.oldest_ready_ms = all.oldest_ready_ms.max(lane.oldest_ready_ms);
        }
        all
    });
    JobsReport {
        durability: jobs.store.durability(),
        well: jobs.condition() == Condition::Well,
        counts,
    }
}

fn executor(view: View, history: Summary) -> ExecutorReport {
    let health = view.health.as_ref();
    ExecutorReport {
        slots: health.map_or(0, |it| it.slots),
        slots_free: health.map_or(0, |it| it.slots_free),
        slots_quarantined: health.map_or(0, |it| it.slots_quarantined),
        waiting: health.map_or(0, |it| it.waiting),
        info: view.info.as_ref().map(|it| told(it)),
        name: view.name,
        label: view.label,
        status: view.status,
        output: view.output,
        since: view.since.to_string(),
        probe_ms: view.latency_ms,
        circuit: view.circuit,
        in_flight: view.in_flight,
        history,
    }
}

fn told(info: &protocol::ExecutorInfo) -> Told {
    let isolation = &info.isolation;
    Told {
        version: info.version.clone(),
        languages: info.languages.iter().map(|it| it.id.clone()).collect(),
        runtimes: info.runtimes.clone(),
        isolation: IsolationTold {
            level: isolation.level,
            rung: isolation.level.rung(),
            minimum: isolation.minimum,
            guarantees: isolation.guarantees.clone(),
            raise: isolation.raise.clone(),
            outer: isolation.outer.clone(),
            self_test: isolation.self_test.as_ref().map(|it| SelfTestTold {
                passed: it.passed,
                time: it.time.clone(),
                attempts: it.results.len(),
            }),
        },
        warm: info.warm.clone(),
        samples_passed: info.samples.passed,
        samples_failed: info.samples.failed,
        notes: info.notes.clone(),
    }
}

/// A body with a strong tag of its content, or nothing if the client has that already.
fn tagged(request: &HttpRequest, body: Vec<u8>) -> HttpResponse {
    let digest = Sha256::digest(&body);
    let digits: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{digits}\"");
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|it| it.to_str().ok());
    let is_known = known.is_some_and(|it| it.split(',').any(|it| it.trim() == tag));
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((header::ETAG, tag));
    response.insert_header((header::CACHE_CONTROL, "private, no-cache"));
    if is_known {
        return response.finish();
    }
    response.content_type("application/json").body(body)
}
