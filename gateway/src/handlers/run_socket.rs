//! `/v1/runs/{id}/ws`: the log of a run as messages, and what its viewers say to it.
//!
//! Invariant: nothing is kept for a viewer beside what is on its way. Each reads the log at its own
//! pace, and whoever does not read is cut off and may come back for the rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web;
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{
    AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session,
};

use super::runs::{Asked, find};
use crate::error::ApiError;
use crate::origin::may_call;
use crate::runs::inlet::{BYTES_MAX, NotTaken};
use crate::runs::log::{Entry, Event};
use crate::runs::message::{self, Said};
use crate::runs::{Access, Holder, Run, Viewer};
use crate::shared::Shared;

/// What we speak.
const PROTOCOL: &str = "run.v1.json";
/// Largest message of a viewer: the most that may be typed at once, escaped.
const MESSAGE_BYTES_MAX: usize = 512 << 10;
/// Messages that a viewer may send in a second.
const MESSAGES_MAX: u32 = 500;
/// Longest name of a viewer, in characters.
const NAME_MAX: usize = 64;
/// An idle connection is shown to be alive this often.
const PING: Duration = Duration::from_secs(20);
/// How often it is looked at a viewer that takes nothing.
const LOOK: Duration = Duration::from_secs(1);
/// What a viewer that takes nothing may leave lying, in bytes.
const UNREAD_BYTES_MAX: usize = 1 << 20;
/// How long it may take nothing, however little that is.
pub(super) const STUCK_MAX: Duration = Duration::from_secs(30);
/// How long the last word to a viewer may take.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// Why a connection is closed, as viewers are told. Clients do not come back after 4400 to 4499.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Over,
    NoTicket,
    WrongOrigin,
    NoRun,
    Unsure,
    TooLarge,
    Slow,
    Draining,
    TooFast,
    TooMany,
    /// The viewer is gone, or said that it goes.
    Left,
}

impl End {
    fn reason(self) -> Option<CloseReason> {
        let (code, text) = match self {
            Self::Over => (1000, "the run is over"),
            Self::NoTicket => (4401, "open it with one of the run's tickets, or an API key"),
            Self::WrongOrigin => (4403, "this page's origin may not; see GATEWAY_CORS_ORIGINS"),
            Self::NoRun => (4404, "there is no such run"),
            Self::Unsure => (4503, "tickets cannot be looked up now; come back"),
            Self::TooLarge => (4413, "a message is too large"),
            Self::Slow => (4500, "read faster; come back with the last `seq` as `since`"),
            Self::Draining => (4503, "this gateway ends"),
            Self::TooFast => (4529, "too many messages; send fewer"),
            Self::TooMany => (4531, "too many look at this run already"),
            Self::Left => return None,
        };
        Some(CloseReason { code: CloseCode::from(code), description: Some(text.to_owned()) })
    }
}

/// `GET /v1/runs/{id}/ws`
pub(crate) async fn open(
    request: HttpRequest,
    id: web::Path<String>,
    asked: web::Query<Asked>,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (response, session, messages) =
        actix_ws::handle_with_protocols(&request, payload, &[PROTOCOL])
            .map_err(|_no_handshake| ApiError::NotWebSocket)?;
    let messages = messages
        .max_frame_size(MESSAGE_BYTES_MAX)
        .aggregate_continuations()
        .max_continuation_size(MESSAGE_BYTES_MAX);
    let let_in = let_in(&request, &id, &asked, &shared).await;
    let (since, name) = (asked.since.unwrap_or(0), asked.name.as_deref().map(shown_name));
    let shared = shared.into_inner();
    drop(actix_web::rt::spawn(async move {
        let mut session = session;
        let end = match let_in {
            Ok((run, holder, viewer)) => {
                let seen = since.min(run.read(crate::runs::log::Log::last));
                let mut line = Line {
                    run: Arc::clone(&run),
                    access: holder.access,
                    _viewer: viewer,
                    name,
                    seen,
                    told: 0,
                    typist: None,
                    wants_room: false,
                    pace: Pace::new(),
                };
                tokio::select! {
                    end = Box::pin(line.serve(&mut session, messages, &shared)) => end,
                    () = holder.over(&run, &shared) => End::NoTicket,
                }
            }
            Err(end) => end,
        };
        if let Some(reason) = end.reason() {
            // Whoever takes nothing is not waited for.
            drop(tokio::time::timeout(CLOSE_TIME_MAX, session.close(Some(reason))).await);
        }
    }));
    Ok(response)
}

async fn let_in(
    request: &HttpRequest,
    id: &str,
    asked: &Asked,
    shared: &Shared,
) -> Result<(Arc<Run>, Holder, Viewer), End> {
    if !may_call(request.headers(), &shared.settings.cors_origins) {
        return Err(End::WrongOrigin);
    }
    let found = find(request, id, asked, shared).await;
    let (run, holder) = found.map_err(|error| match error {
        ApiError::WrongTicket => End::NoTicket,
        ApiError::Room(_) => End::Unsure,
        _ => End::NoRun,
    })?;
    let viewer = run.attach().ok_or(End::TooMany)?;
    Ok((run, holder, viewer))
}

/// A name that can be shown to others.
pub(super) fn shown_name(name: &str) -> String {
    name.chars().filter(|it| !it.is_control()).take(NAME_MAX).collect()
}

/// How many messages a viewer may still send.
#[derive(Debug)]
struct Pace {
    since: Instant,
    count: u32,
}

impl Pace {
    fn new() -> Self {
        Self { since: Instant::now(), count: 0 }
    }

    /// Counts a message. False if there were too many in this second.
    fn count(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, count: 0 };
        }
        self.count += 1;
        self.count <= MESSAGES_MAX
    }
}

/// One viewer's connection.
struct Line {
    run: Arc<Run>,
    access: Access,
    _viewer: Viewer,
    name: Option<String>,
    /// The number of the last event that was sent.
    seen: u64,
    /// How often it was told what the run has spent.
    told: u64,
    /// By which name it typed last.
    typist: Option<String>,
    /// Whether the viewer was told to wait before it types more.
    wants_room: bool,
    pace: Pace,
}

impl Line {
    /// Sends what is in the log and hears what the viewer says, until one of them ends.
    async fn serve(
        &mut self,
        session: &mut Session,
        mut messages: AggregatedMessageStream,
        shared: &Shared,
    ) -> End {
        let mut changes = self.run.changes();
        let mut room = self.run.inlet.changes();
        let mut look = tokio::time::interval(LOOK);
        let mut moved = Instant::now();
        let mut heard = Instant::now();
        loop {
            changes.mark_unchanged();
            let is_over = self.run.is_over();
            let next = self.run.after(self.seen);
            if next.is_none() && is_over {
                return End::Over;
            }
            let spent = match next {
                Some(_) => None,
                None => self.run.spent_after(self.told),
            };
            let text = next.as_ref().map(|it| &it.text).or(spent.as_ref().map(|it| &it.text));
            let is_idle = text.is_none();
            let outcome = tokio::select! {
                biased;
                message = messages.recv() => {
                    heard = Instant::now();
                    self.hear(message, session).await
                }
                () = shared.drain.begun(), if !is_over => Some(End::Draining),
                sent = send(session, text.map(|it| &**it)), if !is_idle => {
                    moved = Instant::now();
                    match &spent {
                        Some(spent) => self.told = spent.count,
                        None => self.seen += 1,
                    }
                    (!sent).then_some(End::Left)
                }
                _ = changes.changed(), if is_idle => {
                    moved = Instant::now();
                    None
                }
                _ = room.changed(), if self.wants_room => self.tell_of_room(session).await,
                _ = look.tick() => {
                    if is_idle {
                        if heard.elapsed() >= PING {
                            heard = Instant::now();
                            ping(session.clone());
                        }
                        moved = Instant::now();
                    }
                    self.is_stuck(next.as_ref(), moved.elapsed()).then_some(End::Slow)
                }
            };
            if let Some(end) = outcome {
                return end;
            }
        }
    }

    /// Whether a viewer that did not take the next event for so long is to be cut off.
    fn is_stuck(&self, next: Option<&Entry>, still: Duration) -> bool {
        let Some(next) = next else { return false };
        let start = next.end.saturating_sub(next.text.len());
        let unread = self.run.read(crate::runs::log::Log::bytes).saturating_sub(start);
        still >= STUCK_MAX || (still >= LOOK && unread > UNREAD_BYTES_MAX)
    }

    /// Does what a message says. Returns why the connection is to end, if it is.
    async fn hear(
        &mut self,
        message: Option<Result<AggregatedMessage, ProtocolError>>,
        session: &mut Session,
    ) -> Option<End> {
        if !self.pace.count(Instant::now()) {
            return Some(End::TooFast);
        }
        let answer = match message {
            Some(Err(ProtocolError::Overflow)) => return Some(End::TooLarge),
            None | Some(Ok(AggregatedMessage::Close(_)) | Err(_)) => return Some(End::Left),
            Some(Ok(AggregatedMessage::Ping(bytes))) => {
                return said(session.pong(&bytes).await.is_ok());
            }
            Some(Ok(AggregatedMessage::Pong(_))) => return None,
            Some(Ok(AggregatedMessage::Binary(_))) => {
                message::error("bad_message", "send text, one JSON object a message")
            }
            Some(Ok(AggregatedMessage::Text(text))) => match message::parse(&text) {
                Err(detail) => message::error("bad_message", &detail),
                Ok(Said::Stdin { bytes, .. }) if bytes.len() > BYTES_MAX => {
                    return Some(End::TooLarge);
                }
                Ok(what) => self.obey(what),
            },
        };
        if answer.is_empty() {
            return None;
        }
        said(session.text(answer).await.is_ok())
    }

    /// Does what a viewer wants, and returns what it is answered: nothing, if all is well.
    fn obey(&mut self, what: Said) -> String {
        if what == Said::Ping {
            return message::pong();
        }
        if self.access == Access::View {
            return message::error("read_only", "this ticket is good for looking only");
        }
        if self.run.is_over() {
            return message::error("over", "the run is over");
        }
        match what {
            Said::Ping => message::pong(),
            Said::Control(control) if self.run.control(control) => String::new(),
            Said::Control(_) => message::error("busy", "too much waits for the program already"),
            Said::Stdin { .. } | Said::Eof if self.run.new.interactive.is_none() => message::error(
                "not_interactive",
                "begin the run with `interactive` to type into it",
            ),
            Said::Eof => {
                let ended = self.run.inlet.end();
                self.wants_room |= matches!(ended, Err(NotTaken::Full(_)));
                message::answer(ended)
            }
            Said::Stdin { bytes, who, from } => {
                let taken = self.run.inlet.type_in(who.as_deref(), from, &bytes);
                let fresh = taken.map_or(0, |it| it.fresh);
                if let (1.., Some(name)) = (fresh, &self.name) {
                    let fresh = bytes.get(bytes.len() - fresh..).unwrap_or_default();
                    self.run.add(&Event::Stdin(fresh.to_vec(), name.clone()));
                }
                self.wants_room |= matches!(taken, Err(NotTaken::Full(_)));
                self.typist = who;
                message::answer(taken.map(|it| it.bytes))
            }
        }
    }

    /// Tells a viewer that had to wait that it may type on.
    async fn tell_of_room(&mut self, session: &mut Session) -> Option<End> {
        if !self.run.inlet.has_room() {
            return None;
        }
        self.wants_room = false;
        let bytes = self.run.inlet.taken_of(self.typist.as_deref());
        said(session.text(message::room(bytes)).await.is_ok())
    }
}

/// What became of saying something.
fn said(is_sent: bool) -> Option<End> {
    (!is_sent).then_some(End::Left)
}

/// Sends a text, if there is one. False if the viewer is gone. Dropped before it is done, nothing
/// was sent.
async fn send(session: &mut Session, text: Option<&str>) -> bool {
    match text {
        Some(text) => session.text(text).await.is_ok(),
        None => std::future::pending().await,
    }
}

/// Asks a silent viewer whether it is there; the answer comes as a message.
fn ping(mut session: Session) {
    drop(actix_web::rt::spawn(async move {
        session.ping(b"").await.unwrap_or_default();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_may_say_so_much_in_a_second() {
        let mut pace = Pace::new();
        let now = pace.since;
        assert!((0..MESSAGES_MAX).all(|_| pace.count(now)));
        assert!(!pace.count(now));
        assert!(pace.count(now + Duration::from_secs(1)));
    }

    #[test]
    fn a_name_is_shown_without_what_could_harm() {
        assert_eq!(shown_name("a\u{1b}[2Jnn\n"), "a[2Jnn");
        assert_eq!(shown_name(&"x".repeat(100)).len(), NAME_MAX);
    }
}
