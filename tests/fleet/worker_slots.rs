//! Both fronts of an executor have the same slots.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{answering, client, lonely};

use crate::jobs::{ended, program, submitted};
use crate::target::whole;
use crate::workers::worker;

#[tokio::test]
async fn jobs_and_runs_take_turns_in_one_slot() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    let Some(worker) = worker(&gateway, "one", &[("EXECUTOR_SLOTS", "1")]).await else { return };
    // Both tell when they were there, by one clock.
    let code =
        "import time\nbegan = time.monotonic()\ntime.sleep(2)\nprint(began, time.monotonic())";
    let times = |output: &Value| -> Vec<f64> {
        output.as_str().unwrap().split_whitespace().map(|it| it.parse().unwrap()).collect()
    };
    let direct = async || {
        let body = json!({ "code": code }).to_string();
        let answer = whole(client().post(worker.url("/execute")).body(body)).await;
        times(&answer.body["output"])
    };
    let job = async || {
        let id = submitted(&gateway, &program(code)).await;
        times(&ended(&gateway, &id).await["result"]["output"])
    };
    let (mut one, mut other) = tokio::join!(direct(), job());
    for _ in 0..2 {
        let (first, second) = if one[0] < other[0] { (&one, &other) } else { (&other, &one) };
        assert!(first[1] <= second[0], "{one:?} {other:?}");
        (one, other) = tokio::join!(
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                direct().await
            },
            job()
        );
    }
}
