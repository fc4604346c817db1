//! What a room bears, and what a connection is told that it closes with.

use std::time::Duration;

use crate::store::StoreError;

/// What a room bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One frame of a client, in bytes.
    pub frame_bytes: usize,
    /// A document as it is sent, in bytes.
    pub document_bytes: usize,
    /// Pieces that the library keeps an object of. People who type make one each time that they
    /// put the cursor elsewhere.
    pub document_blocks: usize,
    /// Maps, texts and arrays in a document. They may be nested, and the library deletes the
    /// nested by recursion: the stack of our threads bears so many.
    pub document_types: usize,
    /// What one client says of itself, in bytes.
    pub awareness_bytes: usize,
    /// Clients in a room.
    pub clients: usize,
    /// Messages of a client a second, in the long run.
    pub messages_per_second: u32,
    /// Messages of a client at once.
    pub messages_burst: u32,
    /// Frames that wait to be sent to a client.
    pub outbox_frames: usize,
    /// The same in bytes.
    pub outbox_bytes: usize,
    /// What is not in the store yet, in bytes.
    pub unsaved_bytes: usize,
    /// Changes wait so long for others to be written with them.
    pub batch_time: Duration,
    /// A document that is not changed for so long is written as one.
    pub quiet_time: Duration,
    /// One that is changed all the time, after so long.
    pub busy_time: Duration,
    /// Or after so many changes.
    pub snapshot_updates: usize,
    /// A room that nobody is in is kept in memory for so long.
    pub idle_time: Duration,
    /// A client that says nothing for so long has lost its name to whoever comes with it.
    pub silence_time: Duration,
    /// A room that the store has no room for is opened again after so long: who comes back at once
    /// waits until then.
    pub full_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 1 << 20,
            document_bytes: 2 << 20,
            document_blocks: 100_000,
            document_types: 10_000,
            awareness_bytes: 4 << 10,
            clients: 32,
            messages_per_second: 60,
            messages_burst: 120,
            outbox_frames: 256,
            outbox_bytes: 4 << 20,
            unsaved_bytes: 32 << 20,
            batch_time: Duration::from_millis(50),
            quiet_time: Duration::from_secs(2),
            busy_time: Duration::from_secs(10),
            snapshot_updates: 200,
            idle_time: Duration::from_mins(1),
            silence_time: Duration::from_secs(20),
            full_time: Duration::from_secs(2),
        }
    }
}

/// Why a connection ends. Clients stop for good at codes from 4400 to 4499, and come again after
/// others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// It sent what is no message.
    Malformed,
    /// It brought no ticket, or one that is used or too old.
    Unauthorized,
    /// It comes from a page that may not call us.
    Forbidden,
    /// There is no such room.
    NoRoom,
    /// The room was deleted.
    Deleted,
    /// The document, or what was sent, is too large.
    TooLarge,
    /// It has to begin anew: it took too long to read, or we lost what it had told us.
    Resync,
    /// What it says is right, and the store has no room to keep it.
    StoreFull,
    /// The server ends.
    Draining,
    /// It says too much at once, or is in too many rooms.
    RateLimited,
    /// The room is full.
    Full,
}

impl Close {
    /// The code on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Malformed => 4400,
            Self::Unauthorized => 4401,
            Self::Forbidden => 4403,
            Self::NoRoom => 4404,
            Self::Deleted => 4410,
            Self::TooLarge => 4413,
            Self::Resync => 4500,
            Self::StoreFull => 4507,
            Self::Draining => 4503,
            Self::RateLimited => 4529,
            Self::Full => 4531,
        }
    }

    /// What to do about it, in less than 124 bytes.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "the frame is no message of the Yjs protocol that is kept here",
            Self::Unauthorized => "bring a new ticket as `?ticket=`, or an API key",
            Self::Forbidden => "this page may not enter rooms; see GATEWAY_CORS_ORIGINS",
            Self::NoRoom => "there is no such room",
            Self::Deleted => "the room was deleted",
            Self::TooLarge => {
                "a frame may have 1 MiB, a document 2 MiB, and what tells of one client 4 KiB"
            }
            Self::Resync => "connect again, and what is missing comes",
            Self::StoreFull => {
                "the gateway's store of rooms is full; connect again once an operator has made room"
            }
            Self::Draining => "the server ends; connect again",
            Self::RateLimited => "too many messages or rooms at once; connect again",
            Self::Full => "the room is full; try again",
        }
    }
}

impl From<&StoreError> for Close {
    /// What a store that fails us means to whoever is in a room, or wants to be.
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::NoRoom => Self::StoreFull,
            _ => Self::Resync,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Bounds;

    #[test]
    fn a_reason_fits_into_a_close_frame() {
        for close in [
            Close::Malformed,
            Close::Unauthorized,
            Close::Forbidden,
            Close::NoRoom,
            Close::Deleted,
            Close::TooLarge,
            Close::Resync,
            Close::StoreFull,
            Close::Draining,
            Close::RateLimited,
            Close::Full,
        ] {
            assert!(close.reason().len() <= 123, "{close:?}");
            assert!((4400..4600).contains(&close.code()));
        }
    }

    /// Operators and clients rely on these: README.md lists most of them.
    #[test]
    fn a_room_bears_what_it_is_said_to() {
        const KIB: usize = 1 << 10;
        let limits = Limits::default();
        for (found, expected, what) in [
            (limits.frame_bytes, KIB * KIB, "a frame"),
            (limits.document_bytes, 2 * KIB * KIB, "a document"),
            (limits.awareness_bytes, 4 * KIB, "a cursor"),
            (limits.clients, 32, "clients"),
            (limits.messages_per_second as usize, 60, "messages a second"),
            (limits.messages_burst as usize, 120, "messages at once"),
            (limits.outbox_frames, 256, "frames that wait"),
            (limits.outbox_bytes, 4 * KIB * KIB, "bytes that wait"),
            (limits.snapshot_updates, 200, "changes to one snapshot"),
        ] {
            assert_eq!(found, expected, "{what}");
        }
        for (found, milliseconds, what) in [
            (limits.batch_time, 50, "until a change is written"),
            (limits.quiet_time, 2_000, "until a snapshot of what rests"),
            (limits.busy_time, 10_000, "until a snapshot of what does not"),
            (limits.idle_time, 60_000, "until a room leaves memory"),
        ] {
            assert_eq!(found, Duration::from_millis(milliseconds), "{what}");
        }
        let bounds = Bounds::default();
        assert_eq!((bounds.rooms_max, bounds.bytes_max), (10_000, 1 << 30));
        assert_eq!((bounds.tickets_max, bounds.invitations_max), (256, 32));
    }
}
