//! Every store of documents does the same: one suite for all of them, and what each does at its start.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod files;
mod invitations;
mod postgres;
mod redis;
mod rooms;
mod servers;
mod snippets;

use std::sync::Arc;
use std::time::Duration;

use self::invitations::{
    a_ticket_ends_with_its_invitation, an_invitation_is_good_for_its_time, invitation,
};
use self::snippets::{a_snippet_is_kept_while_it_is_wanted, snippets_have_bounds};

use bytes::Bytes;
use documents::{
    Appended, Bounds, DocumentStore, Loaded, Role, RoomId, RoomRecord, SecretDigest, Ticket,
    Visibility,
};
use jiff::{SignedDuration, Timestamp};

/// Bounds that are reached soon.
const BOUNDS: Bounds = Bounds {
    rooms_max: 6,
    bytes_max: 1000,
    tickets_max: 2,
    invitations_max: 2,
    snippets_max: 3,
    snippet_bytes_max: 1000,
    patience: Duration::from_secs(30),
};

/// The same for whoever does not wait to be let in.
const AT_ONCE: Bounds = Bounds { patience: Duration::ZERO, ..BOUNDS };

type Store = Arc<dyn DocumentStore>;

/// A room as version 1 wrote it, with a document of one update and a ticket, where bytes are of this
/// type.
fn old_rows(bytes: &str) -> String {
    format!(
        "INSERT INTO room VALUES ('old', 'Old', 'private', 'ann', 1, 1, 1, 3, 0); \
         INSERT INTO room_update VALUES ('old', 1, CAST('abc' AS {bytes})); \
         INSERT INTO ticket VALUES (CAST('digest' AS {bytes}), 'old', 'viewer', NULL, 1)"
    )
}

/// What became of that, and that it can be invited to.
async fn what_was_kept_before_is_there(store: &Store) {
    let old: RoomId = "old".parse().unwrap();
    let known = store.room(old.clone()).await.unwrap().unwrap();
    assert_eq!(
        (known.title.as_deref(), known.owner.as_str(), known.bytes),
        (Some("Old"), "ann", 3)
    );
    assert_eq!(load(store, &old, 0).await.unwrap().updates, updates(&["abc"]));
    assert!(store.keep_invitation(invitation(&old, 60), at(0)).await.unwrap());
    assert_eq!(store.invitations(old.clone(), at(0)).await.unwrap().len(), 1);
    delete(store, old).await;
}

/// What is asked of every store; it may have rooms of the checks before.
async fn everything(store: &Store) {
    a_room_is_kept_as_it_was_made(store).await;
    updates_come_back_in_order(store).await;
    a_snapshot_stands_for_what_came_before_it(store).await;
    nothing_is_kept_of_what_is_deleted(store).await;
    a_ticket_is_taken_once_and_in_time(store).await;
    an_invitation_is_good_for_its_time(store).await;
    a_ticket_ends_with_its_invitation(store).await;
    a_snippet_is_kept_while_it_is_wanted(store).await;
    snippets_have_bounds(store).await;
    what_nobody_touches_is_deleted(store).await;
    writers_of_one_room_get_different_numbers(store).await;
    there_is_a_bound(store).await;
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_900_000_000 + second).unwrap()
}

fn record() -> RoomRecord {
    RoomRecord {
        id: RoomId::random(),
        title: Some("Größe 👩‍🚀".to_owned()),
        visibility: Visibility::Public,
        owner: "ann".to_owned(),
        created_at: at(0),
        touched_at: at(0),
        bytes: 0,
    }
}

async fn room(store: &Store) -> RoomId {
    let record = record();
    assert!(store.create(record.clone()).await.unwrap());
    record.id
}

fn updates(texts: &[&'static str]) -> Vec<Bytes> {
    texts.iter().map(|it| Bytes::from_static(it.as_bytes())).collect()
}

async fn append(store: &Store, id: &RoomId, texts: &[&'static str]) -> Appended {
    store.append(id.clone(), updates(texts), at(1)).await.unwrap()
}

async fn load(store: &Store, id: &RoomId, after: u64) -> Option<Loaded> {
    store.load(id.clone(), after, at(2)).await.unwrap()
}

async fn delete(store: &Store, id: RoomId) {
    assert!(store.delete(id).await.unwrap());
}

async fn a_room_is_kept_as_it_was_made(store: &Store) {
    let made = record();
    assert!(store.create(made.clone()).await.unwrap());
    assert_eq!(store.room(made.id.clone()).await.unwrap(), Some(made.clone()));
    let empty = Loaded { snapshot: None, updates: vec![], number: 0 };
    assert_eq!(load(store, &made.id, 0).await, Some(empty));
    let known = store.room(made.id.clone()).await.unwrap().unwrap();
    assert_eq!(known.touched_at, at(2), "somebody was there");
    assert_eq!(store.room(RoomId::random()).await.unwrap(), None);
    delete(store, made.id).await;
}

async fn updates_come_back_in_order(store: &Store) {
    let id = room(store).await;
    assert_eq!(append(store, &id, &["a", "b"]).await, Appended::Written { before: 0, number: 2 });
    assert_eq!(append(store, &id, &["c"]).await, Appended::Written { before: 2, number: 3 });
    for (after, left) in [(0, &["a", "b", "c"][..]), (1, &["b", "c"]), (3, &[])] {
        let expected = Loaded { snapshot: None, updates: updates(left), number: 3 };
        assert_eq!(load(store, &id, after).await, Some(expected));
    }
    assert_eq!(store.room(id.clone()).await.unwrap().unwrap().bytes, 3);
    delete(store, id).await;
}

async fn a_snapshot_stands_for_what_came_before_it(store: &Store) {
    let id = room(store).await;
    append(store, &id, &["a", "b", "c"]).await;
    let keep = |number, state: &'static str| {
        store.keep_snapshot(id.clone(), number, Bytes::from_static(state.as_bytes()))
    };
    keep(2, "AB").await.unwrap();
    let snapshot = Some(Bytes::from_static(b"AB"));
    let all = Loaded { snapshot, updates: updates(&["c"]), number: 3 };
    assert_eq!(load(store, &id, 0).await, Some(all.clone()));
    assert_eq!(load(store, &id, 1).await, Some(all.clone()));
    let rest = Loaded { snapshot: None, ..all.clone() };
    assert_eq!(load(store, &id, 2).await, Some(rest));
    keep(1, "A").await.unwrap();
    assert_eq!(load(store, &id, 0).await, Some(all.clone()), "a later one is kept");
    keep(9, "future").await.unwrap();
    assert_eq!(load(store, &id, 0).await, Some(all), "that many there are not");
    assert_eq!(store.room(id.clone()).await.unwrap().unwrap().bytes, 3);
    keep(3, "ABC").await.unwrap();
    assert_eq!(append(store, &id, &["d"]).await, Appended::Written { before: 3, number: 4 });
    let snapshot = Some(Bytes::from_static(b"ABC"));
    let expected = Loaded { snapshot, updates: updates(&["d"]), number: 4 };
    assert_eq!(load(store, &id, 0).await, Some(expected));
    delete(store, id).await;
}

async fn nothing_is_kept_of_what_is_deleted(store: &Store) {
    let id = room(store).await;
    append(store, &id, &["a"]).await;
    let ticket = ticket(&id, 60);
    assert!(store.keep_ticket(SecretDigest::of("t"), ticket, at(0)).await.unwrap());
    let invitation = invitation(&id, 60);
    assert!(store.keep_invitation(invitation.clone(), at(0)).await.unwrap());
    delete(store, id.clone()).await;
    assert_eq!(store.invitations(id.clone(), at(1)).await.unwrap(), []);
    assert!(!store.keep_invitation(invitation, at(0)).await.unwrap());
    assert!(!store.delete(id.clone()).await.unwrap());
    assert_eq!(load(store, &id, 0).await, None);
    assert_eq!(append(store, &id, &["b"]).await, Appended::NoRoom);
    store.keep_snapshot(id.clone(), 0, Bytes::from_static(b"B")).await.unwrap();
    assert_eq!(load(store, &id, 0).await, None);
    assert_eq!(store.take_ticket(SecretDigest::of("t"), at(1)).await.unwrap(), None);
}

fn ticket(room: &RoomId, until: i64) -> Ticket {
    let name = Some("ben".to_owned());
    let (room, expires_at) = (room.clone(), at(until));
    Ticket { room, role: Role::Runner, name, invitation: None, expires_at }
}

async fn a_ticket_is_taken_once_and_in_time(store: &Store) {
    let id = room(store).await;
    let keep = |text: &str, until, now| {
        store.keep_ticket(SecretDigest::of(text), ticket(&id, until), at(now))
    };
    let take = |text: &str, now| store.take_ticket(SecretDigest::of(text), at(now));
    assert!(keep("one", 60, 0).await.unwrap());
    assert_eq!(take("other", 1).await.unwrap(), None);
    assert_eq!(take("one", 1).await.unwrap(), Some(ticket(&id, 60)));
    assert_eq!(take("one", 1).await.unwrap(), None);
    assert!(keep("late", 60, 0).await.unwrap());
    assert_eq!(take("late", 60).await.unwrap(), None);
    for (text, now, is_kept) in [("a", 0, true), ("b", 0, true), ("c", 0, false), ("d", 60, true)] {
        assert_eq!(keep(text, 60 + now, now).await.unwrap(), is_kept, "{text}");
    }
    let nowhere = ticket(&RoomId::random(), 60);
    assert!(!store.keep_ticket(SecretDigest::of("e"), nowhere, at(0)).await.unwrap());
    delete(store, id).await;
}

async fn what_nobody_touches_is_deleted(store: &Store) {
    let (old, young) = (room(store).await, room(store).await);
    store.append(young.clone(), updates(&["a"]), at(100)).await.unwrap();
    let before = at(0).saturating_add(SignedDuration::from_secs(50)).unwrap();
    assert_eq!(store.purge(at(0), at(0), 10).await.unwrap(), []);
    assert_eq!(store.purge(before, at(100), 10).await.unwrap(), std::slice::from_ref(&old));
    assert_eq!(store.room(old).await.unwrap(), None);
    assert!(store.room(young.clone()).await.unwrap().is_some());
    delete(store, young).await;
}

async fn writers_of_one_room_get_different_numbers(store: &Store) {
    let id = room(store).await;
    let writers = (0..8).map(|_| {
        let (store, id) = (Arc::clone(store), id.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                append(&store, &id, &["x", "y"]).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let loaded = load(store, &id, 0).await.unwrap();
    assert_eq!((loaded.number, loaded.updates.len()), (160, 160));
    delete(store, id).await;
}

async fn there_is_a_bound(store: &Store) {
    let mut rooms = Vec::new();
    for _ in 0..BOUNDS.rooms_max {
        rooms.push(room(store).await);
    }
    assert!(!store.create(record()).await.unwrap());
    let large = || vec![Bytes::from(vec![b'x'; 600])];
    let append = |room: &RoomId| store.append(room.clone(), large(), at(1));
    assert_eq!(append(&rooms[0]).await.unwrap(), Appended::Written { before: 0, number: 1 });
    assert_eq!(append(&rooms[1]).await.unwrap(), Appended::Full);
    assert_eq!(load(store, &rooms[1], 0).await.unwrap().number, 0, "nothing of it is kept");
    store.keep_snapshot(rooms[0].clone(), 1, Bytes::from_static(b"small")).await.unwrap();
    assert_eq!(append(&rooms[1]).await.unwrap(), Appended::Written { before: 0, number: 1 });
    for room in rooms {
        delete(store, room).await;
    }
    assert!(store.create(record()).await.unwrap());
}
