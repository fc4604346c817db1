//! Properties of the spawner's packets: whatever arrives is a request or an error, no descriptor
//! that came with it is kept, and the packet after it is understood.

use std::os::fd::AsFd as _;

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};

use super::*;
use crate::strategies::{path, text_path};
use crate::tracers::{self, PATIENCE, Tracer};

/// Packets that are nearly requests.
const PACKETS: &[&[u8]] = &[
    b"",
    b"l",
    b"s",
    b"l\0\0\0\0",
    b"s\0\0\0\0",
    b"s\xff\xff\xff\xff",
    b"s\x00\x00\x00\x80",
    b"s\x01",
    b"L\0\0\0\0",
    b"\0\0\0\0\0",
    b"l\0\0\0\0l\0\0\0\0",
    b"s\x01\0\0\0and more than that",
    b"null",
];

/// Descriptions that are odd, or were costly somewhere.
const FOUNDATIONS: &[&str] = &[
    "",
    "null",
    " null ",
    "nul",
    "{}",
    "[]",
    "[\"/r\",[]]",
    "{\"root\":null,\"readable\":[]}",
    "{\"root\":\"/r\",\"readable\":[],\"readable\":[]}",
    "{\"root\":\"/r\",\"readable\":[7]}",
    "{\"root\":\"/r\",\"readable\":[]}}",
    "{\"root\":\"\\ud800\",\"readable\":[]}",
    "\u{feff}null",
];

/// A connection to a spawner whose every wait has an end.
fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    set_socket_timeout(&far, Timeout::Recv, Some(PATIENCE)).unwrap();
    set_socket_timeout(&near, Timeout::Send, Some(PATIENCE)).unwrap();
    (near, far)
}

/// What the bytes of a packet ask for, if anything.
fn meaning(bytes: &[u8]) -> Option<Request> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    match byte(0) {
        LAUNCH => Some(Request::Launch),
        SETTLE => Some(Request::Settle(i32::from_le_bytes([byte(1), byte(2), byte(3), byte(4)]))),
        _ => None,
    }
}

/// Checks that a proper request comes out as it went in.
fn check_round_trip(near: &OwnedFd, far: &OwnedFd, request: Request) {
    let (tracers, writers) = Tracer::make(1);
    send(near.as_fd(), request, writers[0].as_fd()).unwrap();
    drop(writers);
    let (received, descriptor) = receive(far.as_fd()).unwrap().unwrap();
    assert_eq!(received, request);
    assert!(tracers[0].leads_to(&descriptor), "another descriptor came out");
    drop(descriptor);
    tracers[0].check_closed();
}

fn check_packet(bytes: &[u8], descriptors: usize) {
    let (near, far) = pair();
    let (tracers, writers) = Tracer::make(descriptors);
    tracers::send(near.as_fd(), bytes, &writers);
    drop(writers);
    match receive(far.as_fd()) {
        Ok(Some((request, descriptor))) => {
            assert_eq!(Some(request), meaning(bytes));
            assert!(tracers.iter().any(|it| it.leads_to(&descriptor)), "it came from elsewhere");
        }
        Ok(None) => assert!(bytes.is_empty(), "{bytes:?} are not the end"),
        Err(error) => {
            assert!(descriptors == 0 || meaning(bytes).is_none(), "{bytes:?}: {error}");
        }
    }
    // With the connection still open: nothing but the packet's own end may close them.
    tracers.iter().for_each(Tracer::check_closed);
    check_round_trip(&near, &far, Request::Settle(77));
}

fn check_foundation(bytes: &[u8], descriptors: usize) {
    let (near, far) = pair();
    let (tracers, writers) = Tracer::make(descriptors);
    tracers::send(near.as_fd(), bytes, &writers);
    drop(writers);
    // Garbage is refused; that it is, and not how, is what counts.
    if let Ok(Some(foundation)) = receive_foundation(far.as_fd()) {
        let read: Foundation = serde_json::from_slice(bytes).unwrap();
        assert_eq!(foundation, read);
    }
    tracers.iter().for_each(Tracer::check_closed);
    check_round_trip(&near, &far, Request::Launch);
}

/// A foundation that can be told comes out the same; one that cannot is refused, and nothing of
/// it is sent.
fn check_foundation_round_trip(foundation: Option<&Foundation>) {
    let (near, far) = pair();
    let can_be_told = foundation.is_none_or(|it| {
        it.root.to_str().is_some() && it.readable.iter().all(|path| path.to_str().is_some())
    });
    let sent = send_foundation(near.as_fd(), foundation);
    assert_eq!(sent.is_ok(), can_be_told, "{sent:?}");
    if can_be_told {
        assert_eq!(receive_foundation(far.as_fd()).unwrap().as_ref(), foundation);
    }
    check_round_trip(&near, &far, Request::Launch);
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let kind = proptest::sample::select(&[LAUNCH, SETTLE, 0, b'x'][..]);
    let near_a_request = (kind, vec(any::<u8>(), 0..8))
        .prop_map(|(kind, rest)| std::iter::once(kind).chain(rest).collect());
    prop_oneof![3 => near_a_request, 1 => vec(any::<u8>(), 0..300)]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![Just(Request::Launch), any::<i32>().prop_map(Request::Settle)]
}

#[test]
fn the_corpus_is_answered_and_leaves_no_descriptor() {
    for descriptors in 0..=4 {
        for bytes in PACKETS {
            check_packet(bytes, descriptors);
        }
        for text in FOUNDATIONS {
            check_foundation(text.as_bytes(), descriptors);
        }
    }
    let deep = "[".repeat(FOUNDATION_BYTES_MAX - 1);
    check_foundation(deep.as_bytes(), 0);
    let hidden = format!("{{\"root\":\"/r\",\"readable\":[],\"more\":{}", "[".repeat(60_000));
    check_foundation(hidden.as_bytes(), 0);
}

#[test]
fn a_foundation_has_a_bound_and_may_reach_it() {
    let foundation = |length| Foundation { root: "a".repeat(length).into(), readable: vec![] };
    let frame = serde_json::to_vec(&foundation(0)).unwrap().len();
    let largest = foundation(FOUNDATION_BYTES_MAX - frame);
    check_foundation_round_trip(Some(&largest));
    let (near, far) = pair();
    let larger = foundation(FOUNDATION_BYTES_MAX - frame + 1);
    assert!(send_foundation(near.as_fd(), Some(&larger)).is_err());
    check_round_trip(&near, &far, Request::Launch);
}

#[test]
fn a_server_that_is_gone_ends_the_requests() {
    let (near, far) = pair();
    shutdown(&near, Shutdown::Write).unwrap();
    assert!(receive(far.as_fd()).unwrap().is_none());
    assert!(receive_foundation(far.as_fd()).is_err());
    drop(near);
    assert!(receive(far.as_fd()).unwrap().is_none());
}

proptest! {
    #[test]
    fn any_packet_is_a_request_or_an_error(bytes in bytes(), descriptors in 0..=3_usize) {
        check_packet(&bytes, descriptors);
    }

    #[test]
    fn requests_come_out_as_they_went_in(requests in vec(request(), 1..8)) {
        let (near, far) = pair();
        for request in requests {
            check_round_trip(&near, &far, request);
        }
    }

    #[test]
    fn any_bytes_are_a_foundation_or_an_error(
        bytes in vec(any::<u8>(), 0..200),
        descriptors in 0..=3_usize,
    ) {
        check_foundation(&bytes, descriptors);
    }

    #[test]
    fn foundations_come_out_as_they_went_in(
        root in text_path(),
        readable in vec(path(), 0..6),
        is_there in any::<bool>(),
    ) {
        let foundation = Foundation { root, readable };
        check_foundation_round_trip(is_there.then_some(&foundation));
    }
}
