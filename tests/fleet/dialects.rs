//! Wire contracts of others, spoken as their own clients speak them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Server, client};

use crate::faults::gateway;
use crate::languages::start;
use crate::target::{Answer, get, whole};

async fn execute(gateway: &Server, body: &Value) -> Answer {
    let request = client().post(gateway.url("/api/execute")).body(body.to_string());
    whole(request.header("content-type", "application/json")).await
}

/// The status of a job once it is over.
async fn completed(gateway: &Server, id: &Value) -> Value {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let path = format!("/api/status/{}", id.as_str().unwrap());
        let status = get(gateway, &path).await.body;
        if !["queued", "running"].contains(&status["status"].as_str().unwrap()) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_job_api_answers_within_its_own_limits() {
    let Some(python) = start("python", &[("EXECUTOR_SLOTS", "4")]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let settings = [
        ("GATEWAY_STORE_URL", store.as_str()),
        ("GATEWAY_JOB_API", "true"),
        ("GATEWAY_JOB_API_LANGUAGE", "python"),
        ("GATEWAY_JOB_API_PROFILE", "public"),
        ("GATEWAY_JOB_API_TIMEOUT_SECONDS", "3"),
        ("GATEWAY_JOB_API_PER_MINUTE", "9"),
    ];
    let gateway = gateway(&[("python", &python)], &settings).await;
    let hello = execute(&gateway, &json!({"code": "print('x' * 20000)"})).await;
    assert_eq!(hello.status, 200, "{}", hello.body);
    let status = completed(&gateway, &hello.body["jobId"]).await;
    assert_eq!((&status["status"], &status["result"]), (&json!("completed"), &json!("success")));
    assert_eq!(status["output"], json!("x".repeat(10 << 10)));
    assert_eq!(status["truncated"], true);
    // No more than two run at a time, though there are four slots.
    let mut ids = Vec::new();
    for _ in 0..4 {
        let body = json!({"code": "import time\ntime.sleep(9)", "language": "python"});
        ids.push(execute(&gateway, &body).await.body["jobId"].clone());
    }
    let mut most = 0;
    for id in &ids {
        while get(&gateway, &format!("/api/status/{}", id.as_str().unwrap())).await.body["status"]
            != "completed"
        {
            let queue = get(&gateway, "/v1/queue").await.body;
            most = most.max(queue["languages"][0]["leased"].as_u64().unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(completed(&gateway, id).await["result"], "timeout");
    }
    assert_eq!(most, 2);
    let large = json!({"code": "#".repeat(5121)});
    execute(&gateway, &large).await.is_problem(413, "too_large").unwrap();
    execute(&gateway, &json!({"source": "1"})).await.is_problem(422, "invalid_request").unwrap();
    execute(&gateway, &json!({"code": "1", "language": "cobol"}))
        .await
        .is_problem(404, "unknown_language")
        .unwrap();
    let unknown = get(&gateway, "/api/status/7f000001-0000-7000-8000-000000000000").await;
    unknown.is_problem(404, "no_job").unwrap();
    let mut often = execute(&gateway, &json!({"code": "1"})).await;
    for _ in 0..20 {
        if often.status == 429 {
            break;
        }
        often = execute(&gateway, &json!({"code": "1"})).await;
    }
    often.is_problem(429, "rate_limited").unwrap();
}

#[tokio::test]
async fn the_job_api_keeps_to_its_defaults_and_tells_no_result_for_longer_than_it_is_kept() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let settings = [("GATEWAY_STORE_URL", store.as_str()), ("GATEWAY_JOB_API", "true")];
    let plain = gateway(&[("python", &python)], &settings).await;
    let body = |code: &str| json!({"code": code, "language": "python"});
    let began = Instant::now();
    let endless = execute(&plain, &body("import time\ntime.sleep(50)")).await;
    let mut taken = 1;
    let often = loop {
        let answer = execute(&plain, &body("print(1)")).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 60, "nobody is refused");
    };
    often.is_problem(429, "rate_limited").unwrap();
    // Ten a minute: one more is let in every six seconds.
    let most = 10 + began.elapsed().as_secs() / 6;
    assert!((10..=most).contains(&taken), "{taken} of {most}");
    let status = completed(&plain, &endless.body["jobId"]).await;
    assert_eq!(status["result"], "timeout");
    let took = status["executionTime"].as_f64().unwrap();
    assert!((5.0..10.0).contains(&took), "{took} s");
    drop(plain);

    // Nothing is deleted meanwhile: it is cleaned up after a start, and then once an hour.
    let short = [("GATEWAY_JOB_API_TTL_SECONDS", "6"), ("GATEWAY_JOBS_CLEANUP_SECONDS", "3600")];
    let gateway = gateway(&[("python", &python)], &[&settings[..], &short].concat()).await;
    let id = execute(&gateway, &body("print(6 * 7)")).await.body["jobId"].clone();
    assert_eq!(completed(&gateway, &id).await["output"], "42\n");
    let path = format!("/api/status/{}", id.as_str().unwrap());
    let deadline = Instant::now() + Duration::from_mins(1);
    let gone = loop {
        let answer = get(&gateway, &path).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(Instant::now() < deadline, "it is still told: {}", answer.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    gone.is_problem(404, "no_job").unwrap();
}
