//! The queue service, by a platform and a worker in Python that know nothing of us. What they do is in
//! `clients/queue_service.py`.

use std::process::Command;

use serde_json::{Value, json};
use tests::REQUIRE;

use crate::queues::{API, VM, served};

const SCRIPT: &str = include_str!("clients/queue_service.py");

/// A Python that has what the script is written with, if there is one.
fn python() -> Option<&'static str> {
    // As in `clients/install`.
    let has_httpx = |python: &&str| {
        let output = Command::new(python).args(["-c", "import httpx"]).output();
        output.is_ok_and(|it| it.status.success())
    };
    let found = ["/usr/bin/python3", "python3"].into_iter().find(has_httpx);
    assert!(found.is_some() || std::env::var(REQUIRE).is_err(), "no Python has httpx");
    found
}

#[tokio::test]
async fn a_platform_and_its_worker_in_python_notice_no_other_server() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let gateway = served(&directory, &[]).await;
    let script = directory.path().join("client.py");
    std::fs::write(&script, SCRIPT).unwrap();
    let mut command = Command::new(python);
    command.arg(script).env("QUEUE_SERVICE_URL", gateway.url("/dialects/queue-service"));
    command.env("QUEUE_API_KEY", API).env("API_KEY", VM);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{}", gateway.log());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["faults"], json!([]));
    for (told, name) in report["queued"].as_array().unwrap().iter().zip(["right", "other", "wrong"])
    {
        assert_eq!(told, &json!({"eval_id": name, "status": "queued"}));
    }
    assert_eq!(report["waiting"]["status"], "queued");
    let told = &report["told"];
    for (name, printed) in [("right", "42\n"), ("other", "sealed\n")] {
        assert_eq!(told[name]["status"], "completed");
        assert_eq!(told[name]["output"], json!({"eval_id": name, "stdout": printed}));
    }
    assert_eq!(told["wrong"]["status"], "failed");
    assert!(told["wrong"]["error"].as_str().unwrap().contains("exit status 3"), "{told}");
    assert_eq!(told["unknown"], Value::Null);
    let waiting = ["before", "after"].map(|it| report[it]["queued"].clone());
    assert_eq!(waiting, [json!(3), json!(0)]);
}
