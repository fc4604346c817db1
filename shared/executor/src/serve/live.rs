//! What is told to a run while it goes on, by whoever has its key: more input, signals, the size of
//! its terminal, and that it is to stop. Every call may be repeated.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::TerminalSize;
use sandbox::Signal;
use serde::{Deserialize, Serialize};

use super::{Service, body};
use crate::error::ApiError;
use crate::live::{Control, Lines, Piece, RunKey, Written};

/// Most input of one call, in bytes.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Largest body of a control, in bytes.
const CONTROL_BYTES_MAX: usize = 1024;

/// How long a program may take to read a piece before its sender hears how far it came.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a piece of input belongs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// Bytes before it.
    from: u64,
    /// How often the input has ended behind it.
    #[serde(default)]
    ends: u64,
}

/// How far the input is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    bytes: u64,
    ends: u64,
    is_closed: bool,
}

/// What is to happen.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Counts the wishes of one run, from 1.
    serial: u64,
    signal: Option<Name>,
    size: Option<TerminalSize>,
    #[serde(default)]
    stop: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Name {
    Int,
    Term,
    Kill,
}

impl From<Name> for Signal {
    fn from(name: Name) -> Self {
        match name {
            Name::Int => Self::Interrupt,
            Name::Term => Self::Terminate,
            Name::Kill => Self::Kill,
        }
    }
}

/// `POST /runs/{key}/stdin`
pub(super) async fn stdin(
    request: HttpRequest,
    key: web::Path<String>,
    place: web::Query<Place>,
    payload: web::Payload,
    service: web::Data<Service>,
) -> HttpResponse {
    match try_stdin(&request, &key, place.into_inner(), payload, &service).await {
        Ok(answer) => answer,
        Err(error) => error.answer(&request),
    }
}

/// `POST /runs/{key}/control`
pub(super) async fn control(
    request: HttpRequest,
    key: web::Path<String>,
    payload: web::Payload,
    service: web::Data<Service>,
) -> HttpResponse {
    match try_control(&request, &key, payload, &service).await {
        Ok(answer) => answer,
        Err(error) => error.answer(&request),
    }
}

async fn try_stdin(
    request: &HttpRequest,
    key: &str,
    place: Place,
    payload: web::Payload,
    service: &Service,
) -> Result<HttpResponse, ApiError> {
    let mut lines = lines(request, key, service)?;
    let bytes = body::read(request, payload, PIECE_BYTES_MAX, service.body_seconds).await?;
    let until = place.from.saturating_add(bytes.len() as u64);
    let ends = place.ends;
    let is_there = move |it: &Written| it.is_closed || (it.bytes >= until && it.ends >= ends);
    let written = *lines.written.borrow();
    if place.from <= written.bytes && !is_there(&written) {
        let piece = Piece { from: place.from, bytes: bytes.freeze(), ends };
        let writing = async {
            if lines.pieces.send(piece).await.is_err() {
                return Err(ApiError::NoRun);
            }
            lines.written.wait_for(is_there).await.map(drop).map_err(|_it_is_over| ApiError::NoRun)
        };
        // A program that reads slowly is no fault: whoever sends learns how far it is.
        tokio::time::timeout(PATIENCE, writing).await.unwrap_or(Ok(()))?;
    }
    let Written { bytes, ends, is_closed } = *lines.written.borrow();
    Ok(HttpResponse::Ok().json(Told { bytes, ends, is_closed }))
}

async fn try_control(
    request: &HttpRequest,
    key: &str,
    payload: web::Payload,
    service: &Service,
) -> Result<HttpResponse, ApiError> {
    let lines = lines(request, key, service)?;
    let body = body::read(request, payload, CONTROL_BYTES_MAX, service.body_seconds).await?;
    let wish: Wish = serde_json::from_slice(&body)
        .map_err(|error| protocol::Refusal::NotJson(error.to_string()))?;
    let size = wish.size.filter(|it| it.is_permitted()).map(Control::Resize);
    let signal = wish.signal.map(|it| Control::Signal(it.into()));
    if let Some(control) = signal.or(size) {
        lines.control(wish.serial, control).map_err(|_none| ApiError::RunIsBusy)?;
    }
    if wish.stop {
        lines.cancel.send_replace(true);
    }
    Ok(HttpResponse::NoContent().finish())
}

fn lines(request: &HttpRequest, key: &str, service: &Service) -> Result<Lines, ApiError> {
    service.authorize(request)?;
    let key = RunKey::parse(key).ok_or(ApiError::NoRun)?;
    service.live.find(&key).ok_or(ApiError::NoRun)
}
