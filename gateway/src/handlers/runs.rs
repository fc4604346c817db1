//! `/v1/runs`: runs that people take part in, and the log of each as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::web::{self, Bytes};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, rt};
use reqwest::Client;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::run_begin::{Party, Wish, await_end, begin, created};
use super::run_socket::STUCK_MAX;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::events;
use crate::runs::log::State;
use crate::runs::{Access, Holder, Run, Tickets, Viewer};
use crate::shared::Shared;
use crate::wait::Wait;

/// Idle streams say this often that they are still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Lines that wait for whoever follows a stream.
const LINES_MAX: usize = 4;
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
    pub(crate) wait: Option<String>,
}

/// A run as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown<'a> {
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
    let wait = Wait::of(asked.wait.as_deref(), request.headers())?;
    let party = Party { caller: caller(&request), room: None };
    match begin(&request, payload, party, &shared, &client).await? {
        Wish::Fresh(run) | Wish::Known(run) => created(&run, &run.tickets(None), wait).await,
        Wish::Refused(response) => Ok(response),
    }
}

/// `GET /v1/runs/{id}`
pub(crate) async fn one(
    request: HttpRequest,
    id: web::Path<String>,
    asked: web::Query<Asked>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let wait = Wait::of(asked.wait.as_deref(), request.headers())?;
    let (run, holder) = find(&request, &id, &asked, &shared).await?;
    await_end(&run, wait).await?;
    let tickets = asked.ticket.is_none().then(|| run.tickets(None));
    Ok(told(&run, holder.access, tickets.as_ref(), wait))
}

/// `DELETE /v1/runs/{id}`
pub(crate) async fn stop(
    request: HttpRequest,
    id: web::Path<String>,
    asked: web::Query<Asked>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (run, Holder { access, .. }) = find(&request, &id, &asked, &shared).await?;
    if access == Access::View {
        return Err(ApiError::ReadOnly);
    }
    if run.is_over() {
        return Ok(HttpResponse::Ok().json(shown(&run, access, None)));
    }
    run.stop();
    Ok(HttpResponse::Accepted().json(shown(&run, access, None)))
}

/// `GET /v1/runs/{id}/events`
pub(crate) async fn follow(
    request: HttpRequest,
    id: web::Path<String>,
    asked: web::Query<Asked>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (run, holder) = find(&request, &id, &asked, &shared).await?;
    let last = request.headers().get("last-event-id").and_then(|it| it.to_str().ok());
    let seen = last.and_then(|it| it.parse().ok()).or(asked.since).unwrap_or(0);
    // Whoever has seen the end must not come again.
    if run.is_over() && seen >= run.read(crate::runs::log::Log::last) {
        return Ok(HttpResponse::NoContent().finish());
    }
    // Of a stream that nobody reads nobody would see the end.
    if request.method() == Method::HEAD {
        return Ok(events::response().finish());
    }
    let viewer = run.attach().ok_or(ApiError::TooManyViewers)?;
    let following = Following { run, _viewer: viewer, seen, told: 0, head: Some(RETRY) };
    let (tell, told) = mpsc::channel(LINES_MAX);
    let shared = shared.into_inner();
    drop(rt::spawn(async move {
        let run = Arc::clone(&following.run);
        tokio::select! {
            () = following.tell(tell) => {}
            () = holder.over(&run, &shared) => {}
        }
    }));
    let lines = futures::stream::unfold(told, |mut told| async move {
        let line: String = told.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(line)), told))
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
    /// Tells it all, for as long as somebody takes it. Whoever takes nothing for long is no viewer any
    /// more, and may come again for the rest.
    async fn tell(mut self, tell: mpsc::Sender<String>) {
        loop {
            let line = tokio::select! {
                line = self.next() => line,
                () = tell.closed() => None,
            };
            let Some(line) = line else { return };
            if !matches!(tokio::time::timeout(STUCK_MAX, tell.send(line)).await, Ok(Ok(()))) {
                return;
            }
        }
    }

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
pub(crate) async fn find(
    request: &HttpRequest,
    id: &str,
    asked: &Asked,
    shared: &Shared,
) -> Result<(Arc<Run>, Holder), ApiError> {
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return Err(ApiError::WrongTicket);
    };
    let run = shared.runs.find(id).ok_or(ApiError::NoRun)?;
    if let Some(ticket) = &asked.ticket {
        let holder = Holder::of(&run, ticket, shared).await?.ok_or(ApiError::WrongTicket)?;
        return Ok((run, holder));
    }
    if caller.id() == run.new.caller { Ok((run, Holder::CALLER)) } else { Err(ApiError::NoRun) }
}

fn caller(request: &HttpRequest) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anonymous)
}

/// The answer to whoever asks for a run, after it has been waited for.
pub(crate) fn told(
    run: &Run,
    access: Access,
    tickets: Option<&Tickets>,
    wait: Wait,
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    wait.tell(&mut response);
    response.json(shown(run, access, tickets))
}

/// A run as whoever may do so much with it sees it. Who came with a ticket is told none; others are
/// told those that are good for no more than that.
pub(super) fn shown<'a>(run: &'a Run, access: Access, tickets: Option<&'a Tickets>) -> Shown<'a> {
    let full = tickets.filter(|_| access == Access::Full);
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
        ticket: full.map(|it| it.full.expose_secret()),
        view_ticket: tickets.map(|it| it.view.expose_secret()),
        links,
        report: log.ended().and_then(|it| it.report.clone()),
        problem: log.ended().and_then(|it| it.problem.clone()),
    })
}
