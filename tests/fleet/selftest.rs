//! The self-test: hostile programs of every language at boot and again and again, what is said of
//! them, and what happens when one gets through.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::{Server, ServerBuilder, binary, executors};

use crate::checks::{eventually, short};
use crate::faults::gateway;
use crate::language::{LANGUAGES, language};
use crate::languages::start;
use crate::target::{Answer, Target, get};

const PATIENCE: Duration = Duration::from_mins(1);

/// What every hostile program attempts.
const ATTEMPTS: [&str; 6] =
    ["files", "process_secrets", "network", "signals", "clean_up", "memory"];

/// Tests itself all the time.
const OFTEN: (&str, &str) = ("EXECUTOR_SELF_TEST_SECONDS", "1");

/// A number that stands for a user and for nothing else.
const USER_BASE: &str = "3141500";

/// A user that owns nothing, for servers in containers.
const CONTAINER_USER: &str = "64123";

#[tokio::test]
async fn every_language_is_let_loose_at_boot_and_held() {
    for folder in executors() {
        let Some(server) = start(&folder, &[("EXECUTOR_UID_BASE", USER_BASE)]).await else {
            continue;
        };
        let test = self_test(&server).await;
        assert_eq!(test["passed"], true, "{folder}: {test}");
        assert!(test["time"].as_str().is_some_and(|it| it.ends_with('Z')), "{folder}: {test}");
        for language in LANGUAGES.iter().filter(|it| it.executor == folder) {
            for attempt in ATTEMPTS {
                let result = result(&test, attempt, language.id);
                assert_eq!(result["passed"], true, "{result}");
            }
        }
        says_nothing_of_the_host(&server).await;
    }
}

#[tokio::test]
async fn where_nothing_stops_them_hostile_programs_get_through() {
    if !is_root() {
        println!("SKIPPED: only root can start a container");
        return;
    }
    for folder in executors() {
        let open = |user| {
            let words = ["--user", user, "--deny-landlock", "--deny-seccomp"];
            contained(&folder, &words).set("EXECUTOR_MIN_ISOLATION", "bare").try_start()
        };
        // Where a toolchain is only within root's reach, slots have users, whom signals do not obey.
        let (server, got_through) = match open(CONTAINER_USER).await {
            Ok(server) => (server, &["files", "network", "signals"][..]),
            Err(log) if log.contains("no toolchain was found") => {
                let Ok(server) = open("0").await else { continue };
                (server, &["files", "network"][..])
            }
            Err(log) => panic!("{folder}: {log}"),
        };
        let test = self_test(&server).await;
        assert_eq!(test["passed"], true, "nothing was promised: {test}");
        for language in LANGUAGES.iter().filter(|it| it.executor == folder) {
            for attempt in got_through {
                let result = result(&test, attempt, language.id);
                assert_eq!(
                    (&result["promised"], &result["passed"]),
                    (&json!(false), &json!(false))
                );
                assert!(result["detail"].as_str().is_some_and(|it| !it.is_empty()), "{result}");
            }
        }
    }
}

#[tokio::test]
async fn a_jail_that_is_open_at_boot_is_not_served_from() {
    // A toolchain that says that the whole machine is its directory opens all of it to runs.
    let directory = tempfile::tempdir().unwrap();
    let liar = directory.path().join("python3");
    let script = "#!/bin/sh\n/usr/bin/python3 \"$@\" | sed 's|^root .*|root /|'\n";
    std::fs::write(&liar, script).unwrap();
    for path in [directory.path(), &liar] {
        set_mode(path, 0o755);
    }
    if !PathBuf::from("/usr/bin/python3").exists() {
        println!("SKIPPED: there is no python at its usual place");
        return;
    }
    let path = directory.path().to_string_lossy().into_owned();
    let builder = if is_root() {
        contained("python", &["--user", "0"])
    } else {
        ServerBuilder::new("executor-python").set("PATH", "/usr/bin:/bin")
    };
    let server = builder.set("EXECUTOR_TOOLCHAIN_PATH", &path);
    let log = server.try_start().await.expect_err("it must not start");
    for words in ["the self-test failed", "files (python 3.", "nothing is served"] {
        assert!(log.contains(words), "`{words}` is missing: {log}");
    }
}

#[tokio::test]
async fn a_jail_that_opens_is_noticed_and_one_that_closes_again_too() {
    let builder = if is_root() {
        contained("python", &["--user", CONTAINER_USER])
    } else {
        ServerBuilder::new("executor-python")
    };
    let server = builder.set(OFTEN.0, OFTEN.1).start().await;
    let info = get(&server, "/info").await.body;
    let guarantees = info["isolation"]["guarantees"].as_array().unwrap();
    let files = guarantees.iter().find(|it| it["name"] == "files").unwrap();
    if files["mechanism"] != "landlock" {
        println!("SKIPPED: files are guarded by more than names: {files}");
        return;
    }
    // A directory that every run may read becomes the whole machine.
    let state = std::fs::read_dir(server.state()).unwrap().next().unwrap().unwrap().path();
    let (open, kept) = (state.join("support"), state.join("support-kept"));
    std::fs::rename(&open, &kept).unwrap();
    std::os::unix::fs::symlink("/", &open).unwrap();
    until_health_is(&server, "fail").await.unwrap();
    refuses_all(&server, "files (python").await.unwrap();
    std::fs::remove_file(&open).unwrap();
    std::fs::rename(&kept, &open).unwrap();
    until_health_is(&server, "pass").await.unwrap();
    runs(&Target::executor(&server)).await.unwrap();
}

#[tokio::test]
async fn the_fleet_goes_without_an_executor_whose_jail_does_not_hold() {
    let Some(server) = start("python", &[OFTEN]).await else { return };
    let gateway = gateway(&[("python", &server)], &[]).await;
    let through = Target::gateway(&gateway, "python");
    runs(&through).await.unwrap();
    let level = get(&server, "/health").await.body["isolation"].clone();
    isolation_is_told(&gateway, &level).await.unwrap();

    // Whoever sends it the signal that hostile programs send does what one would do that got out.
    let pid = Pid::from_raw(server.pid()).unwrap();
    let attacker = tokio::spawn(async move {
        let mut again = tokio::time::interval(Duration::from_millis(5));
        loop {
            again.tick().await;
            kill_process(pid, Signal::URG).unwrap();
        }
    });
    until_health_is(&server, "fail").await.unwrap();
    refuses_all(&server, "signals (python").await.unwrap();
    let is_out = async || get(&gateway, "/health").await.body["executors"][0]["status"] == "fail";
    eventually("the gateway notices", PATIENCE, is_out).await.unwrap();
    let line = get(&gateway, "/health").await.body["executors"][0].clone();
    assert!(line["output"].as_str().is_some_and(|it| it.contains("self-test")), "{line}");
    assert_eq!(line["isolation"], level);
    let answer = through.execute(&program()).await;
    answer.is_problem(503, "no_live_executor").unwrap();

    attacker.abort();
    until_health_is(&server, "pass").await.unwrap();
    let is_back = async || through.execute(&program()).await.status == 200;
    eventually("the gateway sends programs again", PATIENCE, is_back).await.unwrap();
    drop(gateway);
}

#[tokio::test]
async fn a_self_test_waits_for_runs_and_runs_do_not_notice() {
    let Some(server) = start("python", &[OFTEN, ("EXECUTOR_SLOTS", "1")]).await else { return };
    let target = Target::executor(&server);
    let before = self_test(&server).await["time"].clone();
    let long = json!({"code": "import time; time.sleep(4); print('done')"});
    let watched = async {
        // The one slot is taken for longer than it takes until the next test is due.
        let report = target.run(&long).await.unwrap();
        assert_eq!((&report["status"], &report["output"]), (&json!("success"), &json!("done\n")));
    };
    let healthy = async {
        for _ in 0..50 {
            assert_eq!(get(&server, "/health").await.body["status"], "pass");
        }
    };
    tokio::join!(watched, healthy);
    let is_made = async || {
        let test = self_test(&server).await;
        test["time"] != before && test["passed"] == true
    };
    eventually("a later self-test is told", PATIENCE, is_made).await.unwrap();
}

/// An executor below a container's rights.
fn contained(folder: &str, words: &[&str]) -> ServerBuilder {
    let container = binary("container").to_string_lossy().into_owned();
    let wrapper: Vec<&str> = [&[container.as_str()], words, &["--"]].concat();
    let builder = ServerBuilder::new(&format!("executor-{folder}")).wrapped(&wrapper);
    // One version is enough, and the system's own is within everybody's reach.
    if folder == "python" { builder.set("PATH", "/usr/bin:/bin") } else { builder }
}

async fn self_test(server: &Server) -> Value {
    get(server, "/info").await.body["isolation"]["selfTest"].clone()
}

/// The result of one attempt in one language.
fn result(test: &Value, attempt: &str, language: &str) -> Value {
    let start = format!("{attempt} ({language} ");
    let results = test["results"].as_array().unwrap();
    let is_it = |it: &&Value| it["name"].as_str().is_some_and(|name| name.starts_with(&start));
    results.iter().find(is_it).unwrap_or_else(|| panic!("`{start}…` is missing: {test}")).clone()
}

async fn until_health_is(server: &Server, status: &str) -> Result<()> {
    let code = if status == "fail" { 503 } else { 200 };
    let is_it = async || {
        let health = get(server, "/health").await;
        health.status == code && health.body["status"] == status
    };
    eventually(&format!("health is {status}"), PATIENCE, is_it).await
}

/// No program gets in, and everybody is told why.
async fn refuses_all(server: &Server, why: &str) -> Result<()> {
    let says_why = |text: &Value| text.as_str().is_some_and(|it| it.contains(why));
    let health = get(server, "/health").await.body;
    ensure!(says_why(&health["output"]), "{health}");
    let test = self_test(server).await;
    ensure!(test["passed"] == false, "{test}");
    let results = test["results"].as_array().into_iter().flatten();
    let fallen: Vec<&Value> = results.filter(|it| it["passed"] == false).collect();
    ensure!(fallen.iter().any(|it| says_why(&it["name"])), "{test}");
    let target = Target::executor(server);
    let (run, validation) =
        (target.execute(&program()).await, target.post("/validate", VALID, &[]).await);
    for answer in [run, validation] {
        is_refusal(&answer, why)?;
    }
    ensure!(server.log().contains("a self-test failed"), "it is not logged");
    says_nothing_of_the_host(server).await;
    Ok(())
}

fn is_refusal(answer: &Answer, why: &str) -> Result<()> {
    answer.is_problem(503, "isolation_broken")?;
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains(why) && !answer.header("retry-after").is_empty(), "{}", short(answer));
    Ok(())
}

/// Every view that a gateway has of its fleet names the level.
async fn isolation_is_told(gateway: &Server, level: &Value) -> Result<()> {
    let health = get(gateway, "/health").await.body;
    let languages = get(gateway, "/v1/languages").await.body;
    let services = get(gateway, "/api/microservices/health").await.body;
    let info = get(gateway, "/api/microservices/info/python").await.body;
    for told in [
        &health["executors"][0]["isolation"],
        &languages["languages"][0]["isolation"],
        &services["services"]["python"]["isolation"],
        &info["isolation"]["level"],
    ] {
        ensure!(told == level, "{told} is not {level}");
    }
    ensure!(info["isolation"]["selfTest"]["passed"] == true, "{}", info["isolation"]);
    Ok(())
}

const VALID: &str = r#"{"code": "print(1)"}"#;

fn program() -> Value {
    language("python").tool(&["nothing"])
}

async fn runs(target: &Target) -> Result<()> {
    let report = target.run(&program()).await?;
    ensure!(report["status"] == "success", "{report}");
    Ok(())
}

/// Strangers learn neither the kernel's version nor paths nor users.
async fn says_nothing_of_the_host(server: &Server) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let users = USER_BASE.trim_end_matches('0');
    let hints =
        [release.as_str(), users, CONTAINER_USER, "/proc", "/var", "/tmp", "/root", "/home", "uid"];
    for path in ["/info", "/health"] {
        let body = get(server, path).await.body;
        for text in leaves(&body) {
            let hint = hints.iter().find(|it| text.contains(**it));
            assert!(hint.is_none(), "{path} tells {hint:?}: {text}");
        }
    }
}

/// Every text and number in a value, and the names of its fields.
fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(leaves).collect(),
        Value::Object(fields) => {
            let named = |(name, it): (&String, &Value)| [vec![name.clone()], leaves(it)].concat();
            fields.iter().flat_map(named).collect()
        }
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
