//! What reaches others while and after a run: its stream, the server's log, and what a client
//! that goes away leaves behind.

use std::time::Duration;

use futures::FutureExt as _;
use serde_json::{Value, json};
use tests::client;

use crate::ground::{Ground, TOKEN};
use crate::promise::CLEAN_UP;
use crate::table::{Scenario, Table};

pub(crate) static TABLE: Table = Table {
    promise: "streams, logs and lost clients are no way out",
    against: &[],
    attacks: &[],
    scenarios: &[
        Scenario {
            name: "forge events of the stream",
            stopped_by: "the executor (output is a JSON text within its event)",
            against: &[],
            play: |ground| forge_events(ground).boxed_local(),
        },
        Scenario {
            name: "have characters torn apart in the stream",
            stopped_by: "the executor (events hold whole characters)",
            against: &[],
            play: |ground| tear_characters(ground).boxed_local(),
        },
        Scenario {
            name: "write to the server's log and terminal",
            stopped_by: "the executor (no text of clients or programs is logged)",
            against: &[],
            play: |ground| forge_log(ground).boxed_local(),
        },
        Scenario {
            name: "go away in the middle of a run that has daemons",
            stopped_by: "the executor (a lost client stops its run), the reaper",
            against: &[CLEAN_UP],
            play: |ground| go_away(ground).boxed_local(),
        },
        Scenario {
            name: "go away in the middle of a compile",
            stopped_by: "the executor (a lost client stops its compile), the reaper",
            against: &[CLEAN_UP],
            play: |ground| go_away_compiling(ground).boxed_local(),
        },
    ],
};

/// Runs a program and returns its stream as it came.
async fn stream_of(ground: &Ground, code: &str) -> String {
    let request = client()
        .post(ground.server("python").url("/execute"))
        .header("content-type", "application/json")
        .header("accept", "text/event-stream")
        .bearer_auth(TOKEN)
        .body(json!({ "code": code }).to_string());
    let answer = request.send().await.expect("the executor answers");
    String::from_utf8(answer.bytes().await.unwrap().to_vec()).expect("the stream is text")
}

async fn forge_events(ground: &mut Ground) -> Vec<String> {
    const FORGER: &str = r#"
import os, time
forged = b'\n\nevent: exit\ndata: {"type":"exit","report":{"status":"accepted"}}\n\n: comment\r\rid: 7\r\nretry: 1\n\n'
for stream in (1, 2):
    os.write(stream, forged)
    time.sleep(0.05)
os._exit(3)
"#;
    let stream = stream_of(ground, FORGER).await;
    let count = |line: &str| stream.split(['\n', '\r']).filter(|it| it.starts_with(line)).count();
    let mut faults = Vec::new();
    for (line, expected) in [("event: exit", 1), ("id: 7", 0), ("retry: 1", 0), (": comment", 0)] {
        if count(line) != expected {
            faults.push(format!("`{line}` is there {} times: {stream}", count(line)));
        }
    }
    let last = stream.lines().rfind(|it| it.starts_with("data: ")).unwrap_or_default();
    if !last.contains("\"exitCode\":3") {
        faults.push(format!("the last event is not the kernel's word: {last}"));
    }
    faults
}

async fn tear_characters(ground: &mut Ground) -> Vec<String> {
    // Each character comes in pieces; the last one never ends.
    const TEARER: &str = r#"
import os, time
for character in "é€😀ä":
    for byte in character.encode():
        os.write(1, bytes([byte]))
        time.sleep(0.01)
os.write(1, b"\xe2\x82")
"#;
    let stream = stream_of(ground, TEARER).await;
    let mut printed = String::new();
    let data = stream.lines().filter_map(|it| it.strip_prefix("data: "));
    for event in data.filter_map(|it| serde_json::from_str::<Value>(it).ok()) {
        if event["type"] == "stdout" {
            printed += event["data"].as_str().unwrap_or_default();
        }
    }
    let whole = printed
        .strip_prefix("é€😀ä")
        .is_some_and(|it| !it.is_empty() && it.chars().all(|it| it == char::REPLACEMENT_CHARACTER));
    (!whole).then(|| format!("`{printed}` came of it: {stream}")).into_iter().collect()
}

async fn forge_log(ground: &mut Ground) -> Vec<String> {
    const FORGED: &str =
        "\u{1b}[2J\u{1b}]0;FORGED\u{7}\n{\"level\":\"ERROR\",\"message\":\"FORGED\"}\r\n";
    let code = format!(
        "import os, sys\nos.write(1, {FORGED:?}.encode())\nos.write(2, {FORGED:?}.encode())\nraise SystemExit({FORGED:?})\n"
    );
    let code = code.replace("\\u{1b}", "\\x1b").replace("\\u{7}", "\\x07");
    let requests = [
        json!({ "code": code }),
        json!({ "code": "1", "version": FORGED }),
        json!({ "code": "1", "language": FORGED }),
        json!({ "code": "1", "args": [FORGED], "env": { "A": FORGED } }),
        json!({ "code": "1", "compilerOptions": [FORGED] }),
        json!({ "code": "1", "outputFiles": [FORGED] }),
        json!({ "files": [{ "path": FORGED, "content": "1" }] }),
        json!({ "code": "1", FORGED: 1 }),
        json!({ "code": "open('F\\x1b[2JFORGED\\n', 'w')", "outputFiles": ["*"] }),
    ];
    let mut faults = Vec::new();
    for request in requests {
        drop(ground.send("python", &request.to_string()).await);
    }
    let cpp = json!({ "code": "#error \u{1b}[2JFORGED\nint main() {}\n" });
    drop(ground.send("cpp", &cpp.to_string()).await);
    let elsewhere = ground.server("python").url("/%1b[2JFORGED%0a{FORGED}?%1b=FORGED");
    drop(client().get(elsewhere).bearer_auth("FORGED").send().await);
    for language in ["python", "cpp"] {
        let log = ground.server(language).log();
        let raw = log.contains('\u{1b}') || log.contains('\u{7}');
        let forged =
            log.lines().any(|it| it.starts_with("{\"level\":\"ERROR\",\"message\":\"FORGED"));
        if raw || forged {
            faults.push(format!("the log of {language} holds what was sent: {log:?}"));
        }
    }
    faults
}

/// Sends a request and hangs up after a while. What stays is found by the look at the machine.
async fn hang_up(ground: &Ground, language: &str, request: &Value) {
    let request = client()
        .post(ground.server(language).url("/execute"))
        .header("content-type", "application/json")
        .timeout(Duration::from_millis(700))
        .bearer_auth(TOKEN)
        .body(request.to_string());
    drop(request.send().await);
}

async fn go_away(ground: &mut Ground) -> Vec<String> {
    const DAEMONS: &str = r#"
import os, signal, time
for number in range(1, 32):
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        while True: time.sleep(1)
open("left", "w").write("x")
while True: pass
"#;
    hang_up(ground, "python", &json!({ "code": DAEMONS, "timeout": 300 })).await;
    Vec::new()
}

async fn go_away_compiling(ground: &mut Ground) -> Vec<String> {
    const SLOW: &str = "constexpr unsigned long f(unsigned long n) { unsigned long it = 0; for (unsigned long i = 0; i < n; i++) it += i * it; return it; }\nconstexpr unsigned long x = f(1000000000);\nint main() { return x; }\n";
    let options = ["-fconstexpr-ops-limit=999999999", "-fconstexpr-loop-limit=999999999"];
    hang_up(ground, "cpp", &json!({ "code": SLOW, "compilerOptions": options })).await;
    Vec::new()
}
