//! `/v1/runs`: runs that people take part in, and the log of each as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::web::{self, Bytes};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use reqwest::Client;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use telemetry::RequestContext;
use tokio::sync::oneshot;

use crate::admission::{Action, check_media_type};
use crate::auth::Caller;
use crate::body::{self, BodyBounds};
use crate::dispatch::{Call, Form};
use crate::envelope::LanguageLabel;
use crate::error::ApiError;
use crate::events;
use crate::handlers::execute::{admit_body, body_bytes_max, content_type, explained, whole};
use crate::handlers::jobs::{header_key, wait_time};
use crate::runs::log::State;
use crate::runs::{Access, Begun, Created, NewRun, Run, Viewer, drive};
use crate::settings::seconds;
use crate::shared::Shared;

/// How long a new run is waited for to be taken or refused, before it is told as queued.
const BEGIN_PATIENCE: Duration = Duration::from_secs(2);
/// Idle streams say this often that they are still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a stream begins with: how long browsers wait before they come again, in milliseconds.
const RETRY: &str = "retry: 1000\n\n";

/// What may be asked of a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Instead of an API key.
    pub(crate) ticket: Option<String>,
    /// The number of the last event that is known.
    pub(crate) since: Option<u64>,
    /// Who types.
    pub(crate) name: Option<String>,
    /// How long to wait for its end: seconds, with an `s` or without.
    wait: Option<String>,
}

/// A run as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: &'a str,
    state: State,
    language: &'a str,
    created_at: String,
    interactive: bool,
    tty: bool,
    viewers: usize,
    last_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    view_ticket: Option<&'a str>,
    links: Links,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
struct Links {
    #[serde(rename = "self")]
    own: String,
    events: String,
    ws: String,
}

/// `POST /v1/runs`
pub(crate) async fn start(
    request: HttpRequest,
    payload: web::Payload,
    asked: web::Query<Asked>,
    shared: web::Data<Shared>,
    client: web::Data<Client>,
) -> Result<HttpResponse, ApiError> {
    if shared.drain.is_draining() {
        return Err(ApiError::Ending);
    }
    check_media_type(content_type(request.headers()).as_deref())?;
    let wait = wait_time(asked.wait.as_deref())?;
    let key = header_key(request.headers())?;
    let snapshot = shared.fleet.snapshot(&shared.fleet.members(), Instant::now());
    let bounds =
        BodyBounds { bytes_max: body_bytes_max(&snapshot), seconds: shared.settings.body_seconds };
    let body = body::read(&request, payload, &shared.bodies, bounds).await?;
    let allowance = seconds(shared.settings.allowance_seconds);
    let (admitted, label) = admit_body(Action::Execute, &body.bytes, snapshot, allowance).await?;
    request.extensions_mut().insert(LanguageLabel(label.clone()));
    let caller = caller(&request);
    let digest = || Sha256::digest(&body.bytes).into();
    let new = NewRun {
        caller: caller.id(),
        idempotency: key.map(|key| (key, digest())),
        language: if label.is_empty() { admitted.language.clone() } else { label },
        interactive: admitted.interactive,
    };
    let context = request.extensions().get::<RequestContext>().cloned();
    let run = match shared.runs.create(new, Instant::now())? {
        Created::Known(run) => run,
        Created::Fresh(run, controls) => {
            // Nobody can look at it before they are told of it.
            let _viewer = run.attach();
            let counted =
                shared.running.enter(&caller).inspect_err(|_| shared.runs.forget(&run))?;
            let call = Call {
                action: Action::Execute,
                body: body.bytes.clone(),
                language: admitted.language,
                form: Form::Events,
                context: context.unwrap_or_else(|| RequestContext::from_headers(None, None)),
                caller: caller.id(),
                deadline: admitted.deadline,
                key: Some(run.secrets.key.clone()),
            };
            let (begun, begins) = oneshot::channel();
            let (shared_too, client) = (shared.clone().into_inner(), Client::clone(&client));
            let driving = drive(Arc::clone(&run), shared_too, client, call, (controls, begun));
            // It goes on whatever becomes of this request, and ends with the worker.
            drop(tokio::spawn(async move {
                driving.await;
                drop((counted, body));
            }));
            if let Some(refusal) = refusal(begins, &shared).await {
                shared.runs.forget(&run);
                return refusal;
            }
            run
        }
    };
    if !wait.is_zero() {
        let _viewer = run.attach().ok_or(ApiError::TooManyViewers)?;
        drop(tokio::time::timeout(wait, run.over()).await);
    }
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/v1/runs/{}", run.id)));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.json(shown(&run, Access::Full, true)))
}

/// What to answer if a run is refused soon.
async fn refusal(
    begins: oneshot::Receiver<Begun>,
    shared: &Shared,
) -> Option<Result<HttpResponse, ApiError>> {
    match tokio::time::timeout(BEGIN_PATIENCE, begins).await {
        Ok(Ok(Begun::Refused(document))) => Some(Ok(whole(document))),
        Ok(Ok(Begun::Failed(error))) => Some(Err(explained(error, shared))),
        Ok(Ok(Begun::Taken)) | Err(_) => None,
        Ok(Err(_)) => Some(Err(ApiError::Internal)),
    }
}

/// `GET /v1/runs/{id}`
pub(crate) async fn one(
    request: HttpRequest,
    id: web::Path<String>,
    asked: web::Query<Asked>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (run, access) = find(&request, &id, &asked, &shared)?;
    let wait = wait_time(asked.wait.as_deref())?;
    if !wait.is_zero() {
        let _viewer = run.attach().ok_or(ApiError::TooManyViewers)?;
        drop(tokio::time::timeout(wait, run.over()).await);
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.json(shown(&run, access, asked.ticket.is_none())))
}

/// `DELETE /v1/runs/{id}`
pub(crate) async fn stop(
    request: HttpRequest,
    id: web::Path<String>,
    asked: web::Query<Asked>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (run, access) = find(&request, &id, &asked, &shared)?;
    if access == Access::View {
        return Err(ApiError::ReadOnly);
    }
    if run.is_over() {
        return Ok(HttpResponse::Ok().json(shown(&run, access, false)));
    }
    run.stop();
    Ok(HttpResponse::Accepted().json(shown(&run, access, false)))
}

/// `GET /v1/runs/{id}/events`
pub(crate) async fn follow(
    request: HttpRequest,
    id: web::Path<String>,
    asked: web::Query<Asked>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (run, _) = find(&request, &id, &asked, &shared)?;
    let last = request.headers().get("last-event-id").and_then(|it| it.to_str().ok());
    let seen = last.and_then(|it| it.parse().ok()).or(asked.since).unwrap_or(0);
    // Whoever has seen the end must not come again.
    if run.is_over() && seen >= run.read(crate::runs::log::Log::last) {
        return Ok(HttpResponse::NoContent().finish());
    }
    let viewer = run.attach().ok_or(ApiError::TooManyViewers)?;
    let begin = Following { run, _viewer: viewer, seen, told: 0, head: Some(RETRY) };
    let lines = futures::stream::unfold(begin, |mut following| async move {
        let line = following.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(line)), following))
    });
    Ok(events::response().streaming(lines))
}

/// Somebody who follows a log.
struct Following {
    run: Arc<Run>,
    _viewer: Viewer,
    seen: u64,
    /// How often it was told what the run has spent.
    told: u64,
    head: Option<&'static str>,
}

impl Following {
    /// The next lines; none behind the last event.
    async fn next(&mut self) -> Option<String> {
        if let Some(head) = self.head.take() {
            return Some(head.to_owned());
        }
        let mut changes = self.run.changes();
        loop {
            changes.mark_unchanged();
            // Asked before the event is, so that none comes in between.
            let is_over = self.run.is_over();
            if let Some(entry) = self.run.after(self.seen) {
                self.seen = entry.seq;
                let (seq, name, text) = (entry.seq, entry.name, entry.text);
                return Some(format!("id: {seq}\nevent: {name}\ndata: {text}\n\n"));
            }
            if is_over {
                return None;
            }
            if let Some(spent) = self.run.spent_after(self.told) {
                self.told = spent.count;
                // Without an id: whoever comes back goes on behind the last event.
                return Some(format!("event: stats\ndata: {}\n\n", spent.text));
            }
            match tokio::time::timeout(KEEP_ALIVE, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(": keep-alive\n\n".to_owned()),
            }
        }
    }
}

/// A run, and what whoever asks may do with it. Those of others are not there.
pub(crate) fn find(
    request: &HttpRequest,
    id: &str,
    asked: &Asked,
    shared: &Shared,
) -> Result<(Arc<Run>, Access), ApiError> {
    let run = shared.runs.find(id).ok_or(ApiError::NoRun)?;
    if let Some(ticket) = &asked.ticket {
        let access = run.access(ticket).ok_or(ApiError::WrongTicket)?;
        return Ok((run, access));
    }
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return Err(ApiError::WrongTicket);
    };
    if caller.id() == run.new.caller { Ok((run, Access::Full)) } else { Err(ApiError::NoRun) }
}

fn caller(request: &HttpRequest) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anonymous)
}

/// A run as its caller sees it, or whoever has a ticket: those get none.
fn shown(run: &Run, access: Access, is_callers: bool) -> Shown<'_> {
    let tells = is_callers && access == Access::Full;
    let base = format!("/v1/runs/{}", run.id);
    let links =
        Links { events: format!("{base}/events"), ws: format!("{base}/ws"), own: base.clone() };
    let interactive = run.new.interactive;
    run.read(|log| Shown {
        id: &run.id,
        state: log.state(),
        language: &run.new.language,
        created_at: run.created_at.to_string(),
        interactive: interactive.is_some(),
        tty: interactive.is_some_and(|it| it.terminal.is_some()),
        viewers: run.viewers(),
        last_seq: log.last(),
        ticket: tells.then(|| run.secrets.ticket.expose_secret()),
        view_ticket: tells.then(|| run.secrets.view_ticket.expose_secret()),
        links,
        report: log.ended().and_then(|it| it.report.clone()),
        problem: log.ended().and_then(|it| it.problem.clone()),
    })
}
