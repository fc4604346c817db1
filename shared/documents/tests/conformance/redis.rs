//! Servers that keep rooms in PostgreSQL and tell each other of them by Redis.

use std::time::Duration;

use documents::{Limits, Rooms, StoreError, Terms};
use tests::stores::{PostgresServer, RedisServer};
use tokio::time::{sleep, timeout};

use crate::rooms::{PATIENCE, enter, made, terms};

/// What writes nothing while a test runs.
const NEVER: Duration = Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_server_told_and_did_not_write_is_kept_by_who_heard_it() {
    let servers = tokio::task::spawn_blocking(|| (PostgresServer::start(), RedisServer::start()));
    let (postgres, redis) = servers.await.unwrap();
    let (url, bus) = (postgres.url("postgres"), redis.url());
    let open = async |limits| Rooms::open(&url, Some(&bus), terms(limits)).await.unwrap();
    let here = open(Limits { batch_time: NEVER, quiet_time: NEVER, ..Limits::default() }).await;
    let there = open(Limits::default()).await;
    let id = made(&here).await;
    let (ann, ben) = (enter(&here, &id).await, enter(&there, &id).await);
    ann.write("hello").await;
    // By Redis alone: the store has nothing of it.
    ben.reads("hello").await;
    assert_eq!(there.room(&id).await.unwrap().unwrap().bytes, 0);
    // Whoever comes later asks the others.
    let late = open(Limits { quiet_time: NEVER, ..Limits::default() }).await;
    let eve = enter(&late, &id).await;
    eve.reads("hello").await;
    drop((ann, here));
    let written = async {
        while there.room(&id).await.unwrap().unwrap().bytes == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, written).await.expect("its silence is noticed");
    drop((ben, there, eve, late));
    let rooms = Rooms::open(&url, None, terms(Limits::default())).await.unwrap();
    enter(&rooms, &id).await.reads("hello").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_cannot_be_had_is_told_of_without_its_password() {
    let servers = tokio::task::spawn_blocking(|| (PostgresServer::start(), RedisServer::start()));
    let (postgres, redis) = servers.await.unwrap();
    redis.command(&["CONFIG", "SET", "requirepass", "a-right-word"]);
    let (url, port) = (postgres.url("postgres"), redis.port());
    let bounds = documents::Bounds { patience: Duration::ZERO, ..documents::Bounds::default() };
    let terms = Terms { bounds, ..terms(Limits::default()) };
    let refused = async |bus: &str| {
        let error = Rooms::open(&url, Some(bus), terms).await.unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        error
    };
    let error = refused("mysql://me:secret@127.0.0.1/db").await;
    assert!(matches!(error, StoreError::BusUrl(_)), "{error}");
    let error = refused("redis://:secret@127.0.0.1:9").await;
    assert!(matches!(error, StoreError::BusUnavailable(_)), "{error}");
    let error = refused(&format!("redis://:secret@127.0.0.1:{port}")).await;
    assert!(matches!(error, StoreError::BusUnavailable(_)), "{error}");
    let right = format!("redis://:a-right-word@127.0.0.1:{port}");
    Rooms::open(&url, Some(&right), terms).await.unwrap();
}
