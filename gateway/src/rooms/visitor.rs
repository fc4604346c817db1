//! Who comes to a room by a request, and as what.

use actix_web::{HttpMessage as _, HttpRequest};
use documents::{Role, RoomId, RoomRecord, Visibility};

use super::RoomError;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;

/// Somebody who may look at a room, or do more there.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) room: RoomRecord,
    pub(crate) role: Role,
    /// Whose the runs count as that it begins.
    pub(crate) host: Caller,
}

impl Visitor {
    /// Whoever asks, by its key. Rooms of others are not there.
    pub(crate) async fn by_key(
        shared: &Shared,
        id: &str,
        request: &HttpRequest,
    ) -> Result<Self, ApiError> {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anonymous);
        let id: RoomId = id.parse().or(Err(RoomError::NoRoom))?;
        let room = shared.rooms()?.room(&id).await.map_err(RoomError::from)?;
        let room = room.ok_or(RoomError::NoRoom)?;
        let role = role_of(&caller.id().unwrap_or_default(), &room).ok_or(RoomError::NoRoom)?;
        Ok(Self { room, role, host: caller })
    }

    /// The owner of a room. To others it is not there.
    pub(crate) async fn owner(
        shared: &Shared,
        id: &str,
        request: &HttpRequest,
    ) -> Result<RoomRecord, ApiError> {
        let visitor = Self::by_key(shared, id, request).await?;
        if visitor.role == Role::Owner { Ok(visitor.room) } else { Err(RoomError::NoRoom.into()) }
    }
}

/// What a caller without a ticket may do in a room.
pub(crate) fn role_of(caller: &str, room: &RoomRecord) -> Option<Role> {
    match room.visibility {
        _ if room.owner == caller => Some(Role::Owner),
        Visibility::Public => Some(Role::Viewer),
        Visibility::Private => None,
    }
}
