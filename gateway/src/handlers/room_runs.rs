//! `/v1/rooms/{id}/runs`: runs that everybody in a room sees. Each counts as one of the room's owner,
//! and the room is told of it: those who are in it, and who comes later, join it from its beginning.

use actix_web::web;
use actix_web::{HttpRequest, HttpResponse};
use documents::{Close, RoomId, RunNote};
use jiff::Timestamp;
use reqwest::Client;

use super::run_begin::{Party, Wish, await_end, begin, created};
use super::run_socket::shown_name;
use super::runs::{Asked, told};
use crate::error::ApiError;
use crate::rooms::{RoomError, Visitor};
use crate::runs::{Access, Run};
use crate::shared::Shared;
use crate::wait::Wait;

/// `POST /v1/rooms/{id}/runs`
pub(crate) async fn start(
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
    asked: web::Query<Asked>,
    (shared, client): (web::Data<Shared>, web::Data<Client>),
) -> Result<HttpResponse, ApiError> {
    let wait = Wait::of(asked.wait.as_deref(), request.headers())?;
    let visitor = Visitor::of(&shared, &id, &request).await?;
    if !visitor.role.may_run() {
        return Err(RoomError::RoleTooLow(visitor.role).into());
    }
    visitor.count_run(&shared)?;
    let Visitor { room, host, invitation, .. } = visitor;
    let party = Party { caller: host, room: Some(room.id.clone()) };
    let run = match begin(&request, payload, party, &shared, &client).await? {
        Wish::Fresh(run) => {
            let author = asked.name.as_deref().map(shown_name).unwrap_or_default();
            tell(&shared, &room.id, &run, author).await?;
            run
        }
        Wish::Known(run) => run,
        Wish::Refused(response) => return Ok(response),
    };
    created(&run, &run.tickets(invitation.as_ref()), wait).await
}

/// Tells those in a room of a run. One that nobody would hear of is stopped.
async fn tell(shared: &Shared, room: &RoomId, run: &Run, author: String) -> Result<(), ApiError> {
    let note = RunNote { run_id: run.id.clone(), author, at: Timestamp::now() };
    let told = shared.rooms()?.note_run(room, note).await;
    told.map_err(|close| {
        run.stop();
        shared.runs.forget(run);
        match close {
            Close::NoRoom | Close::Deleted => RoomError::NoRoom.into(),
            Close::Draining => ApiError::Ending,
            _ => RoomError::Untold.into(),
        }
    })
}

/// `GET /v1/rooms/{id}/runs/{runId}`
pub(crate) async fn one(
    request: HttpRequest,
    ids: web::Path<(String, String)>,
    asked: web::Query<Asked>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (room, run) = ids.into_inner();
    let wait = Wait::of(asked.wait.as_deref(), request.headers())?;
    let Visitor { room, role, invitation, .. } = Visitor::of(&shared, &room, &request).await?;
    let run = shared.runs.find_in(&room.id, &run).ok_or(ApiError::NoRun)?;
    await_end(&run, wait).await?;
    let access = if role.may_run() { Access::Full } else { Access::View };
    Ok(told(&run, access, Some(&run.tickets(invitation.as_ref())), wait))
}
