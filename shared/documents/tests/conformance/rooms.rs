//! Rooms with a store behind them: what is told is kept, and what ends is told.

use std::time::Duration;

use bytes::Bytes;
use documents::{
    Bounds, Close, Home, Limits, Member, NewInvitation, Out, Role, RoomId, Rooms, RunNote, Terms,
    Visibility,
};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tests::stores::PostgresServer;
use tokio::time::timeout;
use yrs::updates::decoder::Decode as _;
use yrs::{
    Array as _, Doc, GetString as _, Out as Value, ReadTxn as _, Text as _, Transact as _, Update,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const STEP_2: &[u8] = &[0, 1];
const UPDATE: &[u8] = &[0, 2];

/// Somebody with a document of its own.
pub(crate) struct Client {
    member: Member,
    doc: Doc,
}

pub(crate) fn terms(limits: Limits) -> Terms {
    let ttl = SignedDuration::from_hours(1);
    Terms { bounds: Bounds::default(), limits, ttl, snippet_ttl: ttl, home: Home::Here }
}

pub(crate) async fn open(url: &str) -> Rooms {
    Rooms::open(url, None, terms(Limits::default())).await.unwrap()
}

async fn alone() -> (Rooms, String, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("rooms").display());
    (open(&url).await, url, directory)
}

pub(crate) async fn made(rooms: &Rooms) -> RoomId {
    rooms.create(None, Visibility::Private, "ann".to_owned()).await.unwrap().unwrap().id
}

/// A message of the sync protocol.
fn message(head: &[u8], body: &[u8]) -> Bytes {
    assert!(body.len() < 128, "its length is one byte");
    [head, &[u8::try_from(body.len()).unwrap()], body].concat().into()
}

pub(crate) async fn enter(rooms: &Rooms, id: &RoomId) -> Client {
    enter_by(rooms, id, None).await
}

async fn enter_by(rooms: &Rooms, id: &RoomId, invitation: Option<&NewInvitation>) -> Client {
    let invitation = invitation.map(|it| it.invitation.id.clone());
    let member = rooms.join(id, Role::Editor, invitation).await.unwrap();
    let client = Client { member, doc: Doc::new() };
    client.member.send(message(&[0, 0], &[0])).await;
    client
}

impl Client {
    pub(crate) async fn write(&self, text: &str) {
        let before = self.doc.transact().state_vector();
        self.doc.get_or_insert_text("t").push(&mut self.doc.transact_mut(), text);
        let update = self.doc.transact().encode_diff_v1(&before);
        self.member.send(message(UPDATE, &update)).await;
    }

    /// Takes what comes until it is as wanted, or the end.
    async fn until(&self, is_wanted: impl Fn(&Doc) -> bool) -> Result<(), Close> {
        let read = async {
            while !is_wanted(&self.doc) {
                let frame = match self.member.next().await {
                    Out::Frame(frame) => frame,
                    Out::Close(close) => return Err(close),
                };
                for head in [STEP_2, UPDATE] {
                    if let Some(rest) = frame.strip_prefix(head) {
                        let length = rest.iter().take_while(|it| **it >= 0x80).count() + 1;
                        let update = Update::decode_v1(&rest[length..]).unwrap();
                        self.doc.transact_mut().apply_update(update).unwrap();
                    }
                }
            }
            Ok(())
        };
        timeout(PATIENCE, read).await.expect("it comes")
    }

    pub(crate) async fn reads(&self, text: &str) {
        let wanted = self.doc.get_or_insert_text("t");
        self.until(|doc| wanted.get_string(&doc.transact()) == text).await.unwrap();
    }

    async fn ends(&self) -> Close {
        self.until(|_| false).await.unwrap_err()
    }
}

#[tokio::test]
async fn what_was_told_is_there_after_a_restart() {
    let (rooms, url, _directory) = alone().await;
    let id = made(&rooms).await;
    let (ann, ben) = (enter(&rooms, &id).await, enter(&rooms, &id).await);
    ann.write("hello").await;
    ben.reads("hello").await;
    rooms.drain().await;
    assert_eq!((ann.ends().await, ben.ends().await), (Close::Draining, Close::Draining));
    assert_eq!(rooms.join(&id, Role::Editor, None).await.unwrap_err(), Close::Draining);
    drop((rooms, ann, ben));
    let rooms = open(&url).await;
    enter(&rooms, &id).await.reads("hello").await;
}

#[tokio::test]
async fn a_room_that_nobody_is_in_leaves_memory_and_comes_back() {
    let (_, url, directory) = alone().await;
    let idle_time = Duration::from_millis(20);
    let limits = Limits { idle_time, quiet_time: idle_time, ..Limits::default() };
    let rooms = Rooms::open(&url, None, terms(limits)).await.unwrap();
    let id = made(&rooms).await;
    let ann = enter(&rooms, &id).await;
    ann.write("hello").await;
    drop(ann);
    let gone = async {
        while rooms.state(&id).await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.expect("it leaves");
    assert!(rooms.room(&id).await.unwrap().unwrap().bytes > 0);
    enter(&rooms, &id).await.reads("hello").await;
    drop(directory);
}

#[tokio::test]
async fn a_room_that_is_deleted_shows_everybody_out() {
    let (rooms, _url, _directory) = alone().await;
    let id = made(&rooms).await;
    let ann = enter(&rooms, &id).await;
    assert!(rooms.delete(&id).await.unwrap());
    assert_eq!(ann.ends().await, Close::Deleted);
    assert_eq!(rooms.join(&id, Role::Editor, None).await.unwrap_err(), Close::NoRoom);
    assert!(!rooms.delete(&id).await.unwrap());
}

#[tokio::test]
async fn a_ticket_opens_its_own_room_once() {
    let (rooms, _url, _directory) = alone().await;
    let (id, other) = (made(&rooms).await, made(&rooms).await);
    let ticket = rooms.ticket(&id, Role::Viewer, None, None).await.unwrap().unwrap();
    assert_eq!(rooms.admit(&id, &ticket.text).await.unwrap(), Some(ticket.ticket));
    assert_eq!(rooms.admit(&id, &ticket.text).await.unwrap(), None);
    let ticket = rooms.ticket(&id, Role::Viewer, None, None).await.unwrap().unwrap();
    assert_eq!(rooms.admit(&other, &ticket.text).await.unwrap(), None);
}

#[tokio::test]
async fn an_invitation_is_good_for_its_own_room_until_it_is_ended() {
    let (rooms, url, _directory) = alone().await;
    let (id, other) = (made(&rooms).await, made(&rooms).await);
    let invite = async |role, hours| {
        rooms.invite(&id, role, SignedDuration::from_hours(hours)).await.unwrap().unwrap()
    };
    let (editor, viewer, over) = (
        invite(Role::Editor, 1).await,
        invite(Role::Viewer, 1).await,
        invite(Role::Owner, 0).await,
    );
    drop(rooms);
    let rooms = open(&url).await;
    let role = async |room, text: &str| rooms.invited(room, text).await.unwrap().map(|it| it.role);
    for _ in 0..2 {
        assert_eq!(role(&id, &editor.text).await, Some(Role::Editor));
    }
    assert_eq!(role(&id, &viewer.text).await, Some(Role::Viewer));
    assert_eq!(role(&id, &over.text).await, None, "its time is over");
    assert_eq!(role(&other, &editor.text).await, None, "it is another room's");
    for wrong in ["", "inv_", &editor.text[4..], &editor.text[..67], editor.invitation.id.as_str()]
    {
        assert_eq!(role(&id, wrong).await, None, "{wrong}");
    }
    assert!(rooms.end_invitation(&id, &editor.invitation.id).await.unwrap());
    assert_eq!(role(&id, &editor.text).await, None);
    assert_eq!(role(&id, &viewer.text).await, Some(Role::Viewer));
    assert!(rooms.delete(&id).await.unwrap());
    assert_eq!(role(&id, &viewer.text).await, None);
}

#[tokio::test]
async fn who_came_by_an_invitation_goes_with_it() {
    let (rooms, _url, _directory) = alone().await;
    let id = made(&rooms).await;
    let invite = async || {
        let invited = rooms.invite(&id, Role::Editor, SignedDuration::from_hours(1)).await;
        invited.unwrap().unwrap()
    };
    let (ended, other) = (invite().await, invite().await);
    let ticket = async |of: &NewInvitation| {
        let invitation = Some(of.invitation.id.clone());
        rooms.ticket(&id, Role::Editor, None, invitation).await.unwrap()
    };
    let (used, unused) = (ticket(&ended).await.unwrap(), ticket(&ended).await.unwrap());
    let admitted = rooms.admit(&id, &used.text).await.unwrap().unwrap();
    assert_eq!(admitted.invitation.as_ref(), Some(&ended.invitation.id));
    let ann = enter(&rooms, &id).await;
    let (guest, friend) =
        (enter_by(&rooms, &id, Some(&ended)).await, enter_by(&rooms, &id, Some(&other)).await);
    assert!(rooms.end_invitation(&id, &ended.invitation.id).await.unwrap());
    assert_eq!(guest.ends().await, Close::Unauthorized);
    guest.write("forged").await;
    ann.write("hello").await;
    friend.reads("hello").await;
    assert_eq!(rooms.admit(&id, &unused.text).await.unwrap(), None);
    assert_eq!(ticket(&ended).await, None);
    // Its ticket was taken just before.
    let late = rooms.join(&id, Role::Editor, admitted.invitation).await;
    assert_eq!(late.unwrap_err(), Close::Unauthorized);
}

/// A store that takes so many bytes, and rooms that wait so long when it does not.
async fn crowded(url: &str, bytes_max: u64, full_time: Duration) -> Rooms {
    let bounds = Bounds { bytes_max, ..Bounds::default() };
    let limits = Limits { full_time, ..Limits::default() };
    Rooms::open(url, None, Terms { bounds, ..terms(limits) }).await.unwrap()
}

#[tokio::test]
async fn a_full_store_is_told_of_and_no_room_is_blamed() {
    let (first, url, _directory) = alone().await;
    drop(first);
    let rooms = crowded(&url, 150, Duration::from_hours(1)).await;
    let (large, tiny) = (made(&rooms).await, made(&rooms).await);
    let ann = enter(&rooms, &large).await;
    ann.write(&"x".repeat(100)).await;
    while rooms.room(&large).await.unwrap().unwrap().bytes == 0 {
        tokio::task::yield_now().await;
    }
    let (ben, eve) = (enter(&rooms, &tiny).await, enter(&rooms, &tiny).await);
    let text = "less than ann has written by far, and more than fits";
    ben.write(text).await;
    assert_eq!((ben.ends().await, eve.ends().await), (Close::StoreFull, Close::StoreFull));
    // Whoever comes back at once does not have it refused again and again.
    let again = timeout(Duration::from_millis(200), rooms.join(&tiny, Role::Editor, None));
    assert!(again.await.is_err(), "it is not opened for a while");
    assert_eq!(rooms.state(&large).await.unwrap().clients, 1, "others go on");
    timeout(PATIENCE, rooms.drain()).await.expect("who ends does not wait for it");
    assert_eq!(ann.ends().await, Close::Draining);
    drop((rooms, ann, ben, eve));
    let rooms = crowded(&url, 150, Duration::ZERO).await;
    let ben = enter(&rooms, &tiny).await;
    ben.write(text).await;
    assert_eq!(ben.ends().await, Close::StoreFull);
    assert!(rooms.delete(&large).await.unwrap());
    let ben = enter(&rooms, &tiny).await;
    ben.write(text).await;
    enter(&rooms, &tiny).await.reads(text).await;
    rooms.drain().await;
    assert_eq!(ben.ends().await, Close::Draining, "there is place for it now");
}

#[tokio::test]
async fn what_nobody_touches_for_long_is_deleted_and_told_of() {
    let (rooms, _url, _directory) = alone().await;
    let id = made(&rooms).await;
    let ann = enter(&rooms, &id).await;
    let snippet = rooms.keep_snippet(Bytes::from_static(b"{}")).await.unwrap().unwrap();
    let now = Timestamp::now();
    assert!(!rooms.clean(now).await.unwrap());
    assert!(rooms.room(&id).await.unwrap().is_some());
    let late = now.saturating_add(SignedDuration::from_hours(2)).unwrap();
    assert!(!rooms.clean(late).await.unwrap());
    assert_eq!(ann.ends().await, Close::Deleted);
    assert_eq!(rooms.room(&id).await.unwrap(), None);
    assert_eq!(rooms.snippet(&snippet).await.unwrap(), None);
    for _ in 0..101 {
        made(&rooms).await;
    }
    assert!(rooms.clean(late).await.unwrap(), "there are more than are deleted at once");
    assert!(!rooms.clean(late).await.unwrap());
}

#[tokio::test]
async fn rooms_are_kept_clean_as_long_as_a_server_runs() {
    let (first, url, _directory) = alone().await;
    drop(first);
    // What is made now is too old already.
    let ttl = SignedDuration::from_hours(-1);
    let terms = Terms { ttl, ..terms(Limits::default()) };
    let rooms = Rooms::open(&url, None, terms).await.unwrap();
    let id = made(&rooms).await;
    let gone = async {
        while rooms.room(&id).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = rooms.keep_clean() => panic!("it goes on until it is dropped"),
        gone = timeout(PATIENCE, gone) => gone.expect("it goes"),
    }
}

#[tokio::test]
async fn those_in_a_room_are_told_of_runs() {
    let (rooms, _url, _directory) = alone().await;
    let id = made(&rooms).await;
    let ann = enter(&rooms, &id).await;
    let (run_id, author) = ("run_1".to_owned(), "ben".to_owned());
    rooms.note_run(&id, RunNote { run_id, author, at: Timestamp::UNIX_EPOCH }).await.unwrap();
    let runs = ann.doc.get_or_insert_array("runs");
    ann.until(|doc| runs.len(&doc.transact()) == 1).await.unwrap();
    let told = runs.get(&ann.doc.transact(), 0);
    let Some(Value::Any(told)) = told else { panic!("{told:?}") };
    let told = told.to_string();
    for part in ["run_1", "ben", "1970-01-01T00:00:00Z"] {
        assert!(told.contains(part), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_share_rooms_by_postgresql() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let url = server.url("postgres");
    let (here, there) = (open(&url).await, open(&url).await);
    let id = made(&here).await;
    let (ann, ben) = (enter(&here, &id).await, enter(&there, &id).await);
    ann.write("hello").await;
    ben.reads("hello").await;
    ben.write(" there").await;
    ann.reads("hello there").await;
    let invited = here.invite(&id, Role::Editor, SignedDuration::from_hours(1)).await;
    let invited = invited.unwrap().unwrap();
    let guest = enter_by(&there, &id, Some(&invited)).await;
    guest.reads("hello there").await;
    assert!(here.end_invitation(&id, &invited.invitation.id).await.unwrap());
    assert_eq!(guest.ends().await, Close::Unauthorized, "the other server tells of it");
    assert!(there.delete(&id).await.unwrap());
    assert_eq!((ann.ends().await, ben.ends().await), (Close::Deleted, Close::Deleted));
    here.drain().await;
    there.drain().await;
}
