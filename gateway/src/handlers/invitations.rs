//! `/v1/rooms/{id}/invitations`: what the owner of a room shares links with.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use documents::{InvitationId, NewInvitation, Role};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::rooms::{read, role_named};
use crate::error::ApiError;
use crate::rooms::{RoomError, Visitor};
use crate::shared::Shared;

/// How long an invitation is good that is asked for without a time, in hours.
const HOURS: i64 = 24;
/// How long at most.
const HOURS_MAX: i64 = 720;

/// An invitation that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InvitationRequest {
    role: String,
    hours: Option<i64>,
}

/// An invitation as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: InvitationId,
    role: Role,
    created_at: String,
    expires_at: String,
}

#[derive(Debug, Serialize)]
struct All {
    invitations: Vec<Shown>,
}

/// The same with its secret, once.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownNew {
    id: InvitationId,
    invitation: String,
    role: Role,
    expires_at: String,
}

/// `POST /v1/rooms/{id}/invitations`
pub(crate) async fn create(
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let asked: InvitationRequest = read(&request, payload, &shared).await?;
    let role = role_named(&asked.role)?;
    let hours = asked.hours.unwrap_or(HOURS);
    if !(1..=HOURS_MAX).contains(&hours) {
        return Err(ApiError::invalid("/hours", format!("must be from 1 to {HOURS_MAX}")));
    }
    let room = Visitor::owner(&shared, &id, &request).await?;
    let made = shared.rooms()?.invite(&room.id, role, SignedDuration::from_hours(hours)).await;
    let made = made.map_err(RoomError::from)?.ok_or(RoomError::TooManyInvitations)?;
    let NewInvitation { text, invitation } = made;
    tracing::info!(room.id = %room.id, invitation.id = %invitation.id, "somebody is invited");
    let mut response = HttpResponse::Created();
    let place = format!("/v1/rooms/{}/invitations/{}", room.id, invitation.id);
    response.insert_header((header::LOCATION, place));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.json(ShownNew {
        id: invitation.id,
        invitation: text,
        role: invitation.role,
        expires_at: invitation.expires_at.to_string(),
    }))
}

/// `GET /v1/rooms/{id}/invitations`
pub(crate) async fn list(
    request: HttpRequest,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let room = Visitor::owner(&shared, &id, &request).await?;
    let all = shared.rooms()?.invitations(&room.id).await.map_err(RoomError::from)?;
    let invitations = all.into_iter().map(|it| Shown {
        id: it.id,
        role: it.role,
        created_at: it.created_at.to_string(),
        expires_at: it.expires_at.to_string(),
    });
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.json(All { invitations: invitations.collect() }))
}

/// `DELETE /v1/rooms/{id}/invitations/{invitationId}`
pub(crate) async fn delete(
    request: HttpRequest,
    ids: web::Path<(String, String)>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (room, id) = ids.into_inner();
    let room = Visitor::owner(&shared, &room, &request).await?;
    let id: InvitationId = id.parse().or(Err(RoomError::NoInvitation))?;
    let is_ended = shared.rooms()?.end_invitation(&room.id, &id).await;
    if !is_ended.map_err(RoomError::from)? {
        return Err(RoomError::NoInvitation.into());
    }
    tracing::info!(room.id = %room.id, invitation.id = %id, "an invitation was ended");
    Ok(HttpResponse::NoContent().finish())
}
