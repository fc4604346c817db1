//! Runs whose lease has ended while nobody could tell their worker: they are stopped, and do no harm to
//! the next run of the same job, wherever that is.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::stores::RedisServer;
use tests::{Server, answering, lonely};

use crate::checks::eventually;
use crate::connections::is_running;
use crate::jobs::{ended, program, submitted};
use crate::target::get;
use crate::workers::worker;

const PATIENCE: Duration = Duration::from_mins(1);

/// A job whose program takes so many seconds, once a worker runs it.
async fn started(gateway: &Server, worker: &Server, seconds: u64) -> String {
    let code = format!("import time\ntime.sleep({seconds})\nprint('done')");
    let id = submitted(gateway, &program(&code)).await;
    is_running(worker, 1).await;
    id
}

async fn attempts(gateway: &Server, id: &str) -> Vec<Value> {
    let job = get(gateway, &format!("/v1/jobs/{id}")).await.body;
    job["attempts"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_worker_that_is_given_its_lost_job_again_runs_it_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    let Some(worker) = worker(&gateway, "w", &[("EXECUTOR_SLOTS", "2")]).await else { return };
    // Longer than the pause, and than a lease that nobody extends after the first run's end.
    let id = started(&gateway, &worker, 26).await;
    // The poll for its other slot is open by then, and still is when the lease has ended.
    tokio::time::sleep(Duration::from_secs(2)).await;
    worker.signal(Signal::STOP);
    let is_given_again = async || attempts(&gateway, &id).await.len() == 2;
    let given = eventually("it is given again", PATIENCE, is_given_again).await;
    worker.signal(Signal::CONT);
    given.unwrap();
    let job = ended(&gateway, &id).await;
    let attempts = job["attempts"].as_array().unwrap().iter();
    let reasons: Vec<_> = attempts.map(|it| it["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["lost", "completed"], "{job}\n{}", worker.log());
    assert_eq!((&job["state"], &job["result"]["output"]), (&json!("succeeded"), &json!("done\n")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_gateway_falls_silent_stops_before_another_starts() {
    let store = tokio::task::spawn_blocking(RedisServer::start).await.unwrap();
    let (directory, url) = (tempfile::tempdir().unwrap(), store.url());
    let settings = [("GATEWAY_STORE_URL", url.as_str())];
    let silent = answering(lonely(directory.path(), &settings)).await;
    let other = answering(lonely(directory.path(), &settings)).await;
    let one_slot = [("EXECUTOR_SLOTS", "1")];
    let Some(cut_off) = worker(&silent, "cut-off", &one_slot).await else { return };
    let id = started(&silent, &cut_off, 29).await;
    let Some(heir) = worker(&other, "heir", &one_slot).await else { return };
    // Whoever connects to it waits for an answer that does not come.
    silent.signal(Signal::STOP);
    let is_given_again = async || attempts(&other, &id).await.len() == 2;
    let given = eventually("it is given again", PATIENCE, is_given_again).await;
    // What was stopped just before may take a moment to end.
    let is_free = async || get(&cut_off, "/health").await.body["slotsFree"] == 1;
    let stopped = eventually("it is stopped", Duration::from_secs(1), is_free).await;
    silent.signal(Signal::CONT);
    given.unwrap();
    stopped.unwrap_or_else(|error| panic!("{error}:\n{}", cut_off.log()));
    drop(heir);
}
