//! The one table from what went wrong to a status and a code. No other file names a status of a
//! fault.

use actix_http::ws::HandshakeError;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use protocol::worker::PROTOCOL;
use protocol::{FieldError, HealthStatus, Problem, Refusal};
use queue::{State, StoreError};

use crate::admission::AdmissionError;
use crate::auth::{Role, Unauthorized};
use crate::dispatch::DispatchError;
use crate::rate_limit::RateLimited;
use crate::rooms::RoomError;
use crate::routing::NoChoice;

/// The content type of a problem.
pub(crate) const PROBLEM_TYPE: &str = "application/problem+json";
/// What to wait before trying again, in seconds, when nothing better is known.
const RETRY_SECONDS: u64 = 2;

/// Every fault that a client is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The submission was not taken.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// The caller is not known.
    #[error(transparent)]
    Unauthorized(#[from] Unauthorized),
    /// The key is good for other things.
    #[error("this API key may not do that; it takes one with the role {}", roles(.0))]
    Forbidden(&'static [Role]),
    /// The caller asks too often.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// No executor runs the language now.
    #[error(transparent)]
    NoChoice(#[from] NoChoice),
    /// An executor failed us.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The store of jobs fails us.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Jobs are not kept here.
    #[error(
        "no jobs are kept here; set GATEWAY_STORE_URL, such as to `sqlite:/var/lib/flotilla/jobs.db`"
    )]
    NoStore,
    /// There is no such job, or it is somebody else's.
    #[error("there is no such job; its result may have been kept for long enough")]
    NoJob,
    /// There is no such run, or it is somebody else's.
    #[error("there is no such run; it may have been kept for long enough, or a gateway have ended")]
    NoRun,
    /// The gateway that it is in does not answer.
    #[error("the gateway that this run is in cannot be reached; try again")]
    RunOutOfReach,
    /// The ticket is not one of the run's.
    #[error("the ticket is not one of this run's; the answer to `POST /v1/runs` has them")]
    WrongTicket,
    /// The ticket is good for looking only.
    #[error("this ticket is good for looking only; stopping takes the run's `ticket`")]
    ReadOnly,
    /// The run was stopped before there was a report of it.
    #[error("the run was stopped, and did not tell how it ended")]
    RunStopped,
    /// As many runs go on as may.
    #[error("as many runs are kept as may be, and all of them go on; try again")]
    TooManyRuns,
    /// As many look at a run as may.
    #[error("too many look at this run already; try again")]
    TooManyViewers,
    /// The path is for web sockets.
    #[error("open this path as a WebSocket; `/events` beside it is for everybody else")]
    NotWebSocket,
    /// This process ends.
    #[error("this gateway ends; try again")]
    Ending,
    /// It is not over yet.
    #[error("there is no result yet; ask again")]
    NoResult,
    /// Somebody else has the job, or nobody.
    #[error("you have no lease of this task; it may have ended, or another worker has it now")]
    NoLease,
    /// A job that is over cannot be cancelled.
    #[error("the job is over: it is `{}`", .0.as_str())]
    JobIsFinal(State),
    /// Only what is dead can be redriven.
    #[error("only a dead job can be redriven, and this one is `{}`", .0.as_str())]
    JobIsNotDead(State),
    /// The key stands for something else.
    #[error("something else was submitted with this idempotency key before; use another key")]
    KeyConflict,
    /// Too many jobs wait.
    #[error("{} {waiting_max} jobs wait already; wait until some are done", if *is_callers { "your" } else { "all" })]
    QueueFull {
        /// How many may.
        waiting_max: u64,
        /// Whether the caller's own are too many.
        is_callers: bool,
    },
    /// The caller's programs fill what it may have.
    #[error("{0} programs of yours run already; wait until one is done")]
    TooManyRunning(u64),
    /// Something about rooms.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// Nobody has heard of the worker here since this process began.
    #[error("this worker is not known here; let it register")]
    UnknownWorker,
    /// Another start of a worker came after this one.
    #[error("another process has registered as this worker since; give each a name of its own")]
    WorkerReplaced,
    /// There are too many workers.
    #[error("there are {0} workers already")]
    TooManyWorkers(usize),
    /// A page of another origin asks for a socket.
    #[error(
        "pages of this origin may not open a socket here; an operator can allow it by \
         GATEWAY_CORS_ORIGINS"
    )]
    ForeignOrigin,
    /// The request does not ask for a socket.
    #[error("this path takes WebSockets only: {0}")]
    NoHandshake(HandshakeError),
    /// Too many sockets are open.
    #[error("{0} sockets are open already; use one for many tasks")]
    TooManySockets(usize),
    /// A socket waits for too many results.
    #[error("this socket waits for {0} results already; wait for some, or open another one")]
    TooManyWaits(usize),
    /// A worker speaks other versions of the protocol only.
    #[error(
        "this gateway speaks version {PROTOCOL} of the workers' protocol, and the worker {oldest} to \
         {newest}; update the older one"
    )]
    Protocol {
        /// The oldest.
        oldest: u32,
        /// The newest.
        newest: u32,
    },
    /// Nothing is at this path.
    #[error("nothing is here; `GET /openapi.json` lists every path")]
    NotFound,
    /// What is at this path has to be switched on.
    #[error("this is not served here; an operator has to set {0}")]
    NotServed(&'static str),
    /// The path takes other methods.
    #[error("this path takes {0} only")]
    Method(&'static str),
    /// We failed.
    #[error("something went wrong here; it was logged under this request's id")]
    Internal,
}

impl ApiError {
    /// One field of a request is wrong.
    pub(crate) fn invalid(pointer: &str, detail: impl Into<String>) -> Self {
        AdmissionError::from(Refusal::Invalid(vec![FieldError::new(pointer, detail)])).into()
    }

    /// The status and the code.
    fn row(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Admission(error) => match error {
                AdmissionError::Refused(Refusal::NotJson(_)) => (S::BAD_REQUEST, "not_json"),
                AdmissionError::Refused(Refusal::Invalid(_)) => {
                    (S::UNPROCESSABLE_ENTITY, "invalid_request")
                }
                AdmissionError::Refused(Refusal::TooLarge(_)) | AdmissionError::BodyTooLarge(_) => {
                    (S::PAYLOAD_TOO_LARGE, "too_large")
                }
                AdmissionError::MediaType(_) => {
                    (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
                }
                AdmissionError::BodyTimeout(_) => (S::REQUEST_TIMEOUT, "request_timeout"),
                AdmissionError::BodyBroken => (S::BAD_REQUEST, "broken_body"),
                AdmissionError::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded"),
            },
            Self::Unauthorized(_) => (S::UNAUTHORIZED, "unauthorized"),
            Self::Forbidden(_) => (S::FORBIDDEN, "forbidden"),
            Self::TooManyRunning(_) => (S::TOO_MANY_REQUESTS, "too_many_running"),
            Self::RateLimited(_) => (S::TOO_MANY_REQUESTS, "rate_limited"),
            Self::NoChoice(NoChoice::UnknownLanguage { .. }) => (S::NOT_FOUND, "unknown_language"),
            Self::NoChoice(NoChoice::OnlyWorkers { .. }) => (S::NOT_FOUND, "only_workers"),
            Self::NoChoice(NoChoice::NoLiveExecutor { .. }) => {
                (S::SERVICE_UNAVAILABLE, "no_live_executor")
            }
            Self::Dispatch(error) => match error {
                DispatchError::Unreachable => (S::BAD_GATEWAY, "executor_unreachable"),
                DispatchError::Lost => (S::BAD_GATEWAY, "executor_lost"),
                DispatchError::BadAnswer(_) => (S::BAD_GATEWAY, "bad_executor_answer"),
                DispatchError::Timeout(_) => (S::GATEWAY_TIMEOUT, "executor_timeout"),
            },
            Self::Store(StoreError::NoRoom) => (S::INSUFFICIENT_STORAGE, "store_full"),
            Self::Store(_) => (S::SERVICE_UNAVAILABLE, "store_unavailable"),
            Self::NoStore => (S::SERVICE_UNAVAILABLE, "no_store"),
            Self::NoJob => (S::NOT_FOUND, "no_job"),
            Self::NoRun => (S::NOT_FOUND, "no_run"),
            Self::RunOutOfReach => (S::BAD_GATEWAY, "run_out_of_reach"),
            Self::WrongTicket => (S::UNAUTHORIZED, "wrong_ticket"),
            Self::ReadOnly => (S::FORBIDDEN, "read_only"),
            Self::RunStopped => (S::CONFLICT, "stopped"),
            Self::TooManyRuns => (S::SERVICE_UNAVAILABLE, "too_many_runs"),
            Self::TooManyViewers => (S::SERVICE_UNAVAILABLE, "too_many_viewers"),
            Self::NotWebSocket => (S::UPGRADE_REQUIRED, "not_a_websocket"),
            Self::Ending => (S::SERVICE_UNAVAILABLE, "ending"),
            Self::NoResult => (S::NOT_FOUND, "no_result"),
            Self::NoLease => (S::CONFLICT, "no_lease"),
            Self::JobIsFinal(_) => (S::CONFLICT, "job_is_final"),
            Self::JobIsNotDead(_) => (S::CONFLICT, "job_is_not_dead"),
            Self::KeyConflict => (S::CONFLICT, "idempotency_conflict"),
            Self::QueueFull { is_callers: true, .. } => (S::TOO_MANY_REQUESTS, "queue_full"),
            Self::QueueFull { .. } => (S::SERVICE_UNAVAILABLE, "queue_full"),
            Self::Room(error) => of_room(error),
            Self::UnknownWorker => (S::NOT_FOUND, "unknown_worker"),
            Self::WorkerReplaced => (S::CONFLICT, "worker_replaced"),
            Self::TooManyWorkers(_) => (S::SERVICE_UNAVAILABLE, "too_many_workers"),
            Self::ForeignOrigin => (S::FORBIDDEN, "foreign_origin"),
            Self::NoHandshake(_) => (S::UPGRADE_REQUIRED, "no_handshake"),
            Self::TooManySockets(_) => (S::TOO_MANY_REQUESTS, "too_many_sockets"),
            Self::TooManyWaits(_) => (S::TOO_MANY_REQUESTS, "too_many_waits"),
            Self::Protocol { .. } => (S::UPGRADE_REQUIRED, "protocol_version"),
            Self::NotFound => (S::NOT_FOUND, "not_found"),
            Self::NotServed(_) => (S::NOT_FOUND, "not_served"),
            Self::Method(_) => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// The stable, machine-readable name.
    pub(crate) fn code(&self) -> &'static str {
        self.row().1
    }

    /// The same as a body.
    pub(crate) fn problem(&self, request_id: &str) -> Problem {
        let (status, code) = self.row();
        Problem::new(status.as_u16(), code, self.to_string(), request_id)
            .with_errors(self.field_errors())
    }

    /// The same as an answer.
    pub(crate) fn response(&self, request_id: &str) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.row().0);
        response.content_type(PROBLEM_TYPE);
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_seconds() {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        match self {
            Self::Method(allowed) => {
                response.insert_header((header::ALLOW, HeaderValue::from_static(allowed)));
            }
            Self::NoHandshake(_) | Self::NotWebSocket | Self::Room(RoomError::NotWebSocket) => {
                response.insert_header((header::UPGRADE, "websocket"));
                response.insert_header((header::SEC_WEBSOCKET_VERSION, "13"));
            }
            Self::Unauthorized(_) | Self::WrongTicket | Self::Room(RoomError::WrongInvitation) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"flotilla\""));
            }
            Self::RateLimited(limited) => {
                response.insert_header(("ratelimit-limit", limited.limit));
                response.insert_header(("ratelimit-remaining", "0"));
                response.insert_header(("ratelimit-reset", limited.retry_seconds));
            }
            // The rest of a body that did not come in time must not be taken for a request.
            Self::Admission(AdmissionError::BodyTimeout(_) | AdmissionError::BodyBroken) => {
                response.force_close();
            }
            _ => {}
        }
        response.json(self.problem(request_id))
    }

    fn field_errors(&self) -> Vec<FieldError> {
        match self {
            Self::Admission(AdmissionError::Refused(Refusal::Invalid(errors))) => errors.clone(),
            Self::Admission(AdmissionError::Refused(Refusal::TooLarge(error))) => {
                vec![error.clone()]
            }
            _ => Vec::new(),
        }
    }

    /// When to come back, if that may help.
    pub(crate) fn retry_seconds(&self) -> Option<u64> {
        match self {
            Self::RateLimited(limited) => Some(limited.retry_seconds),
            Self::NoChoice(NoChoice::NoLiveExecutor { .. })
            | Self::Admission(AdmissionError::Overloaded)
            | Self::Store(_)
            | Self::QueueFull { .. }
            | Self::TooManySockets(_)
            | Self::TooManyWaits(_)
            | Self::TooManyRunning(_)
            | Self::NoResult
            | Self::TooManyRuns
            | Self::TooManyViewers
            | Self::Ending
            | Self::RunOutOfReach
            | Self::Dispatch(DispatchError::Unreachable) => Some(RETRY_SECONDS),
            Self::Room(error) if error.may_pass() => Some(RETRY_SECONDS),
            _ => None,
        }
    }
}

fn of_room(error: &RoomError) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match error {
        RoomError::NoStore => (S::SERVICE_UNAVAILABLE, "no_store"),
        RoomError::NoRoom => (S::NOT_FOUND, "no_room"),
        RoomError::TooManyRooms => (S::SERVICE_UNAVAILABLE, "too_many_rooms"),
        RoomError::TooManyTickets => (S::TOO_MANY_REQUESTS, "too_many_tickets"),
        RoomError::TooManyInvitations => (S::TOO_MANY_REQUESTS, "too_many_invitations"),
        RoomError::NoInvitation => (S::NOT_FOUND, "no_invitation"),
        RoomError::WrongInvitation => (S::UNAUTHORIZED, "invitation_wrong"),
        RoomError::TooManySnippets => (S::SERVICE_UNAVAILABLE, "too_many_snippets"),
        RoomError::NoSnippet => (S::NOT_FOUND, "no_snippet"),
        RoomError::RoleTooLow(_) => (S::FORBIDDEN, "role_too_low"),
        RoomError::Untold => (S::SERVICE_UNAVAILABLE, "room_unavailable"),
        RoomError::NotWebSocket => (S::UPGRADE_REQUIRED, "not_a_websocket"),
        RoomError::Store(documents::StoreError::NoRoom) => (S::INSUFFICIENT_STORAGE, "store_full"),
        RoomError::Store(_) => (S::SERVICE_UNAVAILABLE, "store_unavailable"),
    }
}

fn roles(roles: &[Role]) -> String {
    let words: Vec<String> = roles.iter().map(|it| format!("`{}`", it.as_str())).collect();
    words.join(" or ")
}

/// Whether an executor's answer is a result.
pub(crate) fn is_ok(status: u16) -> bool {
    StatusCode::OK == status
}

/// Whether an executor refuses a request for good.
pub(crate) fn is_refusal(status: u16) -> bool {
    passed_on(status).is_client_error()
}

/// Whether an executor has no room now, and has run nothing, but for a run that is lost.
pub(crate) fn is_overloaded(status: u16) -> bool {
    StatusCode::SERVICE_UNAVAILABLE == status
}

/// Whether a receiver took a callback.
pub(crate) fn is_taken(status: u16) -> bool {
    passed_on(status).is_success()
}

/// Whether an executor does not know us.
pub(crate) fn refuses_token(status: u16) -> bool {
    StatusCode::UNAUTHORIZED == status || StatusCode::FORBIDDEN == status
}

/// The status of an answer that tells of health.
pub(crate) fn of_health(status: HealthStatus) -> StatusCode {
    match status {
        HealthStatus::Pass | HealthStatus::Warn => StatusCode::OK,
        HealthStatus::Fail => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// An executor's own status, passed on.
pub(crate) fn passed_on(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// What an error that actix made means here.
pub(crate) fn foreign(error: &actix_web::Error) -> ApiError {
    match error.as_response_error().status_code() {
        StatusCode::NOT_FOUND => ApiError::NotFound,
        StatusCode::BAD_REQUEST => ApiError::Admission(AdmissionError::BodyBroken),
        _ => ApiError::Internal,
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.row().0
    }

    /// The envelope writes it again with the request's id.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.response("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_repeats_the_status_and_names_every_field() {
        let errors = vec![FieldError::new("/code", "wrong")];
        let error = ApiError::from(AdmissionError::from(Refusal::Invalid(errors.clone())));
        let problem = error.problem("id");
        assert_eq!((problem.status, problem.code.as_str()), (422, "invalid_request"));
        assert_eq!((problem.request_id.as_str(), problem.errors), ("id", errors));
    }

    #[test]
    fn what_may_pass_says_when_to_come_back() {
        let language = "alpha".to_owned();
        for error in [
            ApiError::from(NoChoice::NoLiveExecutor { language }),
            ApiError::from(AdmissionError::Overloaded),
            ApiError::from(RateLimited { limit: 1, retry_seconds: 9 }),
        ] {
            let response = error.response("id");
            assert!(response.headers().contains_key(header::RETRY_AFTER), "{error}");
        }
    }
}
