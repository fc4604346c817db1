//! Many clients at once: nobody gets a wrong answer, no slot is lost, and nothing grows.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::Server;

use crate::checks::{eventually, short};
use crate::connections::{is_there, sleeper, slots_are_free, word};
use crate::faults::gateway;
use crate::language::language;
use crate::languages::start;
use crate::processes::{Holdings, holdings};
use crate::target::{Target, get};

const CLIENTS: usize = 128;
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn beyond_its_queue_an_executor_answers_503_at_once() {
    let settings = [("EXECUTOR_SLOTS", "1"), ("EXECUTOR_WAITING_MAX", "0")];
    let Some(executor) = start("python", &settings).await else { return };
    let gateway = gateway(&[("python", &executor)], &[]).await;
    for (kind, target) in [
        ("executor", Target::executor(&executor)),
        ("gateway", Target::gateway(&gateway, "python")),
    ] {
        let word = word(&format!("takes-the-slot-{kind}"));
        let request = sleeper("8", &word);
        let (first, ()) = tokio::join!(target.run(&request), async {
            is_there(&word).await.unwrap();
            let ok = sleeper("0", "finds-no-slot");
            let refused = target.execute(&ok).await;
            refused.is_problem(503, "overloaded").unwrap();
            let seconds: u64 = refused.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&seconds), "Retry-After is {seconds}");
            let sources = json!({"language": "python", "code": "1"}).to_string();
            let validated = target.post("/validate", &sources, &[]).await;
            validated.is_problem(503, "overloaded").unwrap();
        });
        assert_eq!(first.unwrap()["output"], "asleep\nawake\n", "{kind}");
        slots_are_free(&executor).await.unwrap();
    }
    drop(gateway);
}

#[tokio::test]
async fn within_its_queue_every_request_gets_its_turn() {
    let settings =
        [("EXECUTOR_SLOTS", "1"), ("EXECUTOR_WAITING_MAX", "16"), ("EXECUTOR_WAIT_SECONDS", "60")];
    let Some(executor) = start("python", &settings).await else { return };
    let target = Target::executor(&executor);
    let requests: Vec<Value> = (0..24).step_by(2).map(asked).collect();
    let answers = requests.iter().map(|request| target.run(request));
    for (number, report) in futures::future::join_all(answers).await.into_iter().enumerate() {
        assert_eq!(report.unwrap()["output"], told(2 * number));
    }
}

/// A request that nobody else makes.
fn asked(number: usize) -> Value {
    let id = ["python", "cpp"][number % 2];
    let args = ["args", &number.to_string(), "größe"];
    language(id).tool_with(&args, json!({"language": id, "inputData": "x".repeat(number % 5000)}))
}

/// What must come of it.
fn told(number: usize) -> String {
    format!("[{number}]\n[größe]\n")
}

#[tokio::test]
async fn a_soak_of_many_clients_loses_nothing_and_grows_nothing() {
    let slots = [("EXECUTOR_SLOTS", "2"), ("EXECUTOR_WAITING_MAX", "256")];
    let (Some(python), Some(cpp)) = (start("python", &slots).await, start("cpp", &slots).await)
    else {
        return;
    };
    let gateway = gateway(&[("python", &python), ("cpp", &cpp)], &[]).await;
    let servers = [("python", &python), ("cpp", &cpp), ("gateway", &gateway)];
    // Warm: pools are full and every allocator has its arenas.
    soak(&python, &cpp, &gateway, Duration::from_secs(4), 0).await.unwrap();
    settled(&python, &cpp).await;
    let before = servers.map(|(_, server)| holdings(server.pid()));
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|it| it.parse().ok()).unwrap_or(15);
    let runs = soak(&python, &cpp, &gateway, Duration::from_secs(seconds), 1 << 20).await.unwrap();
    settled(&python, &cpp).await;
    println!("{runs} runs of {CLIENTS} clients in {seconds} s");
    for ((name, server), before) in servers.into_iter().zip(before) {
        let is_back = async || grown(&before, &holdings(server.pid())).is_none();
        let waited = eventually("it holds what it held", PATIENCE, is_back).await;
        let after = holdings(server.pid());
        assert!(waited.is_ok(), "{name} grew: {:?}", grown(&before, &after));
    }
    for executor in [&python, &cpp] {
        let directory = executor.state().join(&executor.left_behind()[0]);
        let runs = std::fs::read_dir(directory.join("work")).unwrap().count();
        assert_eq!(runs, 0, "work directories are left");
    }
    drop(gateway);
}

/// Waits until nothing runs, and everything stands ready again.
async fn settled(python: &Server, cpp: &Server) {
    for executor in [python, cpp] {
        slots_are_free(executor).await.unwrap();
        let is_full = async || {
            let warm = get(executor, "/info").await.body["warm"].clone();
            let number = |name: &str| warm[name].as_u64().unwrap_or_default();
            number("cells") + number("waiting") == number("depth")
        };
        eventually("everything stands ready", PATIENCE, is_full).await.unwrap();
    }
}

/// What grew beyond reason, if anything did.
fn grown(before: &Holdings, after: &Holdings) -> Option<String> {
    let is_more = after.memory_kib > before.memory_kib + before.memory_kib / 4 + 16 * 1024
        || after.descriptors > before.descriptors + 16
        || after.processes > before.processes;
    is_more.then(|| format!("{before:?} became {after:?}"))
}

/// Every client asks again and again, half of them through the gateway. Returns how many runs
/// were answered.
async fn soak(
    python: &Server,
    cpp: &Server,
    gateway: &Server,
    time: Duration,
    first: usize,
) -> Result<usize> {
    let until = Instant::now() + time;
    let clients = (0..CLIENTS).map(|client| async move {
        let direct = if client % 2 == 0 { python } else { cpp };
        let through = (client / 2).is_multiple_of(2);
        let id = ["python", "cpp"][client % 2];
        let target = if through { Target::gateway(gateway, id) } else { Target::executor(direct) };
        let mut runs = 0;
        while Instant::now() < until {
            let number = first + client + runs * CLIENTS;
            let report = target.run(&asked(number)).await?;
            ensure!(report["output"] == told(number), "{number}: {}", short(&report));
            ensure!(report["status"] == "success", "{number}: {}", short(&report));
            runs += 1;
        }
        Ok(runs)
    });
    let all: Result<Vec<usize>> = futures::future::join_all(clients).await.into_iter().collect();
    Ok(all?.into_iter().sum())
}
