//! Clients that are slow, close half of their connection, or go away.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tests::Server;
use tokio::io::AsyncWriteExt as _;

use crate::checks::{Checks, eventually, same};
use crate::faults::gateway;
use crate::language::language;
use crate::languages::start;
use crate::processes::{sleeps, with_word};
use crate::raw;
use crate::target::{Target, get};

/// How long a run may take to be gone.
const PATIENCE: Duration = Duration::from_secs(15);

/// A server, the path that runs programs there, and the executor behind it.
#[derive(Clone, Copy)]
struct Door<'a> {
    kind: &'static str,
    server: &'a Server,
    path: &'static str,
    executor: &'a Server,
}

#[tokio::test]
async fn clients_that_misbehave_harm_nobody() {
    let Some(executor) = start("python", &[("EXECUTOR_BODY_SECONDS", "1")]).await else { return };
    let gateway = gateway(&[("python", &executor)], &[("GATEWAY_BODY_SECONDS", "1")]).await;
    let doors = [
        Door { kind: "executor", server: &executor, path: "/execute", executor: &executor },
        Door { kind: "gateway", server: &gateway, path: "/v1/execute", executor: &executor },
    ];
    let mut checks = Checks::default();
    for door in doors {
        let kind = door.kind;
        checks.add(format!("{kind}: a body that drips is answered 408"), drip(door));
        checks.add(
            format!("{kind}: a client that closes its side gets an answer or an end"),
            half(door),
        );
        checks.add(format!("{kind}: a body that breaks off is no request"), broken(door));
        checks.add(format!("{kind}: what is not HTTP is closed"), garbage(door));
        checks.add(format!("{kind}: a waiting client that goes away stops its run"), leave(door));
        checks.add(
            format!("{kind}: a reading client that goes away stops its run"),
            leave_stream(door),
        );
        checks.add(format!("{kind}: a stream that nobody reads ends all the same"), stall(door));
    }
    checks.make("connections", 3).await;
    slots_are_free(&executor).await.unwrap();
    let ok = language("python").tool(&["nothing"]);
    for target in [Target::executor(&executor), Target::gateway(&gateway, "python")] {
        assert_eq!(target.run(&ok).await.unwrap()["output"], "ok\n");
    }
    drop(gateway);
}

/// Waits until a worker runs so many jobs: what it was given and has not accepted it would hand back.
pub(crate) async fn is_running(worker: &Server, count: u64) {
    let runs = async || {
        let health = get(worker, "/health").await.body;
        let slots = health["slots"].as_u64().zip(health["slotsFree"].as_u64());
        slots.is_some_and(|(all, free)| all - free == count)
    };
    eventually("it runs its jobs", PATIENCE, runs).await.unwrap();
}

/// Waits until nothing runs any more.
pub(crate) async fn slots_are_free(executor: &Server) -> Result<()> {
    eventually("every slot is free", PATIENCE, async || {
        let health = get(executor, "/health").await.body;
        health["slotsFree"] == health["slots"] && health["waiting"] == 0
    })
    .await
}

/// A word that no other run of these tests uses.
pub(crate) fn word(name: &str) -> String {
    format!("{name}-in-{}", std::process::id())
}

/// Waits until no process with this word lives.
pub(crate) async fn is_gone(word: &str) -> Result<()> {
    eventually("its processes are gone", PATIENCE, async || with_word(word).is_empty()).await
}

/// Waits until a process with this word sleeps, and has for some looks: then it is long past its
/// start, and everybody knows of it.
pub(crate) async fn is_there(word: &str) -> Result<()> {
    const LOOKS: usize = 5;
    let mut seen = 0;
    eventually("its process sleeps", PATIENCE, async || {
        seen = if with_word(word).into_iter().any(sleeps) { seen + 1 } else { 0 };
        seen == LOOKS
    })
    .await
}

/// A request that sleeps and can be found by a word.
pub(crate) fn sleeper(seconds: &str, word: &str) -> serde_json::Value {
    language("python").tool_with(&["sleep", seconds, word], json!({"language": "python"}))
}

async fn drip(door: Door<'_>) -> Result<()> {
    let mut connection = raw::connect(door.server).await?;
    connection.write_all(raw::head(door.path, 1000).as_bytes()).await?;
    let (mut reader, mut writer) = connection.split();
    let dripping = async {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let reading = async {
        use tokio::io::AsyncReadExt as _;
        while !String::from_utf8_lossy(&answer).contains(r#""code":"request_timeout""#) {
            if reader.read_buf(&mut answer).await.unwrap_or_default() == 0 {
                break;
            }
        }
    };
    tokio::select! {
        () = dripping => {}
        () = reading => {}
        () = tokio::time::sleep(PATIENCE) => {}
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    ensure!(answer.starts_with("HTTP/1.1 408"), "the answer is {answer:?}");
    ensure!(answer.contains("application/problem+json"), "the answer is {answer:?}");
    ensure!(answer.contains(r#""code":"request_timeout""#), "the answer is {answer:?}");
    Ok(())
}

async fn half(door: Door<'_>) -> Result<()> {
    let word = word(&format!("half-closed-{}", door.kind));
    let mut connection = raw::connect(door.server).await?;
    raw::send(&mut connection, door.path, &sleeper("0.5", &word).to_string()).await?;
    connection.shutdown().await?;
    let answer = raw::read_until(&mut connection, "awake").await?;
    let is_answer = answer.starts_with("HTTP/1.1 200") && answer.contains("asleep\\nawake");
    ensure!(is_answer || answer.is_empty(), "the answer is {answer:?}");
    is_gone(&word).await
}

async fn broken(door: Door<'_>) -> Result<()> {
    let mut connection = raw::connect(door.server).await?;
    connection.write_all(raw::head(door.path, 1000).as_bytes()).await?;
    connection.write_all(b"{\"code\":").await?;
    connection.shutdown().await?;
    let answer = raw::read_to_end(&mut connection).await?;
    ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "the answer is {answer:?}");
    Ok(())
}

async fn garbage(door: Door<'_>) -> Result<()> {
    for text in [
        "nonsense\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
    ] {
        let mut connection = raw::connect(door.server).await?;
        connection.write_all(text.as_bytes()).await?;
        let answer = raw::read_to_end(&mut connection).await?;
        ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "the answer is {answer:?}");
    }
    Ok(())
}

async fn leave(door: Door<'_>) -> Result<()> {
    let word = word(&format!("leaves-{}", door.kind));
    let mut connection = raw::connect(door.server).await?;
    raw::send(&mut connection, door.path, &sleeper("50", &word).to_string()).await?;
    is_there(&word).await?;
    drop(connection);
    is_gone(&word).await
}

async fn leave_stream(door: Door<'_>) -> Result<()> {
    let word = word(&format!("leaves-stream-{}", door.kind));
    let target = match door.kind {
        "gateway" => Target::gateway(door.server, "python"),
        _ => Target::executor(door.server),
    };
    let mut events = target.stream(&sleeper("50", &word)).await?;
    let first = events.until("stdout").await?;
    same("the output", &first["data"], &json!("asleep\n"))?;
    is_there(&word).await?;
    drop(events);
    is_gone(&word).await?;
    slots_are_free(door.executor).await
}

async fn stall(door: Door<'_>) -> Result<()> {
    // 60 MB in events that the client never reads: more than is kept for anybody.
    let word = word(&format!("stalls-{}", door.kind));
    let request = language("python")
        .tool_with(&["print", "62914560", &word], json!({"language": "python", "timeout": 60}));
    let body = request.to_string();
    let mut connection = raw::connect(door.server).await?;
    let head =
        raw::head(door.path, body.len()).replacen("\r\n", "\r\naccept: text/event-stream\r\n", 1);
    connection.write_all(format!("{head}{body}").as_bytes()).await?;
    is_gone_after(&word).await?;
    drop(connection);
    Ok(())
}

/// Waits until a process came and went.
async fn is_gone_after(word: &str) -> Result<()> {
    // It may be so quick that it is never seen.
    let is_there = async || !with_word(word).is_empty();
    eventually("it is there", Duration::from_secs(2), is_there).await.unwrap_or_default();
    let patience = Duration::from_mins(1);
    eventually("its processes are gone", patience, async || with_word(word).is_empty()).await
}
