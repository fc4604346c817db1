//! What is told while runs go on: what they spend, or else that somebody is there.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Server, client};

use crate::checks::same;
use crate::faults::gateway;
use crate::interactive::WAITS;
use crate::languages::start;
use crate::socket::PATIENCE;
use crate::target::whole;
use crate::viewer::{Viewer, begin, get, interactive, join, place, report};

/// Keeps a processor busy and memory taken, and has a child.
const SPENDS: &str = "import os, time
taken = bytearray(b'x') * (40 << 20)
if os.fork() == 0: time.sleep(60)
print('ready', flush=True)
while True: sum(range(1000))";

/// What a run spends is told beside its events.
pub(crate) async fn told(server: &Server) -> Result<()> {
    let run = begin(server, &interactive(SPENDS)).await?;
    let streamed = client().get(server.url(&place(&run, "events", "viewTicket"))).send().await?;
    let streamed = tokio::spawn(streamed.text());
    let mut viewer = join(server, &run).await?;
    viewer.until_printed("ready").await?;
    let number = |stats: &Value, name: &str| stats[name].as_f64().unwrap_or_default();
    let mut before = viewer.until("stats").await?;
    // A busy machine gives it little time.
    while number(&before, "cpuTime") < 0.3 {
        let stats = viewer.until("stats").await?;
        for name in ["executionTime", "cpuTime", "memoryUsed"] {
            ensure!(number(&stats, name) >= number(&before, name), "{before} and then {stats}");
        }
        ensure!(number(&stats, "executionTime") > number(&before, "executionTime"), "{stats}");
        before = stats;
    }
    ensure!(number(&before, "memoryUsed") > f64::from(40 << 20), "{before}");
    same("the processes", &before["processes"], &json!(2))?;
    let isolation = before["isolation"].clone();
    ensure!(before["seq"].is_null(), "{before} is in the log");
    // Whoever comes back is told of it, and of no event twice; whoever is new, of each once.
    let (last, path) = (viewer.last(), place(&run, "ws", "ticket"));
    let shown = get(server, &place(&run, "self", "ticket")).await.body;
    same("the last event", &shown["lastSeq"], &json!(last))?;
    let mut back = Viewer::open(server, &format!("{path}&since={last}")).await?;
    same("what comes first", &back.next().await?.unwrap_or_default()["t"], &json!("stats"))?;
    same("the events", &back.events, &Vec::new())?;
    back.say(json!({"t": "signal", "name": "KILL"})).await?;
    let report = report(&mut back).await?;
    same("the isolation", &isolation, &report["isolation"])?;
    for name in ["executionTime", "cpuTime", "memoryUsed"] {
        ensure!(number(&report, name) >= number(&before, name), "{before} and then {report}");
    }
    let streamed = streamed.await??;
    ensure!(streamed.contains("\n\nevent: stats\ndata: {\"t\":\"stats\","), "{streamed}");
    same("the numbered events", &(streamed.matches("\nid: ").count() as u64), &back.last())
}

#[tokio::test]
async fn a_log_that_says_nothing_is_shown_to_be_alive() {
    let Some(python) = start("python", &[("EXECUTOR_SLOTS", "1")]).await else { return };
    let server = gateway(&[("python", &python)], &[]).await;
    let first = begin(&server, &interactive(WAITS)).await.unwrap();
    let mut viewer = join(&server, &first).await.unwrap();
    viewer.until_printed("ready").await.unwrap();
    // This one waits for the slot, and has nothing to say meanwhile.
    let waits = begin(&server, &interactive(WAITS)).await.unwrap();
    let path = place(&waits, "events", "viewTicket");
    let mut events = client().get(server.url(&path)).send().await.unwrap();
    let mut text = String::new();
    let is_alive = async {
        while !text.contains("\n\n: keep-alive\n\n") {
            let chunk = events.chunk().await.unwrap().unwrap_or_default();
            assert!(!chunk.is_empty(), "it ends: {text}");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, is_alive).await.expect("nothing shows that it is alive");
    assert_eq!(text.matches("event: ").count(), 1, "it waits: {text}");
    for run in [&waits, &first] {
        let stopped = whole(client().delete(server.url(&place(run, "self", "ticket")))).await;
        assert_eq!(stopped.status, 202, "{stopped:?}");
    }
    viewer.rest().await.unwrap();
}
