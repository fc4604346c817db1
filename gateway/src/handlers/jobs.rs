//! `/v1/jobs` and `/v1/callbacks`.

mod taken;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{self, Bytes};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use jiff::Timestamp as Time;
use queue::{Cancelled, Filter, Job, JobId, Page, QueueStats, State, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admission::check_media_type;
use crate::auth::{Caller, Role, id_of as id_of_key};
use crate::body::{self, BodyBounds};
use crate::error::ApiError;
use crate::events;
use crate::handlers::execute::{body_bytes_max, content_type};
use crate::handlers::queue::capacity;
use crate::jobs::view::{self, Shown};
use crate::jobs::{Jobs, Terms, id_of, is_key, take_in};
use crate::routing::NoChoice;
use crate::settings::seconds;
use crate::shared::Shared;
use crate::wait::Wait;

/// What others do to a job's place is looked for this often, and less so the more jobs are followed:
/// all of them together take this much time for each.
const LOOK_FOR_PLACE: Duration = Duration::from_secs(2);
const LOOK_FOR_EACH: Duration = Duration::from_millis(10);
/// Jobs on a page, unless fewer are asked for.
const PAGE: usize = 50;
/// Jobs on a page at most.
const PAGE_MAX: usize = 200;
/// Idle streams say this often that they are still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A batch is as large as so many single submissions.
const BATCH_FACTOR: usize = 8;

/// `POST /v1/jobs`
pub(crate) async fn submit(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    check_media_type(content_type(request.headers()).as_deref())?;
    let jobs = shared.jobs()?;
    let snapshot = shared.snapshot_for_jobs();
    let bytes_max = body_bytes_max(&snapshot).saturating_mul(BATCH_FACTOR);
    let bounds = BodyBounds { bytes_max, seconds: shared.settings.body_seconds };
    let body = body::read(&request, payload, &shared.bodies, bounds).await?;
    let key = header_key(request.headers())?;
    let terms = Terms {
        caller: caller(&request),
        waiting_max: waiting_max(&request),
        snapshot,
        allowance: seconds(shared.settings.allowance_seconds),
        queues: jobs.queues(&shared.settings),
        has_callbacks: shared.settings.callback_secret.is_some(),
        foreign: None,
    };
    let bytes = body.bytes.clone();
    let taken = move || take_in(&bytes, key, &terms);
    let taken = web::block(taken).await.unwrap_or(Err(ApiError::Internal));
    let (new, is_batch) = match taken {
        Ok(taken) => taken,
        Err(error) => return Err(not_yet(jobs, error).await),
    };
    let enqueued = jobs.store.enqueue(new).await?;
    if is_batch {
        let told: Vec<Value> = enqueued.into_iter().map(taken::outcome).collect();
        return Ok(HttpResponse::Accepted().json(json!({ "jobs": told })));
    }
    let enqueued = enqueued.into_iter().next().ok_or(ApiError::Internal)?;
    let id = id_of(enqueued)?;
    let mut response = HttpResponse::Accepted();
    response.insert_header((header::LOCATION, format!("/v1/jobs/{id}")));
    Ok(response.json(taken::told(enqueued, find(jobs, &shared, id).await)))
}

/// A job as it is shown, if it is kept.
async fn find(jobs: &Jobs, shared: &Shared, id: JobId) -> Result<Option<Shown>, ApiError> {
    match jobs.store.job(id).await? {
        Some(job) => Ok(Some(shown(jobs, shared, job).await?)),
        None => Ok(None),
    }
}

/// After a start workers come back by themselves: until then a language that nobody runs is not one
/// that there is not.
async fn not_yet(jobs: &Jobs, error: ApiError) -> ApiError {
    let ApiError::NoChoice(NoChoice::UnknownLanguage { language, known }) = error else {
        return error;
    };
    let had = |stats: Arc<QueueStats>| stats.lanes.iter().any(|it| it.lane.language() == language);
    if jobs.stats().await.is_ok_and(had) {
        return NoChoice::NoLiveExecutor { language }.into();
    }
    NoChoice::UnknownLanguage { language, known }.into()
}

/// What may be asked of one job.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// How long to wait for its end: seconds, with an `s` or without.
    wait: Option<String>,
}

/// `GET /v1/jobs/{id}`
pub(crate) async fn one(
    request: HttpRequest,
    id: web::Path<String>,
    query: web::Query<Asked>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let jobs = shared.jobs()?;
    let id = parse_id(&id)?;
    let wait = Wait::of(query.wait.as_deref(), request.headers())?;
    let until = Instant::now() + wait.time;
    // Hearing comes before looking, so that nothing is missed in between.
    let mut changes = jobs.store.wakes().watch(id);
    loop {
        let job = own_job(jobs, id, &request).await?;
        let left = until.saturating_duration_since(Instant::now());
        if job.state.is_final() || left.is_zero() || shared.drain.is_draining() {
            let mut response = HttpResponse::Ok();
            wait.tell(&mut response);
            return Ok(response.json(shown(jobs, &shared, job).await?));
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = shared.drain.begun() => {}
            () = tokio::time::sleep(left) => {}
        }
    }
}

/// `GET /v1/jobs/{id}/submission`
pub(crate) async fn submission(
    request: HttpRequest,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let jobs = shared.jobs()?;
    let id = parse_id(&id)?;
    own_job(jobs, id, &request).await?;
    let body = jobs.store.body(id).await?.ok_or(ApiError::NoJob)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(body))
}

/// `GET /v1/jobs/{id}/events`
pub(crate) async fn follow(
    request: HttpRequest,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let id = parse_id(&id)?;
    let job = own_job(shared.jobs()?, id, &request).await?;
    let last = request.headers().get("last-event-id").and_then(|it| it.to_str().ok());
    let seen = last.and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    if job.state.is_final() && job.version <= seen {
        // Whoever has everything is told not to come again.
        return Ok(HttpResponse::NoContent().finish());
    }
    let changes = shared.jobs()?.store.wakes().watch(id);
    let shared = shared.into_inner();
    let begin = (Arc::clone(&shared), changes, Some((seen, None)));
    let lines = futures::stream::unfold(begin, move |(shared, mut changes, seen)| async move {
        let (seen, place) = seen?;
        let until = Instant::now() + KEEP_ALIVE;
        loop {
            let jobs = shared.jobs.as_ref()?;
            let job = jobs.store.job(id).await.ok()??;
            // Others that are started change its place, and nothing else of it.
            if job.version > seen || job.position != place {
                let (seen, place) = (job.version, job.position);
                let state = job.state;
                let data = shown(jobs, &shared, job).await.ok()?;
                let data = serde_json::to_string(&data).ok()?;
                let line = format!("id: {seen}\nevent: {}\ndata: {data}\n\n", state.as_str());
                let next = (!state.is_final()).then_some((seen, place));
                return Some((Ok::<_, Infallible>(Bytes::from(line)), (shared, changes, next)));
            }
            let left = until.saturating_duration_since(Instant::now());
            if job.state.is_final() {
                return None;
            }
            if left.is_zero() {
                let line = Bytes::from_static(b": keep-alive\n\n");
                return Some((Ok(line), (shared, changes, Some((seen, place)))));
            }
            let look = place.map_or(left, |_| left.min(look_for_place(jobs)));
            drop(tokio::time::timeout(look, changes.changed()).await);
        }
    });
    Ok(events::response().streaming(lines))
}

/// How long to wait until a job's place is looked for again.
fn look_for_place(jobs: &Jobs) -> Duration {
    let followed = u32::try_from(jobs.store.wakes().watched_count()).unwrap_or(u32::MAX);
    LOOK_FOR_PLACE.max(LOOK_FOR_EACH.saturating_mul(followed))
}

/// `DELETE /v1/jobs/{id}`
pub(crate) async fn cancel(
    request: HttpRequest,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let jobs = shared.jobs()?;
    let id = parse_id(&id)?;
    own_job(jobs, id, &request).await?;
    match jobs.store.cancel(id).await? {
        Cancelled::Now => {}
        Cancelled::Requested => jobs.cancel(id),
        Cancelled::AlreadyFinal(state) => return Err(ApiError::JobIsFinal(state)),
        Cancelled::Unknown => return Err(ApiError::NoJob),
    }
    let job = own_job(jobs, id, &request).await?;
    Ok(HttpResponse::Accepted().json(shown(jobs, &shared, job).await?))
}

/// `POST /v1/jobs/{id}/redrive`
pub(crate) async fn redrive(
    request: HttpRequest,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let jobs = shared.jobs()?;
    let id = parse_id(&id)?;
    let before = own_job(jobs, id, &request).await?;
    if !jobs.store.redrive(id).await? {
        return Err(ApiError::JobIsNotDead(before.state));
    }
    let job = own_job(jobs, id, &request).await?;
    Ok(HttpResponse::Accepted().json(shown(jobs, &shared, job).await?))
}

/// Which jobs are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// The name of a key, or `*` for everybody's: for operators.
    caller: Option<String>,
    state: Option<String>,
    language: Option<String>,
    queue: Option<String>,
    since: Option<String>,
    before: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
    /// Whether to tell how many there are in each state, whatever else is wanted.
    counts: Option<bool>,
}

/// `GET /v1/jobs`
pub(crate) async fn list(
    request: HttpRequest,
    query: web::Query<Wanted>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let jobs = shared.jobs()?;
    let wanted = query.into_inner();
    let limit = wanted.limit.unwrap_or(PAGE);
    let time = |name: &str, text: Option<String>| match text.map(|it| it.parse::<Time>()) {
        None => Ok(None),
        Some(Ok(time)) => Ok(Some(Timestamp(time.as_millisecond()))),
        Some(Err(_)) => Err(ApiError::invalid(name, "must be a time such as 2027-01-31T08:00:00Z")),
    };
    let filter = Filter {
        caller: whose(wanted.caller.as_deref(), &request)?,
        state: match wanted.state.map(|it| it.parse::<State>()) {
            None => None,
            Some(Ok(state)) => Some(state),
            Some(Err(())) => return Err(ApiError::invalid("/state", states())),
        },
        language: wanted.language,
        queue: wanted.queue,
        since: time("/since", wanted.since)?,
        before: time("/before", wanted.before)?,
    };
    let from = match wanted.cursor.map(|it| it.parse::<i64>()) {
        None => None,
        Some(Ok(from)) => Some(from),
        Some(Err(_)) => return Err(ApiError::invalid("/cursor", "must be the `next` of a page")),
    };
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::invalid("/limit", format!("must be from 1 to {PAGE_MAX}")));
    }
    let counts = match wanted.counts {
        Some(true) => Some(jobs.store.counts(filter.caller.clone()).await?),
        _ => None,
    };
    let Page { jobs: found, next } = jobs.store.list(filter, from, limit).await?;
    let mut names = HashMap::new();
    let told = found.iter().map(|job| {
        let name = names.entry(job.caller.as_str());
        let name = name.or_insert_with(|| shared.keys.name_of(&job.caller));
        view::Listed { job, caller: name.clone() }
    });
    let told: Vec<view::Listed<'_>> = told.collect();
    let next = next.map(|it| it.to_string());
    Ok(HttpResponse::Ok().json(view::Listing { jobs: told, next, counts }))
}

/// Whose jobs are meant: one's own, unless an operator says otherwise. None is everybody's.
fn whose(wanted: Option<&str>, request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let own = caller(request);
    let named = match wanted {
        None => return Ok(Some(own)),
        Some("*") => None,
        Some(name) => Some(id_of_key(name)),
    };
    if named.as_ref() == Some(&own) || may_see_all(request) {
        return Ok(named);
    }
    Err(ApiError::Forbidden(&[Role::Admin]))
}

/// Whether it is an operator who asks.
fn may_see_all(request: &HttpRequest) -> bool {
    request.extensions().get::<Caller>().is_some_and(|it| it.may(Role::Admin))
}

/// Whose callbacks are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    /// The name of a key: for operators.
    caller: Option<String>,
}

/// `GET /v1/callbacks`
pub(crate) async fn callbacks(
    request: HttpRequest,
    query: web::Query<Whose>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let whose = whose(query.caller.as_deref(), &request)?;
    let caller = whose.ok_or(ApiError::invalid("/caller", "must be the name of a key here"))?;
    let open = shared.jobs()?.store.callbacks(caller, PAGE_MAX).await?;
    Ok(HttpResponse::Ok().json(json!({ "callbacks": open })))
}

/// What the store knows the caller as.
pub(crate) fn caller(request: &HttpRequest) -> String {
    request.extensions().get::<Caller>().and_then(Caller::id).unwrap_or_default()
}

/// How many jobs of the caller may wait, where that is not as for everybody.
pub(crate) fn waiting_max(request: &HttpRequest) -> Option<u64> {
    request.extensions().get::<Caller>().and_then(Caller::holder).and_then(|it| it.waiting)
}

/// A job of the caller's own, or anybody's for an operator. Others' are not there.
async fn own_job(jobs: &Jobs, id: JobId, request: &HttpRequest) -> Result<Job, ApiError> {
    let is_seen = |job: &Job| job.caller == caller(request) || may_see_all(request);
    jobs.store.job(id).await?.filter(is_seen).ok_or(ApiError::NoJob)
}

/// A job, and what is known of it.
async fn shown(jobs: &Jobs, shared: &Shared, job: Job) -> Result<Shown, ApiError> {
    let expected_start_ms = match job.position {
        Some(before) => {
            let (slots, ..) = capacity(shared, Some(&job.lane));
            view::expected_start_ms(&*jobs.stats().await?, &job.lane, before, slots)
        }
        None => None,
    };
    let caller = shared.keys.name_of(&job.caller);
    Ok(view::shown(&*jobs.store, job, view::Known { caller, expected_start_ms }).await?)
}

fn parse_id(text: &str) -> Result<JobId, ApiError> {
    text.parse().or(Err(ApiError::NoJob))
}

/// The key that a request brings for what it submits.
pub(crate) fn header_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if is_key(key) => Ok(Some(key.to_owned())),
        _ => Err(ApiError::invalid(
            "/idempotency-key",
            "the header must be 1 to 255 printable characters",
        )),
    }
}

fn states() -> String {
    let words: Vec<&str> = State::ALL.iter().map(|it| it.as_str()).collect();
    format!("must be one of {}", words.join(", "))
}
