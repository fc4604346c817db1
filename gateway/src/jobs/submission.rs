//! What a submission of jobs says, beside what is run: pure, from JSON to fields or to everything
//! that is wrong with them.

use std::time::Duration;

use jiff::Timestamp;
use protocol::FieldError;
use queue::{DEFAULT_QUEUE, Delivery, Priority};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::settings::is_queue;

/// Jobs in one submission.
const JOBS_MAX: usize = 100;
/// How far ahead a job may be scheduled, and how long it may wait to be started.
const AHEAD_MAX: Duration = Duration::from_hours(30 * 24);
/// How long a job that is over may be kept.
const TTL_MAX: Duration = Duration::from_hours(7 * 24);
/// Attempts that a job may have.
const ATTEMPTS_MAX: u64 = 20;
/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;
/// Longest idempotency key, in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 255;

/// One job of a submission.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Submitted {
    /// What is run: the body of `POST /v1/execute`.
    pub(crate) body: Vec<u8>,
    /// How it is kept.
    pub(crate) wishes: Wishes,
    /// Digest of everything but the key.
    pub(crate) digest: [u8; 32],
}

/// How a job is to be kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wishes {
    pub(crate) priority: Priority,
    pub(crate) queue: String,
    pub(crate) run_at: Option<Timestamp>,
    pub(crate) start_within: Option<Duration>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) delivery: Delivery,
    pub(crate) attempts_max: u32,
    pub(crate) ttl: Duration,
    pub(crate) callback_url: Option<String>,
}

/// What was submitted: one job, or a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Submission {
    One(Box<Submitted>),
    Batch(Vec<Submitted>),
}

/// Reads a submission: an object as for `POST /v1/execute` with some more fields, or
/// `{"jobs": […]}` with several.
pub(crate) fn parse(body: &[u8], now: Timestamp) -> Result<Submission, protocol::Refusal> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| protocol::Refusal::NotJson(error.to_string()))?;
    let Value::Object(mut object) = value else {
        let error = FieldError::new("", "must be an object: a job, or `{\"jobs\": […]}`");
        return Err(protocol::Refusal::Invalid(vec![error]));
    };
    let Some(jobs) = object.remove("jobs") else {
        let job = read(object, "", now).map_err(protocol::Refusal::Invalid)?;
        return Ok(Submission::One(Box::new(job)));
    };
    let mut errors: Vec<FieldError> = object
        .keys()
        .map(|it| FieldError::new(format!("/{it}"), "is not known beside `jobs`"))
        .collect();
    let Value::Array(jobs) = jobs else {
        errors.push(FieldError::new("/jobs", "must be a list of jobs"));
        return Err(protocol::Refusal::Invalid(errors));
    };
    if jobs.is_empty() || jobs.len() > JOBS_MAX {
        let problem = format!("must hold 1 to {JOBS_MAX} jobs, not {}", jobs.len());
        errors.push(FieldError::new("/jobs", problem));
        return Err(protocol::Refusal::Invalid(errors));
    }
    let mut read_jobs = Vec::new();
    for (index, job) in jobs.into_iter().enumerate() {
        let place = format!("/jobs/{index}");
        match job {
            Value::Object(job) => match read(job, &place, now) {
                Ok(job) => read_jobs.push(job),
                Err(wrong) => errors.extend(wrong),
            },
            _ => errors.push(FieldError::new(place, "must be an object")),
        }
    }
    if errors.is_empty() {
        Ok(Submission::Batch(read_jobs))
    } else {
        Err(protocol::Refusal::Invalid(errors))
    }
}

/// Takes the fields of a job out of an object; the rest is what is run.
fn read(
    mut object: Map<String, Value>,
    place: &str,
    now: Timestamp,
) -> Result<Submitted, Vec<FieldError>> {
    let mut fields = Fields { object: &mut object, place, errors: Vec::new() };
    let idempotency_key = fields.key();
    let digest = Sha256::digest(Value::Object(fields.object.clone()).to_string());
    let wishes = Wishes {
        priority: fields.priority(),
        queue: fields.queue(),
        run_at: fields.run_at(now),
        start_within: fields.seconds("startWithin", AHEAD_MAX),
        idempotency_key,
        delivery: fields.delivery(),
        attempts_max: fields.attempts_max(),
        ttl: fields.seconds("ttl", TTL_MAX).unwrap_or(Duration::from_hours(24)),
        callback_url: fields.callback_url(),
    };
    let errors = fields.errors;
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Submitted {
        body: Value::Object(object).to_string().into_bytes(),
        wishes,
        digest: digest.into(),
    })
}

/// The fields of one job, and what is wrong with them.
struct Fields<'a> {
    object: &'a mut Map<String, Value>,
    place: &'a str,
    errors: Vec<FieldError>,
}

impl Fields<'_> {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|it| !it.is_null())
    }

    fn refuse<T>(&mut self, name: &str, problem: String) -> Option<T> {
        self.errors.push(FieldError::new(format!("{}/{name}", self.place), problem));
        None
    }

    fn key(&mut self) -> Option<String> {
        const NAME: &str = "idempotencyKey";
        match self.take(NAME)? {
            Value::String(key) if is_key(&key) => Some(key),
            _ => self.refuse(
                NAME,
                format!("must be 1 to {KEY_BYTES_MAX} printable characters of ASCII"),
            ),
        }
    }

    fn priority(&mut self) -> Priority {
        const NAME: &str = "priority";
        let Some(value) = self.take(NAME) else { return Priority::default() };
        let level = value.as_u64().and_then(|it| u8::try_from(it).ok()).and_then(Priority::new);
        let wrong = || format!("must be a whole number from 0 to {}, not {value}", Priority::MAX);
        level.or_else(|| self.refuse(NAME, wrong())).unwrap_or_default()
    }

    fn queue(&mut self) -> String {
        const NAME: &str = "queue";
        let default = DEFAULT_QUEUE.to_owned();
        match self.take(NAME) {
            None => default,
            Some(Value::String(queue)) if is_queue(&queue) => queue,
            Some(value) => self
                .refuse(NAME, format!("must be the name of a queue, not {value}"))
                .unwrap_or(default),
        }
    }

    fn run_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        const NAME: &str = "runAt";
        let value = self.take(NAME)?;
        let Some(at) = value.as_str().and_then(|it| it.parse::<Timestamp>().ok()) else {
            return self.refuse(NAME, "must be a time such as \"2027-01-31T08:00:00Z\"".to_owned());
        };
        if at.duration_since(now).unsigned_abs() > AHEAD_MAX && at > now {
            let days = AHEAD_MAX.as_secs() / 86_400;
            return self.refuse(NAME, format!("may be at most {days} days ahead"));
        }
        Some(at)
    }

    fn seconds(&mut self, name: &str, most: Duration) -> Option<Duration> {
        let value = self.take(name)?;
        let seconds = value.as_f64().and_then(|it| Duration::try_from_secs_f64(it).ok());
        match seconds.filter(|it| !it.is_zero() && *it <= most) {
            Some(seconds) => Some(seconds),
            None => self.refuse(
                name,
                format!("must be more than 0 and at most {} seconds, not {value}", most.as_secs()),
            ),
        }
    }

    fn callback_url(&mut self) -> Option<String> {
        const NAME: &str = "callbackUrl";
        let value = self.take(NAME)?;
        let url = value.as_str().filter(|it| it.len() <= URL_BYTES_MAX);
        let is_right = |url: &reqwest::Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        };
        let parsed = url.and_then(|it| it.parse::<reqwest::Url>().ok()).filter(is_right);
        match parsed {
            Some(url) => Some(url.to_string()),
            None => self.refuse(
                NAME,
                format!(
                    "must be an http or https URL of at most {URL_BYTES_MAX} bytes, without a user"
                ),
            ),
        }
    }

    fn delivery(&mut self) -> Delivery {
        const NAME: &str = "delivery";
        let Some(value) = self.take(NAME) else { return Delivery::AtLeastOnce };
        let delivery = value.as_str().and_then(|it| it.parse().ok());
        let words = || {
            let words: Vec<&str> = Delivery::ALL.iter().map(|it| it.as_str()).collect();
            format!("must be one of {}, not {value}", words.join(", "))
        };
        delivery.or_else(|| self.refuse(NAME, words())).unwrap_or(Delivery::AtLeastOnce)
    }

    fn attempts_max(&mut self) -> u32 {
        const NAME: &str = "maxAttempts";
        let Some(value) = self.take(NAME) else { return 3 };
        let count = value.as_u64().filter(|it| (1..=ATTEMPTS_MAX).contains(it));
        let wrong = || format!("must be a whole number from 1 to {ATTEMPTS_MAX}, not {value}");
        let count = count.and_then(|it| u32::try_from(it).ok());
        count.or_else(|| self.refuse(NAME, wrong())).unwrap_or(1)
    }
}

/// Whether a text may be an idempotency key.
pub(crate) fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|it| (b' '..=b'~').contains(&it))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn one(value: &Value) -> Submitted {
        match parse(value.to_string().as_bytes(), now()) {
            Ok(Submission::One(job)) => *job,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check_pointers(value: &Value, pointers: &[&str]) {
        let Err(protocol::Refusal::Invalid(errors)) = parse(value.to_string().as_bytes(), now())
        else {
            panic!("{value} should be refused")
        };
        let found: Vec<&str> = errors.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(found, pointers);
    }

    #[test]
    fn what_is_run_is_what_is_left() {
        let job = one(&json!({"code": "1", "language": "alpha", "priority": 9, "maxAttempts": 1,
            "queue": "large", "delivery": "at_most_once", "runAt": "2026-11-21T13:00:00Z", "startWithin": 0.5,
            "ttl": 60, "idempotencyKey": "k"}));
        assert_eq!(job.body, br#"{"code":"1","language":"alpha"}"#);
        let wishes = job.wishes;
        assert_eq!((wishes.priority.level(), wishes.attempts_max), (9, 1));
        assert_eq!(wishes.queue, "large");
        assert_eq!(wishes.delivery, Delivery::AtMostOnce);
        assert_eq!(wishes.start_within, Some(Duration::from_millis(500)));
        assert_eq!(wishes.ttl, Duration::from_mins(1));
        assert_eq!(wishes.idempotency_key.as_deref(), Some("k"));
        assert!(wishes.run_at.is_some());
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        check_pointers(
            &json!({"priority": 10, "queue": "a b", "runAt": "soon", "startWithin": 0, "ttl": 1e9,
                "delivery": "twice", "maxAttempts": 0, "idempotencyKey": "",
                "callbackUrl": "ftp://a"}),
            &[
                "/idempotencyKey",
                "/priority",
                "/queue",
                "/runAt",
                "/startWithin",
                "/delivery",
                "/maxAttempts",
                "/ttl",
                "/callbackUrl",
            ],
        );
        check_pointers(&json!({"runAt": "2030-01-01T00:00:00Z"}), &["/runAt"]);
        check_pointers(&json!([]), &[""]);
        check_pointers(&json!({"jobs": [], "x": 1}), &["/x", "/jobs"]);
        check_pointers(
            &json!({"jobs": [{}, 5, {"priority": -1}]}),
            &["/jobs/1", "/jobs/2/priority"],
        );
    }

    #[test]
    fn the_digest_is_of_the_content_and_not_of_the_key() {
        let digest = |value: Value| one(&value).digest;
        let plain = digest(json!({"code": "1", "priority": 1}));
        assert_eq!(plain, digest(json!({"priority": 1, "code": "1", "idempotencyKey": "k"})));
        assert_ne!(plain, digest(json!({"code": "1", "priority": 2})));
    }
}
