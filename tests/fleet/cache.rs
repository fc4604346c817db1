//! The compile cache as clients and operators see it: who gets a hit, who does not, and what
//! several executors make of one directory.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::{Server, ServerBuilder};

use crate::faults::gateway;
use crate::languages::start;
use crate::target::{Target, get};

/// A directory that executors may share and their runs' users may pass.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("flotilla-cache-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).unwrap();
    directory
}

/// A program that prints its number.
fn program(number: u32) -> Value {
    json!({"code": format!("#include <cstdio>\nint main() {{ std::puts(\"{number}\"); }}\n")})
}

/// Runs the program of that number, and returns whether it came from the cache.
async fn is_cached(target: &Target, number: u32, more: Value) -> bool {
    let mut request = program(number);
    let Value::Object(more) = more else { panic!("{more} is no object") };
    request.as_object_mut().unwrap().extend(more);
    told(&target.run(&request).await.unwrap(), number)
}

/// Whether a right answer came from the cache.
fn told(report: &Value, number: u32) -> bool {
    assert_eq!(report["output"], format!("{number}\n"), "{report}");
    report["compile"]["cached"].as_bool().unwrap()
}

async fn cpp(settings: &[(&str, &str)]) -> Option<Server> {
    start("cpp", &[&[("EXECUTOR_SLOTS", "2")], settings].concat()).await
}

/// The files of the programs in a cache.
fn programs(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).unwrap().map(|it| it.unwrap().path());
    entries.map(|it| it.join("program/main")).filter(|it| it.exists()).collect()
}

#[tokio::test]
async fn a_repeated_program_is_cached_unless_the_request_refuses() {
    let Some(server) = cpp(&[]).await else { return };
    let target = Target::executor(&server);
    let refusing = json!({"cache": false});
    assert!(!is_cached(&target, 1, refusing.clone()).await);
    assert!(!is_cached(&target, 1, json!({})).await, "a refusal left something");
    assert!(is_cached(&target, 1, json!({})).await);
    assert!(is_cached(&target, 1, json!({"cache": true})).await);
    assert!(!is_cached(&target, 1, refusing.clone()).await, "a refusal read something");
    assert!(!is_cached(&target, 1, json!({"compilerOptions": ["-O2"]})).await);
    let mut request = program(2);
    request["cache"] = json!(false);
    request["cases"] = json!([{"expectedOutput": "2"}, {"expectedOutput": "2"}]);
    let report = target.run(&request).await.unwrap();
    assert_eq!(
        (&report["status"], &report["compile"]["cached"]),
        (&json!("accepted"), &json!(false))
    );
    let metrics = get(&server, "/metrics").await.body.as_str().unwrap().to_owned();
    let value = |line: &str| {
        let found = metrics.lines().find_map(|it| it.strip_prefix(line));
        found.unwrap_or_else(|| panic!("no {line} in {metrics}")).trim().parse::<f64>().unwrap()
    };
    assert!(value("executor_cache_lookups_total{result=\"hit\"}") >= 2.0);
    assert!(value("executor_cache_lookups_total{result=\"miss\"}") >= 2.0);
    assert!(value("executor_cache_bytes") >= 4096.0);
}

#[tokio::test]
async fn executors_share_a_directory_which_outlives_them() {
    let cache = directory();
    let shared = cache.path().join("entries");
    let settings = [("EXECUTOR_CACHE_DIR", shared.to_str().unwrap())];
    let (Some(one), Some(two)) = tokio::join!(cpp(&settings), cpp(&settings)) else { return };
    let (first, second) = (Target::executor(&one), Target::executor(&two));
    assert!(!is_cached(&first, 11, json!({})).await);
    assert!(is_cached(&second, 11, json!({})).await);
    assert!(!is_cached(&second, 12, json!({})).await);
    assert!(is_cached(&first, 12, json!({})).await);
    drop((one, two));
    let Some(later) = cpp(&settings).await else { return };
    let target = Target::executor(&later);
    assert!(is_cached(&target, 11, json!({})).await);
    assert_eq!(fs::metadata(&shared).unwrap().permissions().mode() & 0o777, 0o711);
    for file in programs(&shared) {
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        fs::write(&file, "#!/bin/echo tampered\n").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o555)).unwrap();
    }
    for number in [11, 12] {
        assert!(!is_cached(&target, number, json!({})).await, "what was changed is used");
        assert!(is_cached(&target, number, json!({})).await);
    }
    assert!(later.log().contains("a cached program is not used"), "{}", later.log());
    let metrics = get(&later, "/metrics").await.body.to_string();
    assert!(
        metrics.contains("executor_cache_evictions_total{reason=\\\"damage\\\"} 2"),
        "{metrics}"
    );
}

#[tokio::test]
async fn callers_are_kept_apart_if_settings_say_so() {
    const KEYS: &str = "one:0123456789abcdef,two:fedcba9876543210";
    let apart = [("EXECUTOR_CACHE_PER_CALLER", "true")];
    let (Some(apart), Some(together)) = tokio::join!(cpp(&apart), cpp(&[])) else { return };
    for (server, is_shared) in [(&apart, false), (&together, true)] {
        let gateway = gateway(&[("cpp", server)], &[("GATEWAY_KEYS", KEYS)]).await;
        let target = Target::gateway(&gateway, "cpp");
        let mut request = program(21);
        request["language"] = json!("cpp");
        let ask = async |key: &str, more: (&str, &str)| {
            let headers = [("x-api-key", key), more];
            let answer = target.post("/execute", &request.to_string(), &headers).await;
            told(&answer.body, 21)
        };
        let (one, two, nothing) = ("0123456789abcdef", "fedcba9876543210", ("accept", "*/*"));
        assert!(!ask(one, nothing).await);
        assert!(ask(one, nothing).await);
        assert_eq!(ask(two, nothing).await, is_shared);
        assert!(ask(two, nothing).await);
        // Who names no caller is apart from those who do, and nobody else's word counts.
        let direct = Target::executor(server);
        assert_eq!(is_cached(&direct, 21, json!({})).await, is_shared);
        assert!(is_cached(&direct, 21, json!({})).await);
        assert!(ask(one, ("x-caller-id", "somebody-else")).await);
    }
}

#[tokio::test]
async fn a_cache_that_cannot_be_trusted_stops_the_start() {
    let cache = directory();
    fs::set_permissions(cache.path(), Permissions::from_mode(0o777)).unwrap();
    let builder = || ServerBuilder::new("executor-cpp");
    let open = builder().set("EXECUTOR_CACHE_DIR", cache.path().to_str().unwrap());
    let log = open.try_start().await.map(drop).unwrap_err();
    let is_skipped = log.contains("no toolchain was found");
    assert!(is_skipped || log.contains("nobody else may write"), "{log}");
    for (name, value) in [("EXECUTOR_CACHE_SECONDS_MAX", "0"), ("EXECUTOR_CACHE_BYTES_MAX", "0")] {
        let log = builder().set(name, value).try_start().await.map(drop).unwrap_err();
        assert!(log.contains(name), "{log}");
    }
}
