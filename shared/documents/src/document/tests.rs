//! What a document takes, and what it survives.

use std::collections::HashMap;

use jiff::Timestamp;
use proptest::prelude::{any, proptest};
use proptest::test_runner::Config;
use yrs::branch::BranchPtr;
use yrs::types::Attrs;
use yrs::{Any, Array as _, GetString as _, Map as _, MapPrelim, Text as _, TextPrelim, TextRef};

use super::*;

/// A document as a client has it.
fn peer(client: u64) -> Doc {
    let client_id = ClientID::new(client);
    Doc::with_options(Options { client_id, offset_kind: OffsetKind::Utf16, ..Options::default() })
}

/// What a client with nothing is sent.
fn whole(doc: &Doc) -> Vec<u8> {
    doc.transact().encode_diff_v1(&StateVector::default())
}

fn apply_all(document: &mut Document, update: &[u8]) -> Vec<Bytes> {
    document.apply(update, &Limits::default()).unwrap().emitted
}

impl Document {
    /// The document that these updates make; and how many break it and are left out.
    pub(crate) fn load(updates: &[Bytes]) -> Result<(Self, usize), Refused> {
        let (mut document, broken) =
            gather(updates, || Ok(Self::new()), |document, update| document.gather(update))?;
        document.settle()?;
        Ok((document, broken.len()))
    }
}

/// Something of everything that people do in a room.
fn sample() -> Vec<u8> {
    let doc = peer(7);
    let (files, meta) = (doc.get_or_insert_map("files"), doc.get_or_insert_map("meta"));
    let mut transaction = doc.transact_mut();
    let file = files.insert(&mut transaction, "a", MapPrelim::default());
    file.insert(&mut transaction, "path", "main.txt");
    let text: TextRef = file.insert(&mut transaction, "text", TextPrelim::new("one 👩‍🚀 two"));
    text.insert(&mut transaction, 3, "é e\u{301}");
    text.remove_range(&mut transaction, 1, 2);
    meta.insert(&mut transaction, "args", Any::from(vec!["a", "b"]));
    meta.insert(
        &mut transaction,
        "limits",
        Any::from(HashMap::from([("timeout".to_owned(), 2.5)])),
    );
    meta.insert(&mut transaction, "limits", Any::Null);
    drop(transaction);
    whole(&doc)
}

#[test]
fn a_change_is_told_once_and_kept() {
    let mut document = Document::new();
    let update = sample();
    assert_eq!(apply_all(&mut document, &update).len(), 1);
    assert_eq!(apply_all(&mut document, &update).len(), 0, "it has that already");
    let (again, broken) = Document::load(&[document.state().unwrap().into()]).unwrap();
    assert_eq!(broken, 0);
    assert_eq!(again.state_vector().unwrap(), document.state_vector().unwrap());
    assert_eq!(Measure::of(&again.state().unwrap()).unwrap().types, 2);
}

#[test]
fn places_are_counted_as_javascript_does() {
    let doc = peer(1);
    let text = doc.get_or_insert_text("t");
    text.insert(&mut doc.transact_mut(), 0, "👩‍🚀");
    text.insert(&mut doc.transact_mut(), 5, "!");
    assert_eq!(text.get_string(&doc.transact()), "👩‍🚀!");
    let mut document = Document::new();
    apply_all(&mut document, &whole(&doc));
    let other = peer(2);
    let (text, state) = (other.get_or_insert_text("t"), document.state().unwrap());
    other.transact_mut().apply_update(Update::decode_v1(&state).unwrap()).unwrap();
    assert_eq!(text.get_string(&other.transact()), "👩‍🚀!");
}

#[test]
fn only_the_server_writes_runs() {
    let at = Timestamp::UNIX_EPOCH;
    let note =
        |number: usize| RunNote { run_id: format!("run_{number}"), author: "ann".to_owned(), at };
    let mut document = Document::new();
    for number in 0..25 {
        assert_eq!(document.note_run(&note(number)).unwrap().len(), 1);
    }
    let runs = runs_of(&document).unwrap();
    assert_eq!(runs.len(), 20);
    let client = peer(3);
    let (array, state) = (client.get_or_insert_array("runs"), document.state().unwrap());
    client.transact_mut().apply_update(Update::decode_v1(&state).unwrap()).unwrap();
    array.remove_range(&mut client.transact_mut(), 0, 19);
    array.push_back(&mut client.transact_mut(), "forged");
    let emitted = apply_all(&mut document, &whole(&client));
    assert_eq!(emitted.len(), 1, "it is taken back before it is told");
    assert_eq!(runs_of(&document).unwrap(), runs);
    for update in emitted {
        client.transact_mut().apply_update(Update::decode_v1(&update).unwrap()).unwrap();
    }
    assert_eq!(array.len(&client.transact()), 20);
    let (mut again, _) = Document::load(&[document.state().unwrap().into()]).unwrap();
    again.note_run(&note(25)).unwrap();
    let later = runs_of(&again).unwrap();
    assert_eq!((&later[..19], later.len()), (&runs[1..], 20), "who loads it goes on from there");
}

#[test]
fn a_document_has_a_bound() {
    let limits = Limits { document_bytes: 3000, ..Limits::default() };
    let (doc, mut document) = (peer(1), Document::new());
    let text = doc.get_or_insert_text("t");
    let mut taken = 0;
    let refused = loop {
        let before = doc.transact().state_vector();
        text.push(&mut doc.transact_mut(), &"x".repeat(500));
        let update = doc.transact().encode_diff_v1(&before);
        match document.apply(&update, &limits) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused, taken), (Refused::TooLarge, 5));
    // What is deleted makes room.
    let before = doc.transact().state_vector();
    text.remove_range(&mut doc.transact_mut(), 0, 2500);
    let update = doc.transact().encode_diff_v1(&before);
    document.apply(&update, &limits).unwrap();
    document.apply(&whole(&doc), &limits).unwrap();
}

#[test]
fn what_comes_without_what_it_builds_on_is_asked_for_anew() {
    let limits = Limits::default();
    let doc = peer(1);
    let text = doc.get_or_insert_text("t");
    text.push(&mut doc.transact_mut(), "first");
    let before = doc.transact().state_vector();
    text.push(&mut doc.transact_mut(), "second");
    let second = doc.transact().encode_diff_v1(&before);
    // Its own beginning is missing, or what somebody else wrote before it.
    let other = peer(2);
    let others = other.get_or_insert_text("t");
    let all = Update::decode_v1(&whole(&doc)).unwrap();
    other.transact_mut().apply_update(all).unwrap();
    others.push(&mut other.transact_mut(), "third");
    let third = other.transact().encode_diff_v1(&doc.transact().state_vector());
    let mut document = Document::new();
    for update in [second, third] {
        let applied = document.apply(&update, &limits).unwrap();
        assert_eq!(applied, Applied { emitted: Vec::new(), is_whole: false });
        assert_eq!(document.state().unwrap(), [0, 0]);
    }
    let applied = document.apply(&whole(&other), &limits).unwrap();
    assert!(applied.is_whole);
    assert_eq!(document.diff(&document.state_vector().unwrap()).unwrap(), [0, 0]);
}

#[test]
fn nothing_behind_a_gap_is_taken() {
    // Attributes that a client sets, each by itself.
    let attribute = |clock: u8| vec![1, 1, 9, clock, 0x28, 1, 1, b't', 1, b'a' + clock, 1, 120, 0];
    let block = |clock: u8| attribute(clock)[4..12].to_vec();
    let gap = [&[1, 3, 9, 0][..], &block(0), &[10, 1], &block(2), &[0]].concat();
    let mut document = Document::new();
    let limits = Limits::default();
    let nothing = Applied { emitted: Vec::new(), is_whole: false };
    assert_eq!(document.apply(&attribute(2), &limits).unwrap(), nothing);
    let applied = document.apply(&gap, &limits).unwrap();
    let first = Applied { emitted: vec![attribute(0).into()], is_whole: false };
    assert_eq!(applied, first, "only up to the gap");
    assert_eq!(document.state().unwrap(), attribute(0));
    assert!(document.apply(&attribute(1), &limits).unwrap().is_whole);
    assert_eq!(Measure::of(&document.state().unwrap()).unwrap().blocks, 2);
}

/// An update with a chain of maps, each in the one before; the first of them is deleted.
fn chain(length: u32) -> Vec<u8> {
    use crate::wire::{write_buffer, write_number};
    let mut update = vec![1];
    write_number(&mut update, u64::from(length));
    update.extend([9, 0]);
    for clock in 0..length {
        update.push(0x27);
        if clock == 0 {
            update.push(1);
            write_buffer(&mut update, b"files");
        } else {
            update.extend([0, 9]);
            write_number(&mut update, u64::from(clock - 1));
        }
        write_buffer(&mut update, b"k");
        update.push(1);
    }
    update.extend([1, 9, 1, 0, 1]);
    update
}

/// As deep as it may be, on the stack that rooms have, and the same once more with all of it deleted.
#[test]
fn what_is_nested_does_not_end_the_process() {
    let limits = Limits::default();
    let work = move || {
        let deepest = chain(u32::try_from(limits.document_types).unwrap());
        let mut document = Document::new();
        document.apply(&deepest, &limits).unwrap();
        assert!(document.state().unwrap().len() < 100, "all of it is deleted");
        let deeper = chain(u32::try_from(limits.document_types + 1).unwrap());
        assert_eq!(Document::new().apply(&deeper, &limits).unwrap_err(), Refused::TooLarge);
    };
    std::thread::Builder::new().stack_size(64 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn nothing_is_left_out_of_a_document_because_it_was_lost() {
    let take = |document: &mut usize, _: &Bytes| {
        *document += 1;
        if *document == 2 { Err(Refused::Lost) } else { Ok(()) }
    };
    let updates = [Bytes::new(), Bytes::new()];
    assert_eq!(gather(&updates, || Ok(0), take), Err(Refused::Lost));
}

#[test]
fn what_says_more_than_it_has_is_refused_before_it_is_believed() {
    const JSON: &str = "values of before Yjs 13 are not kept here";
    let values = [&[1, 1, 9, 0, 8, 1, 1, b'a', 1][..], &[117, 1].repeat(100_000)].concat();
    let more = "it says more than it has";
    // What the library says of what it cannot read is not enough: it has believed it by then.
    for (update, why) in [
        (&[0xff, 0xff, 0xff, 0x7a][..], more),
        (&[1, 0xff, 0xff, 0xff, 0x7a, 9, 0], more),
        (&[1, 2, 9, 0, 0, 1], more),
        (&[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0], "a number is too long"),
        (&[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0], "a number is too large"),
        (&[1, 1, 9, 0, 8, 1, 1, b'a', 0xff, 0xff, 0xff, 0x7a], more),
        (&values, "values are nested too deeply"),
        (&[0, 1, 9, 0xff, 0xff, 0xff, 0x7a], more),
        (&[1, 1, 9, 0, 0, 0, 0], "a block is empty"),
        (&[1, 1, 9, 0, 9, 1, 1, b'a', 0], "documents in documents are not kept here"),
        // What the library reads otherwise than it is written: one value more, and no name.
        (&[1, 1, 9, 0, 2, 1, 1, b'a', 1, 1, b'1', 1, b'1', 0], JSON),
        (&[1, 1, 9, 0, 7, 1, 1, b'a', 5, 1, b'x', 0], "hooks of XML are not kept here"),
        (&[], "it ends too soon"),
    ] {
        let refused = Document::new().apply(update, &Limits::default()).unwrap_err();
        assert_eq!(refused, Refused::Malformed(Malformed(why)), "{update:?}");
    }
    let state = [0xff, 0xff, 0xff, 0x7a];
    assert_eq!(Document::new().diff(&state), Err(Refused::Malformed(Malformed(more))));
}

#[test]
fn a_change_that_breaks_a_document_is_left_out_of_it() {
    let broken = Bytes::from_static(&[1, 2, 3]);
    let (document, left_out) = Document::load(&[sample().into(), broken]).unwrap();
    assert_eq!(left_out, 1);
    assert!(document.bytes() > 50);
}

/// A well-formed change at which version 0.28.1 of the library panics: a letter, a text in it as if it
/// were a map, and a deletion of that and of what is not there. It was found by changing bytes.
pub(crate) const BREAKING: &[u8] =
    &[1, 2, 6, 0, 4, 1, 0, 1, b'a', 7, 0, 6, 0, 2, 1, 6, 3, 1, 4, 13, 10, 28, 1];

#[test]
fn a_panic_of_the_library_ends_with_a_document_that_is_to_be_made_anew() {
    let mut document = Document::new();
    let told = apply_all(&mut document, &sample());
    let refused = document.apply(BREAKING, &Limits::default()).unwrap_err();
    assert_eq!(refused, Refused::Broken, "look for another, or be glad and say so here");
    drop(document);
    let (anew, left_out) = Document::load(&[told.clone(), vec![BREAKING.into()]].concat()).unwrap();
    assert_eq!(left_out, 1, "what it panics at is left out");
    assert_eq!(anew.state().unwrap(), Document::load(&told).unwrap().0.state().unwrap());
}

/// Changes some bytes of an update.
fn mutated(update: &[u8], changes: &[(usize, u8, u8)]) -> Vec<u8> {
    let mut update = update.to_vec();
    for (place, kind, byte) in changes {
        let place = place % update.len().max(1);
        match kind % 4 {
            0 => update[place] = *byte,
            1 => update[place] = update[place].wrapping_add(1),
            2 if update.len() > 1 => drop(update.remove(place)),
            _ => update.insert(place, *byte),
        }
    }
    update
}

/// The runs that it tells of.
fn runs_of(document: &Document) -> Option<Vec<Any>> {
    document.runs.read(&document.doc().unwrap().transact())
}

proptest! {
    #![proptest_config(Config { cases: 4000, ..Config::default() })]

    /// Whatever comes, the document tells what it did, or can be made anew of what it told.
    #[test]
    fn hostile_changes_do_no_harm(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 1..6),
        is_fresh in any::<bool>(),
    ) {
        let mut document = Document::new();
        let mut told = Vec::new();
        if !is_fresh {
            told.extend(apply_all(&mut document, &sample()));
        }
        let limits = Limits::default();
        for start in 0..changes.len() {
            match document.apply(&mutated(&sample(), &changes[start..]), &limits) {
                Ok(applied) => told.extend(applied.emitted),
                Err(Refused::Broken) => {
                    let (anew, left_out) = Document::load(&told).unwrap();
                    assert_eq!(left_out, 0, "what was told breaks nothing");
                    document = anew;
                }
                Err(_) => {}
            }
        }
        // Nothing that is sent begins with a gap: clients lose text at those.
        let state = Bytes::from(document.state().unwrap());
        for update in told.iter().chain([&state]) {
            assert_eq!(Measure::of(update).unwrap().skips, 0);
        }
        // Whoever has what was told has what there is. It may be in other blocks: what was deleted bit
        // by bit may stay several; and of a map's entry of two values, which no client writes, the
        // library may delete the one or both. So they say once what they have, and then nothing more.
        let (mut again, left_out) = Document::load(&told).unwrap();
        assert_eq!(left_out, 0);
        assert_eq!(again.state_vector().unwrap(), document.state_vector().unwrap());
        again.apply(&document.state().unwrap(), &limits).unwrap();
        document.apply(&again.state().unwrap(), &limits).unwrap();
        let nothing = Applied { emitted: Vec::new(), is_whole: true };
        assert_eq!(again.apply(&document.state().unwrap(), &limits).unwrap(), nothing);
        assert_eq!(document.apply(&again.state().unwrap(), &limits).unwrap(), nothing);
    }
}

/// What somebody writes into the runs, of everything that a list or a text may have.
fn forged() -> Vec<u8> {
    let doc = peer(9);
    let runs = doc.get_or_insert_array("runs");
    let text = TextRef::from(BranchPtr::from(runs.as_ref()));
    let mut transaction = doc.transact_mut();
    runs.push_back(&mut transaction, "run");
    runs.push_back(&mut transaction, Any::Buffer([1, 2].into()));
    runs.push_back(&mut transaction, MapPrelim::from([("id", "run")]));
    text.insert(&mut transaction, 0, "a 👩‍🚀 b");
    text.format(&mut transaction, 0, 3, Attrs::from([("bold".into(), Any::Bool(true))]));
    text.insert_embed(&mut transaction, 2, Any::from(7));
    runs.remove_range(&mut transaction, 1, 1);
    drop(transaction);
    whole(&doc)
}

proptest! {
    #![proptest_config(Config { cases: 4000, ..Config::default() })]

    /// The library runs in circles at a text in a list: `Runs::read`.
    #[test]
    fn whatever_is_written_into_the_runs_is_taken_back(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 0..6),
    ) {
        let at = Timestamp::UNIX_EPOCH;
        let note = RunNote { run_id: "run_1".to_owned(), author: "ann".to_owned(), at };
        let mut document = Document::new();
        let mut told = document.note_run(&note).unwrap();
        let runs = runs_of(&document);
        let Ok(applied) = document.apply(&mutated(&forged(), &changes), &Limits::default()) else {
            return Ok(());
        };
        assert_eq!(runs_of(&document), runs);
        told.extend(applied.emitted);
        let (again, left_out) = Document::load(&told).unwrap();
        assert_eq!(left_out, 0);
        assert_eq!(runs_of(&again), runs, "nobody is told of what was there in between");
    }
}
