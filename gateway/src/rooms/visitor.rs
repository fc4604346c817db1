//! Who comes to a room by a request, and as what: by an API key, or by an invitation.

use actix_web::http::header::HeaderMap;
use actix_web::{HttpMessage as _, HttpRequest};
use documents::{InvitationId, Role, RoomId, RoomRecord, Visibility};

use super::RoomError;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::gate;
use crate::rate_limit::Subject;
use crate::shared::Shared;

/// The header that an invitation comes in. A URL would be logged.
const INVITATION_HEADER: &str = "room-invitation";

/// Somebody who may look at a room, or do more there.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) room: RoomRecord,
    pub(crate) role: Role,
    /// Whose the runs count as that it begins.
    pub(crate) host: Caller,
    /// The invitation that it came with, if it was one: then the host is somebody else.
    pub(crate) invitation: Option<InvitationId>,
}

impl Visitor {
    /// Whoever asks: by the invitation, if the request has one, and by its key otherwise.
    pub(crate) async fn of(
        shared: &Shared,
        id: &str,
        request: &HttpRequest,
    ) -> Result<Self, ApiError> {
        match request.headers().get(INVITATION_HEADER) {
            Some(invitation) => Self::invited(shared, id, invitation.to_str().ok()).await,
            None => Self::by_key(shared, id, request).await,
        }
    }

    /// Whoever asks, by its key. Rooms of others are not there.
    async fn by_key(shared: &Shared, id: &str, request: &HttpRequest) -> Result<Self, ApiError> {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anonymous);
        let room = find(shared, id).await?.ok_or(RoomError::NoRoom)?;
        let role = role_of(&caller.id().unwrap_or_default(), &room).ok_or(RoomError::NoRoom)?;
        Ok(Self { room, role, host: caller, invitation: None })
    }

    /// Whoever brings an invitation. Who does not is told no more than that, whether there is such a
    /// room or not. An invitation is worth no more than the key of whoever made the room.
    async fn invited(shared: &Shared, id: &str, text: Option<&str>) -> Result<Self, ApiError> {
        let room = find(shared, id).await?.ok_or(RoomError::WrongInvitation)?;
        let text = text.ok_or(RoomError::WrongInvitation)?;
        let found = shared.rooms()?.invited(&room.id, text).await.map_err(RoomError::from)?;
        let found = found.ok_or(RoomError::WrongInvitation)?;
        let host = shared.keys.submitter(&room.owner).ok_or(RoomError::WrongInvitation)?;
        Ok(Self { room, role: found.role, host, invitation: Some(found.id) })
    }

    /// The owner of a room, by its key. To others it is not there.
    pub(crate) async fn owner(
        shared: &Shared,
        id: &str,
        request: &HttpRequest,
    ) -> Result<RoomRecord, ApiError> {
        let visitor = Self::by_key(shared, id, request).await?;
        if visitor.role == Role::Owner { Ok(visitor.room) } else { Err(RoomError::NoRoom.into()) }
    }

    /// Counts a run against its host's rate. What a guest asks for was counted for its address only.
    pub(crate) fn count_run(&self, shared: &Shared) -> Result<(), ApiError> {
        match (self.invitation.is_some(), self.host.holder()) {
            (true, Some(host)) => {
                gate::take(shared, &self.host, &Subject::Key(host.name.clone())).map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// Whether a request brings an invitation, good or not.
pub(crate) fn brings_invitation(headers: &HeaderMap) -> bool {
    headers.contains_key(INVITATION_HEADER)
}

/// What a caller without a ticket may do in a room.
pub(crate) fn role_of(caller: &str, room: &RoomRecord) -> Option<Role> {
    match room.visibility {
        _ if room.owner == caller => Some(Role::Owner),
        Visibility::Public => Some(Role::Viewer),
        Visibility::Private => None,
    }
}

async fn find(shared: &Shared, id: &str) -> Result<Option<RoomRecord>, ApiError> {
    let rooms = shared.rooms()?;
    let Ok(id) = id.parse::<RoomId>() else { return Ok(None) };
    Ok(rooms.room(&id).await.map_err(RoomError::from)?)
}
