//! What is told of submissions that were taken before.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::faults::gateway;
use crate::jobs::{ended, program, submit};
use crate::languages::start;
use crate::target::get;

#[tokio::test]
async fn a_submission_that_comes_again_is_taken_though_its_job_is_not_kept_any_more() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let settings = [("GATEWAY_STORE_URL", store.as_str()), ("GATEWAY_JOBS_CLEANUP_SECONDS", "1")];
    let gateway = gateway(&[("python", &python)], &settings).await;
    let mut body = program("print(6 * 7)");
    body["ttl"] = json!(5);
    let key = [("idempotency-key", "once")];
    let first = submit(&gateway, &body, &key).await;
    assert_eq!(first.status, 202, "{}", first.body);
    let id = first.body["id"].as_str().unwrap();
    assert_eq!(ended(&gateway, id).await["result"]["output"], "42\n");
    let path = format!("/v1/jobs/{id}");
    let deadline = Instant::now() + Duration::from_mins(1);
    while get(&gateway, &path).await.status != 404 {
        assert!(Instant::now() < deadline, "it is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let again = submit(&gateway, &body, &key).await;
    assert_eq!((again.status, again.header("location")), (202, path.as_str()), "{}", again.body);
    assert_eq!((&again.body["id"], &again.body["outcome"]), (&json!(id), &json!("existing")));
    assert!(again.body["detail"].as_str().unwrap().contains("not kept any more"));
    let other = submit(&gateway, &program("print(2)"), &key).await;
    other.is_problem(409, "idempotency_conflict").unwrap();
    assert_eq!(get(&gateway, "/v1/jobs").await.body["jobs"], Value::Array(Vec::new()));
}
