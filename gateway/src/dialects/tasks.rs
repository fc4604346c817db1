//! What the queues of others have in common: a task is a job of its caller, and what a worker tells of
//! it is kept in the shape of a report. A stale lease changes nothing here, either.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use protocol::Status;
use queue::{Completed, Completion, Failed, Failure, Job, JobId, Lease, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::owner::Owner;
use crate::error::ApiError;
use crate::jobs::{Jobs, Terms, id_of, take_in};
use crate::routing::{self, Snapshot};
use crate::settings::seconds;
use crate::shared::Shared;

/// The language of tasks that name none, where settings do not, either: only workers of these queues
/// take them.
const UNTOLD: &str = "unspecified";
/// Longest name that a caller gives a task, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Longest text of a failure that is kept, in characters.
const REASON_CHARS_MAX: usize = 2000;
/// Leases end with their attempts, and no attempt is longer.
pub(super) const ATTEMPT_MAX: Duration = Duration::from_mins(20);
/// A store knows a key for a day; beyond this, a job is not looked for by its key any more.
const KEY_KNOWN: Duration = Duration::from_hours(23);

/// A program to be run, as both queues take it.
#[derive(Debug)]
pub(super) struct Task {
    /// The queue that it is left in.
    pub(super) dialect: &'static str,
    /// What its caller calls it. The same name in the same queue is the same task.
    pub(super) name: Option<String>,
    /// `code`, `language`, `timeout`, `priority` and `env`, each to be checked as in a job.
    pub(super) fields: Map<String, Value>,
    /// The language that is taken here though nobody of the fleet runs it.
    pub(super) own: String,
    /// How long it may wait, and its result is kept.
    pub(super) age: Duration,
}

/// The language that a dialect's tasks have if they name none.
pub(super) fn own(language: Option<&String>) -> String {
    language.cloned().unwrap_or_else(|| UNTOLD.to_owned())
}

/// The language of the fleet that a word names, if it is one.
pub(super) fn known(snapshot: &Snapshot, word: &str) -> Option<String> {
    let info = routing::known_info(snapshot, word)?;
    routing::find(&info, word).map(|it| it.id.clone())
}

/// Refuses what cannot be the name of a task.
pub(super) fn check_name(pointer: &str, name: &str) -> Result<(), ApiError> {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.' | ':');
    // `next` is a path of its own.
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(is_plain) && name != "next" {
        return Ok(());
    }
    let problem = "must be 1 to 128 letters, digits, `-`, `_`, `.` and `:`, and not `next`";
    Err(ApiError::invalid(pointer, problem))
}

/// The job that a caller's name for it stands for in a queue. It is the same after a restart.
pub(super) fn id_of_name(dialect: &str, caller: &str, name: &str) -> JobId {
    let digest = Sha256::new().chain_update("flotilla task\0").chain_update(dialect);
    let digest = digest.chain_update("\0").chain_update(caller).chain_update("\0");
    let digest: [u8; 32] = digest.chain_update(name).finalize().into();
    let (half, _) = digest.split_at(16);
    JobId::of_digest(half.try_into().unwrap_or_default())
}

/// Keeps a task as a job of its owner.
pub(super) async fn submit(shared: &Shared, owner: &Owner, task: Task) -> Result<JobId, ApiError> {
    let jobs = shared.jobs()?;
    let Task { dialect, name, mut fields, own, age } = task;
    let terms = Terms {
        caller: owner.caller.clone(),
        waiting_max: owner.waiting_max,
        snapshot: shared.snapshot_for_jobs(),
        allowance: seconds(shared.settings.allowance_seconds),
        queues: BTreeSet::new(),
        has_callbacks: false,
        foreign: Some(own),
    };
    let id = name.as_ref().map(|it| id_of_name(dialect, &terms.caller, it));
    if let Some(id) = id
        && let Some(job) = jobs.store.job(id).await?
        && age_of(&job) > KEY_KNOWN
    {
        return Ok(id);
    }
    if let Some(name) = &name {
        fields.insert("idempotencyKey".to_owned(), json!(format!("task:{dialect}:{name}")));
    }
    fields.insert("startWithin".to_owned(), json!(age.as_secs()));
    fields.insert("ttl".to_owned(), json!(age.as_secs()));
    let (mut new, _) = take_in(Value::Object(fields).to_string().as_bytes(), None, &terms)?;
    for job in &mut new {
        job.id = id.unwrap_or(job.id);
    }
    let enqueued = jobs.store.enqueue(new).await?.into_iter().next();
    enqueued.map_or(Err(ApiError::Internal), id_of)
}

fn age_of(job: &Job) -> Duration {
    let age = Timestamp::now().as_millisecond().saturating_sub(job.created_at.0);
    Duration::from_millis(u64::try_from(age).unwrap_or_default())
}

/// What was told of a run, by an executor or by a worker of these queues.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) status: Status,
    pub(super) output: String,
    pub(super) error: String,
    #[serde(default)]
    pub(super) execution_time: f64,
    #[serde(default)]
    pub(super) exit_code: Option<i32>,
    /// What a worker told that is no text, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Value>,
    /// Whoever told it is no executor of the fleet: nothing is known of how it ran the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) worker: Option<String>,
}

impl Report {
    /// What `worker` tells of a program that it ran.
    pub(super) fn told(worker: String, output: Value) -> Self {
        let (output, answer) = match output {
            Value::String(text) => (text, None),
            Value::Null => (String::new(), None),
            other => (other.to_string(), Some(other)),
        };
        Self {
            status: Status::Success,
            output,
            error: String::new(),
            execution_time: 0.0,
            exit_code: None,
            answer,
            worker: Some(worker),
        }
    }
}

/// An owner's own task in a queue, by its name or that of its job.
pub(super) async fn find(
    jobs: &Jobs,
    owner: &Owner,
    dialect: &str,
    name: &str,
) -> Result<Job, ApiError> {
    let id = id_of_name(dialect, &owner.caller, name);
    match (owner.job(jobs, id).await, name.parse()) {
        (Err(ApiError::NoJob), Ok(id)) => owner.job(jobs, id).await,
        (found, _) => found,
    }
}

/// What was told of a task, if anything was.
pub(super) async fn report(jobs: &Jobs, job: &Job) -> Result<Option<Report>, ApiError> {
    let result = match job.state {
        State::Succeeded | State::Cancelled => jobs.store.result(job.id).await?,
        _ => None,
    };
    Ok(result.and_then(|it| serde_json::from_slice(&it.body).ok()))
}

/// Where a task is, in a word.
pub(super) fn status(state: State) -> &'static str {
    match state {
        State::Scheduled | State::Ready => "queued",
        State::Leased => "running",
        State::Succeeded => "completed",
        State::Cancelled | State::Expired | State::Dead => "failed",
    }
}

/// Why a task has no result and gets none.
pub(super) fn why(job: &Job) -> Option<String> {
    let is_lost = matches!(job.state, State::Cancelled | State::Expired | State::Dead);
    is_lost.then(|| job.reason.clone().unwrap_or_else(|| job.state.as_str().to_owned()))
}

/// Records what a worker tells of a task that it has, and that took it so long.
pub(super) async fn complete(
    jobs: &Jobs,
    lease: Lease,
    report: &Report,
    run_time: Duration,
) -> Result<(), ApiError> {
    let body = serde_json::to_vec(report).or(Err(ApiError::Internal))?;
    let completion = Completion {
        lease,
        digest: Sha256::digest(&body).into(),
        body,
        was_cancelled: false,
        run_time: run_time.min(ATTEMPT_MAX),
    };
    match jobs.store.complete(vec![completion]).await?.as_slice() {
        [Completed::Recorded | Completed::Duplicate { is_same: true }] => Ok(()),
        _ => Err(ApiError::NoLease),
    }
}

/// Ends a task that its worker cannot run. That is not tried again, unless somebody redrives it.
pub(super) async fn fail(jobs: &Jobs, lease: Lease, reason: &str) -> Result<(), ApiError> {
    let is_text = |it: &char| !it.is_control() || matches!(it, '\n' | '\t');
    let reason = reason.chars().filter(is_text).take(REASON_CHARS_MAX).collect();
    let failure = Failure { lease, reason, is_retryable: false, may_have_run: true };
    match jobs.store.fail(vec![failure]).await?.as_slice() {
        [Failed::Stale] | [] => Err(ApiError::NoLease),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_one_job_of_one_caller_in_one_queue() {
        assert_eq!(id_of_name("q", "a", "x"), id_of_name("q", "a", "x"));
        assert_ne!(id_of_name("q", "a", "x"), id_of_name("r", "a", "x"));
        assert_ne!(id_of_name("q", "a", "x"), id_of_name("q", "b", "x"));
        assert_ne!(id_of_name("q", "a", "x"), id_of_name("q", "a", "y"));
        let id = id_of_name("q", "a", "x").to_string();
        assert_eq!(id.parse::<JobId>().unwrap(), id_of_name("q", "a", "x"));
        assert_eq!(id.chars().nth(14), Some('8'), "{id}");
    }

    #[test]
    fn names_are_plain() {
        for (name, is_right) in
            [("a-1_b.c:d", true), ("", false), ("a b", false), ("a/b", false), ("next", false)]
        {
            assert_eq!(check_name("/x", name).is_ok(), is_right, "{name}");
        }
        assert!(check_name("/x", &"x".repeat(129)).is_err());
    }

    #[test]
    fn what_is_no_text_is_kept_as_it_came() {
        let report = Report::told("w".to_owned(), json!({"a": 1}));
        assert_eq!((report.output.as_str(), &report.answer), ("{\"a\":1}", &Some(json!({"a": 1}))));
        let report = Report::told("w".to_owned(), json!("text"));
        assert_eq!((report.output.as_str(), &report.answer), ("text", &None));
    }
}
