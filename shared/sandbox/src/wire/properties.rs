//! Properties of the wire: whatever bytes arrive, in whatever pieces and with whatever descriptors,
//! they are messages or an error, within bounds; and what is sent comes out the same.

use std::net::Shutdown;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::CellSpec;
use crate::strategies::{cell, message, path, policy};
use crate::tracers::{self, PATIENCE, Tracer};

/// Bodies that are odd, or were costly somewhere.
const BODIES: &[&[u8]] = &[
    b"",
    b"null",
    b"\"Started\"",
    b" \"Started\"\n",
    b"\"Started\" \"Started\"",
    b"\"started\"",
    b"\"Start\\u0065d\"",
    b"{\"Started\":null}",
    b"{\"Started\":null,\"Ready\":null}",
    b"{\"Hello\":{\"pid\":2147483648}}",
    b"{\"Hello\":{\"pid\":1e0}}",
    b"{\"Hello\":{\"pid\":-0}}",
    b"{\"Hello\":{\"pid\":1,\"pid\":2}}",
    b"{\"Hello\":[7]}",
    b"{\"Hello\":{}}",
    b"{\"Failed\":{\"step\":\"\\ud800\",\"errno\":1}}",
    b"{\"Failed\":{\"step\":\"\xff\xfe\",\"errno\":1}}",
    b"{\"Failed\":{\"step\":\"\\u0000\",\"errno\":1}}",
    b"{\"Ended\":null}",
    b"{\"Ended\":{\"exit\":{\"Code\":1,\"Signal\":2}}}",
    b"\xef\xbb\xbf\"Started\"",
    b"1e999999999999",
    b"\0\0\0\0",
    b"{\"\":",
];

/// Pieces that fit in a socket before anybody reads them.
const PIECES_MAX: usize = 64;

fn encoded<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    send(&mut bytes, message).unwrap();
    bytes
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_le_bytes(), body].concat()
}

/// Messages, what is nearly one, and noise.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (message(), any::<Index>(), any::<u8>()).prop_map(|(message, at, byte)| {
        let mut bytes = encoded(&message);
        *at.get_mut(&mut bytes) = byte;
        bytes
    });
    let part = prop_oneof![
        6 => message().prop_map(|it| encoded(&it)),
        2 => damaged,
        1 => select(BODIES).prop_map(framed),
        1 => vec(any::<u8>(), 0..40).prop_map(|it| framed(&it)),
        1 => vec(any::<u8>(), 0..12),
    ];
    vec(part, 0..6).prop_map(|parts| parts.concat())
}

/// Sizes of the pieces in which bytes arrive, over and over.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(1..=40_usize, 1..6)
}

/// The first pieces are of these sizes, over and over; the last one is the rest.
fn pieces<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle().take(PIECES_MAX) {
        let (piece, rest) = bytes.split_at(bytes.len().min(*size));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces.retain(|it| !it.is_empty());
    pieces
}

/// What arrives when all of it is there at once.
fn all_of<T: DeserializeOwned>(mut bytes: &[u8]) -> Vec<T> {
    std::iter::from_fn(|| receive(&mut bytes).ok()).collect()
}

/// A connection whose every wait has an end.
fn pair() -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    near.set_write_timeout(Some(PATIENCE)).unwrap();
    (near, far)
}

fn check_decode(bytes: &[u8], sizes: &[usize]) {
    let mut buffer = Vec::new();
    let mut found = Vec::new();
    let mut refused = false;
    for piece in pieces(bytes, sizes) {
        buffer.extend_from_slice(piece);
        let room = buffer.capacity();
        while !refused {
            match Message::decode(&mut buffer) {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(_) => refused = true,
            }
        }
        assert_eq!(buffer.capacity(), room, "a length made it take room");
    }
    assert_eq!(found, all_of::<Message>(bytes));
    if !refused && let Some(length) = buffer.first_chunk::<4>() {
        let missing = u32::from_le_bytes(*length) as usize + 4 - buffer.len();
        assert!(missing > 0 && buffer.len() + missing <= BYTES_MAX + 4, "it waits for too much");
    }
}

/// Reads all of it from a socket on which it arrived in pieces, each with some descriptors. The
/// peer writes no more.
fn check_receive<T>(bytes: &[u8], sizes: &[usize], descriptors: &[usize])
where
    T: DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let (near, far) = pair();
    let mut sent = Vec::new();
    for (piece, count) in pieces(bytes, sizes).into_iter().zip(descriptors.iter().cycle()) {
        let (tracers, writers) = Tracer::make(*count);
        tracers::send(near.as_fd(), piece, &writers);
        sent.extend(tracers);
    }
    near.shutdown(Shutdown::Write).unwrap();
    let mut found = Vec::new();
    let fault = loop {
        match receive_with::<T>(&far) {
            Ok(Some((message, got))) => {
                let known = |it| sent.iter().any(|tracer| tracer.leads_to(it));
                assert!(got.iter().all(known), "a descriptor came from elsewhere");
                found.push(message);
            }
            Ok(None) => break None,
            Err(error) => break Some(error.kind()),
        }
    };
    assert!(!matches!(fault, Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)));
    assert_eq!(found, all_of::<T>(bytes));
    assert!(fault.is_some() || !found.is_empty() || bytes.is_empty(), "{bytes:?} are no end");
    // What was not read goes with the connection.
    drop((near, far));
    sent.iter().for_each(Tracer::check_closed);
}

/// Sends messages, each with its own descriptors, and receives them.
fn check_round_trip<T>(messages: &[(T, usize)])
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let (near, far) = pair();
    let mut sent = Vec::new();
    for (message, count) in messages {
        let (tracers, writers) = Tracer::make(*count);
        let descriptors: Vec<_> = writers.iter().map(|it| it.as_fd()).collect();
        send_with(&near, message, &descriptors).unwrap();
        sent.push((message, tracers));
    }
    drop(near);
    for (message, tracers) in sent {
        let (received, got) = receive_with::<T>(&far).unwrap().unwrap();
        assert_eq!(received, *message);
        assert_eq!(got.len(), tracers.len());
        assert!(tracers.iter().zip(&got).all(|(tracer, it)| tracer.leads_to(it)));
        drop(got);
        tracers.iter().for_each(Tracer::check_closed);
    }
    assert!(receive_with::<T>(&far).unwrap().is_none());
}

/// A peer that stops in the middle of a message.
fn check_cut<T>(message: &T, at: Index, descriptors: usize)
where
    T: Serialize + DeserializeOwned + std::fmt::Debug,
{
    let whole = encoded(message);
    let cut = &whole[..at.index(whole.len())];
    let (near, far) = pair();
    let (tracers, writers) = Tracer::make(if cut.is_empty() { 0 } else { descriptors });
    tracers::send(near.as_fd(), cut, &writers);
    drop(writers);
    near.shutdown(Shutdown::Write).unwrap();
    match receive_with::<T>(&far) {
        Ok(None) => assert!(cut.is_empty()),
        Ok(Some(it)) => panic!("{it:?} came out of {} bytes of {}", cut.len(), whole.len()),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
    }
    // With the connection still open: a failure keeps nothing.
    tracers.iter().for_each(Tracer::check_closed);
    assert_eq!(receive::<T>(cut).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

fn paths_of(policy: &Policy) -> Vec<&PathBuf> {
    let lists = policy.readable.iter().chain(&policy.writable);
    lists.chain([&policy.program, &policy.work_dir]).collect()
}

/// What holds a path that is no text is refused before anything of it is sent.
fn check_told_whole<T>(message: &T, paths: &[&PathBuf], sizes: &[usize])
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + Clone,
{
    if paths.iter().all(|it| it.to_str().is_some()) {
        check_round_trip(&[(message.clone(), 3), (message.clone(), 0)]);
        check_receive::<T>(&encoded(message), sizes, &[1]);
        return;
    }
    let (near, far) = pair();
    assert!(send(&near, message).is_err());
    assert!(send_with(&near, message, &[near.as_fd()]).is_err());
    drop(near);
    assert!(receive_with::<T>(&far).unwrap().is_none(), "a part of it was sent");
}

/// Bytes from memory, and the most that was asked for at once.
struct Source<'a> {
    bytes: &'a [u8],
    most: usize,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.most = self.most.max(buffer.len());
        self.bytes.read(buffer)
    }
}

/// A length that only few bytes follow, if any.
fn check_length(length: u32, rest: &[u8]) {
    let bytes = [&length.to_le_bytes(), rest].concat();
    let mut source = Source { bytes: &bytes, most: 0 };
    let received = receive::<Policy>(&mut source);
    let is_allowed = length as usize <= BYTES_MAX;
    let most = if is_allowed { BYTES_MAX } else { 4 };
    assert!(source.most <= most, "{length} took room for {}", source.most);
    assert!(is_allowed || received.is_err());
    check_decode(&bytes, &[3]);
    check_receive::<Policy>(&bytes, &[bytes.len()], &[1]);
}

#[test]
fn the_corpus_is_answered_within_bounds() {
    for body in BODIES {
        let before_and_after =
            [encoded(&Message::Accepted), framed(body), encoded(&Message::Started)];
        for bytes in [framed(body), before_and_after.concat()] {
            for sizes in [[1, 1], [3, 2], [4, 1], [5, 9], [1000, 1]] {
                check_decode(&bytes, &sizes);
                check_receive::<Message>(&bytes, &sizes, &[0, 3, 1]);
                check_receive::<Policy>(&bytes, &sizes, &[5]);
            }
        }
    }
    for depth in [200, 10_000] {
        let deep = framed("[".repeat(depth).as_bytes());
        let hidden = format!("{{\"Hello\":{{\"more\":{}", "[".repeat(depth));
        for bytes in [deep, framed(hidden.as_bytes())] {
            check_decode(&bytes, &[1000]);
            check_receive::<Policy>(&bytes, &[1000], &[0]);
        }
    }
    let largest = u32::try_from(BYTES_MAX).unwrap();
    for length in [0, 1, largest - 4, largest - 3, largest, largest + 1, u32::MAX - 4, u32::MAX] {
        check_length(length, b"");
        check_length(length, b"{}");
    }
}

#[test]
fn what_is_sent_at_the_bound_is_received_and_nothing_beyond_it_is_sent() {
    let message = |length| Message::Failed { step: "a".repeat(length), errno: 1 };
    let frame = encoded(&message(0)).len() - 4;
    for below in 0..6 {
        let largest = message(BYTES_MAX - frame - below);
        let mut bytes = encoded(&largest);
        assert_eq!(receive::<Message>(bytes.as_slice()).unwrap(), largest);
        assert_eq!(Message::decode(&mut bytes).unwrap(), Some(largest));
    }
    let (near, far) = pair();
    assert!(send(&near, &message(BYTES_MAX - frame + 1)).is_err());
    assert!(send_with(&near, &message(BYTES_MAX - frame + 1), &[]).is_err());
    drop(near);
    assert!(receive_with::<Message>(&far).unwrap().is_none(), "a part of it was sent");
}

#[test]
fn a_message_larger_than_a_socket_comes_out_whole_with_its_descriptors() {
    let (near, far) = pair();
    let (tracers, writers) = Tracer::make(3);
    let large = Message::Failed { step: "\u{1f980}\0\"".repeat(100_000), errno: 1 };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let descriptors: Vec<_> = writers.iter().map(|it| it.as_fd()).collect();
            send_with(&near, &large, &descriptors).unwrap();
            send_with(&near, &Message::Accepted, &[]).unwrap();
        });
        let (received, got) = receive_with::<Message>(&far).unwrap().unwrap();
        assert!(received == large, "it was changed on its way");
        assert!(got.len() == 3 && tracers.iter().zip(&got).all(|(it, got)| it.leads_to(got)));
        let (next, got) = receive_with::<Message>(&far).unwrap().unwrap();
        assert!(next == Message::Accepted && got.is_empty());
    });
    drop(writers);
    tracers.iter().for_each(Tracer::check_closed);
}

#[test]
fn only_the_two_bytes_of_a_stop_are_one() {
    let stops = [(Stop::Output, EndReason::Output), (Stop::Cancelled, EndReason::Cancelled)];
    for byte in 0..=u8::MAX {
        let meant = stops.iter().find(|(stop, _)| stop.byte() == byte).map(|(_, reason)| *reason);
        assert_eq!(Stop::reason(byte), meant);
    }
    assert_ne!(Stop::Output.byte(), Stop::Cancelled.byte());
}

#[test]
fn a_byte_is_a_stop_or_a_signal_or_nothing() {
    for byte in 0..=u8::MAX {
        let signal = Signal::of(byte);
        assert!(signal.is_none_or(|it| it.byte() == byte && Stop::reason(byte).is_none()));
    }
    let signals = [Signal::Interrupt, Signal::Terminate, Signal::Kill];
    assert!(signals.iter().all(|it| Signal::of(it.byte()) == Some(*it)));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_messages_or_an_error(
        bytes in noise(),
        sizes in sizes(),
        descriptors in vec(0..=4_usize, 1..4),
    ) {
        check_decode(&bytes, &sizes);
        check_receive::<Message>(&bytes, &sizes, &descriptors);
    }

    #[test]
    fn a_length_takes_no_room_beyond_the_bound(
        length in prop_oneof![any::<u32>(), 0..3_000_000_u32],
        rest in vec(any::<u8>(), 0..40),
    ) {
        check_length(length, &rest);
    }

    #[test]
    fn messages_come_out_as_they_went_in(
        messages in vec((message(), 0..=3_usize), 0..6),
        sizes in sizes(),
    ) {
        check_round_trip(&messages);
        let bytes: Vec<u8> = messages.iter().flat_map(|(message, _)| encoded(message)).collect();
        check_decode(&bytes, &sizes);
        let messages: Vec<Message> = messages.into_iter().map(|(message, _)| message).collect();
        assert_eq!(all_of::<Message>(&bytes), messages);
    }

    #[test]
    fn policies_and_cells_come_out_as_they_went_in_or_are_not_sent(
        policy in policy(),
        cell in cell(),
        odd in path(),
        sizes in sizes(),
    ) {
        check_told_whole(&policy, &paths_of(&policy), &sizes);
        let cell = CellSpec { readable: Vec::new(), writable: vec![odd], ..cell };
        check_told_whole(&cell, &[&cell.writable[0]], &sizes);
    }

    #[test]
    fn a_peer_that_stops_in_the_middle_is_an_error(
        message in message(),
        cell in cell(),
        at in any::<Index>(),
        descriptors in 0..=3_usize,
    ) {
        check_cut(&message, at, descriptors);
        let cell = CellSpec { readable: Vec::new(), writable: Vec::new(), ..cell };
        check_cut(&cell, at, descriptors);
    }
}
