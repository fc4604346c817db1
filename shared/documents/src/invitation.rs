//! Invitations: what a link to a room is shared with. An invitation lasts for hours or days and lets
//! any number of people in, while each ticket that is made with it is good once.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

use crate::secret::SecretDigest;
use crate::words::{Role, RoomId};

/// What the names of invitations begin with.
const ID_PREFIX: &str = "invitation_";

/// Which invitation: no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct InvitationId(String);

impl InvitationId {
    /// A new one. Younger ones sort behind older ones.
    pub fn random() -> Self {
        Self(format!("{ID_PREFIX}{}", uuid::Uuid::now_v7().simple()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InvitationId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = text.strip_prefix(ID_PREFIX).ok_or(())?;
        let is_id = number.len() == 32 && number.bytes().all(|it| it.is_ascii_hexdigit());
        if is_id { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for InvitationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The right to come into a room again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Which invitation.
    pub id: InvitationId,
    /// Where to.
    pub room: RoomId,
    /// What is kept of its secret.
    pub digest: SecretDigest,
    /// As what.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_named_as_it_is_written() {
        let id = InvitationId::random();
        assert_eq!(id.as_str().parse(), Ok(id));
        for text in ["", "invitation_", "inv_0", &format!("invitation_{}", "x".repeat(32))] {
            assert_eq!(text.parse::<InvitationId>(), Err(()), "{text}");
        }
    }
}
