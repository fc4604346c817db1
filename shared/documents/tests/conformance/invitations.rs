//! Invitations: kept for their time, and for their own room alone.

use documents::{Invitation, InvitationId, Role, RoomId, SecretDigest, Ticket};

use crate::{Store, at, delete, room, ticket};

/// An invitation that is good until then.
pub(crate) fn invitation(room: &RoomId, until: i64) -> Invitation {
    let id = InvitationId::random();
    let digest = SecretDigest::of(id.as_str());
    let (created_at, expires_at) = (at(0), at(until));
    Invitation { id, room: room.clone(), digest, role: Role::Runner, created_at, expires_at }
}

pub(crate) async fn an_invitation_is_good_for_its_time(store: &Store) {
    let (here, there) = (room(store).await, room(store).await);
    let of = async |room: &RoomId, now| store.invitations(room.clone(), at(now)).await.unwrap();
    let keep =
        async |it: &Invitation, now| store.keep_invitation(it.clone(), at(now)).await.unwrap();
    let end = async |room: &RoomId, id: &InvitationId| {
        store.end_invitation(room.clone(), id.clone()).await.unwrap()
    };
    let (short, long) = (invitation(&here, 60), invitation(&here, 600));
    assert!(keep(&short, 0).await && keep(&long, 0).await);
    assert_eq!(of(&here, 59).await, [short.clone(), long.clone()]);
    assert_eq!((of(&here, 60).await, of(&there, 0).await), (vec![long.clone()], vec![]));
    let third = invitation(&here, 600);
    assert!(!keep(&third, 59).await, "there are two");
    assert!(keep(&invitation(&there, 60), 0).await, "that is another room's bound");
    assert!(keep(&third, 60).await, "one is over");
    assert!(!end(&there, &long.id).await, "it is not that room's");
    assert!(end(&here, &long.id).await && !end(&here, &long.id).await);
    assert_eq!(of(&here, 60).await, std::slice::from_ref(&third));
    // A look as of before shows what is kept.
    store.purge(at(0), at(60), 10).await.unwrap();
    assert_eq!((of(&here, 0).await, of(&there, 0).await), (vec![third], vec![]));
    delete(store, here).await;
    delete(store, there).await;
}

pub(crate) async fn a_ticket_ends_with_its_invitation(store: &Store) {
    let (here, there) = (room(store).await, room(store).await);
    let (ended, other) = (invitation(&here, 600), invitation(&here, 600));
    for invitation in [&ended, &other] {
        assert!(store.keep_invitation(invitation.clone(), at(0)).await.unwrap());
    }
    let with = |room: &RoomId, it: &Invitation| Ticket {
        invitation: Some(it.id.clone()),
        ..ticket(room, 60)
    };
    let keep = async |text: &str, ticket| {
        store.keep_ticket(SecretDigest::of(text), ticket, at(0)).await.unwrap()
    };
    let take = async |text: &str| store.take_ticket(SecretDigest::of(text), at(1)).await.unwrap();
    assert!(keep("ended", with(&here, &ended)).await && keep("other", with(&here, &other)).await);
    assert!(!keep("there", with(&there, &ended)).await, "it is not that room's");
    assert!(store.end_invitation(here.clone(), ended.id.clone()).await.unwrap());
    assert_eq!(take("ended").await, None);
    assert!(!keep("late", with(&here, &ended)).await, "there is no such invitation");
    assert_eq!(take("other").await, Some(with(&here, &other)));
    delete(store, here).await;
    delete(store, there).await;
}
