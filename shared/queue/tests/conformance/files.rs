//! What holds for a store in a file alone.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use queue::{Bounds, Clock, Failure, JobId, NewJob, State, StoreError, Timestamp};

use crate::fixture::{Fixture, HOUR, MINUTE, claim, job};

#[tokio::test]
async fn a_file_has_one_process() {
    let fixture = Fixture::sqlite().await;
    let error = fixture.open_again().await.unwrap_err();
    assert!(matches!(error, StoreError::Taken(_)), "{error}");
    fixture.reopen().await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_before_a_start_holds_up_no_job() {
    let fixture = Fixture::sqlite().await;
    let running = fixture.enqueue(NewJob { attempts_max: 9, ..job("a") }).await;
    let grant = fixture.start("fails").await;
    let (lease, reason) = (grant.lease, "no disk".to_owned());
    let failure = Failure { lease, reason, is_retryable: true, may_have_run: false };
    fixture.store().fail(vec![failure]).await.unwrap();
    fixture.enqueue(NewJob { attempt_max: MINUTE, ..job("b") }).await;
    fixture.start("dies").await;
    fixture.close();
    let early = Clock::set(Timestamp(fixture.clock.now().0 - 3_600_000));
    let store = queue::open(fixture.url(), Bounds::default(), early.clone()).await.unwrap();
    early.pass(Duration::from_secs(61));
    let swept = store.sweep(100).await.unwrap();
    assert_eq!((swept.leases, swept.promoted), (1, 1));
    assert_eq!(store.job(running).await.unwrap().unwrap().state, State::Ready);
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

#[tokio::test]
async fn the_file_shrinks_by_all_that_is_gone() {
    let fixture = Fixture::sqlite().await;
    fixture.widen().await;
    let large = |_| {
        let start_within = Some(MINUTE);
        NewJob { body: vec![b'x'; 20_000], start_within, ..job("a") }
    };
    for _ in 0..4 {
        fixture.store().enqueue((0..500).map(large).collect()).await.unwrap();
    }
    fixture.clock.pass(2 * MINUTE);
    assert_eq!(fixture.store().sweep(2_000).await.unwrap().expired, 2_000);
    fixture.clock.pass(2 * HOUR);
    assert!(fixture.store().purge(2_000).await.unwrap() >= 2_000);
    let size = std::fs::metadata(fixture.place()).unwrap().len();
    assert!(size < 2_000_000, "{size} bytes are left");
}

#[tokio::test]
async fn a_file_of_the_version_before_is_brought_to_this_one() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("jobs.db");
    let before = rusqlite::Connection::open(&place).unwrap();
    before.execute_batch("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;").unwrap();
    before.execute_batch(include_str!("../../src/sqlite/schema-1.sql")).unwrap();
    let id = JobId::random();
    let kept = format!(
        "PRAGMA user_version=1; PRAGMA application_id=1181511540; \
         INSERT INTO jobs (number, id, caller, language, state, priority, turn, cost, \
         attempts_max, attempt_ms_max, at_most_once, ttl_ms, created_at, ready_at) \
         VALUES (1, x'{}', 'a', 'alpha', 'ready', 5, 0, 1, 3, 60000, 0, 60000, 1, 1); \
         INSERT INTO bodies VALUES (1, x'7b7d')",
        id.to_string().replace('-', "")
    );
    before.execute_batch(&kept).unwrap();
    drop(before);
    let url = format!("sqlite:{}", place.display());
    let store = queue::open(&url, Bounds::default(), Clock::steady()).await.unwrap();
    let granted = store.claim(claim("w", 1)).await.unwrap();
    assert_eq!(granted.iter().map(|it| it.lease.id).collect::<Vec<_>>(), [id]);
    drop(store);
    let after = rusqlite::Connection::open(&place).unwrap();
    let version = after.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    assert_eq!(version.unwrap(), 3);
}
