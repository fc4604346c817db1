//! What is told of submissions that were taken: pure. A job that is kept is never told as a failure, as
//! whoever is told one submits again.

use queue::Enqueued;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::ApiError;

/// What is told of a single job.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Told<J> {
    Job(J),
    /// That it is kept, and why no more is told.
    Short(Value),
}

/// What is told of a single job, by what was found of it afterwards.
pub(super) fn told<J>(enqueued: Enqueued, found: Result<Option<J>, ApiError>) -> Told<J> {
    let detail = match found {
        Ok(Some(job)) => return Told::Job(job),
        Ok(None) => {
            "this was submitted before with its idempotency key; the job and its result are \
                     not kept any more"
        }
        Err(error) => {
            tracing::warn!("a job that was taken cannot be shown: {error}");
            "the job is kept, and cannot be shown now; ask for it again"
        }
    };
    let mut told = outcome(enqueued);
    if let Value::Object(fields) = &mut told {
        fields.insert("detail".to_owned(), json!(detail));
    }
    Told::Short(told)
}

/// What came of submitting a job.
pub(super) fn outcome(enqueued: Enqueued) -> Value {
    match enqueued {
        Enqueued::Created(id) => json!({ "id": id, "outcome": "created" }),
        Enqueued::Existing(id) => json!({ "id": id, "outcome": "existing" }),
        Enqueued::Conflict => json!({ "outcome": "idempotency_conflict" }),
        Enqueued::Full { .. } => json!({ "outcome": "queue_full" }),
    }
}

#[cfg(test)]
mod tests {
    use queue::{JobId, StoreError};

    use super::*;

    #[test]
    fn what_is_kept_is_told_as_kept_whether_or_not_it_can_be_read() {
        let id = JobId::random();
        let told = |found| serde_json::to_value(told(Enqueued::Created(id), found)).unwrap();
        assert_eq!(told(Ok(Some(json!({ "state": "ready" })))), json!({ "state": "ready" }));
        for (found, words) in
            [(Err(ApiError::Store(StoreError::NoRoom)), "is kept"), (Ok(None), "not kept any more")]
        {
            let told = told(found);
            assert_eq!((&told["id"], &told["outcome"]), (&json!(id), &json!("created")));
            assert!(told["detail"].as_str().unwrap().contains(words), "{told}");
        }
    }
}
