//! What the queues of others have in common: a task is a job of its caller, a poll is a claim by a
//! worker's key, and what such a worker tells is kept in the shape of a report. A stale lease changes
//! nothing here, either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use protocol::Status;
use queue::{
    Claim, Completed, Completion, DEFAULT_QUEUE, Extended, Failed, Failure, Grant, Job, JobId,
    Lane, Lease, State,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::owner::Owner;
use crate::error::ApiError;
use crate::handlers::worker::WAIT_MAX;
use crate::jobs::{GRANT, Jobs, LOOK, Terms, id_of, take_in};
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
const ATTEMPT_MAX: Duration = Duration::from_mins(20);
/// A store knows a key for a day; beyond this, a job is not looked for by its key any more.
const KEY_KNOWN: Duration = Duration::from_hours(23);

/// A program to be run, as both queues take it.
#[derive(Debug)]
pub(super) struct Task {
    /// What its caller calls it. The same name is the same task.
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

/// The job that a caller's name for it stands for. It is the same after a restart.
pub(super) fn id_of_name(caller: &str, name: &str) -> JobId {
    let digest = Sha256::new().chain_update("flotilla task\0").chain_update(caller);
    let digest: [u8; 32] = digest.chain_update("\0").chain_update(name).finalize().into();
    let (half, _) = digest.split_at(16);
    JobId::of_digest(half.try_into().unwrap_or_default())
}

/// Keeps a task as a job of its owner.
pub(super) async fn submit(shared: &Shared, owner: &Owner, task: Task) -> Result<JobId, ApiError> {
    let jobs = shared.jobs()?;
    let Task { name, mut fields, own, age } = task;
    let terms = Terms {
        caller: owner.caller.clone(),
        waiting_max: owner.waiting_max,
        snapshot: shared.snapshot_for_jobs(),
        allowance: seconds(shared.settings.allowance_seconds),
        queues: BTreeSet::new(),
        has_callbacks: false,
        foreign: Some(own),
    };
    let id = name.as_ref().map(|it| id_of_name(&terms.caller, it));
    if let Some(id) = id
        && let Some(job) = jobs.store.job(id).await?
        && age_of(&job) > KEY_KNOWN
    {
        return Ok(id);
    }
    if let Some(name) = &name {
        fields.insert("idempotencyKey".to_owned(), json!(format!("task:{name}")));
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

/// An owner's own task, by its name or that of its job.
pub(super) async fn find(jobs: &Jobs, owner: &Owner, name: &str) -> Result<Job, ApiError> {
    match (owner.job(jobs, id_of_name(&owner.caller, name)).await, name.parse()) {
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

/// A worker's wish for tasks.
#[derive(Debug)]
pub(super) struct Wish {
    /// What the store knows it as.
    pub(super) worker: String,
    /// What it runs.
    pub(super) language: String,
    /// How many tasks it takes.
    pub(super) most: usize,
    /// How long there may be none.
    pub(super) wait: Duration,
}

impl Wish {
    /// Refuses a time to wait that is none.
    pub(super) fn wait(seconds: Option<f64>) -> Result<Duration, ApiError> {
        let wait = Duration::try_from_secs_f64(seconds.unwrap_or_default()).ok();
        wait.filter(|it| *it <= WAIT_MAX).ok_or_else(|| {
            ApiError::invalid("/wait", format!("must be from 0 to {} seconds", WAIT_MAX.as_secs()))
        })
    }
}

/// A task that a worker has now.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) lease: Lease,
    /// Whose it is.
    pub(super) caller: String,
    pub(super) language: String,
    pub(super) attempt: u32,
    /// When its lease ends at the latest.
    pub(super) until: Instant,
    pub(super) plain: Plain,
}

/// A program that can be told in these queues whole: a text, and nothing else that it needs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plain {
    #[serde(rename = "language")]
    _language: String,
    pub(super) code: String,
    pub(super) timeout: Option<f64>,
    /// What its task brought along; nothing else is ever in it.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
}

impl Plain {
    /// `named` are the variables that the queues themselves set.
    fn parse(body: &[u8], named: &[&str]) -> Option<Self> {
        let plain: Self = serde_json::from_slice(body).ok()?;
        plain.env.keys().all(|it| named.contains(&it.as_str())).then_some(plain)
    }
}

/// Claims tasks for a worker that does not beat: it has each for as long as an attempt may take.
/// `named` are the variables that may be set in a task.
pub(super) async fn claim(
    shared: &Shared,
    wish: &Wish,
    named: &[&str],
) -> Result<Vec<Granted>, ApiError> {
    let jobs = shared.jobs()?;
    let until = Instant::now() + wish.wait;
    let waiter = jobs.store.wakes().waiter(vec![Lane::new(&wish.language, DEFAULT_QUEUE)]);
    loop {
        let (granted, is_passed_over) = claim_now(shared, jobs, wish, named).await?;
        if is_passed_over && granted.is_empty() {
            // What it cannot take waits again, and would wake it at once.
            tokio::time::sleep(LOOK).await;
        }
        let left = until.saturating_duration_since(Instant::now());
        if !granted.is_empty() || left.is_zero() || shared.drain.is_draining() {
            return Ok(granted);
        }
        tokio::select! {
            () = waiter.work() => {}
            () = shared.drain.begun() => {}
            () = tokio::time::sleep(left.min(LOOK)) => {}
        }
    }
}

/// What there is now, and whether some jobs were passed over. A worker that does not beat has each
/// from now on.
async fn claim_now(
    shared: &Shared,
    jobs: &Jobs,
    wish: &Wish,
    named: &[&str],
) -> Result<(Vec<Granted>, bool), ApiError> {
    let (offered, is_passed_over) = offer(shared, jobs, wish, named).await?;
    let leases: Vec<Lease> = offered.iter().map(|it| it.lease).collect();
    if leases.is_empty() {
        return Ok((Vec::new(), is_passed_over));
    }
    let accepted = accept(jobs, leases).await?;
    let granted = offered
        .into_iter()
        .zip(accepted)
        .filter_map(|(task, time)| Some(Granted { until: Instant::now() + time?, ..task }));
    Ok((granted.collect(), is_passed_over))
}

/// Has a worker that does not beat have tasks from now on: for how long each, if it may start it. What
/// is not wanted any more ends here.
pub(super) async fn accept(
    jobs: &Jobs,
    leases: Vec<Lease>,
) -> Result<Vec<Option<Duration>>, ApiError> {
    let extended = jobs.store.extend(leases.clone(), ATTEMPT_MAX).await?;
    let mut times = Vec::with_capacity(leases.len());
    for (lease, extended) in leases.into_iter().zip(extended) {
        times.push(match extended {
            Extended::Held { cancel: false, time } => Some(time),
            Extended::Held { cancel: true, .. } => {
                fail(jobs, lease, "cancelled").await?;
                None
            }
            Extended::Lost => None,
        });
    }
    Ok(times)
}

/// Tasks for a worker that has yet to accept them, and whether some jobs were passed over: those
/// that cannot be told here whole are left to the fleet.
pub(super) async fn offer(
    shared: &Shared,
    jobs: &Jobs,
    wish: &Wish,
    named: &[&str],
) -> Result<(Vec<Granted>, bool), ApiError> {
    if shared.drain.is_draining() {
        return Ok((Vec::new(), false));
    }
    let claim = Claim {
        worker: wish.worker.clone(),
        poll: None,
        lanes: vec![Lane::new(&wish.language, DEFAULT_QUEUE)],
        most: wish.most,
        lease: GRANT,
        running_max: shared.settings.jobs_running_max,
        running_max_of: shared.running_max_of(),
    };
    let (mut offered, mut others): (Vec<Granted>, Vec<Lease>) = Default::default();
    for Grant { lease, caller, lane, attempt, body, .. } in jobs.store.claim(claim).await? {
        match Plain::parse(&body, named) {
            Some(plain) => {
                let until = Instant::now() + GRANT;
                let language = lane.language().to_owned();
                offered.push(Granted { lease, caller, language, attempt, until, plain });
            }
            None => others.push(lease),
        }
    }
    let is_passed_over = !others.is_empty();
    if is_passed_over {
        jobs.store.release(others).await?;
    }
    Ok((offered, is_passed_over))
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
    fn a_name_stands_for_one_job_of_one_caller() {
        assert_eq!(id_of_name("a", "x"), id_of_name("a", "x"));
        assert_ne!(id_of_name("a", "x"), id_of_name("b", "x"));
        assert_ne!(id_of_name("a", "x"), id_of_name("a", "y"));
        let id = id_of_name("a", "x").to_string();
        assert_eq!(id.parse::<JobId>().unwrap(), id_of_name("a", "x"));
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
    fn only_what_can_be_told_whole_goes_to_a_foreign_worker() {
        let is_plain = |body: Value| Plain::parse(body.to_string().as_bytes(), &["A"]).is_some();
        assert!(is_plain(json!({"language": "alpha", "code": "1", "timeout": 5})));
        assert!(is_plain(json!({"language": "alpha", "code": "1", "env": {"A": "1"}})));
        assert!(!is_plain(json!({"language": "alpha", "code": "1", "env": {"B": "1"}})));
        assert!(!is_plain(json!({"language": "alpha", "code": "1", "inputData": "1"})));
        assert!(!is_plain(json!({"language": "alpha", "files": []})));
    }

    #[test]
    fn what_is_no_text_is_kept_as_it_came() {
        let report = Report::told("w".to_owned(), json!({"a": 1}));
        assert_eq!((report.output.as_str(), &report.answer), ("{\"a\":1}", &Some(json!({"a": 1}))));
        let report = Report::told("w".to_owned(), json!("text"));
        assert_eq!((report.output.as_str(), &report.answer), ("text", &None));
    }
}
