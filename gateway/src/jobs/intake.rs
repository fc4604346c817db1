//! From a submission to jobs that can be kept: pure, by what the fleet says of itself.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp as Time;
use protocol::{FieldError, Refusal};
use queue::{DEFAULT_QUEUE, Enqueued, IdempotencyKey, JobId, Lane, NewJob, Timestamp};

use super::submission::{Submission, Submitted, Wishes, parse};
use crate::admission::{Action, AdmissionError, admit, language_of};
use crate::error::ApiError;
use crate::routing::{self, NoChoice, Snapshot};

/// A job with a callback is kept for so long at least.
const CALLBACK_TTL_MIN: Duration = Duration::from_mins(1);

/// What submissions are held against.
#[derive(Debug)]
pub(crate) struct Terms {
    /// What the store knows the caller as.
    pub(crate) caller: String,
    /// How many jobs of the caller may wait, where that is not as for everybody.
    pub(crate) waiting_max: Option<u64>,
    /// The fleet.
    pub(crate) snapshot: Snapshot,
    /// What an attempt may take beside the run's own timeout.
    pub(crate) allowance: Duration,
    /// Queues that a job may name beside the default one.
    pub(crate) queues: BTreeSet<String>,
    /// Whether callbacks are sent.
    pub(crate) has_callbacks: bool,
    /// What is taken though nobody of the fleet runs it: workers of another kind do.
    pub(crate) foreign: Option<String>,
}

/// Admits what was submitted, as runs are: the jobs, and whether they came as a batch. `key` is the
/// idempotency key of a single one, if it did not come in the body.
pub(crate) fn take_in(
    body: &[u8],
    key: Option<String>,
    terms: &Terms,
) -> Result<(Vec<NewJob>, bool), ApiError> {
    let submission = parse(body, Time::now()).map_err(AdmissionError::Refused)?;
    let (submitted, is_batch) = match submission {
        Submission::One(mut job) => {
            job.wishes.idempotency_key = key.or(job.wishes.idempotency_key);
            (vec![*job], false)
        }
        Submission::Batch(_) if key.is_some() => {
            let problem = "is for one job; give each job of a batch an `idempotencyKey`";
            return Err(ApiError::invalid("/idempotency-key", problem));
        }
        Submission::Batch(jobs) => (jobs, true),
    };
    let mut new = Vec::with_capacity(submitted.len());
    let mut errors = Vec::new();
    for (index, job) in submitted.into_iter().enumerate() {
        match admit_one(job, terms) {
            Ok(job) => new.push(job),
            // Each is told by its place in the batch.
            Err(ApiError::Admission(AdmissionError::Refused(Refusal::Invalid(wrong))))
                if is_batch =>
            {
                errors.extend(wrong.into_iter().map(|it| FieldError {
                    pointer: format!("/jobs/{index}{}", it.pointer),
                    ..it
                }));
            }
            Err(error) => return Err(error),
        }
    }
    if !errors.is_empty() {
        return Err(AdmissionError::Refused(Refusal::Invalid(errors)).into());
    }
    Ok((new, is_batch))
}

fn admit_one(submitted: Submitted, terms: &Terms) -> Result<NewJob, ApiError> {
    let Terms { caller, waiting_max, snapshot, allowance, queues, has_callbacks, foreign } = terms;
    let Submitted { body, wishes, digest } = submitted;
    let word = language_of(&body).unwrap_or_default();
    let info = routing::known_info(snapshot, &word);
    let bounds = info.as_ref().map(|it| it.limits.clone()).unwrap_or_default();
    let admitted = admit(Action::Execute, &body, &bounds, *allowance)?;
    admitted.has_no_company()?;
    let known = info.as_ref().and_then(|it| routing::find(it, &word));
    let known = known.map(|it| &it.id).or(foreign.as_ref().filter(|it| **it == word));
    let Some(known) = known else {
        let language = admitted.language;
        return Err(match routing::choose(snapshot, &language, &[], (0, 0)) {
            Err(none) => none.into(),
            Ok(_) => NoChoice::NoLiveExecutor { language }.into(),
        });
    };
    if wishes.queue != DEFAULT_QUEUE && !queues.contains(&wishes.queue) {
        let others = queues.iter().map(String::as_str).filter(|it| *it != DEFAULT_QUEUE);
        let known: Vec<&str> = [DEFAULT_QUEUE].into_iter().chain(others).collect();
        let problem = format!("is no queue here; there are: {}", known.join(", "));
        return Err(ApiError::invalid("/queue", problem));
    }
    if wishes.callback_url.is_some() && !has_callbacks {
        let problem = "is not possible here; an operator has to set GATEWAY_CALLBACK_SECRET";
        return Err(ApiError::invalid("/callbackUrl", problem));
    }
    let ttl = ttl(&wishes);
    Ok(NewJob {
        id: JobId::random(),
        caller: caller.clone(),
        waiting_max: *waiting_max,
        lane: Lane::new(known, &wishes.queue),
        body,
        priority: wishes.priority,
        run_at: wishes.run_at.map(|it| Timestamp(it.as_millisecond())),
        start_within: wishes.start_within,
        idempotency: wishes.idempotency_key.map(|key| IdempotencyKey { key, digest }),
        delivery: wishes.delivery,
        attempts_max: wishes.attempts_max,
        attempt_max: admitted.deadline,
        ttl,
        callback_url: wishes.callback_url,
    })
}

/// How long a job is kept. What a callback is to tell of is still there when it is first sent.
fn ttl(wishes: &Wishes) -> Duration {
    if wishes.callback_url.is_some() { wishes.ttl.max(CALLBACK_TTL_MIN) } else { wishes.ttl }
}

/// The name of a job that was submitted, or why it is not kept.
pub(crate) fn id_of(enqueued: Enqueued) -> Result<JobId, ApiError> {
    match enqueued {
        Enqueued::Created(id) | Enqueued::Existing(id) => Ok(id),
        Enqueued::Conflict => Err(ApiError::KeyConflict),
        Enqueued::Full { waiting_max, is_callers } => {
            Err(ApiError::QueueFull { waiting_max, is_callers })
        }
    }
}
