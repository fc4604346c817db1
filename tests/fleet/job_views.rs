//! What is told of a job: to whom, and while it waits.

use std::time::Duration;

use serde_json::{Value, json};
use tests::client;

use crate::checks::eventually;
use crate::faults::gateway;
use crate::jobs::{ended, keeper, program, started, submit, submitted};
use crate::languages::start;
use crate::target::whole;

/// Two keys that submit, and an operator's.
const SAM: &str = "sam-0123456789abcdef";
const TOM: &str = "tom-0123456789abcdef";
const ADA: &str = "ada-0123456789abcdef";
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_job_is_told_of_to_its_caller_and_to_operators() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let keys = format!("sam:{SAM},tom:{TOM},ada:{ADA} role=admin");
    let settings = [
        ("GATEWAY_KEYS", keys.as_str()),
        ("GATEWAY_STORE_URL", &store),
        ("GATEWAY_CALLBACK_SECRET", "0123456789abcdef"),
    ];
    let gateway = gateway(&[("python", &python)], &settings).await;
    let ask =
        async |path: &str, key: &str| whole(client().get(gateway.url(path)).bearer_auth(key)).await;
    let job = submit(&gateway, &program("print(1)"), &[("x-api-key", SAM)]).await.body;
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let submission = format!("{path}/submission");
    for key in [SAM, ADA] {
        assert_eq!(ask(&path, key).await.body["caller"], "sam");
        assert_eq!(ask(&submission, key).await.body, program("print(1)"));
    }
    ask(&submission, TOM).await.is_problem(404, "no_job").unwrap();

    let count = async |query: &str, key: &str| {
        let list = ask(&format!("/v1/jobs?counts=true&{query}"), key).await.body;
        let counts = list["counts"].as_object().unwrap().values();
        counts.map(|it| it.as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((count("", SAM).await, count("", TOM).await), (1, 0));
    assert_eq!((count("caller=sam", ADA).await, count("caller=*", ADA).await), (1, 1));
    assert_eq!((count("caller=tom", ADA).await, count("state=dead", SAM).await), (0, 1));
    ask("/v1/jobs?counts=true&caller=*", TOM).await.is_problem(403, "forbidden").unwrap();
    assert_eq!(ask("/v1/jobs", SAM).await.body["counts"], json!(null), "it was not asked for");

    // Callbacks as well: this one goes to a private address, and is given up.
    let mut body = program("print(2)");
    body["callbackUrl"] = json!("http://127.0.0.1:9/");
    let job = submit(&gateway, &body, &[("x-api-key", SAM)]).await.body;
    let is_told = async |path: &str, key: &str| {
        let open = ask(path, key).await.body["callbacks"].clone();
        open.as_array().unwrap().iter().any(|it| it["jobId"] == job["id"])
    };
    eventually("it is given up", PATIENCE, async || is_told("/v1/callbacks", SAM).await)
        .await
        .unwrap();
    assert!(is_told("/v1/callbacks?caller=sam", ADA).await);
    assert!(!is_told("/v1/callbacks", ADA).await);
    ask("/v1/callbacks?caller=sam", TOM).await.is_problem(403, "forbidden").unwrap();
    ask("/v1/callbacks?caller=*", ADA).await.is_problem(422, "invalid_request").unwrap();
}

#[tokio::test]
async fn who_submits_is_told_how_long_it_may_take_until_it_starts() {
    let Some(python) = start("python", &[("EXECUTOR_SLOTS", "1")]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let gateway = keeper(&[("python", &python)], &directory).await;
    let first = submit(&gateway, &program("import time\ntime.sleep(1)"), &[]).await.body;
    assert_eq!(first["expectedStartMs"], Value::Null, "nothing has run yet");
    ended(&gateway, first["id"].as_str().unwrap()).await;
    let running = submitted(&gateway, &program("import time\ntime.sleep(20)")).await;
    started(&gateway, &running).await;
    let mut expected = Vec::new();
    for position in 0..3 {
        let told = submit(&gateway, &program("print(1)"), &[]).await.body;
        assert_eq!(told["position"], position, "{told}");
        expected.push(told["expectedStartMs"].as_u64().unwrap());
    }
    assert!(expected[0] < expected[1] && expected[1] < expected[2], "{expected:?}");
    assert!(expected[1] - expected[0] >= 1000, "as long as one ran: {expected:?}");
}

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

#[tokio::test]
async fn whoever_has_the_last_event_of_a_job_is_told_not_to_come_again() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let gateway = keeper(&[("python", &python)], &directory).await;
    let id = submitted(&gateway, &program("print(1)")).await;
    ended(&gateway, &id).await;
    let events_behind = async |last: u64| {
        let request = client().get(gateway.url(&format!("/v1/jobs/{id}/events")));
        let answer = request.header("last-event-id", last.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = events_behind(0).await;
    let last: u64 = text.strip_prefix("id: ").unwrap().lines().next().unwrap().parse().unwrap();
    assert_eq!(status, 200);
    assert_eq!(events_behind(last - 1).await, (200, text));
    assert_eq!(events_behind(last).await, (204, String::new()));
}
