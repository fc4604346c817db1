//! Runs whose lease has ended while nobody could tell their worker: they are stopped, and do no harm to
//! the next run of the same job, wherever that is.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Server, answering, lonely};

use crate::checks::eventually;
use crate::jobs::{ended, program, submitted};
use crate::target::get;
use crate::workers::{seen, worker};

const PATIENCE: Duration = Duration::from_mins(1);

/// A job whose program takes so many seconds, once a worker has accepted it.
async fn started(gateway: &Server, worker: &str, seconds: u64) -> String {
    let code = format!("import time\ntime.sleep({seconds})\nprint('done')");
    let id = submitted(gateway, &program(&code)).await;
    let has_it = async || seen(gateway, worker).await.unwrap()["jobs"] == json!([id]);
    eventually("it has the job", PATIENCE, has_it).await.unwrap();
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
    let id = started(&gateway, "w", 26).await;
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
