//! The queue service: `POST /tasks {eval_id, code, engine, priority}`, and workers that ask for the
//! next task and tell what came of it by its `eval_id` alone. So their leases are looked for in the
//! store, by the name of the key: whoever has none for an `eval_id` changes nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use queue::{Held, Lease};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::claims::{self, Granted, PassedOver, Terms, Wish};
use super::condition;
use super::owner::Owner;
use super::tasks::{self, Report, Task};
use crate::error::ApiError;
use crate::handlers::execute::body_bytes_max;
use crate::handlers::worker::{SMALL_BYTES_MAX, answer, key, read};
use crate::jobs::{Jobs, LOOK};
use crate::shared::Shared;

/// What tells its tasks from those of other queues.
const DIALECT: &str = "queue-service";
/// How long a task may wait, and its result is kept.
const AGE: Duration = Duration::from_hours(24);
/// The engine of a task that names none.
const ENGINE: &str = "docker";
/// Longest name of an engine, in bytes.
const ENGINE_BYTES_MAX: usize = 64;
/// Tasks that the workers of one key have at most.
const HELD_MAX: usize = 10_000;
/// Leases that are remembered at most.
const REMEMBERED_MAX: usize = 100_000;
/// The variables that tell a program, and its worker, which task it is.
const EVAL_ID: &str = "EVAL_ID";
const EVAL_ENGINE: &str = "EVAL_ENGINE";

/// What the service remembers: which lease each `eval_id` was that it gave. Leases are the store's;
/// this spares looking for them there, and knows those again whose results come twice.
#[derive(Debug, Default)]
pub(crate) struct QueueService {
    given: Mutex<HashMap<(String, String), Given>>,
    passed_over: PassedOver,
}

/// The lease of one task.
#[derive(Debug, Clone, Copy)]
struct Given {
    lease: Lease,
    since: Instant,
    until: Instant,
    /// Whether its worker has told what came of it. It may tell the same again.
    is_told: bool,
}

impl QueueService {
    /// Remembers who has a task now, unless there is too much to remember.
    fn remember(&self, key: &str, eval_id: &str, task: &Granted, now: Instant) {
        let mut given = self.lock();
        if given.len() >= REMEMBERED_MAX {
            given.retain(|_, it| it.until > now);
        }
        if given.len() < REMEMBERED_MAX {
            let lease = Given { lease: task.lease, since: now, until: task.until, is_told: false };
            given.insert((key.to_owned(), eval_id.to_owned()), lease);
        }
    }

    /// The lease that a key was given of a task.
    fn given(&self, key: &str, eval_id: &str) -> Option<Given> {
        self.lock().get(&(key.to_owned(), eval_id.to_owned())).copied()
    }

    /// Notes that a worker told what came of a lease.
    fn told(&self, key: &str, eval_id: &str, lease: Lease) {
        let whose = (key.to_owned(), eval_id.to_owned());
        if let Some(given) = self.lock().get_mut(&whose).filter(|it| it.lease == lease) {
            given.is_told = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the store knows the workers of a key as. No worker that registers has such a name.
fn worker(key: &str) -> String {
    format!("{key}:queue-service/")
}

/// What workers know a job as: its caller's name for it, or its own if it came in elsewhere.
fn eval_id(lease: Lease, caller: &str, env: Option<&String>) -> String {
    let named = env.filter(|it| tasks::id_of_name(DIALECT, caller, it) == lease.id);
    named.cloned().unwrap_or_else(|| lease.id.to_string())
}

/// Whether workers know the job of a lease as that.
fn is_called(held: &Held, eval_id: &str) -> bool {
    let id = held.lease.id;
    id == tasks::id_of_name(DIALECT, &held.caller, eval_id) || id.to_string() == eval_id
}

/// The lease of a task that a key's workers have by the store's word, wherever they got it.
async fn held(jobs: &Jobs, key: &str, eval_id: &str) -> Result<Held, ApiError> {
    let held = jobs.store.held(worker(key), HELD_MAX).await?;
    let mut called = held.into_iter().filter(|it| is_called(it, eval_id));
    match (called.next(), called.next()) {
        (Some(held), None) => Ok(held),
        _ => Err(ApiError::NoLease),
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
    let (service, _) = parts(&shared)?;
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
    let task = Task { dialect: DIALECT, name: Some(asked.eval_id.clone()), fields, own, age: AGE };
    tasks::submit(&shared, &Owner::of(&request), task).await?;
    service.passed_over.clear(&language);
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
    let wish = Wish { worker: worker(&key), language, most: 1, wait };
    let terms = Terms { passed_over: &service.passed_over, named: &[EVAL_ID, EVAL_ENGINE] };
    let granted = claims::claim(&shared, &wish, terms).await?;
    let Some(task) = granted.into_iter().next() else { return Ok(answer(&Value::Null)) };
    let eval_id = eval_id(task.lease, &task.caller, task.plain.env.get(EVAL_ID));
    let held = jobs.store.held(worker(&key), HELD_MAX).await?;
    let is_other = |it: &Held| it.lease.id != task.lease.id && is_called(it, &eval_id);
    if held.len() >= HELD_MAX || held.iter().any(is_other) {
        // It has another caller's of that name, or as many as it may. It is for others first.
        jobs.store.release(vec![task.lease]).await?;
        tokio::time::sleep(LOOK).await;
        return Ok(answer(&Value::Null));
    }
    service.remember(&key, &eval_id, &task, Instant::now());
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
    let report = Report::told(key.clone(), done.output);
    if let Some(Given { lease, since, .. }) = service.given(&key, &eval_id) {
        match tasks::complete(jobs, lease, &report, since.elapsed()).await {
            // It may have another one by now, from another gateway.
            Err(ApiError::NoLease) => {}
            told => {
                told?;
                service.told(&key, &eval_id, lease);
                return Ok(told_of(&eval_id, "completed"));
            }
        }
    }
    let Held { lease, age, .. } = held(jobs, &key, &eval_id).await?;
    tasks::complete(jobs, lease, &report, age).await?;
    Ok(told_of(&eval_id, "completed"))
}

fn told_of(eval_id: &str, status: &str) -> HttpResponse {
    answer(&json!({ "eval_id": eval_id, "status": status }))
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
    if let Some(Given { lease, .. }) = service.given(&key, &eval_id) {
        match tasks::fail(jobs, lease, &told.error).await {
            Err(ApiError::NoLease) => {}
            failed => {
                failed?;
                service.told(&key, &eval_id, lease);
                return Ok(told_of(&eval_id, "failed"));
            }
        }
    }
    let Held { lease, .. } = held(jobs, &key, &eval_id).await?;
    tasks::fail(jobs, lease, &told.error).await?;
    Ok(told_of(&eval_id, "failed"))
}

/// `GET /tasks/{eval_id}`
pub(crate) async fn one(
    request: HttpRequest,
    eval_id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (_, jobs) = parts(&shared)?;
    let job = tasks::find(jobs, &Owner::of(&request), DIALECT, &eval_id).await?;
    let report = tasks::report(jobs, &job).await?;
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
    let given = service.lock().values().filter(|it| !it.is_told && it.until > now).count();
    let numbers = condition::numbers(jobs).await?;
    let workers = condition::live(&shared) + given;
    Ok(HttpResponse::Ok().json(json!({
        "queued": numbers.waiting,
        "running": numbers.running,
        "failed": numbers.dead,
        "held": given,
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
            caller: "a".to_owned(),
            language: "alpha".to_owned(),
            attempt: 1,
            until,
            plain: serde_json::from_value(plain).unwrap(),
        }
    }

    #[test]
    fn what_was_given_is_known_again_by_its_worker_and_name() {
        let service = QueueService::default();
        let now = Instant::now();
        let (one, other) = (granted(now + AGE), granted(now + AGE));
        service.remember("k", "e", &one, now);
        service.remember("l", "e", &other, now);
        assert_eq!(service.given("k", "e").unwrap().lease, one.lease);
        assert_eq!(service.given("l", "e").unwrap().lease, other.lease);
        assert!(service.given("m", "e").is_none());
        service.told("k", "e", other.lease);
        assert!(!service.given("k", "e").unwrap().is_told, "that is another's");
        service.told("k", "e", one.lease);
        assert!(service.given("k", "e").unwrap().is_told, "and it may tell the same again");
    }

    #[test]
    fn a_job_is_called_by_its_caller_s_name_for_it_only_if_that_is_one() {
        let lease = granted(Instant::now()).lease;
        let (id, name) = (tasks::id_of_name(DIALECT, "a", "e"), "e".to_owned());
        let of = |id, caller: &str| Held {
            lease: Lease { id, ..lease },
            caller: caller.to_owned(),
            age: Duration::ZERO,
        };
        assert_eq!(eval_id(of(id, "a").lease, "a", Some(&name)), "e");
        let others = lease.id.to_string();
        assert_eq!(eval_id(lease, "a", Some(&name)), others, "somebody set the variable");
        assert_eq!(eval_id(lease, "a", None), others);
        assert!(is_called(&of(id, "a"), "e") && !is_called(&of(id, "b"), "e"));
        assert!(is_called(&of(lease.id, "a"), &others) && !is_called(&of(lease.id, "a"), "e"));
    }
}
