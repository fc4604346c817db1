//! Gateways of one store whose machines have one name and that listen at one port, as containers may:
//! none takes another's jobs, and one that starts again takes back its own.

use rustix::process::Signal;
use serde_json::json;
use tests::stores::{PostgresServer, RedisServer};
use tests::{Server, ServerBuilder, lasting_port};

use crate::checks::eventually;
use crate::connections::{is_there, word};
use crate::jobs::{ended, program, started, submitted};
use crate::languages::start;
use crate::target::get;

const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

fn member(url: &str, port: u16) -> ServerBuilder {
    let builder = ServerBuilder::new("gateway").at(port).set("GATEWAY_STORE_URL", url);
    let builder = builder.set("GATEWAY_DRAIN_SECONDS", "5").set("GATEWAY_PROBE_SECONDS", "0.2");
    builder.set("GATEWAY_RATE_PER_MINUTE", "1000000").set("GATEWAY_RATE_BURST", "100000")
}

async fn check(url: &str) {
    let Some(python) = start("python", &[("EXECUTOR_SLOTS", "1")]).await else { return };
    let port = lasting_port();
    let with = |builder: ServerBuilder| builder.set("PYTHON_EXECUTOR_URL", &python.url(""));
    let one = with(member(url, port)).start().await;
    let mut once = program("import time\ntime.sleep(12)\nprint('once')");
    once["delivery"] = json!("at_most_once");
    let id = submitted(&one, &once).await;
    started(&one, &id).await;
    // It has another address, and the same name and port.
    let other = member(url, port).set("GATEWAY_HOST", "127.0.0.2").start().await;
    let job = ended(&one, &id).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job}");
    drop(other);

    let word = word(&format!("given-back-{port}"));
    let mut long = program("import time\ntime.sleep(30)\nprint('again')");
    long["args"] = json!([word]);
    let long = submitted(&one, &long).await;
    // A lease that is not accepted yet would end sooner, and be told as such.
    is_there(&word).await.unwrap();
    one.signal(Signal::KILL);
    one.abandon();
    let again: Server = with(member(url, port)).start().await;
    let attempts = async || get(&again, &format!("/v1/jobs/{long}")).await.body["attempts"].clone();
    let is_back = async || attempts().await[0]["reason"].is_string();
    eventually("it is given back", PATIENCE, is_back).await.unwrap();
    // Its lease would have ended by itself later, and would have been told as such.
    assert_eq!(attempts().await[0]["reason"], "abandoned", "{}", again.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_of_one_name_share_postgresql() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    check(&server.url("postgres")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_of_one_name_share_redis() {
    let server = tokio::task::spawn_blocking(RedisServer::start).await.unwrap();
    check(&server.url()).await;
}
