//! The queue service: `POST /tasks {eval_id, code, engine, priority}`, and workers that ask for the
//! next task and tell what came of it by its `eval_id` alone. So the leases of such workers are kept
//! here: whoever has none for an `eval_id` changes nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use queue::Lease;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::condition;
use super::tasks::{self, Granted, Report, Task, Wish};
use crate::error::ApiError;
use crate::handlers::execute::body_bytes_max;
use crate::handlers::worker::{SMALL_BYTES_MAX, answer, key, read};
use crate::jobs::{Jobs, LOOK};
use crate::shared::Shared;

/// How long a task may wait, and its result is kept.
const AGE: Duration = Duration::from_hours(24);
/// The engine of a task that names none.
const ENGINE: &str = "docker";
/// Longest name of an engine, in bytes.
const ENGINE_BYTES_MAX: usize = 64;
/// Leases that are kept at most.
const HELD_MAX: usize = 100_000;
/// The variables that tell a program, and its worker, which task it is.
const EVAL_ID: &str = "EVAL_ID";
const EVAL_ENGINE: &str = "EVAL_ENGINE";

/// What the service keeps track of: whose lease each `eval_id` is.
#[derive(Debug, Default)]
pub(crate) struct QueueService(Mutex<HashMap<(String, String), Held>>);

/// The lease of one task.
#[derive(Debug, Clone, Copy)]
struct Held {
    lease: Lease,
    since: Instant,
    until: Instant,
    /// Whether its worker has told what came of it. It may tell the same again.
    is_told: bool,
}

impl QueueService {
    /// Notes who has a task now. False if its worker has another caller's of that name, or nobody
    /// can have more.
    fn hold(&self, key: &str, eval_id: &str, task: &Granted, now: Instant) -> bool {
        let mut held = self.lock();
        if held.len() >= HELD_MAX {
            held.retain(|_, it| it.until > now);
        }
        let whose = (key.to_owned(), eval_id.to_owned());
        let is_others = |it: &Held| !it.is_told && it.until > now && it.lease.id != task.lease.id;
        if held.len() >= HELD_MAX || held.get(&whose).is_some_and(is_others) {
            return false;
        }
        let lease = Held { lease: task.lease, since: now, until: task.until, is_told: false };
        held.insert(whose, lease);
        true
    }

    /// The lease that a key has of a task.
    fn held(&self, key: &str, eval_id: &str) -> Result<Held, ApiError> {
        let whose = (key.to_owned(), eval_id.to_owned());
        self.lock().get(&whose).copied().ok_or(ApiError::NoLease)
    }

    /// Notes that a worker told what came of a lease.
    fn told(&self, key: &str, eval_id: &str, lease: Lease) {
        let whose = (key.to_owned(), eval_id.to_owned());
        if let Some(held) = self.lock().get_mut(&whose).filter(|it| it.lease == lease) {
            held.is_told = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task as it is submitted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    eval_id: String,
    code: Value,
    engine: Option<String>,
    priority: Option<Value>,
}

/// `POST /tasks`
pub(crate) async fn submit(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    parts(&shared)?;
    let snapshot = shared.snapshot_for_jobs();
    let asked: Asked = read(&request, payload, &shared, body_bytes_max(&snapshot)).await?;
    tasks::check_name("/eval_id", &asked.eval_id)?;
    let engine = asked.engine.unwrap_or_else(|| ENGINE.to_owned());
    check_engine(&engine)?;
    let own = tasks::own(shared.settings.queue_service_language.as_ref());
    let language = tasks::known(&snapshot, &engine).unwrap_or_else(|| own.clone());
    let mut fields = Map::new();
    fields.insert("code".to_owned(), asked.code);
    fields.insert("language".to_owned(), json!(language));
    // Neither a job nor a lease has a place for these, and what is run has to be told whole.
    fields.insert("env".to_owned(), json!({EVAL_ID: asked.eval_id, EVAL_ENGINE: engine}));
    fields.extend(asked.priority.map(|it| ("priority".to_owned(), it)));
    let task = Task { name: Some(asked.eval_id.clone()), fields, own, age: AGE };
    tasks::submit(&shared, &request, task).await?;
    Ok(HttpResponse::Ok().json(json!({ "eval_id": asked.eval_id, "status": "queued" })))
}

fn check_engine(engine: &str) -> Result<(), ApiError> {
    if (1..=ENGINE_BYTES_MAX).contains(&engine.len()) && !engine.contains(char::is_control) {
        return Ok(());
    }
    let problem = format!("must be 1 to {ENGINE_BYTES_MAX} bytes of printable text");
    Err(ApiError::invalid("/engine", problem))
}

/// What a worker may say of the task that it wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Next {
    engine: Option<String>,
    wait: Option<f64>,
}

/// `GET /tasks/next`
pub(crate) async fn next(
    request: HttpRequest,
    query: web::Query<Next>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (service, jobs) = parts(&shared)?;
    let wait = Wish::wait(query.wait)?;
    let language = match &query.engine {
        None => tasks::own(shared.settings.queue_service_language.as_ref()),
        Some(engine) => {
            check_engine(engine)?;
            tasks::known(&shared.snapshot_for_jobs(), engine).unwrap_or_else(|| engine.clone())
        }
    };
    let key = key(&request);
    let wish = Wish { worker: format!("{key}:queue-service/"), language, most: 1, wait };
    let granted = tasks::claim(&shared, &wish, &[EVAL_ID, EVAL_ENGINE]).await?;
    let Some(task) = granted.into_iter().next() else { return Ok(answer(&Value::Null)) };
    let eval_id = task.plain.env.get(EVAL_ID).cloned();
    let eval_id = eval_id.unwrap_or_else(|| task.lease.id.to_string());
    if !service.hold(&key, &eval_id, &task, Instant::now()) {
        jobs.store.release(vec![task.lease]).await?;
        // It is for others first.
        tokio::time::sleep(LOOK).await;
        return Ok(answer(&Value::Null));
    }
    let engine = task.plain.env.get(EVAL_ENGINE).unwrap_or(&task.language);
    Ok(answer(&json!({
        "eval_id": eval_id,
        "code": task.plain.code,
        "engine": engine,
        "timeout": task.plain.timeout,
        "attempt": task.attempt,
    })))
}

/// What a worker tells of a task that it ran.
#[derive(Debug, Deserialize)]
struct Done {
    output: Value,
}

/// `POST /tasks/{eval_id}/complete`
pub(crate) async fn complete(
    request: HttpRequest,
    eval_id: web::Path<String>,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (service, jobs) = parts(&shared)?;
    let bytes_max = shared.settings.answer_mb << 20;
    let done: Done = read(&request, payload, &shared, bytes_max).await?;
    let key = key(&request);
    let held = service.held(&key, &eval_id)?;
    let report = Report::told(key.clone(), done.output);
    tasks::complete(jobs, held.lease, &report, held.since.elapsed()).await?;
    service.told(&key, &eval_id, held.lease);
    Ok(answer(&json!({ "eval_id": *eval_id, "status": "completed" })))
}

/// What a worker tells of a task that it could not run.
#[derive(Debug, Deserialize)]
struct NotDone {
    error: String,
}

/// `POST /tasks/{eval_id}/fail`
pub(crate) async fn fail(
    request: HttpRequest,
    eval_id: web::Path<String>,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (service, jobs) = parts(&shared)?;
    let told: NotDone = read(&request, payload, &shared, SMALL_BYTES_MAX).await?;
    let key = key(&request);
    let held = service.held(&key, &eval_id)?;
    tasks::fail(jobs, held.lease, &told.error).await?;
    service.told(&key, &eval_id, held.lease);
    Ok(answer(&json!({ "eval_id": *eval_id, "status": "failed" })))
}

/// `GET /tasks/{eval_id}`
pub(crate) async fn one(
    request: HttpRequest,
    eval_id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    parts(&shared)?;
    let (job, report) = tasks::find(&shared, &request, &eval_id).await?;
    let error = report.as_ref().map(|it| it.error.clone()).or_else(|| tasks::why(&job));
    let result = report.as_ref().map(|it| it.status);
    let output = report.map(|it| it.answer.unwrap_or(Value::String(it.output)));
    Ok(HttpResponse::Ok().json(json!({
        "eval_id": *eval_id,
        "status": tasks::status(job.state),
        "output": output,
        "error": error.filter(|it| !it.is_empty()),
        "result": result,
        "priority": job.priority,
        "attempts": job.attempt,
        "job_id": job.id,
    })))
}

/// `GET /status`
pub(crate) async fn status(shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let (service, jobs) = parts(&shared)?;
    let now = Instant::now();
    let held = service.lock().values().filter(|it| !it.is_told && it.until > now).count();
    let numbers = condition::numbers(jobs).await?;
    let workers = condition::live(&shared) + held;
    Ok(HttpResponse::Ok().json(json!({
        "queued": numbers.waiting,
        "running": numbers.running,
        "failed": numbers.dead,
        "held": held,
        "avg_execution_time": numbers.average_seconds,
        "health": condition::health_word(condition::health(jobs, numbers.waiting, workers)),
    })))
}

/// `GET /health`
pub(crate) async fn health(shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let (_, jobs) = parts(&shared)?;
    Ok(condition::health_answer(jobs))
}

fn parts(shared: &Shared) -> Result<(&QueueService, &Jobs), ApiError> {
    let service =
        shared.queue_service.as_ref().ok_or(ApiError::NotServed("GATEWAY_QUEUE_SERVICE"))?;
    Ok((service, shared.jobs()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(until: Instant) -> Granted {
        let token = "0a".repeat(16).parse().unwrap();
        let plain = json!({ "language": "alpha", "code": "1" });
        Granted {
            lease: Lease { id: queue::JobId::random(), token },
            language: "alpha".to_owned(),
            attempt: 1,
            until,
            plain: serde_json::from_value(plain).unwrap(),
        }
    }

    #[test]
    fn a_lease_is_its_worker_s_alone_and_one_of_each_name() {
        let service = QueueService::default();
        let now = Instant::now();
        let (one, other) = (granted(now + AGE), granted(now + AGE));
        assert!(service.hold("k", "e", &one, now));
        assert!(!service.hold("k", "e", &other, now), "that of another caller");
        assert!(service.hold("l", "e", &other, now));
        assert_eq!(service.held("k", "e").unwrap().lease, one.lease);
        assert!(service.held("m", "e").is_err());
        service.told("k", "e", one.lease);
        assert!(service.held("k", "e").is_ok(), "it may tell the same again");
        assert!(service.hold("k", "e", &other, now));
        assert!(service.hold("k", "e", &one, now + 2 * AGE), "the lease before has ended");
    }
}
