//! What holds for a store in a file alone.

use std::os::unix::fs::PermissionsExt as _;

use queue::{Bounds, Clock, NewJob, StoreError};

use crate::fixture::{Fixture, HOUR, job};

#[tokio::test]
async fn a_file_has_one_process() {
    let fixture = Fixture::sqlite().await;
    let error = fixture.open_again().await.unwrap_err();
    assert!(matches!(error, StoreError::Taken(_)), "{error}");
    fixture.reopen().await;
}

#[tokio::test]
async fn nobody_else_can_read_what_was_submitted() {
    let fixture = Fixture::sqlite().await;
    fixture.enqueue(job("a")).await;
    let directory = fixture.place().parent().unwrap();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn a_younger_or_a_strange_file_is_refused_and_stays_as_it_is() {
    for (change, word) in
        [("PRAGMA user_version=99", "version 99"), ("PRAGMA application_id=7", "another program")]
    {
        let fixture = Fixture::sqlite().await;
        let copy = fixture.place().with_file_name("copy.db");
        let connection = rusqlite::Connection::open(&copy).unwrap();
        connection.execute_batch(change).unwrap();
        drop(connection);
        let before = std::fs::read(&copy).unwrap();
        let url = format!("sqlite:{}", copy.display());
        let error = queue::open(&url, Bounds::default(), Clock::steady()).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(std::fs::read(&copy).unwrap(), before);
    }
}

#[tokio::test]
async fn what_is_no_store_is_refused_with_words_that_help() {
    for (url, word) in [
        ("mysql://host/db", "sqlite:PATH"),
        ("sqlite:", "sqlite:PATH"),
        ("sqlite:/nowhere/at/all/jobs.db", "/nowhere/at/all/jobs.db"),
    ] {
        let error = queue::open(url, Bounds::default(), Clock::steady()).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn the_file_shrinks_when_jobs_go() {
    let fixture = Fixture::sqlite().await;
    let large = || NewJob { body: vec![b'x'; 20_000], ..job("a") };
    let size = || std::fs::metadata(fixture.place()).unwrap().len();
    for _ in 0..100 {
        let id = fixture.enqueue(large()).await;
        fixture.store().cancel(id).await.unwrap();
    }
    fixture.reopen().await;
    let full = size();
    fixture.clock.pass(2 * HOUR);
    while fixture.store().purge(50).await.unwrap() > 0 {}
    assert!(full > 2_000_000 && size() < full / 4, "{full} became {}", size());
}
