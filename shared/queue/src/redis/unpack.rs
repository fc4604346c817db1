//! What scripts answer.

use std::collections::HashMap;
use std::time::Duration;

use crate::{
    Attempt, Callback, Cancelled, Completed, Enqueued, Extended, Failed, Grant, Held, Job, JobId,
    Lane, LaneStats, Lease, OpenCallback, Priority, QueueStats, State, StoreError, Timestamp,
    Token,
};

/// The fields of a job; what is not there is nothing, or 0.
pub(super) type Fields = HashMap<String, Vec<u8>>;
/// The last number that was looked at, whether there are more, and jobs.
pub(super) type PageAnswer = (i64, i64, Vec<(Vec<u8>, Fields)>);
/// Number, worker, start, end and reason.
pub(super) type AttemptAnswer = (u32, String, i64, Option<i64>, Option<String>);
/// Language; scheduled, ready, leased and dead jobs; waited and average milliseconds.
pub(super) type StatsAnswer = (String, u64, u64, u64, u64, Option<u64>, Option<f64>);
/// Job, token, caller, language, body, attempt and its longest time.
type GrantAnswer = (Vec<u8>, Vec<u8>, String, String, Vec<u8>, u32, u64);
/// Number, job, URL, attempt, due time and reason.
type OpenCallbackAnswer = (i64, Vec<u8>, String, Option<u32>, Option<i64>, Option<String>);

pub(super) fn each<A, T>(
    answers: Vec<A>,
    read: impl Fn(A) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    answers.into_iter().map(read).collect()
}

fn strange() -> StoreError {
    StoreError::Unavailable("the server's answer is none that we know".to_owned())
}

fn sixteen(bytes: &[u8]) -> Result<[u8; 16], StoreError> {
    bytes.try_into().or(Err(strange()))
}

#[expect(clippy::needless_pass_by_value, reason = "it reads each of a list")]
pub(super) fn id(bytes: Vec<u8>) -> Result<JobId, StoreError> {
    Ok(JobId::from_bytes(sixteen(&bytes)?))
}

pub(super) fn enqueued((what, which): (String, Vec<u8>)) -> Result<Enqueued, StoreError> {
    let full = |is_callers| {
        let waiting_max = std::str::from_utf8(&which).ok().and_then(|it| it.parse().ok());
        Ok(Enqueued::Full { waiting_max: waiting_max.ok_or_else(strange)?, is_callers })
    };
    match what.as_str() {
        "created" => Ok(Enqueued::Created(id(which)?)),
        "existing" => Ok(Enqueued::Existing(id(which)?)),
        "conflict" => Ok(Enqueued::Conflict),
        "full" => full(false),
        "full_of_callers" => full(true),
        _ => Err(strange()),
    }
}

pub(super) fn grant(answer: GrantAnswer) -> Result<Grant, StoreError> {
    let (id, token, caller, lane, body, attempt, attempt_ms_max) = answer;
    let token = Token::from_bytes(sixteen(&token)?);
    Ok(Grant {
        lease: Lease { id: JobId::from_bytes(sixteen(&id)?), token },
        caller,
        lane: Lane::from_text(lane),
        body,
        attempt,
        attempt_max: Duration::from_millis(attempt_ms_max),
    })
}

pub(super) fn held(answer: (Vec<u8>, Vec<u8>, String, u64)) -> Result<Held, StoreError> {
    let (job, token, caller, age) = answer;
    let lease = Lease { id: id(job)?, token: Token::from_bytes(sixteen(&token)?) };
    Ok(Held { lease, caller, age: Duration::from_millis(age) })
}

pub(super) fn extended((millis, cancel): (i64, bool)) -> Extended {
    match u64::try_from(millis) {
        Ok(millis) => Extended::Held { time: Duration::from_millis(millis), cancel },
        Err(_negative) => Extended::Lost,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it reads each of a list")]
pub(super) fn completed(answer: String) -> Result<Completed, StoreError> {
    match answer.as_str() {
        "recorded" => Ok(Completed::Recorded),
        "same" => Ok(Completed::Duplicate { is_same: true }),
        "other" => Ok(Completed::Duplicate { is_same: false }),
        "stale" => Ok(Completed::Stale),
        "gone" => Ok(Completed::Gone),
        _ => Err(strange()),
    }
}

pub(super) fn failed((what, when): (String, i64)) -> Result<Failed, StoreError> {
    match what.as_str() {
        "retry" => Ok(Failed::Retry(Timestamp(when))),
        "stale" => Ok(Failed::Stale),
        state => Ok(Failed::Final(state.parse().or(Err(strange()))?)),
    }
}

pub(super) fn cancelled(answer: &str) -> Result<Cancelled, StoreError> {
    match answer {
        "now" => Ok(Cancelled::Now),
        "requested" => Ok(Cancelled::Requested),
        "unknown" => Ok(Cancelled::Unknown),
        state => Ok(Cancelled::AlreadyFinal(state.parse().or(Err(strange()))?)),
    }
}

pub(super) fn job(id: &[u8], mut fields: Fields, position: Option<u64>) -> Result<Job, StoreError> {
    let mut word = |name: &str| fields.remove(name).and_then(|it| String::from_utf8(it).ok());
    let (caller, lane) = (word("caller"), word("language"));
    let (state, reason) = (word("state"), word("reason"));
    let mut number = |name: &str| word(name).and_then(|it| it.parse::<i64>().ok());
    let state: State = state.and_then(|it| it.parse().ok()).ok_or_else(strange)?;
    let small = |number: Option<i64>| u32::try_from(number.unwrap_or(0)).unwrap_or(u32::MAX);
    let priority = number("priority").and_then(|it| u8::try_from(it).ok());
    Ok(Job {
        id: JobId::from_bytes(sixteen(id)?),
        caller: caller.ok_or_else(strange)?,
        lane: Lane::from_text(lane.ok_or_else(strange)?),
        state,
        reason,
        priority: priority.and_then(Priority::new).unwrap_or_default(),
        attempt: small(number("attempt")),
        attempts_max: small(number("attempts_max")),
        cancel_requested: number("cancel").is_some(),
        created_at: Timestamp(number("created_at").unwrap_or(0)),
        run_at: number("run_at").map(Timestamp),
        started_at: number("started_at").map(Timestamp),
        finished_at: number("finished_at").map(Timestamp),
        position,
        version: number("version").and_then(|it| u64::try_from(it).ok()).unwrap_or(0),
    })
}

pub(super) fn attempt((number, worker, started_at, ended_at, reason): AttemptAnswer) -> Attempt {
    Attempt {
        number,
        worker,
        started_at: Timestamp(started_at),
        ended_at: ended_at.map(Timestamp),
        reason,
    }
}

pub(super) fn stats(answers: Vec<StatsAnswer>, memory: &str) -> QueueStats {
    let read = |(lane, scheduled, ready, leased, dead, oldest_ready_ms, average)| {
        let average: Option<f64> = average;
        let average = average.map(|it| Duration::from_secs_f64(it.max(0.0) / 1000.0));
        let average_run_ms = average.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
        LaneStats {
            lane: Lane::from_text(lane),
            scheduled,
            ready,
            leased,
            dead,
            oldest_ready_ms,
            average_run_ms,
        }
    };
    let mut lanes: Vec<LaneStats> = answers.into_iter().map(read).collect();
    lanes.sort_by(|one, other| one.lane.cmp(&other.lane));
    let bytes = memory.lines().find_map(|it| it.strip_prefix("used_memory:")?.trim().parse().ok());
    QueueStats { bytes: bytes.unwrap_or_default(), lanes }
}

pub(super) fn callback(
    (number, job, caller, url, attempt): (i64, Vec<u8>, String, String, u32),
) -> Result<Callback, StoreError> {
    Ok(Callback { number, id: id(job)?, caller, url, attempt })
}

pub(super) fn open_callback(answer: OpenCallbackAnswer) -> Result<OpenCallback, StoreError> {
    let (number, job, url, attempt, due_at, reason) = answer;
    Ok(OpenCallback {
        number,
        job_id: id(job)?,
        url,
        attempt: attempt.unwrap_or(0),
        due_at: due_at.map(Timestamp),
        reason,
    })
}
