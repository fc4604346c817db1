//! Runs that people take part in: what is typed, signals, terminals, viewers that come and go, and
//! whoever may not.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Server, client};

use crate::checks::{Checks, eventually, same, short};
use crate::connections::{is_gone, is_there, slots_are_free, word};
use crate::faults::gateway;
use crate::languages::start;
use crate::target::whole;
use crate::viewer::{
    Viewer, begin, bytes_of, get, interactive, join, place, post, report, see_the_rest,
};
use crate::{run_access, run_stats, run_typing};

const PATIENCE: Duration = Duration::from_secs(30);

/// Programs that answer each line, and say when there is no more.
pub(crate) const ECHO: &[(&str, &str)] = &[
    (
        "python",
        "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print('got', line.strip(), flush=True)\nprint('end')",
    ),
    (
        "javascript",
        "console.log('ready');\nprocess.stdin.setEncoding('utf8').on('data', it => console.log('got ' + it.trim())).on('end', () => console.log('end'));",
    ),
    (
        "cpp",
        "#include <iostream>\n#include <string>\nint main() {\n  std::cout << \"ready\" << std::endl;\n  std::string line;\n  while (std::getline(std::cin, line)) std::cout << \"got \" << line << std::endl;\n  std::cout << \"end\" << std::endl;\n}",
    ),
];

const CATCHES: &str = "import os, signal, time
signal.signal(signal.SIGINT, lambda *_: os.write(1, b'caught\\n'))
print('ready', flush=True)
while True: time.sleep(0.05)";

/// Says that it is there, and waits for somebody to end it.
pub(crate) const WAITS: &str =
    "import sys, time\nprint('ready', flush=True)\nwhile True: time.sleep(1)";

const TERMINAL: &str = "import os, signal
print([os.isatty(it) for it in (0, 1, 2)], tuple(os.get_terminal_size()), os.environ['TERM'])
print(os.tcgetpgrp(0) == os.getpgrp(), os.tcgetsid(0) == os.getpid() if hasattr(os, 'tcgetsid') else True)
signal.signal(signal.SIGWINCH, lambda *_: print('size', tuple(os.get_terminal_size())))
print('name?')
print('hello', input())
try: input()
except EOFError: print('eof')
try: input('again')
except KeyboardInterrupt: print('interrupted')";

/// Prints numbered lines for a while.
const COUNTS: &str = "import time
for number in range(300):
    print(number, 'ä€😀' * 8, flush=True)
    time.sleep(0.004)";

/// Prints more than any connection holds by itself, escaped.
pub(crate) const FLOODS: &str = "import os
for stream in (1, 2):
    for _ in range(16): os.write(stream, b'\\x01' * 65536)
print('never told')";

#[tokio::test]
async fn people_take_part_in_runs() {
    let slots = [("EXECUTOR_SLOTS", "4")];
    let Some(python) = start("python", &slots).await else { return };
    let others =
        [("javascript", start("javascript", &slots).await), ("cpp", start("cpp", &slots).await)];
    let mut fleet = vec![("python", &python)];
    fleet.extend(others.iter().filter_map(|(id, it)| Some((*id, it.as_ref()?))));
    let server = gateway(&fleet, &[("GATEWAY_LOG", "debug")]).await;
    let mut checks = Checks::default();
    for (language, code) in ECHO.iter().filter(|(id, _)| fleet.iter().any(|(it, _)| it == id)) {
        let name = format!("{language}: what is typed is answered at once, up to its end");
        checks.add(name, answers(&server, language, code));
    }
    checks.add("a signal is caught, or ends the program", signals(&server));
    checks.add("a program has a terminal with a size", terminal(&server));
    checks
        .add("a program that reads nothing is full, and can be killed", run_typing::full(&server));
    checks.add("what is sent twice is typed once", offsets(&server));
    checks.add("those who type by names are counted apart", run_typing::typists(&server));
    checks.add("a lost connection is taken up without losing a byte", resumes(&server));
    checks.add("bytes that are no text come whole", bytes(&server));
    checks.add("viewers see the same, and those who look cannot type", viewers(&server));
    checks.add("a viewer that does not read is cut off and comes back", slow(&server));
    checks.add("events end, and say when to stay away", events(&server));
    checks.add("who takes no events is no viewer for ever", run_typing::stuck(&server));
    checks.add("what a run spends is told while it does", run_stats::told(&server));
    checks.add("a run that nobody looks at is stopped", abandoned(&server));
    checks.add("a run is stopped by its caller", stopped(&server));
    checks.add("a key gives the same run, and a wait its report", keys(&server));
    checks.add("what cannot be is refused by name", run_access::refusals(&server));
    checks.add("whoever misbehaves is told by a close code", run_access::close_codes(&server));
    checks.make("interactive runs", 3).await;
    slots_are_free(&python).await.unwrap();
    drop(server);
}

async fn answers(server: &Server, language: &str, code: &str) -> Result<()> {
    let body = json!({"language": language, "code": code, "interactive": true, "inputData": "0\n"});
    let run = begin(server, &body).await?;
    let mut viewer = join(server, &run).await?;
    viewer.until_printed("got 0\n").await?;
    for number in 1..4 {
        viewer.type_in(&format!("{number}\n")).await?;
        viewer.until_printed(&format!("got {number}\n")).await?;
    }
    viewer.type_in("last\n").await?;
    viewer.say(json!({"t": "eof"})).await?;
    let report = report(&mut viewer).await?;
    let expected = "ready\ngot 0\ngot 1\ngot 2\ngot 3\ngot last\nend\n";
    same("the output", &report["output"], &json!(expected))?;
    same("what was seen", &viewer.printed("stdout").as_str(), &expected)?;
    same("the status", &report["status"], &json!("success"))
}

async fn signals(server: &Server) -> Result<()> {
    let signal = |name: &str| json!({"t": "signal", "name": name});
    let run = begin(server, &interactive(CATCHES)).await?;
    let mut viewer = join(server, &run).await?;
    viewer.until_printed("ready").await?;
    viewer.say(signal("INT")).await?;
    viewer.until_printed("caught").await?;
    viewer.say(signal("TERM")).await?;
    same("the signal", &report(&mut viewer).await?["signal"], &json!("SIGTERM"))?;
    let run = begin(server, &interactive(WAITS)).await?;
    let mut viewer = join(server, &run).await?;
    viewer.until_printed("ready").await?;
    viewer.say(signal("INT")).await?;
    let ended = report(&mut viewer).await?;
    same("the status", &ended["status"], &json!("runtime_error"))?;
    let error = ended["error"].as_str().unwrap_or_default();
    ensure!(error.contains("KeyboardInterrupt"), "the error is {error:?}");
    Ok(())
}

async fn terminal(server: &Server) -> Result<()> {
    let body = json!({"language": "python", "code": TERMINAL, "tty": {"cols": 90, "rows": 20}});
    let run = begin(server, &body).await?;
    let mut viewer = join(server, &run).await?;
    viewer.until_printed("name?\r\n").await?;
    let first = "[True, True, True] (90, 20) xterm-256color\r\nTrue True\r\n";
    ensure!(viewer.printed("stdout").starts_with(first), "{:?}", viewer.printed("stdout"));
    // A signal that comes just before the program waits for input is seen when the next one comes.
    loop {
        viewer.say(json!({"t": "resize", "cols": 100, "rows": 30})).await?;
        let told = viewer.until_printed("size (100, 30)\r\n");
        if let Ok(told) = tokio::time::timeout(Duration::from_secs(5), told).await {
            break told?;
        }
        viewer.say(json!({"t": "resize", "cols": 100, "rows": 31})).await?;
    }
    viewer.type_in("ann\r").await?;
    viewer.until_printed("hello ann\r\n").await?;
    viewer.say(json!({"t": "eof"})).await?;
    viewer.until_printed("eof\r\n").await?;
    viewer.until_printed("again").await?;
    viewer.type_in("\u{3}").await?;
    let report = report(&mut viewer).await?;
    let output = report["output"].as_str().unwrap_or_default();
    ensure!(output.ends_with("interrupted\r\n"), "the output is {output:?}");
    same("whether it was warm", &report["warm"], &json!(false))?;
    same("standard error", &report["error"], &json!(""))
}

async fn offsets(server: &Server) -> Result<()> {
    let run = begin(server, &interactive(ECHO[0].1)).await?;
    let mut viewer = join(server, &run).await?;
    for _ in 0..2 {
        viewer.say(json!({"t": "stdin", "data": "one\n", "from": 0})).await?;
        same("what was taken", &viewer.until("accepted").await?["bytes"], &json!(4))?;
    }
    viewer.say(json!({"t": "stdin", "data": "x", "from": 9})).await?;
    same("a gap", &viewer.until("error").await?["code"], &json!("gap"))?;
    viewer.say(json!({"t": "stdin", "data": "e\ntwo\n", "from": 2})).await?;
    same("what was taken", &viewer.until("accepted").await?["bytes"], &json!(8))?;
    viewer.say(json!({"t": "eof"})).await?;
    viewer.say(json!({"t": "eof"})).await?;
    let expected = "ready\ngot one\ngot two\nend\n";
    same("the output", &report(&mut viewer).await?["output"], &json!(expected))
}

async fn resumes(server: &Server) -> Result<()> {
    let run = begin(server, &json!({"language": "python", "code": COUNTS})).await?;
    let path = place(&run, "ws", "viewTicket");
    let mut events = Vec::new();
    let mut closed = None;
    // Each connection is dropped in the middle, without a word.
    while closed.is_none() {
        let since = events.last().map_or(0, |it: &Value| it["seq"].as_u64().unwrap_or_default());
        let mut viewer = Viewer::open(server, &format!("{path}&since={since}")).await?;
        for _ in 0..7 {
            if viewer.next().await?.is_none() {
                closed = viewer.closed;
                break;
            }
        }
        events.append(&mut viewer.events);
    }
    same("the close code", &closed, &Some(1000))?;
    let expected: String = (0..300).map(|it| format!("{it} {}\n", "ä€😀".repeat(8))).collect();
    let got = String::from_utf8(bytes_of(&events, "stdout"))?;
    ensure!(got == expected, "it is {}", short(&got));
    let numbers: Vec<u64> = events.iter().filter_map(|it| it["seq"].as_u64()).collect();
    ensure!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
    let report = &events.last().map(|it| it["report"]["output"].clone()).unwrap_or_default();
    same("the report's output", report, &json!(expected))
}

async fn bytes(server: &Server) -> Result<()> {
    let code = "import os, sys
os.write(1, b'\\xff\\x00'); sys.stdin.readline()
os.write(1, b'\\xe2\\x82'); os.write(1, b'\\xac'); sys.stdin.readline()
os.write(1, b'\\xf0\\x9f')";
    let run = begin(server, &interactive(code)).await?;
    let mut viewer = join(server, &run).await?;
    for _ in 0..2 {
        viewer.until("stdout").await?;
        viewer.type_in("\n").await?;
    }
    let report = report(&mut viewer).await?;
    same(
        "the bytes",
        &bytes_of(&viewer.events, "stdout"),
        &b"\xff\x00\xe2\x82\xac\xf0\x9f".to_vec(),
    )?;
    let texts: Vec<&Value> = viewer.events.iter().map(|it| &it["data"]).collect();
    ensure!(texts.contains(&&json!("€")), "a character was cut: {}", short(&viewer.events));
    same("the report's output", &report["output"], &json!("\u{fffd}\u{0}€\u{fffd}"))
}

async fn viewers(server: &Server) -> Result<()> {
    let run = begin(server, &interactive(ECHO[0].1)).await?;
    let path = format!("{}&name=ann", place(&run, "ws", "ticket"));
    let mut writer = Viewer::open(server, &path).await?;
    let mut looker = Viewer::open(server, &place(&run, "ws", "viewTicket")).await?;
    looker.until_printed("ready").await?;
    for said in [json!({"t": "stdin", "data": "no\n"}), json!({"t": "signal", "name": "KILL"})] {
        looker.say(said).await?;
        same("a looker", &looker.until("error").await?["code"], &json!("read_only"))?;
    }
    looker.say(json!({"t": "ping"})).await?;
    looker.until("pong").await?;
    let seen = get(server, &place(&run, "self", "viewTicket")).await;
    same("the viewers", &seen.body["viewers"], &json!(2))?;
    ensure!(seen.body["ticket"].is_null(), "a looker is told the tickets");
    writer.type_in("yes\n").await?;
    writer.say(json!({"t": "eof"})).await?;
    report(&mut writer).await?;
    report(&mut looker).await?;
    same("what both saw", &writer.events, &looker.events)?;
    let typed = looker.events.iter().find(|it| it["t"] == "stdin").cloned().unwrap_or_default();
    same(
        "who typed",
        &(typed["by"].clone(), typed["data"].clone()),
        &(json!("ann"), json!("yes\n")),
    )?;
    let log = server.log();
    for ticket in ["ticket", "viewTicket"] {
        let ticket = run[ticket].as_str().unwrap_or_default();
        ensure!(ticket.len() == 64 && !log.contains(ticket), "the log tells a ticket");
    }
    Ok(())
}

async fn slow(server: &Server) -> Result<()> {
    let run = begin(server, &json!({"language": "python", "code": FLOODS})).await?;
    let path = place(&run, "ws", "viewTicket");
    let mut slow = Viewer::open_with(server, &path, &[], Some(4096)).await?;
    let own = place(&run, "self", "ticket");
    let is_over = async || get(server, &own).await.body["state"] == "over";
    eventually("the program is not kept waiting", PATIENCE, is_over).await?;
    let is_cut = async || get(server, &own).await.body["viewers"] == 0;
    eventually("the viewer is cut off", PATIENCE, is_cut).await?;
    same("the close code", &slow.rest().await?, &Some(4500))?;
    let mut events = slow.events;
    see_the_rest(server, &path, &mut events).await?;
    for stream in ["stdout", "stderr"] {
        let got = bytes_of(&events, stream);
        ensure!(got.len() == 1 << 20 && got.iter().all(|it| *it == 1), "{stream}: {}", got.len());
    }
    Ok(())
}

async fn events(server: &Server) -> Result<()> {
    let run = begin(server, &json!({"language": "python", "code": "print(6 * 7)"})).await?;
    let path = place(&run, "events", "viewTicket");
    let answer = client().get(server.url(&path)).send().await?;
    same("the kind", &answer.headers()["content-type"].to_str()?, &"text/event-stream")?;
    let text = answer.text().await?;
    ensure!(text.starts_with("retry: 1000\n\nid: 1\nevent: queued\ndata: {"), "{text}");
    let last = text.matches("\nid: ").count();
    ensure!(text.contains(&format!("id: {last}\nevent: exit\ndata: {{")), "{text}");
    let from = |id: usize| client().get(server.url(&path)).header("last-event-id", id.to_string());
    let tail = from(last - 1).send().await?.text().await?;
    ensure!(tail.starts_with(&format!("retry: 1000\n\nid: {last}\nevent: exit")), "{tail}");
    let known = from(last).send().await?;
    same("the status for who knows all", &known.status().as_u16(), &204)?;
    let since = get(server, &format!("{path}&since={last}")).await;
    same("the same by the address", &since.status, &204)
}

async fn abandoned(server: &Server) -> Result<()> {
    let word = word("abandoned");
    let mut body = interactive(WAITS);
    body["detachTimeout"] = json!(2);
    body["args"] = json!([word]);
    let run = begin(server, &body).await?;
    let mut viewer = join(server, &run).await?;
    viewer.until_printed("ready").await?;
    is_there(&word).await?;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let own = place(&run, "self", "ticket");
    same(
        "the state while somebody looks",
        &get(server, &own).await.body["state"],
        &json!("running"),
    )?;
    drop(viewer);
    is_over_as(server, &own, "cancelled").await?;
    is_gone(&word).await
}

/// Waits for a run's end, and checks its status.
async fn is_over_as(server: &Server, path: &str, status: &str) -> Result<()> {
    let is_over = async || get(server, path).await.body["state"] == "over";
    eventually("the run is over", PATIENCE, is_over).await?;
    same("the status", &get(server, path).await.body["report"]["status"], &json!(status))
}

async fn stopped(server: &Server) -> Result<()> {
    let word = word("stopped");
    for body in [interactive(WAITS), json!({"language": "python", "code": WAITS})] {
        let mut body = body;
        body["args"] = json!([word]);
        let run = begin(server, &body).await?;
        let mut viewer = join(server, &run).await?;
        viewer.until_printed("ready").await?;
        let delete = |ticket: &str| client().delete(server.url(&place(&run, "self", ticket)));
        whole(delete("viewTicket")).await.is_problem(403, "read_only")?;
        same("the answer", &whole(delete("ticket")).await.status, &202)?;
        let report = report(&mut viewer).await?;
        same("the status", &report["status"], &json!("cancelled"))?;
        same("the output", &report["output"], &json!("ready\n"))?;
        same("the second answer", &whole(delete("ticket")).await.status, &200)?;
        is_gone(&word).await?;
    }
    Ok(())
}

async fn keys(server: &Server) -> Result<()> {
    let body = json!({"language": "python", "code": "print(input())", "inputData": "x"});
    let key = word("key");
    let headers = [("idempotency-key", key.as_str())];
    let first = post(server, "/v1/runs?wait=30", &body, &headers).await;
    same("the state", &first.body["state"], &json!("over"))?;
    same("the output", &first.body["report"]["output"], &json!("x\n"))?;
    same("what was no preference", &first.header("preference-applied"), &"")?;
    let prefers = [("prefer", "respond-async, wait=30")];
    let preferred = post(server, "/v1/runs", &body, &prefers).await;
    same("the preference", &preferred.header("preference-applied"), &"wait=30")?;
    same("the preferred state", &preferred.body["state"], &json!("over"))?;
    let again = post(server, "/v1/runs", &body, &headers).await;
    same("the second status", &again.status, &201)?;
    same("the second run", &again.body["id"], &first.body["id"])?;
    let other = json!({"language": "python", "code": "print(1)"});
    let conflict = post(server, "/v1/runs", &other, &headers).await;
    conflict.is_problem(409, "idempotency_conflict")?;
    let cases = json!([{"inputData": "1"}, {"inputData": "2", "expectedOutput": "2"}]);
    let body = json!({"language": "python", "code": "print(input())", "cases": cases});
    let run = post(server, "/v1/runs?wait=30", &body, &[]).await.body;
    same("the first case", &run["report"]["cases"][0]["output"], &json!("1\n"))?;
    same("the second case", &run["report"]["cases"][1]["status"], &json!("accepted"))
}
