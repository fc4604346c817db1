//! The client in TypeScript, in Node and against a fleet that runs.

use std::process::Command;

use serde_json::{Value, json};
use tests::{Server, toolchain_path};

use crate::faults::gateway;
use crate::languages::start;
use crate::queues::KEYS;
use crate::target::Target;

const CLIENT: &str = include_str!("../../gateway/clients/typescript/flotilla.ts");
const SCRIPT: &str = include_str!("clients/typescript.mjs");
/// Prints what the executor made of the client: Node of these versions cannot take types out itself.
const PRINT: &str = r#"
import "./flotilla.ts";
import { readFileSync } from "node:fs";
process.stdout.write(readFileSync(new URL("./flotilla.mjs", import.meta.url), "utf8"));
"#;

/// The client without its types.
async fn erased(executor: &Server) -> String {
    let files = json!([
        {"path": "main.ts", "content": PRINT},
        {"path": "flotilla.ts", "content": CLIENT},
    ]);
    let target = Target::executor_for(executor, "typescript");
    let report = target.run(&json!({ "files": files })).await.unwrap();
    assert_eq!(report["status"], "success", "{report}");
    report["output"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_typescript_client_runs_programs_over_both_contracts() {
    let Some(python) = start("python", &[]).await else { return };
    let Some(javascript) = start("javascript", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let settings = [
        ("GATEWAY_STORE_URL", store.as_str()),
        ("GATEWAY_KEYS", KEYS),
        ("GATEWAY_MESSAGE_QUEUE", "true"),
        ("GATEWAY_MESSAGE_QUEUE_LANGUAGE", "python"),
    ];
    let gateway = gateway(&[("python", &python)], &settings).await;
    std::fs::write(directory.path().join("flotilla.mjs"), erased(&javascript).await).unwrap();
    let script = directory.path().join("script.mjs");
    std::fs::write(&script, SCRIPT).unwrap();
    let path = format!("{}:{}", toolchain_path(), std::env::var("PATH").unwrap_or_default());
    let (url, script) = (gateway.url(""), script.to_string_lossy().into_owned());
    let run = move || Command::new("node").args([&script, &url]).env("PATH", path).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}\n{}", gateway.log());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = json!({
        "last": "succeeded",
        "output": "42\n",
        "now": "now\n",
        "cancelled": "cancelled",
        "resumed": true,
        "inOrder": true,
        "refused": [404, "unknown_language"],
        "stopped": "AbortError",
        "hybrid": ["completed", true, "Hello from SOL VM\n"],
        "failed": [false, 3],
        "again": "once\n",
    });
    assert_eq!(told, expected, "{errors}");
}
