//! How servers that share a store tell each other of their rooms. A word that is lost does no harm:
//! what changes is in the store, and is read there when the next word comes. Servers that tell each
//! other the changes themselves do not wait for the store to have them.

use std::fmt;

use bytes::Bytes;

use crate::invitation::InvitationId;
use crate::words::RoomId;

/// One start of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u128);

/// What servers say of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The store has changes up to this number.
    Written(u64),
    /// A change there, which the store is about to have.
    Update(Bytes),
    /// What its document has there, as a state vector: others are to send what that lacks.
    Step1(Bytes),
    /// Who is in it there: what one client says of itself, as Yjs tells it.
    Awareness(Bytes),
    /// Others are to say who is in it with them.
    WhoIsThere,
    /// Nobody is in it there any more.
    ServerLeft,
    /// It was deleted.
    Deleted,
    /// Whoever came by this invitation has to go.
    InvitationEnded(InvitationId),
}

/// What comes from other servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// One of them says something of a room.
    Word {
        /// Which of them.
        server: ServerId,
        /// Which room.
        room: RoomId,
        /// What it says.
        word: Word,
    },
    /// One of them has ended, or cannot be heard.
    Gone(ServerId),
    /// For a while none of them was heard, or none of them heard us.
    Missed,
}

/// Tells other servers.
pub trait Bus: Send + Sync + fmt::Debug {
    /// Tells them soon, if they can be reached.
    fn say(&self, room: &RoomId, word: Word);
}
