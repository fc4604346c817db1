//! A word on the wire: the server that says it (16 bytes), the room behind the length of its name,
//! the kind of word (a byte), and what there is to say. Without a room, the sender is there.

use bytes::Bytes;

use crate::bus::{ServerId, Word};
use crate::words::RoomId;

const WRITTEN: u8 = 1;
const UPDATE: u8 = 2;
const STEP_1: u8 = 3;
const AWARENESS: u8 = 4;
const WHO_IS_THERE: u8 = 5;
const SERVER_LEFT: u8 = 6;
const DELETED: u8 = 7;
const INVITATION_ENDED: u8 = 8;

/// What says that a server is there.
pub(super) fn beat(server: ServerId) -> Vec<u8> {
    server.0.to_be_bytes().to_vec()
}

pub(super) fn write(server: ServerId, room: &RoomId, word: &Word) -> Vec<u8> {
    let number;
    let (kind, body) = match word {
        Word::Written(written) => {
            number = written.to_be_bytes();
            (WRITTEN, &number[..])
        }
        Word::Update(update) => (UPDATE, &update[..]),
        Word::Step1(state) => (STEP_1, &state[..]),
        Word::Awareness(said) => (AWARENESS, &said[..]),
        Word::WhoIsThere => (WHO_IS_THERE, &[][..]),
        Word::ServerLeft => (SERVER_LEFT, &[][..]),
        Word::Deleted => (DELETED, &[][..]),
        Word::InvitationEnded(id) => (INVITATION_ENDED, id.as_str().as_bytes()),
    };
    let mut message = beat(server);
    let name = room.as_str().as_bytes();
    // A name has 64 bytes at most.
    message.extend(u8::try_from(name.len()));
    message.extend_from_slice(name);
    message.push(kind);
    message.extend_from_slice(body);
    message
}

/// The sender, and what it says if it says more than that it is there.
pub(super) fn parse(message: &[u8]) -> Option<(ServerId, Option<(RoomId, Word)>)> {
    let (server, rest) = message.split_first_chunk::<16>()?;
    let server = ServerId(u128::from_be_bytes(*server));
    let Some((length, rest)) = rest.split_first() else { return Some((server, None)) };
    let (room, rest) = rest.split_at_checked(usize::from(*length))?;
    let room = std::str::from_utf8(room).ok()?.parse().ok()?;
    let (kind, body) = rest.split_first()?;
    let bytes = || Bytes::copy_from_slice(body);
    let word = match *kind {
        WRITTEN => Word::Written(u64::from_be_bytes(body.try_into().ok()?)),
        UPDATE => Word::Update(bytes()),
        STEP_1 => Word::Step1(bytes()),
        AWARENESS => Word::Awareness(bytes()),
        WHO_IS_THERE => Word::WhoIsThere,
        SERVER_LEFT => Word::ServerLeft,
        DELETED => Word::Deleted,
        INVITATION_ENDED => Word::InvitationEnded(std::str::from_utf8(body).ok()?.parse().ok()?),
        // A younger version may say more.
        _ => return Some((server, None)),
    };
    Some((server, Some((room, word))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invitation::InvitationId;

    #[test]
    fn a_word_is_heard_as_it_was_said() {
        let (server, room) = (ServerId(u128::MAX - 7), RoomId::random());
        let bytes = Bytes::from_static(&[0, 1, 0xfe, 0xff]);
        for word in [
            Word::Written(u64::MAX),
            Word::Update(bytes.clone()),
            Word::Step1(bytes.clone()),
            Word::Awareness(bytes),
            Word::WhoIsThere,
            Word::ServerLeft,
            Word::Deleted,
            Word::InvitationEnded(InvitationId::random()),
        ] {
            let message = write(server, &room, &word);
            assert_eq!(parse(&message), Some((server, Some((room.clone(), word)))));
        }
        assert_eq!(parse(&beat(server)), Some((server, None)));
    }

    #[test]
    fn what_others_write_on_the_channel_is_no_word() {
        let server = ServerId(7);
        let written = write(server, &"a".parse().unwrap(), &Word::Written(1));
        for length in 17..written.len() {
            assert_eq!(parse(&written[..length]), None, "{length}");
        }
        assert_eq!(parse(b"hello"), None);
        let with = |rest: &[u8]| [&beat(server)[..], rest].concat();
        assert_eq!(parse(&with(b"\x01/\x05")), None, "no room is called so");
        assert_eq!(parse(&with(b"\x01a\xff?")), Some((server, None)), "a word of tomorrow");
    }
}
