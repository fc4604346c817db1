//! Executors that hang, talk nonsense or die in the middle: the gateway tells it, and every
//! other language goes on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{ServerBuilder, client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::checks::{Checks, eventually, same, short};
use crate::language::language;
use crate::languages::start;
use crate::target::{Target, get, whole};

/// What a faulty executor does with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Never answers.
    Hang,
    /// Answers what is no HTTP.
    Garbage,
    /// Answers a page.
    Page,
    /// Says JSON and is not.
    BrokenJson,
    /// Closes the connection.
    HangUp,
    /// Streams one event and a half, and is gone.
    DieMidStream,
    /// None: answers.
    None,
}

/// An executor made up for the test: well by its own word.
struct Faulty {
    port: u16,
    last_head: Arc<Mutex<String>>,
    serving: JoinHandle<()>,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Faulty {
    /// Starts one for the language `name`, with the manners of a real one.
    async fn start(name: &str, fault: Fault, info: &Value, health: &Value) -> Self {
        let mut info = info.clone();
        info["language"] = json!(name);
        info["aliases"] = json!([]);
        let mut own = info["languages"][0].clone();
        own["id"] = json!(name);
        own["aliases"] = json!([]);
        info["languages"] = json!([own]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let last_head = Arc::new(Mutex::new(String::new()));
        let (head, texts) = (Arc::clone(&last_head), [info.to_string(), health.to_string()]);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let (head, texts) = (Arc::clone(&head), texts.clone());
                connections.spawn(async move { serve(connection, fault, &head, texts).await });
            }
        });
        Self { port, last_head, serving }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn serve(
    mut connection: TcpStream,
    fault: Fault,
    last_head: &Mutex<String>,
    [info, health]: [String; 2],
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains("\r\n\r\n") {
        if connection.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let json = |text: &str| {
        let length = text.len();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
        )
    };
    let answer = if head.starts_with("GET /info") {
        json(&info)
    } else if head.starts_with("GET /health") {
        json(&health)
    } else {
        *last_head.lock().unwrap() = head;
        let event = "event: stdout\ndata: {\"type\":\"stdout\",\"data\":\"x\"}\n\nevent: stdo";
        match fault {
            Fault::Hang => return std::future::pending().await,
            Fault::Garbage => "nonsense without end\r\n\r\n".to_owned(),
            Fault::Page => json("<html>").replace("application/json", "text/html"),
            Fault::BrokenJson => json("{\"output\": "),
            Fault::HangUp => return Ok(()),
            Fault::DieMidStream => format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{event}\r\n",
                event.len()
            ),
            Fault::None => json("{\"status\":\"success\",\"output\":\"fine\"}"),
        }
    };
    connection.write_all(answer.as_bytes()).await?;
    connection.shutdown().await
}

/// What the client of each faulty executor is told.
const TOLD: [(&str, Fault, u16, &[&str]); 5] = [
    ("hanging", Fault::Hang, 504, &["executor_timeout"]),
    ("garbling", Fault::Garbage, 502, &["executor_lost", "bad_executor_answer"]),
    ("paging", Fault::Page, 502, &["bad_executor_answer"]),
    ("breaking", Fault::BrokenJson, 502, &["bad_executor_answer"]),
    ("closing", Fault::HangUp, 502, &["executor_lost"]),
];

#[tokio::test]
async fn a_faulty_executor_is_told_and_harms_no_other_language() {
    let Some(python) = start("python", &[]).await else { return };
    let info = get(&python, "/info").await.body;
    let health = get(&python, "/health").await.body;
    let mut faulty = Vec::new();
    let others = [("dying", Fault::DieMidStream), ("working", Fault::None)];
    let mut builder = ServerBuilder::new("gateway")
        .set("PYTHON_EXECUTOR_URL", &python.url(""))
        .set("GATEWAY_ALLOWANCE_SECONDS", "1")
        .set("GATEWAY_PROBE_SECONDS", "0.2");
    for (name, fault) in TOLD.iter().map(|it| (it.0, it.1)).chain(others) {
        let executor = Faulty::start(name, fault, &info, &health).await;
        builder = builder.set(&format!("{}_EXECUTOR_URL", name.to_uppercase()), &executor.url());
        faulty.push((name, executor));
    }
    let gateway = builder.start().await;
    let all_live = async || {
        let health = get(&gateway, "/health").await.body;
        let lines = health["executors"].as_array().into_iter().flatten();
        lines.filter(|it| it["status"] == "pass").count() == 8
    };
    eventually("every executor is live", Duration::from_secs(20), all_live).await.unwrap();
    let target = |name: &str| Target::gateway(&gateway, name);
    let mut checks = Checks::default();
    for (name, fault, status, codes) in TOLD {
        let target = target(name);
        checks.add(format!("an executor that does `{fault:?}` is told as {status}"), async move {
            let answer = target.execute(&json!({"code": "x", "timeout": 1})).await;
            let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
            ensure!(codes.contains(&code.as_str()), "{} {}", answer.status, short(&answer.body));
            answer.is_problem(status, &code)
        });
    }
    let dying = target("dying");
    checks.add("a stream that breaks ends with a fault", async move { broken(&dying).await });
    let (working, head) = (target("working"), &faulty[TOLD.len() + 1].1.last_head);
    checks.add("a trace and a request id go through", async move { traced(&working, head).await });
    for round in 0..4 {
        let target = target("python");
        checks.add(format!("another language goes on ({round})"), async move {
            let report = target.run(&language("python").tool(&["nothing"])).await?;
            same("the output", &report["output"], &json!("ok\n"))
        });
    }
    checks.make("faulty executors", 12).await;
    drop(gateway);
}

async fn broken(target: &Target) -> Result<()> {
    let events = target.stream(&json!({"code": "x"})).await?.rest().await?;
    let names: Vec<&str> = events.iter().map(|it| it.name.as_str()).collect();
    same("the events", &names, &vec!["stdout", "fault"])?;
    same("the output", &events[0].data["data"], &json!("x"))?;
    let problem = &events[1].data["problem"];
    same("the code", &problem["code"], &json!("executor_lost"))?;
    ensure!(problem["requestId"].as_str().is_some_and(|it| !it.is_empty()), "{problem}");
    Ok(())
}

async fn traced(target: &Target, last_head: &Mutex<String>) -> Result<()> {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = client()
        .post(target.url("/execute"))
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .header("x-request-id", "traced-1")
        .header("authorization", "Bearer of-the-client")
        .body(json!({"language": "working", "code": "x"}).to_string());
    let answer = whole(request).await;
    same("the answer", &answer.body["output"], &json!("fine"))?;
    same("the id of the answer", &answer.header("x-request-id"), &"traced-1")?;
    let head = last_head.lock().unwrap().to_lowercase();
    ensure!(head.contains(&format!("traceparent: 00-{trace}-")), "the trace is lost: {head}");
    ensure!(!head.contains("b7ad6b7169203331"), "the span is the client's own: {head}");
    ensure!(head.contains("x-request-id: traced-1"), "the id is lost: {head}");
    ensure!(!head.contains("of-the-client"), "the client's key is passed on: {head}");
    Ok(())
}
