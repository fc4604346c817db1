//! What runs spend, as it is told while they go on.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Server, client};

use crate::checks::same;
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
