//! Jobs: taken in durably, run later, and never lost, whoever is killed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac as _};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::Sha256;
use tests::{Server, client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::checks::eventually;
use crate::faults::gateway;
use crate::languages::start;
use crate::target::{Answer, get, whole};

const PATIENCE: Duration = Duration::from_mins(1);

/// A gateway that keeps its jobs in a directory, with its executors.
pub(crate) async fn keeper(executors: &[(&str, &Server)], directory: &tempfile::TempDir) -> Server {
    let url = format!("sqlite:{}", directory.path().join("jobs.db").display());
    gateway(executors, &[("GATEWAY_STORE_URL", &url), ("GATEWAY_DRAIN_SECONDS", "5")]).await
}

fn post(gateway: &Server, body: &Value) -> reqwest::RequestBuilder {
    let request = client().post(gateway.url("/v1/jobs")).body(body.to_string());
    request.header("content-type", "application/json")
}

pub(crate) async fn submit(gateway: &Server, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let mut request = post(gateway, body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    whole(request).await
}

pub(crate) fn program(code: &str) -> Value {
    json!({ "language": "python", "code": code })
}

pub(crate) async fn submitted(gateway: &Server, body: &Value) -> String {
    let answer = submit(gateway, body, &[]).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let id = answer.body["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/v1/jobs/{id}"));
    id
}

/// A job once it is over.
pub(crate) async fn ended(gateway: &Server, id: &str) -> Value {
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
pub(crate) async fn started(gateway: &Server, id: &str) {
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
    let counts = get(&gateway, "/v1/jobs?state=dead&queue=default&counts=true").await.body;
    assert_eq!(counts["jobs"], json!([]));
    let expected = json!({"scheduled": 0, "ready": 0, "leased": 0, "succeeded": 2, "cancelled": 0,
        "expired": 0, "dead": 0});
    assert_eq!(counts["counts"], expected, "whatever else is asked for");
    let elsewhere = get(&gateway, "/v1/jobs?queue=large").await.body;
    assert_eq!(elsewhere, json!({"jobs": [], "next": null}));
    let submission = get(&gateway, &format!("/v1/jobs/{id}/submission")).await.body;
    assert_eq!(submission, program("print(6 * 7)"));
    get(&gateway, "/v1/jobs/nothing/submission").await.is_problem(404, "no_job").unwrap();
    let metrics = get(&gateway, "/metrics").await.body;
    let line = "gateway_jobs{language=\"python\",queue=\"default\",state=\"ready\"} 0\n";
    assert!(metrics.as_str().unwrap().contains(line), "{metrics}");
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
    submit(&gateway, &batch, &key).await.refuses(&["/idempotency-key"]).unwrap();
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
    let id = submitted(&gateway, &program("import time\ntime.sleep(6)\nprint('done')")).await;
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

/// Takes requests one after the other, answers each with the next status, and keeps what came.
async fn receive(statuses: &'static [u16]) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let receiving = tokio::spawn(async move {
        let mut taken = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            let is_whole = |text: &str| {
                let (head, body) = text.split_once("\r\n\r\n")?;
                let length = head.to_lowercase().split_once("content-length: ")?.1.to_owned();
                let length: usize = length.lines().next()?.trim().parse().ok()?;
                (body.len() >= length).then_some(())
            };
            while is_whole(&text).is_none() {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer).await.unwrap();
                text.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            taken.push(text);
        }
        taken
    });
    (url, receiving)
}

#[tokio::test]
async fn a_callback_is_sent_until_it_is_taken() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let settings = [
        ("GATEWAY_STORE_URL", store.as_str()),
        ("GATEWAY_CALLBACK_SECRET", "0123456789abcdef"),
        ("GATEWAY_CALLBACK_PRIVATE", "true"),
    ];
    let gateway = gateway(&[("python", &python)], &settings).await;
    let (url, receiving) = receive(&[500, 204]).await;
    let mut body = program("print('told')");
    body["callbackUrl"] = json!(url);
    let id = submitted(&gateway, &body).await;
    let taken = tokio::time::timeout(PATIENCE, receiving).await.unwrap().unwrap();
    let parts: Vec<(&str, &str)> =
        taken.iter().map(|it| it.split_once("\r\n\r\n").unwrap()).collect();
    let header = |head: &str, name: &str| {
        let line = head.lines().find(|it| it.to_lowercase().starts_with(name)).unwrap().to_owned();
        line.split_once(": ").unwrap().1.to_owned()
    };
    let number = "x-flotilla-delivery";
    assert_eq!(header(parts[0].0, number), header(parts[1].0, number));
    let (head, body) = parts[1];
    let told: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&told["id"], &told["result"]["output"]), (&json!(id), &json!("told\n")));
    let signature = header(head, "x-flotilla-signature");
    let (time, digits) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"0123456789abcdef").unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    let expected: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digits, expected);
    eventually("nothing is open", PATIENCE, async || {
        get(&gateway, "/v1/callbacks").await.body["callbacks"] == json!([])
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn no_callback_goes_to_a_private_address() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let settings =
        [("GATEWAY_STORE_URL", store.as_str()), ("GATEWAY_CALLBACK_SECRET", "0123456789abcdef")];
    let gateway = gateway(&[("python", &python)], &settings).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f000001"] {
        let mut body = program("1");
        body["callbackUrl"] = json!(format!("http://{host}:{port}/"));
        submitted(&gateway, &body).await;
    }
    eventually("all are given up", PATIENCE, async || {
        let open = get(&gateway, "/v1/callbacks").await.body["callbacks"].clone();
        let given_up = |it: &&Value| {
            it["dueAt"].is_null() && it["reason"].as_str().is_some_and(|it| it.contains("private"))
        };
        open.as_array().is_some_and(|it| it.iter().filter(given_up).count() == 5)
    })
    .await
    .unwrap();
    let asked = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(asked.is_err(), "it was told of something");
}
