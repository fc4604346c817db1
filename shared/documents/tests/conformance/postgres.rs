//! The store in PostgreSQL: the suite, whom it refuses, and that servers hear each other.

use std::sync::Arc;
use std::time::Duration;

use documents::{Heard, StoreError, Word, open};
use sqlx::{Connection as _, PgConnection};
use tests::stores::PostgresServer;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::servers::a_server_is_told_of_until_it_leaves;
use crate::{AT_ONCE, BOUNDS, Store, everything, old_rows, room, what_was_kept_before_is_there};

const PATIENCE: Duration = Duration::from_secs(30);

async fn refused(url: &str, change: &'static str) -> StoreError {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(change).execute(&mut connection).await.unwrap();
    open(url, BOUNDS).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_keeps_rooms() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let url = server.url("postgres");
    let store: Store = open(&url, BOUNDS).await.unwrap();
    everything(&store).await;
    a_server_is_told_of_until_it_leaves(&store, true).await;
    // Jobs may be kept in the same database.
    let other: Store = open(&url, BOUNDS).await.unwrap();
    servers_hear_each_other(&store, &other).await;
    drop((store, other));
    let newer = refused(&url, "UPDATE flotilla_rooms.about SET version = 99").await;
    assert!(matches!(newer, StoreError::Newer { found: 99, .. }), "{newer}");
    let others = refused(&url, "UPDATE flotilla_rooms.about SET application = 'x'").await;
    assert!(others.to_string().contains("another program"), "{others}");
    assert!(!others.to_string().contains(server.password()), "{others}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_version_1_wrote_in_postgresql_is_kept_and_gets_what_is_new() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let url = server.url("postgres");
    let mut old = PgConnection::connect(&url).await.unwrap();
    for part in [
        "CREATE SCHEMA flotilla_rooms; SET search_path = flotilla_rooms; CREATE TABLE about \
         (is_one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (is_one), application TEXT NOT NULL, \
         version BIGINT NOT NULL); \
         INSERT INTO about (application, version) VALUES ('flotilla rooms', 1)",
        include_str!("../../src/postgres/schema-1.sql"),
    ] {
        sqlx::raw_sql(part).execute(&mut old).await.unwrap();
    }
    let rows = sqlx::AssertSqlSafe(old_rows("BYTEA"));
    sqlx::raw_sql(rows).execute(&mut old).await.unwrap();
    let store: Store = open(&url, BOUNDS).await.unwrap();
    what_was_kept_before_is_there(&store).await;
    everything(&store).await;
    a_server_is_told_of_until_it_leaves(&store, true).await;
    let version = sqlx::query_scalar::<_, i64>("SELECT version FROM flotilla_rooms.about");
    assert_eq!(version.fetch_one(&mut old).await.unwrap(), 4);
}

async fn servers_hear_each_other(store: &Store, other: &Store) {
    let (tell, mut heard) = mpsc::channel(64);
    let (tell_other, mut other_heard) = mpsc::channel(64);
    let bus = store.hear(tell).unwrap();
    let other_bus = other.hear(tell_other).unwrap();
    for heard in [&mut heard, &mut other_heard] {
        assert_eq!(timeout(PATIENCE, heard.recv()).await.unwrap(), Some(Heard::Missed));
    }
    let room = room(store).await;
    bus.say(&room, Word::Written(7));
    other_bus.say(&room, Word::WhoIsThere);
    let word_of = async |heard: &mut mpsc::Receiver<Heard>| match heard.recv().await {
        Some(Heard::Word { room: of, word, .. }) if of == room => word,
        other => panic!("{other:?}"),
    };
    let there = timeout(PATIENCE, word_of(&mut other_heard)).await.unwrap();
    let here = timeout(PATIENCE, word_of(&mut heard)).await.unwrap();
    assert_eq!((there, here), (Word::Written(7), Word::WhoIsThere));
    assert!(Arc::strong_count(&bus) > 0);
    store.delete(room).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_told_of_without_its_password() {
    let error = open("postgres://me:secret@127.0.0.1:9/rooms", AT_ONCE).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}
