//! `/v1/worker/…`: what workers ask for, and tell.

use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use futures::future::OptionFuture;
use protocol::Refusal;
use protocol::worker::{
    Beat, Beaten, Completed, Completions, Ended, Failures, GrantedJob, HeldLease, JobResult,
    LeaseState, Leave, PROTOCOL, Poll, Registered, Registration, Releases, ResultState, Work,
    WorkerState,
};
use queue::{
    Claim, Completion, Extended, Failed, Failure, Gone, Grant, JobId, Lease, Released, Waiter,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::admission::{AdmissionError, check_media_type};
use crate::auth::Caller;
use crate::body::{self, BodyBounds};
use crate::error::ApiError;
use crate::handlers::execute::content_type;
use crate::jobs::worker::{Worker, lease, leases};
use crate::jobs::{BEAT, GRANT, Jobs, LEASE, LOOK};
use crate::shared::Shared;

/// How long a poll may wait. Proxies cut off what is silent for a minute.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(50);
/// Jobs of one poll.
pub(crate) const JOBS_MAX: usize = 100;
/// Leases that one call tells of.
const LEASES_MAX: usize = 1000;
/// Largest body without results, in bytes.
pub(crate) const SMALL_BYTES_MAX: usize = 1 << 20;
/// How many bytes of results come in each second, at least: workers may be behind slow lines.
const RESULT_BYTES_PER_SECOND: usize = 256 << 10;
/// Longest text of a failure that is kept, in bytes.
const REASON_BYTES_MAX: usize = 200;
/// Whose workers those are that need no key.
const NOBODY: &str = "anonymous";

/// `POST /v1/worker/register`
pub(crate) async fn register(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let told: Registration = read(&request, payload, &shared, SMALL_BYTES_MAX).await?;
    let jobs = shared.jobs()?;
    let [oldest, newest] = told.protocol;
    if !(oldest..=newest).contains(&PROTOCOL) {
        return Err(ApiError::Protocol { oldest, newest });
    }
    let is_fresh = told.is_fresh;
    let (worker, is_known) = jobs.workers.register(&key(&request), told)?;
    if is_fresh && !is_known {
        // What it had before its start, and did not tell of, it died with.
        jobs.store.abandon(worker.id.clone(), Gone::Died).await?;
    }
    tracing::info!(worker.id = worker.id, "a worker registered");
    Ok(answer(&Registered {
        protocol: PROTOCOL,
        beat_ms: millis(BEAT),
        lease_ms: millis(LEASE),
        wait_ms: millis(WAIT_MAX),
        jobs_max: JOBS_MAX,
    }))
}

/// `POST /v1/worker/poll`
pub(crate) async fn poll(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let poll: Poll = read(&request, payload, &shared, SMALL_BYTES_MAX).await?;
    let jobs = shared.jobs()?;
    let worker = jobs.workers.find(&key(&request), &poll.worker, &poll.incarnation)?;
    bounded("/holding", poll.holding.len())?;
    let lost = worker.polls(&poll);
    if !lost.is_empty() {
        jobs.store.release(lost).await?;
    }
    let until = Instant::now() + Duration::from_millis(poll.wait_ms).min(WAIT_MAX);
    // Each job wakes one who waits: whoever could not take it would have it wait.
    let may_take = poll.free > 0 && poll.state == WorkerState::Active;
    let waiter = may_take.then(|| jobs.store.wakes().waiter(worker.lanes()));
    loop {
        let woken = worker.woken();
        let Some(news) = worker.news(&poll) else {
            return Ok(answer(&Work::default()));
        };
        let granted = match poll.state {
            WorkerState::Active => claim(&shared, jobs, &worker, &poll).await?,
            WorkerState::Draining => Vec::new(),
        };
        worker.offer(granted.iter().map(|it| it.lease));
        let left = until.saturating_duration_since(Instant::now());
        let is_news = news.is_due || !granted.is_empty();
        if is_news || left.is_zero() || shared.drain.is_draining() {
            let cancel = news.cancel.iter().map(ToString::to_string).collect();
            let jobs = granted_jobs(granted)?;
            return Ok(answer(&Work { jobs, cancel, action: news.action }));
        }
        tokio::select! {
            () = woken => {}
            Some(()) = OptionFuture::from(waiter.as_ref().map(Waiter::work)) => {}
            () = shared.drain.begun() => {}
            () = tokio::time::sleep(left.min(LOOK)) => {}
        }
    }
}

/// `POST /v1/worker/beat`
pub(crate) async fn beat(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let beat: Beat = read(&request, payload, &shared, SMALL_BYTES_MAX).await?;
    let jobs = shared.jobs()?;
    let worker = jobs.workers.find(&key(&request), &beat.worker, &beat.incarnation)?;
    bounded("/holding", beat.holding.len())?;
    let action = worker.beats(&beat);
    let held: Vec<Option<Lease>> = beat.holding.iter().map(lease).collect();
    let real: Vec<Lease> = held.iter().flatten().copied().collect();
    let extended = jobs.store.extend(real.clone(), LEASE).await?;
    // A beat may come behind the result of what it tells of.
    let lost = real.iter().zip(&extended).filter(|(_, it)| **it == Extended::Lost);
    worker.lets_go(&lost.map(|(it, _)| it.id).collect());
    let mut extended = extended.into_iter();
    let states = held.iter().map(|it| match it.and_then(|_| extended.next()) {
        Some(Extended::Held { cancel: false, .. }) => LeaseState::Held,
        Some(Extended::Held { cancel: true, .. }) => LeaseState::Cancel,
        Some(Extended::Lost) | None => LeaseState::Lost,
    });
    Ok(answer(&Beaten { leases: states.collect(), action }))
}

/// `POST /v1/worker/complete`
pub(crate) async fn complete(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let bounds = result_bounds(&request, &shared);
    let told: Completions = read_within(&request, payload, &shared, bounds).await?;
    bounded("/results", told.results.len())?;
    let jobs = shared.jobs()?;
    let mut results = vec![ResultState::Invalid; told.results.len()];
    let (places, completions): (Vec<usize>, Vec<Completion>) =
        told.results.iter().enumerate().filter_map(|(at, it)| Some((at, completion(it)?))).unzip();
    let ids: Vec<JobId> = completions.iter().map(|it| it.lease.id).collect();
    let done = jobs.store.complete(completions).await?;
    let over = ids.into_iter().zip(&done).filter(|(_, it)| **it != queue::Completed::Stale);
    jobs.workers.let_go(over.map(|(id, _)| id));
    for (place, done) in places.into_iter().zip(done) {
        if let Some(state) = results.get_mut(place) {
            *state = match done {
                queue::Completed::Recorded => ResultState::Recorded,
                queue::Completed::Duplicate { is_same: true } => ResultState::Duplicate,
                queue::Completed::Duplicate { is_same: false } => ResultState::Conflict,
                queue::Completed::Stale => ResultState::Stale,
                queue::Completed::Gone => ResultState::Gone,
            };
        }
    }
    let poll = told.poll.filter(|it| it.state == WorkerState::Active);
    // Results count whoever brings them. One that is nobody any more gets no jobs, and hears of it
    // when it polls.
    let asked = poll.and_then(|poll| {
        let found = jobs.workers.find(&key(&request), &poll.worker, &poll.incarnation);
        Some((found.ok()?, poll))
    });
    let work = match asked {
        Some((worker, poll)) => {
            let granted = claim(&shared, jobs, &worker, &poll).await?;
            Some(Work { jobs: granted_jobs(granted)?, ..Work::default() })
        }
        None => None,
    };
    Ok(answer(&Completed { results, work }))
}

/// `POST /v1/worker/fail`
pub(crate) async fn fail(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let told: Failures = read(&request, payload, &shared, SMALL_BYTES_MAX).await?;
    bounded("/failures", told.failures.len())?;
    let failures = told.failures.iter().filter_map(|it| {
        let reason = it.reason.chars().filter(|it| !it.is_control()).take(REASON_BYTES_MAX / 4);
        Some(Failure {
            lease: lease(&it.lease)?,
            reason: reason.collect(),
            is_retryable: it.is_retryable,
            may_have_run: it.may_have_run,
        })
    });
    let failures: Vec<Failure> = failures.collect();
    let ids: Vec<JobId> = failures.iter().map(|it| it.lease.id).collect();
    let jobs = shared.jobs()?;
    let done = jobs.store.fail(failures).await?;
    let ended: Vec<bool> = done.into_iter().map(|it| it != Failed::Stale).collect();
    Ok(ended_of(jobs, &ids, ended))
}

/// `POST /v1/worker/release`
pub(crate) async fn release(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let told: Releases = read(&request, payload, &shared, SMALL_BYTES_MAX).await?;
    bounded("/leases", told.leases.len())?;
    let leases = leases(&told.leases);
    let ids: Vec<JobId> = leases.iter().map(|it| it.id).collect();
    let jobs = shared.jobs()?;
    let done = jobs.store.release(leases).await?;
    let ended: Vec<bool> = done.into_iter().map(|it| it == Released::Released).collect();
    Ok(ended_of(jobs, &ids, ended))
}

/// Notes which of these jobs are nobody's any more, and tells it.
fn ended_of(jobs: &Jobs, ids: &[JobId], ended: Vec<bool>) -> HttpResponse {
    let over = ids.iter().zip(&ended).filter(|(_, ended)| **ended);
    jobs.workers.let_go(over.map(|(id, _)| *id));
    answer(&Ended { ended })
}

/// `POST /v1/worker/leave`
pub(crate) async fn leave(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let told: Leave = read(&request, payload, &shared, SMALL_BYTES_MAX).await?;
    let jobs = shared.jobs()?;
    let worker = jobs.workers.find(&key(&request), &told.worker, &told.incarnation)?;
    jobs.workers.remove(&worker);
    if let Some(board) = jobs.store.board() {
        board.forget(worker.id.clone()).await?;
    }
    // It has nothing; what was on its way to it is for others.
    jobs.store.abandon(worker.id.clone(), Gone::Cut).await?;
    tracing::info!(worker.id = worker.id, "a worker left");
    Ok(answer(&Ended::default()))
}

/// Claims as many jobs as a worker can start.
async fn claim(
    shared: &Shared,
    jobs: &Jobs,
    worker: &Worker,
    poll: &Poll,
) -> Result<Vec<Grant>, ApiError> {
    if poll.free == 0 || worker.is_to_drain() || shared.drain.is_draining() {
        return Ok(Vec::new());
    }
    let claim = Claim {
        worker: worker.id.clone(),
        poll: Some(poll.poll.clone()).filter(|it| !it.is_empty()),
        lanes: worker.lanes(),
        most: poll.free.min(JOBS_MAX),
        lease: GRANT,
        running_max: shared.settings.jobs_running_max,
        running_max_of: shared.running_max_of(),
    };
    Ok(jobs.store.claim(claim).await?)
}

/// What is told of jobs that were granted.
fn granted_jobs(granted: Vec<Grant>) -> Result<Vec<GrantedJob>, ApiError> {
    let told = granted.into_iter().map(|it| {
        let run = String::from_utf8(it.body).ok().and_then(|it| RawValue::from_string(it).ok());
        Ok(GrantedJob {
            id: it.lease.id.to_string(),
            token: it.lease.token.to_string(),
            language: it.lane.language().to_owned(),
            caller: it.caller,
            attempt: it.attempt,
            attempt_ms: millis(it.attempt_max),
            run: run.ok_or(ApiError::Internal)?,
        })
    });
    told.collect()
}

/// A result that is one: an executor's answer, under a lease.
fn completion(result: &JobResult) -> Option<Completion> {
    #[derive(serde::Deserialize)]
    struct Peek {
        #[serde(rename = "status")]
        _status: protocol::Status,
    }
    let held = HeldLease { id: result.id.clone(), token: result.token.clone() };
    let report = result.report.get();
    serde_json::from_str::<Peek>(report).ok()?;
    Some(Completion {
        lease: lease(&held)?,
        body: report.as_bytes().to_vec(),
        digest: Sha256::digest(report).into(),
        was_cancelled: false,
        run_time: Duration::from_millis(result.run_ms),
    })
}

/// Refuses more leases at a time than any worker has: a store does other things meanwhile.
fn bounded(pointer: &str, count: usize) -> Result<(), ApiError> {
    if count <= LEASES_MAX {
        return Ok(());
    }
    Err(ApiError::invalid(pointer, format!("may hold at most {LEASES_MAX}, not {count}")))
}

/// The name of the key that a worker comes with.
pub(crate) fn key(request: &HttpRequest) -> String {
    let extensions = request.extensions();
    let holder = extensions.get::<Caller>().and_then(Caller::holder);
    holder.map_or_else(|| NOBODY.to_owned(), |it| it.name.clone())
}

/// What results may be, and how long they may take by the size that they are said to have.
fn result_bounds(request: &HttpRequest, shared: &Shared) -> BodyBounds {
    let bytes_max = shared.settings.answer_mb << 20;
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
    let more = announced.unwrap_or_default().min(bytes_max) / RESULT_BYTES_PER_SECOND;
    let more = u32::try_from(more).map_or(0.0, f64::from);
    let seconds = shared.settings.body_seconds + more;
    BodyBounds { bytes_max, seconds }
}

/// The body of a request, once it is what it has to be.
pub(crate) async fn read<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared,
    bytes_max: usize,
) -> Result<T, ApiError> {
    let bounds = BodyBounds { bytes_max, seconds: shared.settings.body_seconds };
    read_within(request, payload, shared, bounds).await
}

async fn read_within<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared,
    bounds: BodyBounds,
) -> Result<T, ApiError> {
    check_media_type(content_type(request.headers()).as_deref())?;
    let body = body::read(request, payload, &shared.bodies, bounds).await?;
    serde_json::from_slice(&body.bytes).map_err(|error| {
        if error.is_data() {
            return ApiError::invalid("", error.to_string());
        }
        AdmissionError::from(Refusal::NotJson(error.to_string())).into()
    })
}

/// An answer that nobody may keep.
pub(crate) fn answer(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
