//! The console's pages of jobs in a real browser, in front of a fleet that keeps jobs and has a worker.

use serde_json::{Value, json};

use crate::browsers::{has, node, packages, skip, told};
use crate::faults::gateway;
use crate::languages::start;
use crate::workers::worker;

const KEY: &str = "console-0123456789abcdef";
const ADMIN: &str = "operator-0123456789abcdef";

#[tokio::test]
async fn the_jobs_page_works_in_a_browser() {
    let Some(folder) = packages() else { return };
    if !has("chromium", "--version") {
        return skip("chromium");
    }
    let Some(python) = start("python", &[("EXECUTOR_SLOTS", "1")]).await else { return };
    let fleet = [("python", &python)];
    let directory = tempfile::tempdir().unwrap();
    let store = |name: &str| format!("sqlite:{}", directory.path().join(name).display());
    let plain = gateway(&fleet, &[("GATEWAY_STORE_URL", &store("plain.db"))]).await;
    let Some(_worker) = worker(&plain, "basement", &[("EXECUTOR_SLOTS", "1")]).await else {
        return;
    };
    let keys = format!("ada:{KEY},ops:{ADMIN} role=submit+admin");
    let kept = store("keyed.db");
    let settings = [("GATEWAY_KEYS", keys.as_str()), ("GATEWAY_STORE_URL", &kept)];
    let keyed = gateway(&fleet, &settings).await;
    let storeless = gateway(&fleet, &[]).await;
    let mut command = node(&folder);
    command
        .args(["--test", "--test-reporter=spec", "tests/browser/jobs.mjs"])
        .env("FLOTILLA_URL", plain.url(""))
        .env("FLOTILLA_KEYED", keyed.url(""))
        .env("FLOTILLA_STORELESS", storeless.url(""))
        .env("FLOTILLA_WORKER", "basement")
        .env("FLOTILLA_KEY", KEY)
        .env("FLOTILLA_ADMIN", ADMIN)
        .env("FLOTILLA_PROGRAMS", jobs().to_string());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}\n{}", told(&output), plain.log());
}

/// What the suite of jobs submits.
fn jobs() -> Value {
    json!({
        "language": "python",
        "quick": "print(6 * 7)",
        "waits": "import time\ntime.sleep(50)\n",
        "markup": "print('<img src=x onerror=alert(1)> \\x1b[31mred\\x1b[0m')\n",
        "random": "import os\nprint('the same')\nprint(os.urandom(16).hex())\n",
        // What only the executor knows that there is not.
        "refused": {"code": "print(1)", "compilerOptions": ["--nonsense"]},
    })
}
