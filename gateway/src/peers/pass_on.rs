//! Passes a request on to another gateway, and its answer back: a document, events, or a web socket
//! byte by byte.

use std::convert::Infallible;
use std::fmt::Display;
use std::time::Duration;

use actix_http::ws::{CloseCode, CloseReason, Parser, verify_handshake};
use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::HeaderName;
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, HttpResponseBuilder};
use futures::{Stream, StreamExt as _};
use reqwest::{Client, RequestBuilder, Response, Upgraded};
use telemetry::{REQUEST_ID_HEADER, RequestContext, TRACEPARENT_HEADER};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use super::frames::Frames;
use super::{Elsewhere, PASSED_ON};
use crate::error::ApiError;
use crate::events::EVENTS_TYPE;
use crate::rate_limit;
use crate::shared::Shared;

/// What a request says of who asks, and for what.
const ASKED: [&str; 6] =
    ["accept", "authorization", "x-api-key", "room-invitation", "last-event-id", "prefer"];
/// What it says beside that if it begins a web socket.
const ASKED_OF_SOCKET: [&str; 4] = [
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];
/// What an answer says of itself; the rest is added here as it is to every answer.
const ANSWERED: [&str; 11] = [
    "content-type",
    "cache-control",
    "preference-applied",
    "retry-after",
    "x-accel-buffering",
    "www-authenticate",
    "allow",
    "sec-websocket-accept",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];
/// The status of an answer behind which a web socket begins.
const SWITCHED: u16 = 101;
/// Those of answers that have no body.
const EMPTY: [u16; 2] = [204, 304];
/// How long the other gateway has to begin its answer, beside what the request waits for.
const HEAD_TIME_MAX: Duration = Duration::from_secs(75);
/// A socket that is silent for so long has ended: gateways ask all the time whether somebody is there.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// The code of a socket that ends here, or whose gateway ended without a word.
const ENDING: u16 = 4503;
/// Read at a time, in bytes.
const CHUNK: usize = 8 << 10;

/// What another gateway answers.
pub(super) async fn pass_on(
    request: &HttpRequest,
    payload: Payload,
    place: Elsewhere,
    shared: &web::Data<Shared>,
    client: &Client,
) -> Result<HttpResponse, ApiError> {
    let is_socket = request.path().ends_with("/ws") && verify_handshake(request.head()).is_ok();
    let asked = asked(request, place, (shared, client), is_socket)?.send();
    let answer = timeout(HEAD_TIME_MAX, asked).await.map_err(out_of_reach)?;
    // Its address has tickets in it, which are not to be written down.
    let answer = answer.map_err(|it| out_of_reach(it.without_url()))?;
    let mut response = begun(&answer)?;
    let (status, is_head) = (answer.status().as_u16(), request.method() == Method::HEAD);
    if status == SWITCHED && is_socket {
        let socket = answer.upgrade().await.map_err(|it| out_of_reach(it.without_url()))?;
        let (reads, writes) = split(socket);
        // It ends when either side does.
        drop(actix_web::rt::spawn(to_gateway(payload, writes)));
        return Ok(response.upgrade("websocket").streaming(to_viewer(reads, shared.clone())));
    }
    if status == SWITCHED {
        return Err(out_of_reach("it begins a web socket that nobody asked for"));
    }
    if is_head || EMPTY.contains(&status) {
        return Ok(response.finish());
    }
    let kind = answer.headers().get("content-type").map(|it| it.as_bytes().to_owned());
    if kind.is_some_and(|it| it.starts_with(EVENTS_TYPE.as_bytes())) {
        let shared = shared.clone();
        let ends = Box::pin(async move { shared.drain.begun().await });
        return Ok(response.streaming(answer.bytes_stream().take_until(ends)));
    }
    // Its end is known by its length, also on a connection that was to become a socket.
    let length = answer.content_length().ok_or_else(|| out_of_reach("its answer has no length"))?;
    Ok(response.no_chunking(length).streaming(answer.bytes_stream()))
}

fn out_of_reach(error: impl Display) -> ApiError {
    tracing::warn!("a gateway that has announced itself cannot be asked for a run: {error}");
    ApiError::RunOutOfReach
}

/// A request for the same as a request.
fn asked(
    request: &HttpRequest,
    Elsewhere { url, token }: Elsewhere,
    (shared, client): (&Shared, &Client),
    is_socket: bool,
) -> Result<RequestBuilder, ApiError> {
    let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes());
    let mut asked = client.request(method.map_err(out_of_reach)?, url);
    asked = asked.header(PASSED_ON.as_str(), token);
    let of_socket = ASKED_OF_SOCKET.iter().filter(|_| is_socket);
    for name in ASKED.iter().chain(of_socket) {
        for value in request.headers().get_all(*name) {
            asked = asked.header(*name, value.as_bytes());
        }
    }
    if let Some(context) = request.extensions().get::<RequestContext>() {
        asked = asked
            .header(REQUEST_ID_HEADER.as_str(), &context.request_id)
            .header(TRACEPARENT_HEADER.as_str(), context.traceparent());
    }
    let peer = request.peer_addr().map(|it| it.ip());
    let trusts = shared.settings.trust_forwarded_for;
    if let Some(address) = rate_limit::address(peer, request.headers(), trusts) {
        asked = asked.header("x-forwarded-for", address.to_string());
    }
    Ok(match (is_socket, request.method()) {
        (true, _) => asked.header("connection", "upgrade").header("upgrade", "websocket"),
        // Whoever answers may take its time to find out that nobody reads on.
        (false, &Method::HEAD) => asked.header("connection", "close"),
        _ => asked,
    })
}

/// An answer as far as its head.
fn begun(answer: &Response) -> Result<HttpResponseBuilder, ApiError> {
    let status = answer.status().as_u16();
    let mut response = HttpResponse::build(status.try_into().map_err(out_of_reach)?);
    // Where a socket begins this is said by whoever begins it.
    let upgrade = ["upgrade"].into_iter().filter(|_| status != SWITCHED);
    for name in ANSWERED.into_iter().chain(upgrade) {
        for value in answer.headers().get_all(name) {
            response.append_header((HeaderName::from_static(name), value.as_bytes()));
        }
    }
    Ok(response)
}

/// Passes on what a viewer says.
async fn to_gateway(mut payload: Payload, mut writes: WriteHalf<Upgraded>) {
    while let Some(Ok(bytes)) = payload.next().await {
        if writes.write_all(&bytes).await.is_err() {
            return;
        }
    }
    writes.shutdown().await.unwrap_or_default();
}

/// Passes back what the gateway says to a viewer, until either ends. A viewer that was not told of an end
/// is told here, and may come again.
fn to_viewer(
    reads: ReadHalf<Upgraded>,
    shared: web::Data<Shared>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    futures::stream::unfold(Some((reads, Frames::default())), move |passing| {
        let shared = shared.clone();
        async move {
            let (mut reads, mut frames) = passing?;
            let mut bytes = BytesMut::with_capacity(CHUNK);
            let end = tokio::select! {
                read = timeout(SILENCE_MAX, reads.read_buf(&mut bytes)) => match read {
                    Ok(Ok(1..)) => None,
                    _ => Some("the gateway of this run is gone"),
                },
                () = shared.drain.begun() => Some("this gateway ends"),
            };
            let Some(end) = end else {
                frames.pass(&bytes);
                return Some((Ok(bytes.freeze()), Some((reads, frames))));
            };
            frames.may_close().then(|| (Ok(close(end)), None))
        }
    })
}

/// The last frame of a web socket whose other side may come again.
fn close(why: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    let reason = CloseReason { code: CloseCode::from(ENDING), description: Some(why.to_owned()) };
    Parser::write_close(&mut bytes, Some(reason), false);
    bytes.freeze()
}
