//! What a room can be told to do, and what it tells of itself.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::bus::{ServerId, Word};
use crate::document::RunNote;
use crate::invitation::InvitationId;
use crate::limits::Close;
use crate::room::Newcomer;

/// What a room is to do.
pub(crate) enum Order {
    /// Let somebody in.
    Join { connection: u64, newcomer: Newcomer, reply: oneshot::Sender<Result<(), Close>> },
    /// Take what somebody sent.
    Frame { connection: u64, frame: Bytes },
    /// Let somebody go.
    Leave { connection: u64 },
    /// Tell of a run.
    NoteRun { note: RunNote, reply: oneshot::Sender<Result<(), Close>> },
    /// Say how it is.
    Look { reply: oneshot::Sender<RoomState> },
    /// Hear another server.
    Heard { server: ServerId, word: Word },
    /// There were words of other servers that nobody heard.
    Missed,
    /// Show those out who came by this invitation.
    EndInvitation { id: InvitationId },
    /// Let go of everything: it is deleted.
    Delete,
    /// Write everything and end.
    Drain,
}

/// How a room is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoomState {
    /// Connections that are in it here.
    pub clients: usize,
    /// What is not in the store yet, in bytes.
    pub unsaved_bytes: usize,
    /// The document as it would be sent, in bytes; at most so many.
    pub document_bytes: usize,
}
