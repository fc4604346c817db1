//! Results that a gateway never takes: their jobs fail, and no other result waits for them.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Server, answering, lonely};

use crate::connections::is_running;
use crate::jobs::{ended, program, submitted};
use crate::target::get;
use crate::workers::worker;

const PATIENCE: Duration = Duration::from_mins(1);

/// A job whose report is larger than what a gateway takes: JSON makes six bytes of each of its own.
fn too_large() -> Value {
    let mut job = program("import sys\nsys.stdout.write('\\x01' * (1 << 20))");
    job["cases"] = json!(vec![json!({ "inputData": "" }); 12]);
    job
}

/// Waits until so many results are on the disk.
async fn kept(spool: &Path, count: usize, worker: &Server) {
    let deadline = Instant::now() + PATIENCE;
    let results = || {
        let entries = std::fs::read_dir(spool).into_iter().flatten().flatten();
        entries.filter(|it| it.path().extension().is_some_and(|it| it == "result")).count()
    };
    while results() < count {
        assert!(Instant::now() < deadline, "it keeps {}:\n{}", results(), worker.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_too_large(job: &Value) {
    assert_eq!(job["state"], "dead", "{}", job["attempts"]);
    assert_eq!(job["reason"], "result_too_large", "{}", job["attempts"]);
    assert_eq!(job["attempt"], 1, "it is not tried again: {}", job["attempts"]);
}

#[tokio::test]
async fn a_result_that_is_too_large_fails_its_job_and_the_worker_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    let slots = [("EXECUTOR_SLOTS", "1")];
    let Some(worker) = worker(&gateway, "w", &slots).await else { return };
    let large = submitted(&gateway, &too_large()).await;
    let next = submitted(&gateway, &program("print('next')")).await;
    is_too_large(&ended(&gateway, &large).await);
    let job = ended(&gateway, &next).await;
    assert_eq!(job["result"]["output"], "next\n", "{}", worker.log());
}

#[tokio::test]
async fn what_an_earlier_start_left_does_not_keep_a_worker_from_its_work() {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    let small = [("GATEWAY_ANSWER_MB", "1")];
    let first = answering(lonely(directory.path(), &small)).await;
    let settings = [("EXECUTOR_SLOTS", "3"), ("EXECUTOR_SPOOL_DIR", spool.to_str().unwrap())];
    let Some(before) = worker(&first, "w", &settings).await else { return };
    // One is too large by itself, and the others are together.
    let mut ids = Vec::new();
    for letter in ["\\x01", "b", "c"] {
        let code = format!("import time\ntime.sleep(8)\nprint('{letter}' * 600_000)");
        ids.push(submitted(&first, &program(&code)).await);
    }
    is_running(&before, 3).await;
    let port = first.port();
    first.signal(Signal::KILL);
    first.abandon();
    kept(&spool, 3, &before).await;
    before.signal(Signal::KILL);
    before.abandon();
    let second = answering(lonely(directory.path(), &small).at(port)).await;
    let Some(_after) = worker(&second, "w", &settings).await else { return };
    is_too_large(&ended(&second, &ids[0]).await);
    for (id, letter) in ids.iter().zip(["", "b", "c"]).skip(1) {
        let job = ended(&second, id).await;
        assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(1)));
        assert!(job["result"]["output"].as_str().unwrap().starts_with(letter));
    }
    let next = submitted(&second, &program("print('next')")).await;
    assert_eq!(ended(&second, &next).await["result"]["output"], "next\n");
    assert_eq!(get(&second, "/health").await.body["workers"], 1);
}
