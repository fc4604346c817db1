//! Who is let into a room: by a ticket, once, or by an invitation, for as long as that lasts.

use jiff::{SignedDuration, Timestamp};

use super::{Rooms, now};
use crate::bus::Word;
use crate::invitation::{Invitation, InvitationId};
use crate::order::Order;
use crate::secret::{SecretDigest, random_secret};
use crate::store::StoreError;
use crate::words::{Role, RoomId, Ticket};

/// How long a ticket is good.
const TICKET_TIME: SignedDuration = SignedDuration::from_secs(60);
/// What the secrets of invitations begin with.
const INVITATION_PREFIX: &str = "inv_";

/// A ticket, just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTicket {
    /// What its holder brings.
    pub text: String,
    /// What it is good for.
    pub ticket: Ticket,
}

/// An invitation, just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvitation {
    /// What whoever is invited brings.
    pub text: String,
    /// What it is good for.
    pub invitation: Invitation,
}

impl Rooms {
    /// Makes a ticket, which ends with the invitation that it was made with, if it was one. None if
    /// there are too many, or there is no such room, or no such invitation.
    pub async fn ticket(
        &self,
        room: &RoomId,
        role: Role,
        name: Option<String>,
        invitation: Option<InvitationId>,
    ) -> Result<Option<NewTicket>, StoreError> {
        let now = now();
        let text = secret()?;
        let expires_at = now.saturating_add(TICKET_TIME).unwrap_or(now);
        let ticket = Ticket { room: room.clone(), role, name, invitation, expires_at };
        let digest = SecretDigest::of(&text);
        let is_kept = self.means.store.keep_ticket(digest, ticket.clone(), now).await?;
        Ok(is_kept.then_some(NewTicket { text, ticket }))
    }

    /// Takes a ticket, if it is one and for this room.
    pub async fn admit(&self, room: &RoomId, text: &str) -> Result<Option<Ticket>, StoreError> {
        let digest = SecretDigest::of(text);
        let taken = self.means.store.take_ticket(digest, Timestamp::now()).await?;
        Ok(taken.filter(|it| it.room == *room))
    }

    /// Makes an invitation for so long. None if there are too many, or there is no such room.
    pub async fn invite(
        &self,
        room: &RoomId,
        role: Role,
        time: SignedDuration,
    ) -> Result<Option<NewInvitation>, StoreError> {
        let created_at = now();
        let text = format!("{INVITATION_PREFIX}{}", secret()?);
        let invitation = Invitation {
            id: InvitationId::random(),
            room: room.clone(),
            digest: SecretDigest::of(&text),
            role,
            created_at,
            expires_at: created_at.saturating_add(time).unwrap_or(created_at),
        };
        let is_kept = self.means.store.keep_invitation(invitation.clone(), created_at).await?;
        Ok(is_kept.then_some(NewInvitation { text, invitation }))
    }

    /// The invitations to a room that are good still, the oldest first.
    pub async fn invitations(&self, room: &RoomId) -> Result<Vec<Invitation>, StoreError> {
        self.means.store.invitations(room.clone(), Timestamp::now()).await
    }

    /// The invitation that this is, if it is one to a room. Each of the room's own is compared,
    /// whichever it is.
    pub async fn invited(
        &self,
        room: &RoomId,
        text: &str,
    ) -> Result<Option<Invitation>, StoreError> {
        let digest = SecretDigest::of(text);
        let all = self.invitations(room).await?.into_iter();
        Ok(all.fold(None, |found, it| if it.digest.is(&digest) { Some(it) } else { found }))
    }

    /// Ends an invitation; whoever came by it is shown out. False if the room has none of this name.
    pub async fn end_invitation(
        &self,
        room: &RoomId,
        id: &InvitationId,
    ) -> Result<bool, StoreError> {
        let is_ended = self.means.store.end_invitation(room.clone(), id.clone()).await?;
        if is_ended {
            let word = Word::InvitationEnded(id.clone());
            self.tell(room, word, Order::EndInvitation { id: id.clone() }).await;
        }
        Ok(is_ended)
    }
}

fn secret() -> Result<String, StoreError> {
    random_secret().map_err(|it| StoreError::Unavailable(it.to_string()))
}
