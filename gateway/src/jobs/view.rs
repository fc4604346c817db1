//! A job as it is shown.

use queue::{Attempt, Job, JobStore, State, StoreError};
use serde::Serialize;
use serde_json::value::RawValue;

/// A job with its attempts, and its result once there is one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    #[serde(flatten)]
    job: Job,
    /// When it is likely to be started, in milliseconds from now.
    expected_start_ms: Option<u64>,
    attempts: Vec<Attempt>,
    /// As its executor gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
}

/// A job of a fleet with so many slots.
pub(crate) async fn shown(
    store: &dyn JobStore,
    job: Job,
    slots: usize,
) -> Result<Shown, StoreError> {
    let result = match job.state {
        State::Succeeded | State::Cancelled => store.result(job.id).await?,
        _ => None,
    };
    let result = result.and_then(|it| String::from_utf8(it.body).ok());
    Ok(Shown {
        expected_start_ms: expected_start_ms(store, &job, slots).await?,
        attempts: store.attempts(job.id).await?,
        result: result.and_then(|it| RawValue::from_string(it).ok()),
        job,
    })
}

/// When a job is likely to be started that waits, by how long others took lately.
async fn expected_start_ms(
    store: &dyn JobStore,
    job: &Job,
    slots: usize,
) -> Result<Option<u64>, StoreError> {
    let Some(position) = job.position else { return Ok(None) };
    let stats = store.stats().await?;
    let of_language = stats.languages.iter().find(|it| it.language == job.language);
    let average = of_language.and_then(|it| it.average_run_ms);
    Ok(average.map(|it| it.saturating_mul(position) / slots.max(1) as u64))
}
