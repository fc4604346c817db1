//! Invitations: kept for their time, and for their own room alone.

use documents::{Invitation, InvitationId, Role, RoomId, SecretDigest};

use crate::{Store, at, delete, room};

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
