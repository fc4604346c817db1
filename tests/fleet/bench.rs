//! `flotilla bench`: what it says of a language, and that it leaves nothing.

use std::time::Duration;

use serde_json::Value;
use tests::binary;
use tokio::process::Command;

use crate::languages::start;

const PATIENCE: Duration = Duration::from_mins(5);

async fn bench(options: &[&str]) -> Value {
    let mut command = Command::new(binary("flotilla"));
    command.args(["bench", "--quick", "--seconds", "1", "--json"]).args(options);
    let output = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{}: {said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_short_bench_measures_all_sides_of_a_language() {
    // It is the executor's word that tells whether there is a toolchain.
    let Some(server) = start("javascript", &[("EXECUTOR_SLOTS", "1")]).await else { return };
    drop(server);
    let report = bench(&["--only", "javascript"]).await;
    let programs = report["programs"].as_array().unwrap();
    let names: Vec<&str> = programs.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["hello", "real", "hello-typed", "real-typed"]);
    for program in programs {
        for figure in [
            "/fleet/p50Ms",
            "/fleet/p90Ms",
            "/bare/p50Ms",
            "/validated/p50Ms",
            "/ratio",
            "/sustained/runsPerSecond",
            "/bareSustained/runsPerSecond",
        ] {
            let number = program.pointer(figure).and_then(Value::as_f64);
            assert!(number.is_some_and(|it| it > 0.0), "{figure}: {program}");
        }
        assert!(program["warmShare"].is_number(), "{program}");
    }
    for burst in report["bursts"].as_array().unwrap() {
        let slots = burst["slots"].as_u64().unwrap();
        assert_eq!(burst["latency"]["samples"].as_u64(), Some(10 * slots), "{burst}");
        assert_eq!((burst["timedOut"].as_u64(), burst["refused"].as_u64()), (Some(0), Some(0)));
    }
    let services = report["memory"].as_array().unwrap().iter();
    let services: Vec<&str> = services.filter_map(|it| it["service"].as_str()).collect();
    assert_eq!(services, ["gateway", "javascript"]);
    assert!(report["gateway"]["through"]["p50Ms"].is_number(), "{}", report["gateway"]);
}
