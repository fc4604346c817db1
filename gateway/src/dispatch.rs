//! Sends an admitted request to an executor and takes its answer. Bytes pass unchanged; what is
//! checked is that an executor, and not something else, answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::{Bytes, BytesMut};
use protocol::Problem;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};
use telemetry::{
    CALLER_HEADER, REQUEST_ID_HEADER, RUN_KEY_HEADER, RequestContext, TRACEPARENT_HEADER,
};

use crate::admission::Action;
use crate::error::{ApiError, PROBLEM_TYPE, is_ok, refuses_token};
use crate::events::{EVENTS_TYPE, Relay};
use crate::fleet::{Fault, Fleet, InFlight, Member};
use crate::glance::Glance;
use crate::routing;

/// Tells an executor how many milliseconds are left for an answer.
const DEADLINE_HEADER: HeaderName = HeaderName::from_static("x-deadline-ms");
/// Executors that a request is tried at; a second one only if nothing was sent to the first.
const ATTEMPTS_MAX: usize = 2;
/// Answers up to this size are looked through right here; larger ones on a thread for such work.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// How an executor failed us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DispatchError {
    /// No connection; nothing was sent.
    #[error("the executor could not be reached; nothing was run, so try again")]
    Unreachable,
    /// The connection broke after the request was sent.
    #[error("the executor went away during the run; whether the program ran to its end is unknown")]
    Lost,
    /// What came is no executor's answer.
    #[error("the executor's answer cannot be used: {0}")]
    BadAnswer(&'static str),
    /// Nothing came in time.
    #[error("the executor did not answer within {0} s")]
    Timeout(u64),
}

/// What a client asked for, admitted.
#[derive(Debug)]
pub(crate) struct Call {
    /// To run or to look.
    pub action: Action,
    /// The client's own bytes.
    pub body: Bytes,
    /// The language or alias asked for.
    pub language: String,
    /// Whether the client wants events as they happen.
    pub form: Form,
    /// Which call it is.
    pub context: RequestContext,
    /// What executors know the caller as.
    pub caller: Option<String>,
    /// How long the answer may take.
    pub deadline: Duration,
    /// By what the executor is to know the run, if more is to be told of it.
    pub key: Option<SecretString>,
}

/// In which form a client wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON document at the end.
    Whole,
    /// Events as they happen.
    Events,
}

/// An executor's answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One document, and how long the executor took.
    Whole(Document, Duration),
    /// Events to pass on.
    Events(Relay),
}

/// A whole answer, as the executor gave it.
#[derive(Debug)]
pub(crate) struct Document {
    /// The status.
    pub status: u16,
    /// The content type: JSON or a problem.
    pub content_type: &'static str,
    /// When to try again, if the executor said so.
    pub retry_after: Option<u64>,
    /// The bytes.
    pub body: Bytes,
}

/// What sends.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    /// Who may be sent to.
    pub fleet: Arc<Fleet>,
    /// What executors expect from us.
    pub token: Option<SecretString>,
    /// Largest answer, in bytes.
    pub answer_bytes_max: usize,
}

impl Dispatcher {
    /// Sends a call to the best executor, and to another one if the first cannot be reached.
    pub(crate) async fn send(&self, client: &Client, call: Call) -> Result<Answer, ApiError> {
        let members = self.fleet.members();
        let until = Instant::now() + call.deadline;
        let mut tried = Vec::new();
        let mut attempts = 0;
        while attempts < ATTEMPTS_MAX {
            let now = Instant::now();
            let snapshot = self.fleet.snapshot(&members, now);
            let index = match routing::choose(&snapshot, &call.language, &tried, random()) {
                Ok(index) => index,
                Err(_) if attempts > 0 => break,
                Err(none) => return Err(none.into()),
            };
            tried.push(index);
            let Some(in_flight) = members.get(index).and_then(|it| it.enter(now)) else { continue };
            attempts += 1;
            match self.attempt(client, &call, in_flight, until).await {
                Err(DispatchError::Unreachable) => self.fleet.wake(),
                Err(error) => return Err(error.into()),
                Ok(answer) => return Ok(answer),
            }
        }
        Err(DispatchError::Unreachable.into())
    }

    async fn attempt(
        &self,
        client: &Client,
        call: &Call,
        mut in_flight: InFlight,
        until: Instant,
    ) -> Result<Answer, DispatchError> {
        let sent = Instant::now();
        let answer = match self.open(client, call, &in_flight, until).await {
            Ok(response) if is_events(&response) => {
                let limits = crate::events::Limits {
                    bytes_max: self.answer_bytes_max,
                    deadline_seconds: call.deadline.as_secs(),
                };
                let request_id = call.context.request_id.clone();
                return Ok(Answer::Events(Relay::new(
                    response,
                    in_flight,
                    limits,
                    (request_id, sent),
                )));
            }
            Ok(response) => self.document(response, call).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok((document, glance)) => {
                in_flight.answered();
                if call.action == Action::Execute {
                    glance.note(&in_flight, sent.elapsed());
                }
                Ok(Answer::Whole(document, sent.elapsed()))
            }
            Err(error) => {
                note(&in_flight, &error);
                Err(error).inspect_err(|error| in_flight.failed(fault(error), Instant::now()))
            }
        }
    }

    /// Sends the request and waits for the head of the answer.
    async fn open(
        &self,
        client: &Client,
        call: &Call,
        in_flight: &InFlight,
        until: Instant,
    ) -> Result<Response, DispatchError> {
        let (path, accept) = match (call.action, call.form) {
            (Action::Execute, Form::Whole) => ("/execute", "application/json"),
            (Action::Execute, Form::Events) => ("/execute", EVENTS_TYPE),
            (Action::Validate, _) => ("/validate", "application/json"),
        };
        let left = until.saturating_duration_since(Instant::now());
        let request = in_flight.member().request(client, Method::POST, path);
        let mut request = request
            .ok_or(DispatchError::Unreachable)?
            .timeout(left)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, accept)
            .header(REQUEST_ID_HEADER.as_str(), &call.context.request_id)
            .header(TRACEPARENT_HEADER.as_str(), call.context.traceparent())
            .header(DEADLINE_HEADER, u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
            .body(call.body.clone());
        if let Some(caller) = &call.caller {
            request = request.header(CALLER_HEADER.as_str(), caller);
        }
        if let Some(key) = &call.key {
            request = request.header(RUN_KEY_HEADER.as_str(), key.expose_secret());
        }
        let response =
            self.with_token(request).send().await.map_err(|it| transport(&it, call.deadline))?;
        if refuses_token(response.status().as_u16()) {
            return Err(DispatchError::BadAnswer("it refused the gateway's token"));
        }
        if is_events(&response) && !(is_ok(response.status().as_u16()) && call.form == Form::Events)
        {
            return Err(DispatchError::BadAnswer("it sent events that nobody asked for"));
        }
        Ok(response)
    }

    /// A request that tells an executor something of a run that goes on there; `None` while its name
    /// does not resolve.
    pub(crate) fn tell(
        &self,
        client: &Client,
        member: &Member,
        key: &SecretString,
        what: &str,
    ) -> Option<RequestBuilder> {
        let path = format!("/runs/{}/{what}", key.expose_secret());
        Some(self.with_token(member.request(client, Method::POST, &path)?))
    }

    fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    async fn document(
        &self,
        response: Response,
        call: &Call,
    ) -> Result<(Document, Glance), DispatchError> {
        let status = response.status();
        let content_type = essence(&response);
        let content_type = match content_type.as_str() {
            "application/json" if is_ok(status.as_u16()) => "application/json",
            PROBLEM_TYPE if status.is_client_error() || status.is_server_error() => PROBLEM_TYPE,
            _ => return Err(DispatchError::BadAnswer("it has a wrong status or content type")),
        };
        let header = response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok());
        let retry_after = header.and_then(|it| it.trim().parse().ok());
        let body = self.read(response, call).await?;
        let glance = match (content_type == PROBLEM_TYPE, body.len() > INLINE_BYTES_MAX) {
            (true, _) => serde_json::from_slice::<Problem>(&body).ok().map(|_| Glance::default()),
            (false, false) => Glance::of(&body),
            (false, true) => {
                let body = body.clone();
                actix_web::web::block(move || Glance::of(&body)).await.unwrap_or(None)
            }
        };
        let Some(glance) = glance else {
            return Err(DispatchError::BadAnswer("it is not the JSON that it says it is"));
        };
        Ok((Document { status: status.as_u16(), content_type, retry_after, body }, glance))
    }

    async fn read(&self, mut response: Response, call: &Call) -> Result<Bytes, DispatchError> {
        const TOO_LARGE: DispatchError = DispatchError::BadAnswer("it is too large");
        let bytes_max = self.answer_bytes_max;
        if response.content_length().is_some_and(|it| it > bytes_max as u64) {
            return Err(TOO_LARGE);
        }
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > bytes_max => return Err(TOO_LARGE),
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body.freeze()),
                Err(error) => return Err(transport(&error, call.deadline)),
            }
        }
    }
}

/// What a failure of the transport means.
pub(crate) fn transport(error: &reqwest::Error, deadline: Duration) -> DispatchError {
    if error.is_connect() {
        DispatchError::Unreachable
    } else if error.is_timeout() {
        DispatchError::Timeout(deadline.as_secs())
    } else {
        DispatchError::Lost
    }
}

/// What a failure says of the executor.
pub(crate) fn fault(error: &DispatchError) -> Fault {
    match error {
        DispatchError::Unreachable => Fault::Unreachable,
        DispatchError::Lost | DispatchError::BadAnswer(_) | DispatchError::Timeout(_) => {
            Fault::Misbehaved
        }
    }
}

/// Logs a failure, once, with the executor that a client is not told of.
pub(crate) fn note(in_flight: &InFlight, error: &DispatchError) {
    let executor = in_flight.member().label();
    tracing::warn!(executor, "{executor} failed a request: {error}");
}

fn is_events(response: &Response) -> bool {
    essence(response) == EVENTS_TYPE
}

fn essence(response: &Response) -> String {
    let header = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = header.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Two numbers for the choice of two. Without chance the choice is still a choice.
fn random() -> (u64, u64) {
    (getrandom::u64().unwrap_or(0), getrandom::u64().unwrap_or(1))
}
