//! Passes a request on to another gateway, and its answer back: a document, events, or a web socket
//! byte by byte.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderName};
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, HttpResponseBuilder};
use futures::{Stream, StreamExt as _};
use reqwest::{Client, Response, Upgraded, Url};
use telemetry::{REQUEST_ID_HEADER, RequestContext, TRACEPARENT_HEADER};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use super::PASSED_ON;
use crate::error::ApiError;
use crate::rate_limit;
use crate::shared::Shared;

/// What a request says of who asks, and for what.
const ASKED: [&str; 9] = [
    "accept",
    "authorization",
    "x-api-key",
    "room-invitation",
    "last-event-id",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];
/// What an answer says of itself; the rest is added here as it is to every answer.
const ANSWERED: [&str; 7] = [
    "content-type",
    "cache-control",
    "retry-after",
    "x-accel-buffering",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];
/// The status of an answer behind which a web socket begins.
const SWITCHED: u16 = 101;
/// How long the other gateway has to begin its answer, beside what the request waits for.
const HEAD_TIME_MAX: Duration = Duration::from_secs(75);
/// A socket that is silent for so long has ended: gateways ask all the time whether somebody is there.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Read at a time, in bytes.
const CHUNK: usize = 16 << 10;

/// What the gateway at `url` answers.
pub(super) async fn pass_on(
    request: &HttpRequest,
    payload: Payload,
    url: Url,
    shared: &web::Data<Shared>,
    client: &Client,
) -> Result<HttpResponse, ApiError> {
    let asked = client.execute(asked(request, url, shared, client)?);
    let answer = timeout(HEAD_TIME_MAX, asked).await.map_err(out_of_reach)?;
    let answer = answer.map_err(out_of_reach)?;
    let mut response = begun(&answer)?;
    if answer.status().as_u16() != SWITCHED {
        let shared = shared.clone();
        let ends = async move { shared.drain.begun().await };
        return Ok(response.streaming(answer.bytes_stream().take_until(Box::pin(ends))));
    }
    let socket = answer.upgrade().await.map_err(out_of_reach)?;
    let (reads, writes) = split(socket);
    // It ends when either side does.
    drop(actix_web::rt::spawn(to_gateway(payload, writes)));
    Ok(response.upgrade("websocket").streaming(to_viewer(reads, shared.clone())))
}

fn out_of_reach(error: impl Display) -> ApiError {
    tracing::warn!("a gateway that has announced itself cannot be asked for a run: {error}");
    ApiError::RunOutOfReach
}

fn asked(
    request: &HttpRequest,
    url: Url,
    shared: &Shared,
    client: &Client,
) -> Result<reqwest::Request, ApiError> {
    let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes());
    let mut asked = client.request(method.map_err(out_of_reach)?, url);
    asked = asked.header(PASSED_ON.as_str(), "1");
    for name in ASKED {
        for value in request.headers().get_all(name) {
            asked = asked.header(name, value.as_bytes());
        }
    }
    if request.headers().contains_key(header::SEC_WEBSOCKET_KEY) {
        asked = asked.header("connection", "upgrade").header("upgrade", "websocket");
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
    asked.build().map_err(out_of_reach)
}

/// An answer as far as its head.
fn begun(answer: &Response) -> Result<HttpResponseBuilder, ApiError> {
    let status = answer.status().as_u16().try_into();
    let mut response = HttpResponse::build(status.map_err(out_of_reach)?);
    for name in ANSWERED {
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

/// Passes back what the gateway says to a viewer, until this one ends.
fn to_viewer(
    reads: ReadHalf<Upgraded>,
    shared: web::Data<Shared>,
) -> impl Stream<Item = io::Result<Bytes>> {
    futures::stream::unfold(reads, move |mut reads| {
        let shared = shared.clone();
        async move {
            let mut bytes = BytesMut::with_capacity(CHUNK);
            let read = tokio::select! {
                read = timeout(SILENCE_MAX, reads.read_buf(&mut bytes)) => read.ok()?,
                () = shared.drain.begun() => return None,
            };
            match read {
                Ok(0) => None,
                Ok(_) => Some((Ok(bytes.freeze()), reads)),
                Err(error) => Some((Err(error), reads)),
            }
        }
    })
}
