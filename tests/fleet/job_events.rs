//! A job that is followed: what is told of it while it waits, and afterwards.

use serde_json::Value;
use tests::client;

use crate::jobs::{keeper, program, submitted};
use crate::languages::start;

#[tokio::test]
async fn who_follows_a_job_that_waits_hears_how_it_comes_up() {
    let Some(python) = start("python", &[("EXECUTOR_SLOTS", "1")]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let gateway = keeper(&[("python", &python)], &directory).await;
    let mut last = String::new();
    for _ in 0..3 {
        last = submitted(&gateway, &program("import time\ntime.sleep(4)")).await;
    }
    let events = client().get(gateway.url(&format!("/v1/jobs/{last}/events"))).send().await;
    let events = events.unwrap().text().await.unwrap();
    let events = events.lines().filter_map(|it| it.strip_prefix("data: "));
    let events = events.map(|it| serde_json::from_str::<Value>(it).unwrap());
    let mut told: Vec<(String, Option<u64>)> = events
        .map(|it| (it["state"].as_str().unwrap().to_owned(), it["position"].as_u64()))
        .collect();
    told.dedup();
    let state = |state: &str, place| (state.to_owned(), place);
    let expected = [
        state("ready", Some(1)),
        state("ready", Some(0)),
        state("leased", None),
        state("succeeded", None),
    ];
    // It may have been heard of before the first one was started.
    assert!(told.ends_with(&expected), "{told:?}");
}
