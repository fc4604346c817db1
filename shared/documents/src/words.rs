//! The words that rooms are spoken of in: which room, whose, and who may do what there.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::invitation::InvitationId;

/// Longest name of a room, in bytes.
const ID_BYTES_MAX: usize = 64;
/// What the names of rooms begin with that are made here.
const ID_PREFIX: &str = "room_";

/// Which room: 1 to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RoomId(String);

/// A text is no name of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a room is named by 1 to {ID_BYTES_MAX} letters, digits, `-` and `_`")]
pub struct InvalidRoomId;

impl RoomId {
    /// A new one. Younger ones sort behind older ones.
    pub fn random() -> Self {
        Self(format!("{ID_PREFIX}{}", uuid::Uuid::now_v7().simple()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomId {
    type Err = InvalidRoomId;

    fn from_str(text: &str) -> Result<Self, InvalidRoomId> {
        let is_plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
        let is_id = (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        if is_id { Ok(Self(text.to_owned())) } else { Err(InvalidRoomId) }
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What somebody may do in a room. Those that may do more come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything: also letting others in, and deleting the room.
    Owner,
    /// Changing the document, and running it.
    Editor,
    /// Running it.
    Runner,
    /// Looking at it.
    Viewer,
}

impl Role {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Editor, Self::Runner, Self::Viewer];

    /// Its name in requests and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Editor => "editor",
            Self::Runner => "runner",
            Self::Viewer => "viewer",
        }
    }

    /// Whether whoever may do this may also do all that the other one does.
    pub fn includes(self, other: Self) -> bool {
        self <= other
    }

    /// Whether it changes documents.
    pub fn may_edit(self) -> bool {
        matches!(self, Self::Owner | Self::Editor)
    }

    /// Whether it runs what is in them.
    pub fn may_run(self) -> bool {
        self != Self::Viewer
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or(())
    }
}

/// Who may look at a room without a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Its owner.
    Private,
    /// Whoever may call the server, as a viewer.
    Public,
}

impl Visibility {
    /// Its name in requests and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
        }
    }
}

impl FromStr for Visibility {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Private, Self::Public].into_iter().find(|it| it.as_str() == text).ok_or(())
    }
}

/// What is known of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRecord {
    /// Which room.
    pub id: RoomId,
    /// What its owner calls it.
    pub title: Option<String>,
    /// Who may look at it.
    pub visibility: Visibility,
    /// The caller that made it.
    pub owner: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed or entered.
    pub touched_at: Timestamp,
    /// What is kept of its document, in bytes.
    pub bytes: u64,
}

/// The right to enter a room once. Only its digest is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Where.
    pub room: RoomId,
    /// As what.
    pub role: Role,
    /// What whoever brings it is called there.
    pub name: Option<String>,
    /// The invitation that it was made with, if it was one: it ends with that.
    pub invitation: Option<InvitationId>,
    /// Until when.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_a_plain_name() {
        for (text, is_id) in [
            ("a", true),
            ("room_0-Z", true),
            ("", false),
            ("a/b", false),
            ("ä", false),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
            (RoomId::random().as_str(), true),
        ] {
            assert_eq!(text.parse::<RoomId>().is_ok(), is_id, "{text}");
        }
        assert!(RoomId::random() < RoomId::random());
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(()));
        assert_eq!("public".parse(), Ok(Visibility::Public));
    }

    #[test]
    fn each_role_includes_those_below_it() {
        for (above, role) in Role::ALL.iter().zip(&Role::ALL[1..]) {
            assert!(above.includes(*role) && role.includes(*role) && !role.includes(*above));
        }
    }
}
