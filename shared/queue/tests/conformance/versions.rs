//! Stores that older versions of this program wrote: with all that goes on in them they are brought to
//! this one, and it goes on.

use queue::{
    CallbackOutcome, Completed, Enqueued, Extended, Failure, Filter, IdempotencyKey, NewJob, State,
};

use crate::fixture::{Fixture, HOUR, LEASE, job};
use crate::postgres::{ask, number};

const FILE: [&str; 3] = [
    include_str!("../../src/sqlite/schema-1.sql"),
    include_str!("../../src/sqlite/schema-2.sql"),
    include_str!("../../src/sqlite/schema-3.sql"),
];
const DATABASE: [&str; 4] = [
    include_str!("../../src/postgres/schema-1.sql"),
    include_str!("../../src/postgres/schema-2.sql"),
    include_str!("../../src/postgres/schema-3.sql"),
    include_str!("../../src/postgres/schema-4.sql"),
];
/// What no version before kept.
const UNKNOWN: &str = "ALTER TABLE new.jobs DROP COLUMN drains;";
/// What is kept in a table of each, and how it is called in all versions.
const KEPT: [(&str, &str); 8] = [
    ("jobs", "*"),
    ("bodies", "*"),
    ("results", "*"),
    ("attempts", "*"),
    ("shares", "*"),
    ("languages", "*"),
    ("callbacks", "*"),
    ("keys", "caller, key, digest, id, expires_at"),
];

/// Has a store be one that an older version wrote, with all that is in it.
async fn check(fixture: Fixture, age: impl AsyncFn(&Fixture)) {
    let store = fixture.store();
    let callback_url = Some("http://example.org".to_owned());
    let told = || NewJob { callback_url: callback_url.clone(), ..job("a") };
    let succeeded = fixture.enqueue(job("a")).await;
    let grant = fixture.start("w").await;
    fixture.complete(&grant, "one").await;
    let dead = fixture.enqueue(told()).await;
    let (lease, reason) = (fixture.start("w").await.lease, "no disk".to_owned());
    let failure = Failure { lease, reason, is_retryable: false, may_have_run: false };
    store.fail(vec![failure]).await.unwrap();
    let cancelled = fixture.enqueue(job("b")).await;
    store.cancel(cancelled).await.unwrap();
    let leased = fixture.enqueue(told()).await;
    let grant = fixture.start("w").await;
    let key = |digest| Some(IdempotencyKey { key: "key".to_owned(), digest: [digest; 32] });
    let ready = fixture.enqueue(NewJob { idempotency: key(1), ..job("a") }).await;
    let run_at = Some(fixture.clock.now().after(HOUR / 2));
    let scheduled = fixture.enqueue(NewJob { run_at, ..job("b") }).await;
    let ids = [succeeded, dead, cancelled, leased, ready, scheduled];
    let look = async || {
        let (store, mut jobs) = (fixture.store(), Vec::new());
        for id in ids {
            jobs.push((store.job(id).await.unwrap().unwrap(), store.attempts(id).await.unwrap()));
        }
        let counts =
            [store.counts(None).await.unwrap(), store.counts(Some("a".into())).await.unwrap()];
        (jobs, counts, store.stats().await.unwrap().lanes)
    };
    let before = look().await;
    drop(store);
    fixture.close();
    age(&fixture).await;
    fixture.reopen().await;
    assert_eq!(look().await, before);
    let store = fixture.store();
    assert_eq!(store.result(succeeded).await.unwrap().unwrap().body, b"one");
    for (state, id) in [(State::Dead, dead), (State::Cancelled, cancelled)] {
        let filter = Filter { state: Some(state), ..Filter::default() };
        let page = store.list(filter, None, 9).await.unwrap();
        assert_eq!(page.jobs.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
    }
    let again =
        async |digest| fixture.enqueue_any(NewJob { idempotency: key(digest), ..job("a") }).await;
    assert_eq!((again(1).await, again(2).await), (Enqueued::Existing(ready), Enqueued::Conflict));
    let due = fixture.callbacks(&[]).await;
    assert_eq!(due.iter().map(|it| it.id).collect::<Vec<_>>(), [dead]);
    store.note_callback(due[0].number, CallbackOutcome::Delivered).await.unwrap();
    let held = store.extend(vec![grant.lease], LEASE).await.unwrap();
    assert_eq!(held, [Extended::Held { time: LEASE, cancel: false }]);
    assert_eq!(fixture.complete(&grant, "two").await, Completed::Recorded);
    assert_eq!(fixture.callbacks(&[]).await[0].id, leased);
    assert_eq!(fixture.start("w").await.lease.id, ready);
    assert_eq!(fixture.pass(HOUR / 2).await.promoted, 1);
    assert_eq!(fixture.start("w").await.lease.id, scheduled);
    assert!(store.redrive(dead).await.unwrap());
    let new = fixture.enqueue(job("c")).await;
    let granted = fixture.claim("w", 9).await;
    let granted: Vec<_> = granted.iter().map(|it| it.lease.id).collect();
    assert!(granted.len() == 2 && granted.contains(&dead) && granted.contains(&new));
    for id in [ready, scheduled, dead, new] {
        store.cancel(id).await.unwrap();
    }
    drop(store);
    check_all_goes(&fixture).await;
}

/// Holds that whatever is there comes to its end and goes, and that the store can be opened again.
async fn check_all_goes(fixture: &Fixture) {
    let store = fixture.store();
    fixture.pass(HOUR * 24).await;
    fixture.clock.pass(HOUR * 24 * 8);
    while store.purge(100).await.unwrap() > 0 {}
    assert_eq!(store.list(Filter::default(), None, 9).await.unwrap().jobs, []);
    assert_eq!(store.stats().await.unwrap().lanes, []);
    drop(store);
    fixture.reopen().await;
}

#[tokio::test]
async fn a_file_of_any_version_before_goes_on() {
    for version in 1..=FILE.len() {
        let age = async |fixture: &Fixture| {
            let new = fixture.place();
            fixture.move_to("old.db");
            let old = rusqlite::Connection::open(fixture.place()).unwrap();
            old.execute_batch("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL").unwrap();
            old.execute_batch(&FILE[..version].concat()).unwrap();
            old.execute("ATTACH ? AS new", [new.to_str().unwrap()]).unwrap();
            old.execute_batch(UNKNOWN).unwrap();
            for (table, columns) in KEPT {
                let names = if columns == "*" { String::new() } else { format!("({columns})") };
                let copy = format!("INSERT INTO {table} {names} SELECT {columns} FROM new.{table}");
                old.execute_batch(&copy).unwrap();
            }
            let about = format!("PRAGMA user_version={version}; PRAGMA application_id=1181511540");
            old.execute_batch(&about).unwrap();
        };
        let fixture = Fixture::sqlite().await;
        check(fixture, age).await;
    }
}

#[tokio::test]
async fn a_database_of_any_version_before_goes_on() {
    for version in 1..=DATABASE.len() {
        let age = async |fixture: &Fixture| {
            let copies = KEPT.map(|(table, columns)| {
                let names = if columns == "*" { String::new() } else { format!("({columns})") };
                format!(
                    "INSERT INTO {table} {names} OVERRIDING SYSTEM VALUE \
                     SELECT {columns} FROM new.{table};"
                )
            });
            let sql = format!(
                "ALTER SCHEMA flotilla RENAME TO new; CREATE SCHEMA flotilla; \
                 SET search_path = flotilla; CREATE TABLE about (is_one BOOLEAN PRIMARY KEY \
                 DEFAULT TRUE CHECK (is_one), application TEXT NOT NULL, version BIGINT NOT NULL, \
                 last_sweep_at BIGINT); INSERT INTO about (application, version) \
                 VALUES ('flotilla jobs', {version}); {UNKNOWN} {}; {} \
                 SELECT setval('job_numbers', 99), setval('callbacks_number_seq', 99); \
                 DROP SCHEMA new CASCADE",
                DATABASE[..version].concat(),
                copies.concat(),
            );
            ask(&fixture.url(), &sql).await;
        };
        let fixture = Fixture::postgres().await;
        let url = fixture.url();
        check(fixture, age).await;
        let newest = i64::try_from(DATABASE.len()).unwrap() + 1;
        assert_eq!(number(&url, "SELECT version FROM flotilla.about").await, newest);
    }
}

#[tokio::test]
async fn a_server_of_the_version_before_goes_on() {
    let age = async |fixture: &Fixture| {
        let server = fixture.redis_server().unwrap();
        let forget = "for _, kind in ipairs({'rare', 'sharers'}) do \
                      for _, key in ipairs(redis.call('KEYS', '{flotilla}:' .. kind .. ':*')) do \
                      redis.call('DEL', key) end end";
        server.command(&["EVAL", forget, "0"]);
        server.command(&["HSET", "{flotilla}:schema", "version", "1"]);
    };
    check(Fixture::redis().await, age).await;
}
