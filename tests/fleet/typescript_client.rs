//! The client in TypeScript, in Node and against a fleet that runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tests::{Server, repository, toolchain_path};

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
        "lost": ["cancelled", "string"],
        "over": [409, false],
        "alias": true,
        "refused": [404, "unknown_language"],
        "stopped": "AbortError",
        "hybrid": ["completed", true, "Hello from SOL VM\n"],
        "failed": [false, 3],
        "again": "once\n",
    });
    assert_eq!(told, expected, "{errors}");
}

/// A program that uses what the client says of its types.
const USE: &str = r#"
import { Flotilla, type HybridSettings, HybridSolVMExecutor, type Job, type TaskResult } from "./flotilla.ts";
const fleet: Flotilla = new Flotilla({ url: "http://a", apiKey: "k" });
export async function use(settings: HybridSettings): Promise<[Date | null, TaskResult]> {
  const job: Job = await fleet.cancel((await fleet.submit({ language: "python", code: "1" })).id);
  const finished: string | null = job.finishedAt;
  const executor: HybridSolVMExecutor = new HybridSolVMExecutor(settings);
  return [finished === null ? null : new Date(finished), await executor.executeCode("1")];
}
"#;

/// The compiler that the console is built with, once it was.
fn tsc() -> Option<PathBuf> {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console/node_modules");
    let places = [scratch, repository().join("gateway/console/node_modules")];
    let found = places.map(|it| it.join("typescript/bin/tsc")).into_iter().find(|it| it.exists());
    if found.is_none() {
        println!("SKIPPED: the console's packages are not here; its tests bring them");
    }
    found
}

#[test]
fn the_typescript_client_is_what_its_types_say() {
    let Some(tsc) = tsc() else { return };
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("flotilla.ts"), CLIENT).unwrap();
    std::fs::write(directory.path().join("use.ts"), USE).unwrap();
    let path = format!("{}:{}", toolchain_path(), std::env::var("PATH").unwrap_or_default());
    let mut check = Command::new("node");
    check.arg(tsc).current_dir(directory.path()).env("PATH", path);
    check.args(["--noEmit", "--strict", "--noUnusedLocals", "--allowImportingTsExtensions"]);
    check.args(["--erasableSyntaxOnly", "--verbatimModuleSyntax", "--module", "esnext"]);
    check.args(["--moduleResolution", "bundler", "--target", "es2022"]);
    check.args(["--lib", "es2022,dom,dom.iterable,dom.asynciterable", "--types", ""]);
    let output = check.args(["flotilla.ts", "use.ts"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
}
