//! A job as it is shown.

use queue::{Attempt, Counts, Job, JobStore, Lane, QueueStats, State, StoreError};
use serde::Serialize;
use serde_json::value::RawValue;

/// A job with its attempts, and its result once there is one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    #[serde(flatten)]
    job: Job,
    #[serde(flatten)]
    known: Known,
    attempts: Vec<Attempt>,
    /// As its executor gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
}

/// What the store does not know of a job.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Known {
    /// The name of the key that it came with, if it is one of today's.
    pub(crate) caller: Option<String>,
    /// When it is likely to be started, in milliseconds from now.
    pub(crate) expected_start_ms: Option<u64>,
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Listing<'a> {
    pub(crate) jobs: Vec<Listed<'a>>,
    /// Where to go on, if there are more.
    pub(crate) next: Option<String>,
    /// How many jobs the caller has in each state, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) counts: Option<Counts>,
}

/// A job in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed<'a> {
    #[serde(flatten)]
    pub(crate) job: &'a Job,
    /// The name of the key that it came with, if it is one of today's.
    pub(crate) caller: Option<String>,
}

/// A job as it is told.
pub(crate) async fn shown(
    store: &dyn JobStore,
    job: Job,
    known: Known,
) -> Result<Shown, StoreError> {
    let result = match job.state {
        State::Succeeded | State::Cancelled => store.result(job.id).await?,
        _ => None,
    };
    let result = result.and_then(|it| String::from_utf8(it.body).ok());
    let is_new = job.version == Job::FIRST_VERSION;
    Ok(Shown {
        known,
        attempts: if is_new { Vec::new() } else { store.attempts(job.id).await? },
        result: result.and_then(|it| RawValue::from_string(it).ok()),
        job,
    })
}

/// When a job is likely to be started that so many are before, by how long others took lately.
pub(crate) fn expected_start_ms(
    stats: &QueueStats,
    lane: &Lane,
    before: u64,
    slots: usize,
) -> Option<u64> {
    let of_lane = stats.lanes.iter().find(|it| it.lane == *lane)?;
    Some(of_lane.average_run_ms?.saturating_mul(before) / slots.max(1) as u64)
}
