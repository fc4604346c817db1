//! Jobs: taken in durably, run later, and never lost, whoever is killed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Server, client};
use tokio::task::JoinSet;

use crate::faults::gateway;
use crate::languages::start;
use crate::target::{Answer, get, whole};

const PATIENCE: Duration = Duration::from_mins(1);

/// A gateway that keeps its jobs in a directory, with its executors.
async fn keeper(executors: &[(&str, &Server)], directory: &tempfile::TempDir) -> Server {
    let url = format!("sqlite:{}", directory.path().join("jobs.db").display());
    gateway(executors, &[("GATEWAY_STORE_URL", &url), ("GATEWAY_DRAIN_SECONDS", "5")]).await
}

fn post(gateway: &Server, body: &Value) -> reqwest::RequestBuilder {
    let request = client().post(gateway.url("/v1/jobs")).body(body.to_string());
    request.header("content-type", "application/json")
}

async fn submit(gateway: &Server, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let mut request = post(gateway, body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    whole(request).await
}

fn program(code: &str) -> Value {
    json!({ "language": "python", "code": code })
}

async fn submitted(gateway: &Server, body: &Value) -> String {
    let answer = submit(gateway, body, &[]).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let id = answer.body["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/v1/jobs/{id}"));
    id
}

/// A job once it is over.
async fn ended(gateway: &Server, id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = get(gateway, &format!("/v1/jobs/{id}?wait=5s")).await.body;
        if !job["finishedAt"].is_null() {
            return job;
        }
        assert!(Instant::now() < deadline, "it does not end: {job}\n{}", gateway.log());
    }
}

/// A job once a worker has it.
async fn started(gateway: &Server, id: &str) {
    let deadline = Instant::now() + PATIENCE;
    while get(gateway, &format!("/v1/jobs/{id}")).await.body["state"] != "leased" {
        assert!(Instant::now() < deadline, "it does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_job_is_a_run_whose_answer_is_fetched_later() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let gateway = keeper(&[("python", &python)], &directory).await;
    let id = submitted(&gateway, &program("print(6 * 7)")).await;
    let job = ended(&gateway, &id).await;
    assert_eq!((&job["state"], &job["result"]["output"]), (&json!("succeeded"), &json!("42\n")));
    assert_eq!(job["result"]["status"], "success");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    let failing = submitted(&gateway, &program("raise SystemExit(3)")).await;
    let job = ended(&gateway, &failing).await;
    // A program's own failure is a result.
    assert_eq!((&job["state"], &job["result"]["exitCode"]), (&json!("succeeded"), &json!(3)));

    let events = client().get(gateway.url(&format!("/v1/jobs/{id}/events"))).send().await.unwrap();
    let events = events.text().await.unwrap();
    assert!(
        events.contains("event: succeeded") && events.contains("\"output\":\"42\\n\""),
        "{events}"
    );
    let list = get(&gateway, "/v1/jobs?state=succeeded&limit=1").await.body;
    assert_eq!(list["jobs"][0]["id"], json!(failing));
    let rest = get(&gateway, &format!("/v1/jobs?cursor={}", list["next"].as_str().unwrap())).await;
    assert_eq!(rest.body["jobs"][0]["id"], json!(id));
    let queue = get(&gateway, "/v1/queue").await.body;
    assert_eq!(
        (&queue["durability"], &queue["languages"][0]["ready"]),
        (&json!("power_loss"), &json!(0))
    );
}

#[tokio::test]
async fn a_submission_is_refused_or_taken_whole() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let gateway = keeper(&[("python", &python)], &directory).await;
    for (body, pointers) in [
        (json!({"language": "python", "code": "1", "priority": 10}), vec!["/priority"]),
        (json!({"jobs": [program("1"), {"language": "python"}]}), vec!["/jobs/1/code"]),
        (json!({"jobs": []}), vec!["/jobs"]),
        (json!({"language": "python", "code": "1", "timeout": 1e9}), vec!["/timeout"]),
    ] {
        let answer = submit(&gateway, &body, &[]).await;
        answer.refuses(&pointers).unwrap_or_else(|error| panic!("{body}: {error}"));
    }
    submit(&gateway, &json!({"language": "cobol", "code": "1"}), &[])
        .await
        .is_problem(404, "unknown_language")
        .unwrap();
    let list = get(&gateway, "/v1/jobs").await.body;
    assert_eq!(list["jobs"], json!([]), "nothing half taken");

    let key = [("idempotency-key", "mine")];
    let first = submit(&gateway, &program("print(1)"), &key).await;
    let again = submit(&gateway, &program("print(1)"), &key).await;
    assert_eq!((again.status, &again.body["id"]), (202, &first.body["id"]));
    let other = submit(&gateway, &program("print(2)"), &key).await;
    other.is_problem(409, "idempotency_conflict").unwrap();

    let batch = json!({"jobs": [program("print(1)"), program("print(2)")]});
    let answer = submit(&gateway, &batch, &[]).await;
    for (index, job) in answer.body["jobs"].as_array().unwrap().iter().enumerate() {
        let done = ended(&gateway, job["id"].as_str().unwrap()).await;
        assert_eq!(done["result"]["output"], json!(format!("{}\n", index + 1)));
    }
    get(&gateway, "/v1/jobs/nothing").await.is_problem(404, "no_job").unwrap();
    get(&gateway, "/v1/jobs?state=lost").await.refuses(&["/state"]).unwrap();
}

#[tokio::test]
async fn without_a_store_jobs_are_refused_and_say_why() {
    let Some(python) = start("python", &[]).await else { return };
    let gateway = gateway(&[("python", &python)], &[]).await;
    submit(&gateway, &program("1"), &[]).await.is_problem(503, "no_store").unwrap();
}

#[tokio::test]
async fn a_cancelled_job_really_stops() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let gateway = keeper(&[("python", &python)], &directory).await;
    let id = submitted(&gateway, &program("import time\ntime.sleep(50)")).await;
    started(&gateway, &id).await;
    let asked = whole(client().delete(gateway.url(&format!("/v1/jobs/{id}")))).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    assert_eq!(ended(&gateway, &id).await["state"], "cancelled");
    let late = whole(client().delete(gateway.url(&format!("/v1/jobs/{id}")))).await;
    late.is_problem(409, "job_is_final").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while get(&python, "/info").await.body["slotsFree"] == 0 {
        assert!(Instant::now() < deadline, "its program still runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_killed_gateway_loses_no_job_that_it_acknowledged() {
    const ROUNDS: u64 = 6;
    let Some(python) = start("python", &[("EXECUTOR_SLOTS", "4")]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..ROUNDS {
        let gateway = Arc::new(keeper(&[("python", &python)], &directory).await);
        let mut submitters = JoinSet::new();
        for submitter in 0..4 {
            let gateway = Arc::clone(&gateway);
            submitters.spawn(async move {
                let mut taken = Vec::new();
                for number in 0..1000 {
                    let word = format!("{round}-{submitter}-{number}");
                    let body = program(&format!("print('{word}')"));
                    // Beyond this the gateway is dead, and nothing is known of the job.
                    let Ok(answer) = post(&gateway, &body).send().await else { break };
                    let Ok(text) = answer.text().await else { break };
                    let Ok(answer) = serde_json::from_str::<Value>(&text) else { break };
                    taken.push((answer["id"].as_str().unwrap().to_owned(), word));
                }
                taken
            });
        }
        tokio::time::sleep(Duration::from_millis(300 + 170 * round)).await;
        gateway.signal(Signal::KILL);
        while let Some(taken) = submitters.join_next().await {
            acknowledged.extend(taken.unwrap());
        }
        Arc::into_inner(gateway).unwrap().abandon();
    }
    assert!(acknowledged.len() > 50, "only {} jobs were submitted", acknowledged.len());
    let gateway = keeper(&[("python", &python)], &directory).await;
    for (id, word) in &acknowledged {
        let job = ended(&gateway, id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["result"]["output"], json!(format!("{word}\n")));
    }
}

#[tokio::test]
async fn a_killed_executor_s_job_runs_elsewhere() {
    let slots = [("EXECUTOR_SLOTS", "1")];
    let (Some(one), Some(other)) = (start("python", &slots).await, start("python", &slots).await)
    else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let urls = format!("{},{}", one.url(""), other.url(""));
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let settings = [("PYTHON_EXECUTOR_URL", urls.as_str()), ("GATEWAY_STORE_URL", &store)];
    let gateway = gateway(&[], &settings).await;
    let id = submitted(&gateway, &program("import time\ntime.sleep(3)\nprint('done')")).await;
    started(&gateway, &id).await;
    let busy = |info: Value| info["slotsFree"] == 0;
    let deadline = Instant::now() + PATIENCE;
    let (victim, left) = loop {
        if busy(get(&one, "/info").await.body) {
            break (one, other);
        }
        if busy(get(&other, "/info").await.body) {
            break (other, one);
        }
        assert!(Instant::now() < deadline, "nobody runs it");
    };
    victim.signal(Signal::KILL);
    let job = ended(&gateway, &id).await;
    assert_eq!((&job["state"], &job["result"]["output"]), (&json!("succeeded"), &json!("done\n")));
    assert_eq!(job["attempts"].as_array().unwrap().len(), 2, "{job}");
    victim.abandon();
    drop((gateway, left));
}

#[tokio::test]
async fn a_gateway_that_drains_leaves_jobs_to_the_next() {
    let Some(python) = start("python", &[("EXECUTOR_SLOTS", "1")]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut first = keeper(&[("python", &python)], &directory).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(submitted(&first, &program("import time\ntime.sleep(1)\nprint('done')")).await);
    }
    started(&first, &ids[0]).await;
    first.signal(Signal::TERM);
    assert_eq!(first.wait(), Some(0), "{}", first.log());
    let second = keeper(&[("python", &python)], &directory).await;
    for id in &ids {
        let job = ended(&second, id).await;
        assert_eq!(
            (&job["state"], &job["result"]["output"]),
            (&json!("succeeded"), &json!("done\n"))
        );
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "nothing ran twice: {job}");
    }
}
