//! `/v1/rooms`.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use documents::{NewTicket, Role, RoomId, RoomRecord, RoomState, Visibility};
use protocol::Refusal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::admission::{AdmissionError, check_media_type};
use crate::body::{self, BodyBounds};
use crate::error::ApiError;
use crate::handlers::execute::content_type;
use crate::handlers::jobs::caller;
use crate::rooms::{RoomError, Visitor};
use crate::shared::Shared;

/// Largest body, in bytes.
const BODY_BYTES_MAX: usize = 4 << 10;
/// Longest title, in bytes.
const TITLE_BYTES_MAX: usize = 200;
/// Longest name of whoever brings a ticket, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A room that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoomRequest {
    title: Option<String>,
    visibility: Option<String>,
}

/// `POST /v1/rooms`
pub(crate) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let asked: RoomRequest = read(&request, payload, &shared).await?;
    let title = plain(asked.title, "/title", TITLE_BYTES_MAX)?;
    let visibility = match asked.visibility.map(|it| it.parse::<Visibility>()) {
        None => Visibility::Private,
        Some(Ok(visibility)) => visibility,
        Some(Err(())) => {
            return Err(ApiError::invalid("/visibility", "must be `private` or `public`"));
        }
    };
    let created = shared.rooms()?.create(title, visibility, caller(&request)).await;
    let room = created.map_err(RoomError::from)?.ok_or(RoomError::TooManyRooms)?;
    tracing::info!(room.id = %room.id, "a room was made");
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/v1/rooms/{}", room.id)));
    Ok(response.json(shown(room, Role::Owner, RoomState::default())))
}

/// `GET /v1/rooms/{id}`
pub(crate) async fn one(
    request: HttpRequest,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let Visitor { room, role, .. } = Visitor::of(&shared, &id, &request).await?;
    let state = shared.rooms()?.state(&room.id).await.unwrap_or_default();
    Ok(HttpResponse::Ok().json(shown(room, role, state)))
}

/// `DELETE /v1/rooms/{id}`
pub(crate) async fn delete(
    request: HttpRequest,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let room = Visitor::owner(&shared, &id, &request).await?;
    if !shared.rooms()?.delete(&room.id).await.map_err(RoomError::from)? {
        return Err(RoomError::NoRoom.into());
    }
    // Nobody hears of them any more.
    shared.runs.stop_in(&room.id);
    tracing::info!(room.id = %room.id, "a room was deleted");
    Ok(HttpResponse::NoContent().finish())
}

/// A ticket that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketRequest {
    role: String,
    name: Option<String>,
}

/// `POST /v1/rooms/{id}/tickets`
pub(crate) async fn ticket(
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let asked: TicketRequest = read(&request, payload, &shared).await?;
    let role = role_named(&asked.role)?;
    let name = plain(asked.name, "/name", NAME_BYTES_MAX)?;
    let visitor = Visitor::of(&shared, &id, &request).await?;
    if !visitor.role.includes(role) {
        return Err(RoomError::RoleTooLow(visitor.role).into());
    }
    let Visitor { room, invitation, .. } = visitor;
    let made = shared.rooms()?.ticket(&room.id, role, name, invitation).await;
    let made = made.map_err(RoomError::from)?.ok_or(RoomError::TooManyTickets)?;
    let NewTicket { text, ticket } = made;
    let mut response = HttpResponse::Created();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.json(ShownTicket {
        ticket: text,
        path: format!("/collab/{}", ticket.room),
        room: ticket.room,
        role: ticket.role,
        name: ticket.name,
        expires_at: ticket.expires_at.to_string(),
    }))
}

/// A ticket as it is told, once.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownTicket {
    ticket: String,
    room: RoomId,
    role: Role,
    name: Option<String>,
    expires_at: String,
    /// Where to go with it.
    path: String,
}

/// A room as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: RoomId,
    title: Option<String>,
    visibility: Visibility,
    /// What the caller may do there.
    role: Role,
    created_at: String,
    touched_at: String,
    /// What is kept of its document.
    bytes: u64,
    /// What is still to be written here.
    unsaved_bytes: usize,
    /// Who is in it here.
    clients: usize,
}

fn shown(room: RoomRecord, role: Role, state: RoomState) -> Shown {
    Shown {
        id: room.id,
        title: room.title,
        visibility: room.visibility,
        role,
        created_at: room.created_at.to_string(),
        touched_at: room.touched_at.to_string(),
        bytes: room.bytes,
        unsaved_bytes: state.unsaved_bytes,
        clients: state.clients,
    }
}

pub(super) async fn read<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared,
) -> Result<T, ApiError> {
    check_media_type(content_type(request.headers()).as_deref())?;
    let bounds = BodyBounds { bytes_max: BODY_BYTES_MAX, seconds: shared.settings.body_seconds };
    let body = body::read(request, payload, &shared.bodies, bounds).await?;
    serde_json::from_slice(&body.bytes).map_err(|error| {
        if error.is_data() {
            ApiError::invalid("", error.to_string())
        } else {
            AdmissionError::from(Refusal::NotJson(error.to_string())).into()
        }
    })
}

/// The role that a request names.
pub(super) fn role_named(text: &str) -> Result<Role, ApiError> {
    let roles = Role::ALL.map(Role::as_str).join("`, `");
    text.parse().or(Err(ApiError::invalid("/role", format!("must be one of `{roles}`"))))
}

/// A text of somebody's that is shown to others.
fn plain(
    text: Option<String>,
    pointer: &str,
    bytes_max: usize,
) -> Result<Option<String>, ApiError> {
    let is_plain = |it: &String| it.len() <= bytes_max && !it.chars().any(char::is_control);
    match text {
        Some(text) if !is_plain(&text) => {
            let problem = format!("may have {bytes_max} bytes and no control characters");
            Err(ApiError::invalid(pointer, problem))
        }
        text => Ok(text),
    }
}
