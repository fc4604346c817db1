//! Gateways that share a store on a server: whoever is killed, gateway or server, no acknowledged
//! job is lost.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tests::Server;
use tests::stores::{PostgresServer, RedisServer};

use crate::faults::gateway;
use crate::jobs::{ended, program, submitted};
use crate::languages::start;
use crate::target::get;

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
    check(&url, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_share_redis() {
    let mut server = tokio::task::spawn_blocking(RedisServer::start).await.unwrap();
    let url = server.url();
    check(&url, &mut server).await;
}
