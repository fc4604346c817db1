//! What holds for a store in a file alone.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use queue::{Bounds, Clock, Completed, Failure, NewJob, State, StoreError, Timestamp};

use crate::fixture::{Fixture, HOUR, MINUTE, job, random};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let store = queue::open(&fixture.url(), Bounds::default(), early.clone()).await.unwrap();
    early.pass(Duration::from_secs(61));
    let swept = store.sweep(100).await.unwrap();
    assert_eq!((swept.leases, swept.promoted), (1, 1));
    assert_eq!(store.job(running).await.unwrap().unwrap().state, State::Ready);
}

#[tokio::test]
async fn nobody_else_can_read_what_was_submitted() {
    let fixture = Fixture::sqlite().await;
    fixture.enqueue(job("a")).await;
    let place = fixture.place();
    for entry in std::fs::read_dir(place.parent().unwrap()).unwrap() {
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
async fn who_reads_what_was_before_holds_up_nobody() {
    let fixture = Fixture::sqlite().await;
    fixture.widen().await;
    let reader = rusqlite::Connection::open(fixture.place()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = "SELECT count(*) FROM jobs";
    let count = || reader.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(), 0);
    let large = |_| {
        let start_within = Some(MINUTE);
        NewJob { body: vec![b'x'; 20_000], start_within, ..job("a") }
    };
    fixture.store().enqueue((0..2_000).map(large).collect()).await.unwrap();
    assert_eq!(fixture.pass(2 * MINUTE).await.expired, 100);
    fixture.store().sweep(2_000).await.unwrap();
    fixture.clock.pass(2 * HOUR);
    // Room is given back in many steps, and none of them waits for who reads.
    let purged = tokio::time::timeout(PATIENCE, fixture.store().purge(2_000)).await;
    assert!(purged.expect("it is purged").unwrap() >= 2_000);
    for _ in 0..50 {
        fixture.enqueue(job("a")).await;
        let grant = fixture.start("w").await;
        assert_eq!(fixture.complete(&grant, "{}").await, Completed::Recorded);
    }
    assert_eq!(count(), 0);
    let log = fixture.place().with_extension("db-wal");
    let size = |it: &Path| std::fs::metadata(it).unwrap().len();
    assert!(size(&log) > 20_000_000, "{} bytes", size(&log));
    drop(reader);
    fixture.store().purge(1).await.unwrap();
    let sizes = (size(&fixture.place()), size(&log));
    assert!(sizes.0 < 2_000_000 && sizes.1 == 0, "{sizes:?}");
}

#[tokio::test]
async fn a_log_that_was_cut_anywhere_has_all_that_was_acknowledged() {
    for _ in 0..20 {
        let fixture = Fixture::sqlite().await;
        let mut acknowledged = Vec::new();
        for _ in 0..5 {
            acknowledged.push(fixture.enqueue(job("a")).await);
        }
        let grant = fixture.start("w").await;
        assert_eq!(fixture.complete(&grant, "{}").await, Completed::Recorded);
        let log = |place: &Path| place.with_extension("db-wal");
        let flushed = std::fs::metadata(log(&fixture.place())).unwrap().len();
        let under_way = (0..50).map(|_| {
            let store = fixture.store();
            tokio::spawn(async move { store.enqueue((0..5).map(|_| job("b")).collect()).await })
        });
        let under_way: Vec<_> = under_way.collect();
        for _ in 0..random(50) {
            tokio::task::yield_now().await;
        }
        // Of what is behind the last flush, anything may be there or not.
        let copy = fixture.place().with_file_name("copy.db");
        std::fs::copy(fixture.place(), &copy).unwrap();
        let mut bytes = std::fs::read(log(&fixture.place())).unwrap();
        let flushed = usize::try_from(flushed).unwrap();
        bytes.truncate(flushed + random(bytes.len() - flushed + 1));
        std::fs::write(log(&copy), bytes).unwrap();
        for it in under_way {
            it.await.unwrap().unwrap();
        }
        let url = format!("sqlite:{}", copy.display());
        let store = queue::open(&url, Bounds::default(), fixture.clock.clone()).await.unwrap();
        for id in acknowledged {
            let found = store.job(id).await.unwrap().expect("what was acknowledged is there");
            let is_done = id == grant.lease.id;
            assert_eq!(found.state, if is_done { State::Succeeded } else { State::Ready });
        }
        assert_eq!(store.result(grant.lease.id).await.unwrap().unwrap().body, b"{}");
        let counted: u64 = store.counts(None).await.unwrap().iter().map(|(_, jobs)| jobs).sum();
        let reader = rusqlite::Connection::open(&copy).unwrap();
        let read = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(read("PRAGMA integrity_check"), "ok");
        assert_eq!(read("SELECT CAST(count(*) AS TEXT) FROM jobs"), counted.to_string());
        assert_eq!((counted - 5) % 5, 0, "half of what came together");
    }
}
