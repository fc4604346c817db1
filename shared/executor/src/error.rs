//! The one table from what goes wrong to status and code.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use protocol::{FieldError, HealthStatus, Problem, Refusal};
use telemetry::RequestContext;

use crate::core::NotAdmitted;
use crate::process::Fault;
use crate::run::RunFault;
use crate::slots::NoSlot;

/// The content type of a problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Everything that is answered with a problem.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    #[error(transparent)]
    NoSlot(#[from] NoSlot),
    #[error("{}", .0.detail)]
    Told(Box<Problem>),
    #[error("the body may have at most {0} bytes")]
    BodyTooLarge(usize),
    #[error("the body did not arrive within {0} s")]
    BodyTooSlow(u64),
    #[error("the body broke off: {0}")]
    BodyBroken(String),
    #[error("the body must be JSON: send `content-type: application/json`, not `{0}`")]
    NotJson(String),
    #[error("{0}")]
    NotReady(&'static str),
    #[error("{0}; no runs are taken until a self-test passes")]
    IsolationBroken(String),
    #[error("send the fleet's token as `authorization: Bearer …`")]
    Unauthorized,
    #[error("there is nothing at this path; see GET /info")]
    NotFound,
    #[error("this path takes {0} only")]
    MethodNotAllowed(&'static str),
    #[error("there is no such run here, or it is over")]
    NoRun,
    #[error("the run has too much to do already; try again soon")]
    RunIsBusy,
    #[error("another run has this key; make one of at least 128 random bits")]
    KeyTaken,
    #[error("the run ended without a word; the log of the executor says why")]
    Lost,
}

impl ApiError {
    /// Status and code.
    fn row(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Refused(Refusal::NotJson(_)) => (StatusCode::BAD_REQUEST, "not_json"),
            Self::Refused(Refusal::Invalid(_)) | Self::NotAdmitted(NotAdmitted::Invalid(_)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request")
            }
            Self::NotAdmitted(NotAdmitted::UnknownLanguage(_)) => {
                (StatusCode::NOT_FOUND, "unknown_language")
            }
            Self::NotAdmitted(NotAdmitted::HouseRules(_)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "refused_module")
            }
            Self::NoSlot(_) => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Self::Told(problem) => {
                let status = StatusCode::from_u16(problem.status);
                (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), "")
            }
            Self::Refused(Refusal::TooLarge(_)) | Self::BodyTooLarge(_) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
            }
            Self::BodyTooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            Self::BodyBroken(_) => (StatusCode::BAD_REQUEST, "broken_body"),
            Self::NotJson(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
            Self::IsolationBroken(_) => (StatusCode::SERVICE_UNAVAILABLE, "isolation_broken"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::NoRun => (StatusCode::NOT_FOUND, "no_run"),
            Self::RunIsBusy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::KeyTaken => (StatusCode::CONFLICT, "key_taken"),
            Self::Lost => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Refused(Refusal::Invalid(fields))
            | Self::NotAdmitted(NotAdmitted::Invalid(fields) | NotAdmitted::HouseRules(fields)) => {
                fields.clone()
            }
            Self::Refused(Refusal::TooLarge(field)) => vec![field.clone()],
            _ => Vec::new(),
        }
    }

    /// The answer to `request`.
    pub(crate) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let context = request.extensions().get::<RequestContext>().cloned();
        let request_id = context.map(|it| it.request_id).unwrap_or_default();
        let (status, code) = self.row();
        let problem = match self {
            Self::Told(problem) => (**problem).clone(),
            _ => Problem::new(status.as_u16(), code, self.to_string(), &request_id)
                .with_errors(self.fields()),
        };
        let mut answer = HttpResponse::build(status);
        answer.content_type(PROBLEM_JSON);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.insert_header((RETRY_AFTER, HeaderValue::from_static("1")));
        }
        if status == StatusCode::UNAUTHORIZED {
            answer.insert_header((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        if let Self::MethodNotAllowed(allowed) = self {
            answer.insert_header((ALLOW, HeaderValue::from_static(allowed)));
        }
        // What was not read of a body must not be taken for the next request.
        if matches!(self, Self::BodyTooLarge(_) | Self::BodyTooSlow(_) | Self::BodyBroken(_)) {
            answer.force_close();
        }
        answer.json(problem)
    }
}

/// What a health is answered with.
pub(crate) fn status_of_health(health: HealthStatus) -> StatusCode {
    match health {
        HealthStatus::Fail => StatusCode::SERVICE_UNAVAILABLE,
        HealthStatus::Pass | HealthStatus::Warn => StatusCode::OK,
    }
}

/// The problem of a run that failed by a fault of ours.
pub(crate) fn problem_of_fault(fault: &RunFault, request_id: &str) -> Problem {
    let (status, code) = match fault {
        RunFault::Process(Fault::Step { step, .. }) if step == "execute the program" => {
            (StatusCode::SERVICE_UNAVAILABLE, "runtime_missing")
        }
        RunFault::Process(Fault::Launch(_) | Fault::System(_)) | RunFault::Files(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "out_of_resources")
        }
        RunFault::Process(Fault::Lost | Fault::LostEarly | Fault::Gone | Fault::Unread) => {
            (StatusCode::SERVICE_UNAVAILABLE, "run_lost")
        }
        RunFault::Process(Fault::Step { .. } | Fault::Unclean) | RunFault::Spec(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
    };
    Problem::new(status.as_u16(), code, fault.to_string(), request_id)
}
