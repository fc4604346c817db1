//! Who is told what in a room.

use std::time::Duration;

use yrs::updates::decoder::Decode as _;
use yrs::{Doc, GetString as _, ReadTxn as _, StateVector, Text as _, Transact as _, Update};

use super::*;
use crate::home::Home;
use crate::outbox::Out;
use crate::wire::write_buffer;

fn room() -> Room {
    Room::new(Limits::default(), Housed::new(Home::Here).unwrap())
}

fn newcomer(role: Role) -> (Newcomer, Arc<Outbox>) {
    let outbox = Arc::new(Outbox::new(&Limits::default()));
    (Newcomer { role, invitation: None, outbox: Arc::clone(&outbox) }, outbox)
}

fn join(room: &mut Room, connection: u64, role: Role) -> Arc<Outbox> {
    let (newcomer, outbox) = newcomer(role);
    room.join(connection, newcomer, Instant::now()).unwrap();
    outbox
}

fn invited(room: &mut Room, connection: u64, invitation: &InvitationId) -> Arc<Outbox> {
    let (newcomer, outbox) = newcomer(Role::Editor);
    let newcomer = Newcomer { invitation: Some(invitation.clone()), ..newcomer };
    room.join(connection, newcomer, Instant::now()).unwrap();
    drop(frames(&outbox));
    outbox
}

/// What waits for somebody.
fn taken(outbox: &Outbox) -> Vec<Out> {
    use futures::FutureExt as _;
    let mut all = Vec::new();
    while let Some(out) = outbox.next().now_or_never() {
        let is_end = matches!(out, Out::Close(_));
        all.push(out);
        if is_end {
            break;
        }
    }
    all
}

fn frames(outbox: &Outbox) -> Vec<Bytes> {
    let frame = |out| match out {
        Out::Frame(frame) => frame,
        Out::Close(close) => panic!("{close:?}"),
    };
    taken(outbox).into_iter().map(frame).collect()
}

/// What a client says of itself.
fn said(client: u8, clock: u8, state: &str) -> Bytes {
    let mut update = vec![1, client, clock];
    write_buffer(&mut update, state.as_bytes());
    wire::awareness(&update)
}

fn text_update(text: &str) -> Vec<u8> {
    let doc = Doc::with_client_id(5);
    doc.get_or_insert_text("t").insert(&mut doc.transact_mut(), 0, text);
    doc.transact().encode_diff_v1(&StateVector::default())
}

/// The text of a document as a new client gets it.
fn text(room: &mut Room) -> String {
    let doc = Doc::new();
    let (text, state) = (doc.get_or_insert_text("t"), room.document().state().unwrap());
    doc.transact_mut().apply_update(Update::decode_v1(&state).unwrap()).unwrap();
    text.get_string(&doc.transact())
}

fn send(room: &mut Room, connection: u64, frame: &[u8]) -> Taken {
    room.frame(connection, frame, Instant::now())
}

#[test]
fn a_change_goes_to_everybody_else() {
    let mut room = room();
    let (ann, ben) = (join(&mut room, 1, Role::Owner), join(&mut room, 2, Role::Viewer));
    assert_eq!(frames(&ann).len(), 1, "it is asked for what it has");
    assert_eq!(frames(&ben).len(), 0, "who only looks is not asked");
    let update = wire::update(&text_update("hello"));
    assert_eq!(send(&mut room, 1, &update), Taken::Well);
    assert_eq!((frames(&ann), frames(&ben)), (vec![], vec![update.clone()]));
    assert_eq!(room.take_news().updates.len(), 1);
    assert_eq!(send(&mut room, 1, &update), Taken::Well);
    assert_eq!(room.take_news().updates.len(), 0);
    assert_eq!(text(&mut room), "hello");
}

#[test]
fn who_may_not_edit_is_ignored_quietly() {
    let mut room = room();
    for role in [Role::Viewer, Role::Runner] {
        let ben = join(&mut room, 2, role);
        let update = text_update("forged");
        for frame in [wire::update(&update), wire::step_2(&update)] {
            assert_eq!(send(&mut room, 2, &frame), Taken::Well);
        }
        assert_eq!((text(&mut room).as_str(), frames(&ben).len()), ("", 0));
        assert_eq!(send(&mut room, 2, &wire::step_1(&[0])), Taken::Well);
        assert_eq!(frames(&ben), [wire::step_2(&[0, 0])]);
        room.leave(2);
    }
}

#[test]
fn who_is_there_is_told_to_everybody_and_oneself() {
    let mut room = room();
    let (ann, ben) = (join(&mut room, 1, Role::Owner), join(&mut room, 2, Role::Owner));
    drop((frames(&ann), frames(&ben)));
    let hello = said(7, 1, "{\"name\":\"ann\"}");
    send(&mut room, 1, &hello);
    assert_eq!((frames(&ann), frames(&ben)), (vec![hello.clone()], vec![hello.clone()]));
    // Ben's client repeats what it heard, as all do: nobody is told again.
    send(&mut room, 2, &hello);
    assert_eq!(frames(&ann).len(), 0);
    // What ben says of ann is not believed, and he has not said who he is: he is told what is so.
    drop(frames(&ben));
    send(&mut room, 2, &said(7, 9, "null"));
    assert_eq!((frames(&ann).len(), frames(&ben)), (0, vec![hello.clone()]));
    // Who comes later hears of both, and asks again.
    send(&mut room, 2, &said(8, 1, "{}"));
    let eve = join(&mut room, 3, Role::Viewer);
    assert_eq!(frames(&eve).len(), 1);
    send(&mut room, 3, &[3]);
    assert_eq!(frames(&eve).len(), 1);
    drop(frames(&ann));
    room.leave(2);
    assert_eq!(frames(&ann), [said(8, 1, "null")]);
}

#[test]
fn who_comes_back_before_it_was_missed_takes_its_name_over() {
    let mut room = room();
    let (old, start) = (join(&mut room, 1, Role::Owner), Instant::now());
    room.frame(1, &said(7, 3, "{}"), start);
    let new = join(&mut room, 2, Role::Owner);
    room.frame(2, &said(7, 4, "{}"), start + Duration::from_secs(1));
    assert!(!old.is_closed(), "it may be somebody else");
    room.frame(2, &said(7, 5, "{}"), start + Duration::from_secs(30));
    assert!(old.is_closed());
    let last = taken(&new).pop();
    assert_eq!(last, Some(Out::Frame(said(7, 5, "{}"))));
}

#[test]
fn what_is_no_message_shows_its_sender_out_and_nobody_else() {
    let large = Limits::default().awareness_bytes;
    let cases: [(Vec<u8>, Close); 7] = [
        (vec![9], Close::Malformed),
        (vec![0, 2, 1, 255], Close::Malformed),
        (vec![0, 0, 2, 9, 9], Close::Malformed),
        (said(7, 1, "{").to_vec(), Close::Malformed),
        (said(7, 1, &format!("\"{}\"", "x".repeat(large))).to_vec(), Close::TooLarge),
        (vec![0; (1 << 20) + 1], Close::TooLarge),
        ([&wire::step_1(&[0])[..], &[3]].concat(), Close::Malformed),
    ];
    for (frame, close) in cases {
        let mut room = room();
        let (ann, ben) = (join(&mut room, 1, Role::Owner), join(&mut room, 2, Role::Owner));
        assert_eq!(send(&mut room, 1, &frame), Taken::Closed);
        assert_eq!(taken(&ann).pop(), Some(Out::Close(close)));
        send(&mut room, 2, &wire::step_1(&[0]));
        assert_eq!(frames(&ben).len(), 2);
        // It is not listened to any more.
        send(&mut room, 1, &wire::update(&text_update("late")));
        assert_eq!(text(&mut room), "");
    }
}

#[test]
fn who_says_too_much_comes_again_later() {
    let mut room = room();
    let (ann, start) = (join(&mut room, 1, Role::Owner), Instant::now());
    let repeated = said(9, 1, "null");
    send(&mut room, 1, &said(7, 1, "{}"));
    drop(frames(&ann));
    for _ in 0..1000 {
        room.frame(1, &repeated, start);
    }
    assert!(!ann.is_closed(), "what all clients do is no burst");
    for _ in 0..200 {
        room.frame(1, &[3], start + Duration::from_secs(1));
    }
    assert_eq!(taken(&ann).pop(), Some(Out::Close(Close::RateLimited)));
}

#[test]
fn a_room_is_full_some_time() {
    let mut room = room();
    let all: Vec<_> = (0..32).map(|it| join(&mut room, it, Role::Viewer)).collect();
    let joined = room.join(99, newcomer(Role::Owner).0, Instant::now());
    assert_eq!((joined, all.len()), (Err(Close::Full), 32));
    room.leave(0);
    assert_eq!(room.join(99, newcomer(Role::Owner).0, Instant::now()), Ok(()));
}

/// Clients read the first message of a frame and nothing behind it: whoever came late would never see
/// who is there.
#[test]
fn an_editor_who_comes_late_is_told_one_message_a_frame() {
    let mut room = room();
    for (connection, client) in [(1, 7), (2, 8)] {
        drop(join(&mut room, connection, Role::Editor));
        send(&mut room, connection, &said(client, 1, "{}"));
    }
    send(&mut room, 1, &wire::update(&text_update("hello")));
    let eve = join(&mut room, 3, Role::Editor);
    send(&mut room, 3, &wire::step_1(&[0]));
    send(&mut room, 3, &[3]);
    let told = frames(&eve);
    let messages: Vec<Message<'_>> = told.iter().map(|it| Message::parse(it).unwrap()).collect();
    let [
        Message::Step1(_),
        Message::Awareness(there),
        Message::Step2(_),
        Message::Awareness(again),
    ] = messages[..]
    else {
        panic!("{messages:?}")
    };
    for there in [there, again] {
        let mut clients: Vec<u64> =
            awareness::parse(there).unwrap().iter().map(|it| it.client).collect();
        clients.sort_unstable();
        assert_eq!(clients, [7, 8]);
    }
}

#[test]
fn who_came_by_an_invitation_goes_when_it_ends() {
    let mut room = room();
    let (ended, other) = (InvitationId::random(), InvitationId::random());
    let ann = join(&mut room, 1, Role::Owner);
    let (ben, eve) = (invited(&mut room, 2, &ended), invited(&mut room, 3, &other));
    room.end_invitation(&ended);
    assert_eq!(taken(&ben), [Out::Close(Close::Unauthorized)]);
    assert!(!ann.is_closed() && !eve.is_closed());
    send(&mut room, 2, &wire::update(&text_update("late")));
    assert_eq!(text(&mut room), "", "it is not listened to any more");
    send(&mut room, 3, &wire::update(&text_update("hello")));
    assert_eq!(text(&mut room), "hello");
}

#[test]
fn who_breaks_a_document_is_shown_out_and_nobody_else() {
    let mut room = room();
    let (ann, ben) = (join(&mut room, 1, Role::Owner), join(&mut room, 2, Role::Owner));
    let breaking = wire::update(crate::document::tests::BREAKING);
    assert_eq!(send(&mut room, 1, &breaking), Taken::Broken);
    assert_eq!(taken(&ann).pop(), Some(Out::Close(Close::Malformed)));
    assert_eq!(frames(&ben).len(), 1, "nothing of it is told");
    assert_eq!(room.take_news().updates.len(), 0, "or kept");
}

#[test]
fn a_room_that_is_gone_keeps_nobody() {
    let mut room = room();
    let ann = join(&mut room, 1, Role::Viewer);
    drop(room);
    assert_eq!(taken(&ann), [Out::Close(Close::Resync)]);
}
