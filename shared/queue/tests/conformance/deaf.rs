//! Gateways on one server that hear nothing of each other for a while: what happened is found all the
//! same, and who waits is told to look once they hear again.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use queue::{Bounds, Clock, JobStore, Waiter};
use sqlx::{Connection as _, PgConnection};
use tests::stores::RedisServer;
use tokio::time::timeout;

use crate::fixture::{Fixture, claim, completion, job};
use crate::postgres::{ask, database, number, until_some};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Those who listen in a database.
const EARS: &str = "FROM pg_stat_activity WHERE query LIKE 'LISTEN%' \
                    AND datname = current_database()";

async fn open(url: &str) -> Arc<dyn JobStore> {
    queue::open(url, Bounds::default(), Clock::steady()).await.unwrap()
}

/// Wakes somebody who waits for any work until it does not any more, so that what comes is news.
fn calm(waiter: &Waiter) {
    while waiter.work().now_or_never().is_some() {}
}

/// Has one gateway do something while another is deaf, and that one find it, and be told later.
async fn check(url: &str, deafen: impl AsyncFn(), hears: impl AsyncFn()) {
    let (here, there) = (open(url).await, open(url).await);
    hears().await;
    let new = job("a");
    let id = new.id;
    let (waiter, mut changes) = (there.wakes().waiter(Vec::new()), there.wakes().watch(id));
    calm(&waiter);
    deafen().await;
    here.enqueue(vec![new]).await.unwrap();
    // Whoever looks again finds it, heard or not.
    let grant = there.claim(claim("w", 1)).await.unwrap().remove(0);
    assert_eq!(grant.lease.id, id);
    here.complete(vec![completion(&grant, "{}")]).await.unwrap();
    assert!(there.job(id).await.unwrap().unwrap().state.is_final());
    hears().await;
    timeout(PATIENCE, waiter.work()).await.expect("there may be work");
    timeout(PATIENCE, changes.changed()).await.expect("the job changed").unwrap();
}

#[tokio::test]
async fn what_a_database_told_nobody_is_found_again() {
    let url = database().await;
    let deafen =
        async || ask(&url, &format!("SELECT pg_terminate_backend(pid, 5000) {EARS}")).await;
    let hears = async || {
        until_some("nobody listens", async || {
            (number(&url, &format!("SELECT count(*) {EARS}")).await == 2).then_some(())
        })
        .await;
    };
    check(&url, deafen, hears).await;
}

#[tokio::test]
async fn what_a_server_told_nobody_is_found_again() {
    let server = RedisServer::start_with(&[("appendfsync", "everysec")]);
    let ears = || server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).matches("id=").count();
    let deafen = async || drop(server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]));
    let hears = async || {
        until_some("nobody listens", async || (ears() == 2).then_some(())).await;
    };
    check(&server.url(), deafen, hears).await;
}

#[tokio::test]
async fn who_reads_what_was_before_in_a_database_holds_up_nobody() {
    let fixture = Fixture::postgres().await;
    let mut reader = PgConnection::connect(&fixture.url()).await.unwrap();
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM flotilla.jobs";
    sqlx::raw_sql(begin).execute(&mut reader).await.unwrap();
    for _ in 0..200 {
        fixture.enqueue(job("a")).await;
        let grant = fixture.start("w").await;
        fixture.complete(&grant, "{}").await;
        fixture.pass(Duration::from_secs(20)).await;
    }
    fixture.store().purge(1_000).await.unwrap();
    let seen = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM flotilla.jobs");
    assert_eq!(seen.fetch_one(&mut reader).await.unwrap(), 0);
    reader.close().await.unwrap();
    // What nobody can see any more is cleared away then.
    ask(&fixture.url(), "VACUUM flotilla.jobs").await;
    let kept = "SELECT pg_stat_get_live_tuples('flotilla.jobs'::regclass)";
    assert!(number(&fixture.url(), kept).await <= 50, "kept jobs are bounded");
    assert_eq!(number(&fixture.url(), "SELECT count(*) FROM flotilla.jobs").await, 50);
}
