//! A document that breaks: who broke it goes, and nobody else hears of it.

use bytes::Bytes;
use yrs::updates::decoder::Decode as _;
use yrs::{Doc, GetString as _, ReadTxn as _, Text as _, Transact as _, Update};

use super::*;
use crate::document::tests::BREAKING;
use crate::document::{Document, NOTHING};
use crate::outbox::Out;
use crate::wire::{self, Message};

const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody with a document of its own, and all changes that it was told.
struct Client {
    member: Member,
    doc: Doc,
    told: Vec<Bytes>,
}

impl Client {
    async fn enter(rooms: &Rooms, room: &RoomId) -> Self {
        let member = rooms.join(room, Role::Editor, None).await.unwrap();
        member.send(wire::step_1(&NOTHING)).await;
        Self { member, doc: Doc::new(), told: Vec::new() }
    }

    fn text(&self) -> String {
        self.doc.get_or_insert_text("t").get_string(&self.doc.transact())
    }

    async fn write(&self, text: &str) {
        let before = self.doc.transact().state_vector();
        self.doc.get_or_insert_text("t").push(&mut self.doc.transact_mut(), text);
        let update = self.doc.transact().encode_diff_v1(&before);
        self.member.send(wire::update(&update)).await;
    }

    /// Takes what comes until it has this text, or is shown out.
    async fn until(&mut self, text: &str) -> Result<(), Close> {
        while self.text() != text {
            let frame = match timeout(PATIENCE, self.member.next()).await.expect("it is told") {
                Out::Frame(frame) => frame,
                Out::Close(close) => return Err(close),
            };
            if let Message::Step2(update) | Message::Update(update) =
                Message::parse(&frame).unwrap()
            {
                let change = Update::decode_v1(update).unwrap();
                self.doc.transact_mut().apply_update(change).unwrap();
                self.told.push(Bytes::copy_from_slice(update));
            }
        }
        Ok(())
    }
}

async fn made(rooms: &Rooms) -> RoomId {
    rooms.create(None, Visibility::Private, "ann".to_owned()).await.unwrap().unwrap().id
}

async fn unsaved(rooms: &Rooms, room: &RoomId) -> usize {
    rooms.state(room).await.map_or(0, |it| it.unsaved_bytes)
}

#[tokio::test]
async fn a_document_that_breaks_is_made_anew_of_what_was_told() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("rooms").display());
    let ttl = SignedDuration::from_hours(1);
    let (bounds, limits) = (Bounds::default(), Limits::default());
    let rooms =
        Rooms::open(&url, None, Terms { bounds, limits, ttl, snippet_ttl: ttl, home: Home::Here })
            .await;
    let rooms = rooms.unwrap();
    let (here, there) = (made(&rooms).await, made(&rooms).await);
    let ann = Client::enter(&rooms, &here).await;
    let mut ben = Client::enter(&rooms, &here).await;
    let mut eve = Client::enter(&rooms, &here).await;
    let zoe = Client::enter(&rooms, &there).await;
    zoe.write("elsewhere").await;
    ann.write("kept, ").await;
    ben.until("kept, ").await.unwrap();
    while unsaved(&rooms, &here).await > 0 {
        tokio::task::yield_now().await;
    }
    // Some of it is written when it breaks, and some is not.
    ann.write("told, ").await;
    for _ in 0..3 {
        eve.member.send(wire::update(BREAKING)).await;
        assert_eq!(eve.until("nothing").await, Err(Close::Malformed));
        eve = Client::enter(&rooms, &here).await;
    }
    ann.write("and gone on").await;
    ben.until("kept, told, and gone on").await.unwrap();
    let mut late = Client::enter(&rooms, &here).await;
    late.until("kept, told, and gone on").await.unwrap();
    let (of_told, left_out) = Document::load(&ben.told).unwrap();
    let (mended, _) = Document::load(&late.told).unwrap();
    assert_eq!((mended.state().unwrap(), left_out), (of_told.state().unwrap(), 0));
    let mut yan = Client::enter(&rooms, &there).await;
    yan.until("elsewhere").await.unwrap();
    zoe.write(", untouched").await;
    yan.until("elsewhere, untouched").await.unwrap();
    // And so it is kept.
    rooms.drain().await;
    for member in [&ann.member, &ben.member, &zoe.member, &yan.member] {
        let mut ends = Vec::new();
        while ends.is_empty() {
            if let Out::Close(close) = timeout(PATIENCE, member.next()).await.unwrap() {
                ends.push(close);
            }
        }
        assert_eq!(ends, [Close::Draining], "nobody else was shown out");
    }
    let loaded = rooms.means.store.load(here, 0, Timestamp::now()).await.unwrap().unwrap();
    let updates: Vec<Bytes> = loaded.snapshot.into_iter().chain(loaded.updates).collect();
    let (stored, left_out) = Document::load(&updates).unwrap();
    assert_eq!((stored.state().unwrap(), left_out), (of_told.state().unwrap(), 0));
}
