//! `/collab/{roomId}`: a client's connection to a room, by WebSocket, in the words of `y-websocket`.
//!
//! Whoever may not enter is let in and shown out with a code: clients come again for ever when the
//! upgrade itself is refused.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::error::PayloadError;
use actix_web::web::{self, Bytes};
use actix_web::{FromRequest as _, HttpMessage as _, HttpRequest, HttpResponse, dev, rt};
use actix_ws::{
    AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Closed, ProtocolError,
    Session,
};
use documents::{Close, Member, Out, RoomId, Rooms};
use futures::{Stream, StreamExt as _};
use serde::Deserialize;
use telemetry::RequestContext;
use tokio::time::{interval, timeout};

use crate::audit::Act;
use crate::auth::{Caller, Role};
use crate::error::ApiError;
use crate::origin::may_call;
use crate::rate_limit::{self, Subject};
use crate::rooms::{self, Presence, RoomError};
use crate::shared::Shared;

/// How often a client is asked whether it is there.
const PING_PERIOD: Duration = Duration::from_secs(20);
/// Who says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// How long a client may take to read what fits nowhere on the way.
const STALL_MAX: Duration = Duration::from_secs(30);
/// What may be under way to a client, in bytes, before it has answered that it read so far; and after
/// how much of it it is asked.
const WINDOW_BYTES: usize = 1 << 20;
const MARK_BYTES: usize = 256 << 10;
/// What is still read of a frame that is too large, so that its sender gets to read why.
const REFUSED_BYTES_MAX: usize = 16 << 20;
/// How long that may take, and how long after the last of it.
const REFUSED_TIME_MAX: Duration = Duration::from_secs(5);
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// How it is written down that somebody came in.
const ENTERED: u16 = 101;

/// What may stand behind the path. Clients add parameters of their own.
#[derive(Debug, Deserialize)]
struct Asked {
    ticket: Option<String>,
}

/// `GET /collab/{roomId}`
pub(crate) async fn enter(
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let rooms = shared.rooms()?;
    let source = Source(Rc::new(RefCell::new(payload.into_inner())));
    let mut body: dev::Payload = dev::Payload::Stream { payload: Box::pin(source.clone()) };
    let body = web::Payload::from_request(&request, &mut body).into_inner();
    let body = body.or(Err(ApiError::Internal))?;
    let upgraded = actix_ws::handle(&request, body);
    let (response, session, stream) = upgraded.or(Err(RoomError::NotWebSocket))?;
    let bytes_max = rooms.limits().frame_bytes;
    let stream = stream.max_frame_size(bytes_max).aggregate_continuations();
    let stream = stream.max_continuation_size(bytes_max);
    // Nothing that the client sends is looked at before it is known who it is.
    match admit(&request, &id, rooms, &shared).await {
        Ok((member, present)) => {
            let window = Window::default();
            let line = Line { session, stream, source, member, window };
            rt::spawn(async move {
                line.serve().await;
                drop(present);
            });
        }
        Err(close) => {
            tracing::debug!(code = close.code(), "a client may not enter: {}", close.reason());
            rt::spawn(end(session, Some(reason(close))));
        }
    }
    Ok(response)
}

/// Lets a client into a room, by its ticket or its key.
async fn admit(
    request: &HttpRequest,
    id: &str,
    rooms: &Rooms,
    shared: &Shared,
) -> Result<(Member, rooms::Present), Close> {
    let headers = request.headers();
    if !may_call(headers, &shared.settings.cors_origins) {
        return Err(Close::Forbidden);
    }
    let address = address(request, shared);
    // Guessing tickets and keys is limited by address.
    shared.rate_limit.take(&address).or(Err(Close::RateLimited))?;
    let id: RoomId = id.parse().or(Err(Close::NoRoom))?;
    let room = rooms.room(&id).await.map_err(|error| {
        tracing::error!("a room cannot be looked up: {error}");
        Close::from(&error)
    })?;
    let room = room.ok_or(Close::NoRoom)?;
    let asked = web::Query::<Asked>::from_query(request.query_string());
    let (role, invitation) = if let Some(ticket) = asked.ok().and_then(|it| it.into_inner().ticket)
    {
        let ticket = rooms::redeem(rooms, &id, &ticket).await?;
        (ticket.role, ticket.invitation)
    } else {
        let caller = shared.keys.authenticate(headers).or(Err(Close::Unauthorized))?;
        if !caller.may(Role::Submit) {
            write_down(request, &caller, shared, Some(Close::Forbidden));
            return Err(Close::Forbidden);
        }
        let role = rooms::role_of(&caller.id().unwrap_or_default(), &room).ok_or(Close::NoRoom);
        write_down(request, &caller, shared, role.err());
        (role?, None)
    };
    let presence: &Presence = &shared.presence;
    let present = presence.enter(address, id.clone()).ok_or(Close::RateLimited)?;
    Ok((rooms.join(&id, role, invitation).await?, present))
}

/// Writes down that a key was used to enter, as every request is: with the code of the close where it
/// did not come in.
fn write_down(request: &HttpRequest, caller: &Caller, shared: &Shared, refused: Option<Close>) {
    let context = request.extensions().get::<RequestContext>().map(|it| it.request_id.clone());
    let act = Act {
        method: request.method().as_str(),
        path: request.path(),
        status: refused.map_or(ENTERED, Close::code),
        request_id: &context.unwrap_or_default(),
    };
    let peer = request.peer_addr().map(|it| it.ip());
    let trusts = shared.settings.trust_forwarded_for;
    let address = rate_limit::address(peer, request.headers(), trusts);
    shared.audit.write(caller, address, &act);
}

fn address(request: &HttpRequest, shared: &Shared) -> Subject {
    let peer = request.peer_addr().map(|it| it.ip());
    let trusts = shared.settings.trust_forwarded_for;
    rate_limit::subject(&Caller::Anonymous, peer, request.headers(), trusts)
}

/// What a client sends. It can still be read when it is no WebSocket any more.
#[derive(Clone)]
struct Source(Rc<RefCell<dev::Payload>>);

impl Stream for Source {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

/// A client that is in a room.
struct Line {
    session: Session,
    stream: AggregatedMessageStream,
    source: Source,
    member: Member,
    window: Window,
}

/// What is under way to a client. The library that sends takes many frames before it has us wait, and
/// who does not read would have us keep them.
#[derive(Default)]
struct Window {
    /// All of it, in bytes.
    bytes: usize,
    /// What was sent since the client was asked last.
    unmarked: usize,
    /// What was sent before each question that it has not answered yet.
    marks: VecDeque<usize>,
    /// The number of the first of them.
    first: u32,
}

impl Window {
    fn is_open(&self) -> bool {
        self.bytes < WINDOW_BYTES
    }

    /// Notes that so much was sent. Returns the number of a question that is to be asked.
    fn sent(&mut self, bytes: usize) -> Option<u32> {
        self.bytes += bytes;
        self.unmarked += bytes;
        if self.unmarked < MARK_BYTES {
            return None;
        }
        self.marks.push_back(std::mem::take(&mut self.unmarked));
        let asked = u32::try_from(self.marks.len()).unwrap_or(u32::MAX);
        Some(self.first.wrapping_add(asked - 1))
    }

    /// Notes that a question was answered, and those before it with it.
    fn answered(&mut self, number: u32) {
        let answered = number.wrapping_sub(self.first) as usize;
        // What was never asked is no answer.
        if answered < self.marks.len() {
            self.bytes -= self.marks.drain(..=answered).sum::<usize>();
            self.first = number.wrapping_add(1);
        }
    }
}

impl Line {
    /// Carries frames both ways until one side ends it.
    async fn serve(mut self) {
        let mut pings = interval(PING_PERIOD);
        let mut heard_at = Instant::now();
        let last_word = loop {
            tokio::select! {
                out = self.member.next(), if self.window.is_open() => match out {
                    Out::Frame(frame) => if self.send(frame).await.is_err() {
                        return;
                    },
                    Out::Close(close) => break Some(reason(close)),
                },
                message = self.stream.recv() => {
                    heard_at = Instant::now();
                    match message {
                        Some(Ok(AggregatedMessage::Binary(frame))) => self.member.send(frame).await,
                        Some(Ok(AggregatedMessage::Ping(bytes))) => {
                            if self.session.pong(&bytes).await.is_err() {
                                return;
                            }
                        }
                        Some(Ok(AggregatedMessage::Pong(bytes))) => {
                            if let Ok(number) = <[u8; 4]>::try_from(&bytes[..]) {
                                self.window.answered(u32::from_be_bytes(number));
                            }
                        }
                        Some(Ok(AggregatedMessage::Text(_))) => break Some(reason(Close::Malformed)),
                        Some(Ok(AggregatedMessage::Close(told))) => break told,
                        Some(Err(ProtocolError::Overflow)) => {
                            // An answer sent against a sender who still writes is lost to a reset.
                            discard(self.source.clone()).await;
                            break Some(reason(Close::TooLarge));
                        }
                        Some(Err(_)) | None => return,
                    }
                }
                _ = pings.tick() => {
                    if heard_at.elapsed() > SILENCE_MAX || self.session.ping(b"").await.is_err() {
                        return;
                    }
                }
            }
        };
        drop(self.member);
        end(self.session, last_word).await;
    }

    /// Sends a frame, and now and then asks whether it was read.
    async fn send(&mut self, frame: Bytes) -> Result<(), Closed> {
        let bytes = frame.len();
        let sending = async {
            self.session.binary(frame).await?;
            match self.window.sent(bytes) {
                Some(number) => self.session.ping(&number.to_be_bytes()).await,
                None => Ok(()),
            }
        };
        timeout(STALL_MAX, sending).await.unwrap_or(Err(Closed))
    }
}

/// Says why, if there is still somebody who listens.
async fn end(session: Session, last_word: Option<CloseReason>) {
    drop(timeout(STALL_MAX, session.close(last_word)).await);
}

fn reason(close: Close) -> CloseReason {
    let description = Some(close.reason().to_owned());
    CloseReason { code: CloseCode::Other(close.code()), description }
}

/// Reads on and forgets, until nothing comes for a while.
async fn discard(mut source: Source) {
    let reading = async {
        let mut read = 0;
        while let Ok(Some(Ok(chunk))) = timeout(REFUSED_PAUSE, source.next()).await {
            read += chunk.len();
            if read > REFUSED_BYTES_MAX {
                return;
            }
        }
    };
    // A sender that takes longer has lost its claim to the answer.
    drop(timeout(REFUSED_TIME_MAX, reading).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_read_is_sent_no_more() {
        let mut window = Window::default();
        assert_eq!(window.sent(MARK_BYTES - 1), None);
        assert_eq!(window.sent(1), Some(0));
        assert_eq!(window.sent(WINDOW_BYTES), Some(1));
        assert!(!window.is_open());
        window.answered(7);
        window.answered(0);
        assert!(!window.is_open());
        window.answered(0);
        window.answered(1);
        assert!(window.is_open());
        assert_eq!(window.sent(MARK_BYTES), Some(2));
        assert_eq!((window.sent(MARK_BYTES), window.sent(9)), (Some(3), None));
        // Only the last question has to be answered.
        window.answered(3);
        assert_eq!(window.bytes, 9);
    }
}
