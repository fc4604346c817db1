//! The message queue: front-ends leave tasks and ask for results, and virtual machines that can only
//! call out poll for several tasks at a time and bring results. The `task_id` that such a machine gets
//! is its lease: it need not bring anything else back, and nobody without it can. Over a socket both
//! do the same without polling.

mod acts;
mod hand;
mod messages;
mod results;
pub(crate) mod socket;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use protocol::Status;
use queue::{Job, JobId, Lease};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::claims::{self, Granted, PassedOver, Wish};
use super::condition;
use super::owner::Owner;
use super::tasks::{self, Report, Task};
use crate::error::ApiError;
use crate::handlers::execute::body_bytes_max;
use crate::handlers::worker::{JOBS_MAX, SMALL_BYTES_MAX, answer, key, read};
use crate::jobs::Jobs;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::socket::Sockets;

/// What tells its tasks from those of other queues.
const DIALECT: &str = "message-queue";
/// Machines that are remembered at most.
const VMS_MAX: usize = 1000;
/// What a machine says of itself at most, in bytes.
const INFO_BYTES_MAX: usize = 4096;
/// Who has not been heard of for so long is not counted on.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Who has not been heard of for so long is forgotten.
const FORGET: Duration = Duration::from_mins(10);
/// Longest name of a language, in bytes.
const LANGUAGE_BYTES_MAX: usize = 128;
/// Tasks of one poll, unless it asks for more or fewer.
const TASKS: usize = 10;

/// What the queue keeps track of: the machines that it has heard of, and open sockets.
#[derive(Debug, Default)]
pub(crate) struct MessageQueue {
    vms: Mutex<HashMap<String, Vm>>,
    sockets: Sockets,
    passed_over: PassedOver,
}

/// One of them.
#[derive(Debug, Clone)]
struct Vm {
    heard: Instant,
    heard_at: Timestamp,
    info: Map<String, Value>,
}

/// A machine as operators see it.
#[derive(Debug, Serialize)]
struct VmView {
    id: String,
    is_live: bool,
    /// RFC 3339.
    heard_at: String,
    /// As the machine said it.
    info: Map<String, Value>,
}

/// What a machine says of itself, beside what it is about.
#[derive(Debug, Default, Deserialize)]
struct Sender {
    vm_id: Option<String>,
    vm_info: Option<Map<String, Value>>,
    system_metrics: Option<Map<String, Value>>,
}

impl MessageQueue {
    /// What machines may have: programs without variables.
    fn terms(&self) -> claims::Terms<'_> {
        claims::Terms { passed_over: &self.passed_over, named: &[] }
    }

    /// Notes that a machine of a key is there, and says what the store knows it as.
    fn hear(&self, key: &str, sender: Sender, now: Instant) -> Result<String, ApiError> {
        let name = sender.vm_id.unwrap_or_default();
        if !name.is_empty() {
            tasks::check_name("/vm_id", &name)?;
        }
        let mut news = sender.vm_info.unwrap_or_default();
        news.extend(sender.system_metrics.map(|it| ("system_metrics".to_owned(), it.into())));
        if Value::Object(news.clone()).to_string().len() > INFO_BYTES_MAX {
            let problem = format!("may hold at most {INFO_BYTES_MAX} bytes");
            return Err(ApiError::invalid("/vm_info", problem));
        }
        // No worker that registers has such a name.
        let id = format!("{key}:vm/{name}");
        let mut vms = self.lock();
        vms.retain(|_, it| now.saturating_duration_since(it.heard) < FORGET);
        if vms.len() >= VMS_MAX && !vms.contains_key(&id) {
            return Err(ApiError::TooManyWorkers(VMS_MAX));
        }
        let before = vms.remove(&id).map(|it| it.info).unwrap_or_default();
        let info = if news.is_empty() { before } else { news };
        vms.insert(id.clone(), Vm { heard: now, heard_at: Timestamp::now(), info });
        Ok(id)
    }

    /// How many machines were heard of lately.
    fn live(&self) -> usize {
        self.lock().values().filter(|it| it.is_live()).count()
    }

    fn views(&self) -> Vec<VmView> {
        let vms = self.lock();
        let views = vms.iter().map(|(id, vm)| VmView {
            id: id.clone(),
            is_live: vm.is_live(),
            heard_at: vm.heard_at.to_string(),
            info: vm.info.clone(),
        });
        let mut views: Vec<VmView> = views.collect();
        views.sort_by(|one, other| one.id.cmp(&other.id));
        views
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vm>> {
        self.vms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vm {
    fn is_live(&self) -> bool {
        self.heard.elapsed() < SILENCE_MAX
    }
}

/// A task as it is submitted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The front-end's own name for it, so that it can be sent again without harm.
    task_id: Option<String>,
    code: Value,
    language: Option<String>,
    timeout: Option<Value>,
    priority: Option<Value>,
}

impl Asked {
    /// The task that it is.
    fn task(self, settings: &Settings) -> Result<Task, ApiError> {
        if let Some(name) = &self.task_id {
            tasks::check_name("/task_id", name)?;
        }
        let own = tasks::own(settings.message_queue_language.as_ref());
        let mut fields = Map::new();
        fields.insert("code".to_owned(), self.code);
        fields.insert("language".to_owned(), json!(self.language.as_ref().unwrap_or(&own)));
        fields.extend(self.timeout.map(|it| ("timeout".to_owned(), it)));
        fields.extend(self.priority.map(|it| ("priority".to_owned(), it)));
        let age = Duration::from_hours(settings.message_queue_task_age_hours);
        Ok(Task { dialect: DIALECT, name: self.task_id, fields, own, age })
    }
}

/// Keeps a task: the job that it is, and what its owner calls it.
async fn leave(shared: &Shared, owner: &Owner, asked: Asked) -> Result<(JobId, String), ApiError> {
    let (queue, _) = parts(shared)?;
    let language = language(shared, asked.language.clone())?;
    let task = asked.task(&shared.settings)?;
    let name = task.name.clone();
    let id = tasks::submit(shared, owner, task).await?;
    queue.passed_over.clear(&language);
    Ok((id, name.unwrap_or_else(|| id.to_string())))
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
    let (_, task_id) = leave(&shared, &Owner::of(&request), asked).await?;
    Ok(HttpResponse::Ok().json(json!({ "task_id": task_id, "status": "queued" })))
}

/// What a machine wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    vm_id: Option<String>,
    language: Option<String>,
    limit: Option<usize>,
    wait: Option<f64>,
}

/// `GET /tasks`
pub(crate) async fn poll(
    request: HttpRequest,
    query: web::Query<Wanted>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (queue, _) = parts(&shared)?;
    let wanted = query.into_inner();
    let most = wanted.limit.unwrap_or(TASKS);
    if !(1..=JOBS_MAX).contains(&most) {
        return Err(ApiError::invalid("/limit", format!("must be from 1 to {JOBS_MAX}")));
    }
    let wait = Wish::wait(wanted.wait)?;
    let sender = Sender { vm_id: wanted.vm_id, ..Sender::default() };
    let worker = queue.hear(&key(&request), sender, Instant::now())?;
    let language = language(&shared, wanted.language)?;
    let wish = Wish { worker, language, most, wait };
    let granted = claims::claim(&shared, &wish, queue.terms()).await?;
    Ok(answer(&json!({ "tasks": granted.iter().map(told).collect::<Vec<Value>>() })))
}

/// The language that a machine runs, by the word for it.
fn language(shared: &Shared, word: Option<String>) -> Result<String, ApiError> {
    let Some(word) = word else {
        return Ok(tasks::own(shared.settings.message_queue_language.as_ref()));
    };
    if word.len() > LANGUAGE_BYTES_MAX || word.contains(char::is_control) {
        return Err(ApiError::invalid("/language", "must be the name of a language"));
    }
    Ok(tasks::known(&shared.snapshot_for_jobs(), &word).unwrap_or(word))
}

/// A task as a machine is told of it.
fn told(task: &Granted) -> Value {
    json!({
        "task_id": receipt(task.lease),
        "code": task.plain.code,
        "language": task.language,
        "timeout": task.plain.timeout,
        "attempt": task.attempt,
    })
}

/// What a machine knows a task as.
fn receipt(lease: Lease) -> String {
    format!("{}.{}", lease.id, lease.token)
}

/// The lease that it is.
fn lease(receipt: &str) -> Result<Lease, ApiError> {
    let parse = || {
        let (id, token) = receipt.split_once('.')?;
        Some(Lease { id: id.parse().ok()?, token: token.parse().ok()? })
    };
    parse()
        .ok_or_else(|| ApiError::invalid("/task_id", "must be the `task_id` that you were given"))
}

/// What a machine tells of a task. What else it says is passed over.
#[derive(Debug, Deserialize)]
struct Told {
    task_id: String,
    success: Option<bool>,
    #[serde(default)]
    output: Value,
    error: Option<String>,
    exit_code: Option<i32>,
    execution_time: Option<f64>,
    #[serde(flatten)]
    sender: Sender,
}

impl Told {
    fn report(self, worker: String) -> Report {
        // Who says neither tells by the error whether there is one.
        let error = self.error.unwrap_or_default();
        let has_code = self.exit_code.map(|it| it == 0);
        let is_success = self.success.or(has_code).unwrap_or(error.is_empty());
        Report {
            status: if is_success { Status::Success } else { Status::RuntimeError },
            error,
            exit_code: self.exit_code,
            execution_time: self.execution_time.filter(|it| *it >= 0.0).unwrap_or_default(),
            ..Report::told(worker, self.output)
        }
    }
}

/// `POST /results`
pub(crate) async fn tell(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (queue, jobs) = parts(&shared)?;
    let bytes_max = shared.settings.answer_mb << 20;
    let told: Told = read(&request, payload, &shared, bytes_max).await?;
    record(queue, jobs, &key(&request), told).await?;
    Ok(answer(&json!({ "status": "recorded" })))
}

/// Records what a machine of a key tells.
async fn record(
    queue: &MessageQueue,
    jobs: &Jobs,
    key: &str,
    mut told: Told,
) -> Result<(), ApiError> {
    let lease = lease(&told.task_id)?;
    let sender = std::mem::take(&mut told.sender);
    let worker = queue.hear(key, sender, Instant::now())?;
    let report = told.report(worker);
    let took = Duration::try_from_secs_f64(report.execution_time).unwrap_or_default();
    tasks::complete(jobs, lease, &report, took).await
}

/// `GET /results/{id}`
pub(crate) async fn result(
    request: HttpRequest,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (_, jobs) = parts(&shared)?;
    let job = tasks::find(jobs, &Owner::of(&request), DIALECT, &id).await?;
    if !job.state.is_final() {
        return Err(ApiError::NoResult);
    }
    Ok(HttpResponse::Ok().json(outcome(jobs, &job, &id).await?))
}

/// What came of a task that is over.
async fn outcome(jobs: &Jobs, job: &Job, name: &str) -> Result<Value, ApiError> {
    let report = tasks::report(jobs, job).await?;
    let is_success = report.as_ref().is_some_and(|it| it.status.is_pass());
    let error = report.as_ref().map(|it| it.error.clone()).or_else(|| tasks::why(job));
    Ok(json!({
        "task_id": name,
        "status": tasks::status(job.state),
        "success": is_success,
        "output": report.as_ref().map_or("", |it| &it.output),
        "error": error.unwrap_or_default(),
        "result": report.as_ref().map(|it| it.status),
        "exit_code": report.as_ref().and_then(|it| it.exit_code),
        "execution_time": report.as_ref().map(|it| it.execution_time),
    }))
}

/// `POST /heartbeat`
pub(crate) async fn beat(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (queue, _) = parts(&shared)?;
    let sender: Sender = read(&request, payload, &shared, SMALL_BYTES_MAX).await?;
    queue.hear(&key(&request), sender, Instant::now())?;
    Ok(answer(&json!({ "status": "ok" })))
}

/// `GET /vms`
pub(crate) async fn vms(shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let (queue, _) = parts(&shared)?;
    Ok(HttpResponse::Ok().json(json!({ "vms": queue.views() })))
}

/// `GET /status`
pub(crate) async fn status(shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let (queue, jobs) = parts(&shared)?;
    let numbers = condition::numbers(jobs).await?;
    let active = queue.live() + jobs.workers.live();
    let health = condition::health(jobs, numbers.waiting, active + condition::live(&shared));
    Ok(HttpResponse::Ok().json(json!({
        "pending_tasks": numbers.waiting,
        "active_vms": active,
        "avg_execution_time": numbers.average_seconds,
        "queue_health": condition::health_word(health),
    })))
}

/// `GET /health`
pub(crate) async fn health(shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let (_, jobs) = parts(&shared)?;
    Ok(condition::health_answer(jobs))
}

fn parts(shared: &Shared) -> Result<(&MessageQueue, &Jobs), ApiError> {
    let queue = shared.message_queue.as_ref();
    let queue = queue.ok_or(ApiError::NotServed("GATEWAY_MESSAGE_QUEUE"))?;
    Ok((queue, shared.jobs()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(name: &str, info: &Value) -> Sender {
        serde_json::from_value(json!({ "vm_id": name, "vm_info": info })).unwrap()
    }

    #[test]
    fn machines_are_bounded_and_forgotten() {
        let queue = MessageQueue::default();
        let now = Instant::now();
        assert_eq!(queue.hear("k", sender("a", &json!({"cpu": 1})), now).unwrap(), "k:vm/a");
        queue.hear("k", sender("a", &json!({})), now).unwrap();
        assert_eq!(queue.views()[0].info["cpu"], 1, "what was said stays");
        assert!(queue.hear("k", sender("a b", &json!({})), now).is_err());
        assert!(queue.hear("k", sender("a", &json!({"x": "y".repeat(5000)})), now).is_err());
        for number in 1..VMS_MAX {
            queue.hear("k", sender(&number.to_string(), &json!({})), now).unwrap();
        }
        assert!(queue.hear("k", sender("b", &json!({})), now).is_err());
        assert!(queue.hear("k", sender("b", &json!({})), now + FORGET).is_ok());
        assert_eq!(queue.views().len(), 1);
    }

    #[test]
    fn a_machine_tells_in_one_way_or_another_whether_a_program_failed() {
        for (told, status) in [
            (json!({}), Status::Success),
            (json!({"error": "boom"}), Status::RuntimeError),
            (json!({"error": "a warning", "exit_code": 0}), Status::Success),
            (json!({"exit_code": 3}), Status::RuntimeError),
            (json!({"success": false}), Status::RuntimeError),
        ] {
            let mut told = told;
            told["task_id"] = json!("x");
            let told: Told = serde_json::from_value(told).unwrap();
            assert_eq!(told.report("w".to_owned()).status, status);
        }
    }

    #[test]
    fn a_receipt_is_a_lease() {
        let id = "7f000001-0000-7000-8000-000000000000";
        let text = format!("{id}.{}", "0a".repeat(16));
        assert_eq!(receipt(lease(&text).unwrap()), text);
        for wrong in [id, "", ".", &format!("{id}.{}", "0".repeat(31))] {
            assert!(lease(wrong).is_err(), "{wrong}");
        }
    }
}
