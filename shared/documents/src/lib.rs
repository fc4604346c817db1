//! Rooms: several people write one program together. A room has a document, a text that all of them
//! change at the same time, and knows who is there.
//!
//! # Theory of operation
//!
//! Clients speak the sync and awareness protocols of Yjs, one message a frame ([`Member::send`],
//! [`Member::next`]). A document is a CRDT: whoever has the same changes has the same text, in
//! whatever order they came and however often. So what is lost on the way comes again with the next
//! synchronisation, and nothing has to be taken back.
//!
//! Each room is a task (`task`) on threads of its own, which are not those that answer requests. It
//! does one thing after another: `room` decides who is told what, `document` keeps the text,
//! `awareness` who is there, and `saver` when what is written. Changes go to clients at once, to the
//! [`DocumentStore`] within 50 ms, and every few seconds the whole document stands for them. A room
//! that nobody is in leaves memory after a minute.
//!
//! What comes from clients is hostile. `wire` and `guard` look at every byte before the library does,
//! which would believe what a frame says of its own size. The library itself is in a process apart for
//! each document ([`Home`], `process`), with bounds on memory and time and no right to anything. Should
//! it panic or that process end, the document is made anew from what is kept, and only who sent the
//! frame is shown out. Everything that a client can make grow has a bound ([`Limits`]).
//!
//! Where several servers share a store, each writes there what its own clients changed, in one order
//! for all, and tells the others on a [`Bus`] that it did. Whoever is told, or wrote and found
//! somebody else's changes before its own, reads what it has not. A bus that bears it has the changes
//! themselves, so that nobody waits for the store; whoever opens a room, or was not heard for a while,
//! asks on it for what the store may never get, because the server that told of it was killed.
//!
//! Snippets, which people share without a room, are kept in the same store.

mod ask;
mod awareness;
mod bus;
mod document;
mod guard;
mod home;
mod invitation;
mod limits;
mod member;
mod order;
mod outbox;
mod postgres;
mod process;
mod redis;
mod room;
mod rooms;
mod saver;
mod secret;
mod snippet;
mod sqlite;
mod store;
mod task;
mod wire;
mod words;

pub use bus::{Bus, Heard, ServerId, Word};
pub use document::RunNote;
pub use home::Home;
pub use invitation::{Invitation, InvitationId};
pub use limits::{Close, Limits};
pub use member::Member;
pub use order::RoomState;
pub use outbox::Out;
pub use postgres::PostgresStore;
pub use process::{is_document, serve_document};
pub use rooms::{NewInvitation, NewTicket, Rooms, Terms};
pub use secret::SecretDigest;
pub use snippet::SnippetId;
pub use sqlite::SqliteStore;
pub use store::{Appended, Bounds, DocumentStore, Loaded, ServerPlace, StoreError, open};
pub use wire::Malformed;
pub use words::{InvalidRoomId, Role, RoomId, RoomRecord, Ticket, Visibility};
