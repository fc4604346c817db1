//! Gateways that share a store on a server: whoever is killed, gateway or server, no acknowledged
//! job is lost.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::stores::{PostgresServer, RedisServer};
use tests::{Server, answering, client, lonely};

use crate::faults::gateway;
use crate::jobs::{ended, program, submitted};
use crate::languages::start;
use crate::target::{get, whole};
use crate::workers::{seen, worker};

const PATIENCE: Duration = Duration::from_mins(1);

/// A gateway of a store.
async fn member(url: &str, executor: &Server) -> Server {
    let settings = [("GATEWAY_STORE_URL", url), ("GATEWAY_DRAIN_SECONDS", "5")];
    gateway(&[("python", executor)], &settings).await
}

/// A gateway's status, once it is `wanted`.
async fn becomes(gateway: &Server, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let health = get(gateway, "/health").await.body;
        if health["status"] == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "not {wanted}: {health}\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is asked of a store that `kill` kills and `restart` starts again.
async fn check(url: &str, server: &mut impl Restart) {
    let Some(python) = start("python", &[("EXECUTOR_SLOTS", "2")]).await else { return };
    let (one, other) = (member(url, &python).await, member(url, &python).await);
    let mut ids = Vec::new();
    for number in 0..10 {
        let gateway = if number % 2 == 0 { &one } else { &other };
        let code = format!("import time\ntime.sleep(0.3)\nprint({number})");
        ids.push(submitted(gateway, &program(&code)).await);
    }
    // A job is known at every gateway, and so is its end.
    assert_eq!(ended(&other, &ids[0]).await["result"]["output"], "0\n");
    server.kill();
    becomes(&other, "warn").await;
    let refused = crate::jobs::submit(&other, &program("1"), &[]).await;
    refused.is_problem(503, "store_unavailable").unwrap();
    server.restart();
    becomes(&other, "pass").await;
    one.signal(Signal::KILL);
    for (number, id) in ids.iter().enumerate() {
        let job = ended(&other, id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["result"]["output"], json!(format!("{number}\n")));
    }
    one.abandon();
    drop(other);
}

/// What is asked of two gateways of a store whose one worker calls the first of them.
async fn check_workers(url: &str) {
    let settings = [("GATEWAY_STORE_URL", url)];
    let directory = tempfile::tempdir().unwrap();
    let one = answering(lonely(directory.path(), &settings)).await;
    let other = answering(lonely(directory.path(), &settings)).await;
    let queues = [("EXECUTOR_PULL_QUEUES", "large")];
    let Some(worker) = worker(&one, "far", &queues).await else { return };
    let view = seen_by(&other, |view| !view.is_null()).await;
    assert_eq!(view["queues"], json!(["large"]), "{view}");
    becomes(&other, "pass").await;
    let mut job = program("print(6 * 7)");
    job["queue"] = json!("large");
    let id = submitted(&other, &job).await;
    assert_eq!(ended(&other, &id).await["result"]["output"], "42\n");
    // An order reaches it through the gateway that it calls.
    for (gateway, order, state) in [
        (&other, "drain", "draining"),
        (&one, "resume", "active"),
        (&one, "drain", "draining"),
        (&other, "resume", "active"),
    ] {
        let path = format!("/v1/workers/anonymous:far/{order}");
        let told = whole(client().post(gateway.url(&path))).await;
        assert_eq!(told.status, 202, "{}", told.body);
        seen_by(&other, |view| view["state"] == state).await;
    }
    let id = submitted(&one, &job).await;
    assert_eq!(ended(&one, &id).await["result"]["output"], "42\n");
    drop(worker);
    seen_by(&other, Value::is_null).await;
}

/// What a gateway knows of the worker, once it is as wanted.
async fn seen_by(gateway: &Server, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = seen(gateway, "far").await.unwrap_or_default();
        if is_wanted(&view) {
            return view;
        }
        assert!(Instant::now() < deadline, "{view}\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A server that can be killed.
trait Restart {
    fn kill(&mut self);
    fn restart(&mut self);
}

impl Restart for PostgresServer {
    fn kill(&mut self) {
        Self::kill(self);
    }

    fn restart(&mut self) {
        Self::restart(self);
    }
}

impl Restart for RedisServer {
    fn kill(&mut self) {
        Self::kill(self);
    }

    fn restart(&mut self) {
        Self::restart(self);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_share_postgresql() {
    let mut server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let url = server.url("postgres");
    check_workers(&url).await;
    check(&url, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_share_redis() {
    let mut server = tokio::task::spawn_blocking(RedisServer::start).await.unwrap();
    let url = server.url();
    check_workers(&url).await;
    check(&url, &mut server).await;
}
