//! The job API: `POST /api/execute` takes a program and answers with the name of a job, and
//! `GET /api/status/{jobId}` tells what became of it. Its limits are a profile of their own, as it
//! is made for a form on a page that anybody may send.

pub(super) mod limits;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp as Time;
use protocol::{Refusal, RunReport};
use queue::{Job, State};
use serde::Deserialize;
use serde_json::{Value, json};

use limits::Limits;

use crate::admission::{AdmissionError, check_media_type};
use crate::auth::Caller;
use crate::body::{self, BodyBounds};
use crate::error::ApiError;
use crate::handlers::execute::content_type;
use crate::jobs::{Jobs, Terms, id_of, take_in};
use crate::rate_limit::{self, RateLimit};
use crate::settings::{Settings, seconds};
use crate::shared::Shared;

/// Whose jobs these are: all together run no more at a time than the profile allows.
pub(super) const CALLER: &str = "dialect:job-api";
/// JSON may write a character in six.
const ESCAPED: usize = 6;
/// What a body has beside the program, in bytes.
const BESIDE: usize = 1024;

/// What the profile keeps track of.
#[derive(Debug)]
pub(crate) struct JobApi {
    /// How often one address may come. Somebody has to sweep it.
    pub(crate) rate_limit: Arc<RateLimit>,
    limits: Limits,
}

impl JobApi {
    /// Nobody has asked yet. None if settings leave it off.
    pub(crate) fn new(settings: &Settings) -> Option<Self> {
        let limits = Limits::of(settings);
        let rate = limits.per_minute;
        let rate_limit = || Arc::new(RateLimit::new(rate, rate));
        settings.job_api.then(|| Self { rate_limit: rate_limit(), limits })
    }
}

/// `POST /api/execute`
pub(crate) async fn execute(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (api, jobs) = parts(&shared)?;
    check_media_type(content_type(request.headers()).as_deref())?;
    let settings = &shared.settings;
    let peer = request.peer_addr().map(|it| it.ip());
    let trusts = settings.trust_forwarded_for;
    // By address, whatever key it has.
    let subject = rate_limit::subject(&Caller::Anonymous, peer, request.headers(), trusts);
    api.rate_limit.take(&subject)?;
    let bytes_max = api.limits.code_bytes.saturating_mul(ESCAPED) + BESIDE;
    let bounds = BodyBounds { bytes_max, seconds: settings.body_seconds };
    let body = body::read(&request, payload, &shared.bodies, bounds).await?;
    let job = translate(&body.bytes, settings.job_api_language.as_deref(), &api.limits)?;
    let terms = Terms {
        caller: CALLER.to_owned(),
        waiting_max: None,
        snapshot: shared.snapshot_for_jobs(),
        allowance: seconds(settings.allowance_seconds),
        queues: BTreeSet::new(),
        has_callbacks: false,
        foreign: None,
    };
    let (new, _) = take_in(job.to_string().as_bytes(), None, &terms)?;
    let enqueued = jobs.store.enqueue(new).await?.into_iter().next();
    let id = enqueued.map_or(Err(ApiError::Internal), id_of)?;
    Ok(HttpResponse::Ok().json(json!({ "jobId": id })))
}

/// What is submitted here, as it is submitted to us.
fn translate(body: &[u8], usual: Option<&str>, limits: &Limits) -> Result<Value, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        code: String,
        language: Option<String>,
    }
    let asked: Asked = serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            let problem = format!("must be `{{\"code\": …, \"language\": …}}`: {error}");
            ApiError::invalid("", problem)
        } else {
            AdmissionError::from(Refusal::NotJson(error.to_string())).into()
        }
    })?;
    let most = limits.code_bytes;
    if asked.code.len() > most {
        return Err(AdmissionError::BodyTooLarge(most).into());
    }
    let Some(language) = asked.language.as_deref().or(usual) else {
        return Err(ApiError::invalid("/language", "is required here"));
    };
    Ok(json!({
        "language": language,
        "code": asked.code,
        "timeout": limits.timeout_seconds,
        "ttl": limits.ttl_seconds,
    }))
}

/// `GET /api/status/{jobId}`
pub(crate) async fn status(
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (api, jobs) = parts(&shared)?;
    let id = id.parse().or(Err(ApiError::NoJob))?;
    let job = jobs.store.job(id).await?.filter(|it| it.caller == CALLER);
    let ttl = seconds(api.limits.ttl_seconds);
    // What is over for so long is deleted a little later.
    let job = job.filter(|it| !is_old(it, ttl, Time::now())).ok_or(ApiError::NoJob)?;
    let result = jobs.store.result(id).await?;
    let report = result.and_then(|it| serde_json::from_slice::<RunReport>(&it.body).ok());
    Ok(HttpResponse::Ok().json(told(&job, report.as_ref(), api.limits.output_bytes)))
}

/// Whether a job has been over for longer than its result is kept.
fn is_old(job: &Job, ttl: Duration, now: Time) -> bool {
    let age = job.finished_at.map(|it| now.as_millisecond().saturating_sub(it.0));
    age.and_then(|it| u64::try_from(it).ok()).is_some_and(|it| Duration::from_millis(it) > ttl)
}

/// A job and the report of its run, as they are told here.
fn told(job: &Job, report: Option<&RunReport>, output_bytes_max: usize) -> Value {
    let status = match job.state {
        State::Scheduled | State::Ready => "queued",
        State::Leased => "running",
        State::Succeeded => "completed",
        State::Cancelled | State::Expired | State::Dead => "failed",
    };
    let text =
        |of: fn(&RunReport) -> &str| head(report.map(of).unwrap_or_default(), output_bytes_max);
    let (output, is_cut) = text(|it| &it.output);
    let (error, is_error_cut) = text(|it| &it.error);
    let is_truncated = report.is_some_and(|it| it.output_truncated || it.error_truncated);
    json!({
        "jobId": job.id,
        "status": status,
        "language": job.lane.language(),
        "output": output,
        "error": error,
        "truncated": is_cut || is_error_cut || is_truncated,
        "result": report.map(|it| it.status),
        "exitCode": report.and_then(|it| it.exit_code),
        "executionTime": report.map(|it| it.execution_time),
        "submittedAt": job.created_at.0,
    })
}

/// As much of a text as fits, in whole characters, and whether there was more.
fn head(text: &str, bytes_max: usize) -> (&str, bool) {
    let end = text.floor_char_boundary(bytes_max);
    (text.get(..end).unwrap_or_default(), end < text.len())
}

fn parts(shared: &Shared) -> Result<(&JobApi, &Jobs), ApiError> {
    let api = shared.job_api.as_ref().ok_or(ApiError::NotServed("GATEWAY_JOB_API"))?;
    Ok((api, shared.jobs()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_text_has_whole_characters() {
        assert_eq!(head("größe", 3), ("gr", true));
        assert_eq!(head("größe", 4), ("grö", true));
        assert_eq!(head("größe", 7), ("größe", false));
    }

    #[test]
    fn what_is_too_much_or_unknown_is_refused() {
        let limits = Limits::of(&Settings::default());
        let refused = |body: &str| translate(body.as_bytes(), None, &limits).is_err();
        assert!(refused("{"));
        assert!(refused(r#"{"code": "1"}"#), "no language is set");
        assert!(refused(r#"{"code": "1", "language": "alpha", "timeout": 60}"#));
        assert!(refused(&json!({"code": "x".repeat(5121), "language": "alpha"}).to_string()));
        assert!(!refused(&json!({"code": "x".repeat(5120), "language": "alpha"}).to_string()));
        let own = translate(br#"{"code": "1"}"#, Some("alpha"), &limits).unwrap();
        assert_eq!(own["language"], "alpha");
    }
}
