//! `flotilla doctor`: it says of a host what executors on it say, and so does admission of memory.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::{ServerBuilder, binary};
use tokio::process::Command;

use crate::target::{Target, get};

/// A user that nothing belongs to.
const USER: &str = "69990";
/// What the small container has, and what it leaves for its only slot.
const SMALL_MB: u64 = 512;
const ITS_SLOT_MB: u64 = 346;
/// Directories where toolchains are that every user can reach.
const PUBLIC_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Runs the doctor with `wrapper` before it, and returns what it printed and its exit code.
async fn doctor(wrapper: &[&str], options: &[&str]) -> (String, Option<i32>) {
    let flotilla = binary("flotilla");
    let command = [flotilla.to_str().unwrap(), "doctor"];
    let words: Vec<&str> = [wrapper, &command, options].concat();
    let (first, rest) = words.split_first().unwrap();
    let output = Command::new(first).args(rest).env("NO_COLOR", "1").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text + &String::from_utf8(output.stderr).unwrap(), output.status.code())
}

async fn doctor_json(wrapper: &[&str]) -> Value {
    let (text, _) = doctor(wrapper, &["--json", "--minimum", "bare"]).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Every kind of rights that can be had here, as words before a command.
fn wrappers(container: &str) -> Vec<Vec<&str>> {
    if !rustix::process::geteuid().is_root() {
        return vec![Vec::new()];
    }
    vec![
        Vec::new(),
        vec![container, "--user", "0", "--"],
        vec![container, "--user", USER, "--"],
        vec![container, "--user", "0", "--deny-landlock", "--"],
        vec![container, "--user", USER, "--deny-landlock", "--"],
    ]
}

fn executor(wrapper: &[&str]) -> ServerBuilder {
    let builder = ServerBuilder::new("executor-python").wrapped(wrapper);
    builder.set("PATH", PUBLIC_PATH).set("EXECUTOR_MIN_ISOLATION", "bare")
}

#[tokio::test]
async fn the_doctor_says_what_an_executor_says() {
    let container = binary("container");
    for wrapper in wrappers(container.to_str().unwrap()) {
        let said = doctor_json(&wrapper).await;
        let server = match executor(&wrapper).try_start().await {
            Ok(server) => server,
            Err(log) if log.contains("no toolchain was found") => {
                println!("SKIPPED: {wrapper:?} has no toolchain on this machine");
                continue;
            }
            Err(log) => panic!("{wrapper:?}: {log}"),
        };
        let info = get(&server, "/info").await.body;
        for field in ["level", "minimum", "guarantees", "raise"] {
            assert_eq!(said["isolation"][field], info["isolation"][field], "{wrapper:?}: {field}");
        }
        let missing = said["mechanisms"].as_array().unwrap().iter();
        let missing = missing.filter(|it| it["proven"] == false);
        for mechanism in missing {
            assert!(mechanism["fault"].is_string(), "{mechanism}");
            assert!(mechanism["would"]["reach"].is_string(), "{mechanism}");
        }
    }
}

#[tokio::test]
async fn the_exit_code_tells_scripts_whether_an_executor_would_start() {
    let (text, code) = doctor(&[], &["--minimum", "bare"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("so an executor starts"), "{text}");
    assert!(text.lines().all(|it| it.chars().count() <= 80), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let (text, code) = doctor(&[], &["--minimum", "strong"]).await;
    assert_eq!(code, Some(120), "{text}");
    assert!(text.contains("`strong` is no isolation level"), "{text}");
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Without Landlock and without rights, files are open.
    let container = binary("container");
    let wrapper = [container.to_str().unwrap(), "--user", USER, "--deny-landlock", "--"];
    let (text, code) = doctor(&wrapper, &[]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("filtered (L1)") && text.contains("refuses to start"), "{text}");
    assert!(text.contains("landlock_files: grant"), "{text}");
}

/// A control group with little memory, as a container has one.
struct SmallContainer(PathBuf);

impl SmallContainer {
    /// None where no such group can be made.
    fn make() -> Option<Self> {
        let name = format!("flotilla-test-{}", std::process::id());
        let places =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        for (parent, bound) in places.map(|(parent, bound)| (Path::new(parent), bound)) {
            let group = Self(parent.join(&name));
            if std::fs::create_dir(&group.0).is_ok() {
                let bytes = (SMALL_MB << 20).to_string();
                if std::fs::write(group.0.join(bound), bytes).is_ok() {
                    return Some(group);
                }
            }
        }
        println!("SKIPPED: no control group can be made here");
        None
    }

    /// Words that put a command into it.
    fn wrapper(&self) -> [String; 4] {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        ["sh".to_owned(), "-c".to_owned(), enter, "sh".to_owned()]
    }
}

impl Drop for SmallContainer {
    fn drop(&mut self) {
        for below in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            // Files go with their group.
            std::fs::remove_dir(below.path()).unwrap_or_default();
        }
        std::fs::remove_dir(&self.0).unwrap_or_default();
    }
}

#[tokio::test]
async fn a_small_container_gets_one_slot_and_smaller_runs() {
    let Some(group) = SmallContainer::make() else { return };
    let wrapper = group.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let said = doctor_json(&wrapper).await;
    assert_eq!(said["host"]["memory"]["of"], "container", "{said}");
    assert_eq!(said["host"]["memory"]["bytes"], SMALL_MB << 20, "{said}");
    let demanding = executor(&wrapper).set("EXECUTOR_SLOTS", "8").try_start().await;
    let log = demanding.expect_err("eight slots fit nowhere near");
    assert!(log.contains("EXECUTOR_SLOTS is 8") && log.contains("lower"), "{log}");
    let server = match executor(&wrapper).try_start().await {
        Ok(server) => server,
        Err(log) if log.contains("no toolchain was found") => return,
        Err(log) => panic!("{log}"),
    };
    let info = get(&server, "/info").await.body;
    assert_eq!(info["slots"], 1, "{info}");
    assert_eq!(info["limits"]["memoryMaxMb"], ITS_SLOT_MB, "{info}");
    assert!(info["notes"].to_string().contains("346 MB at most"), "{info}");
    let run = |memory: u64| serde_json::json!({"code": "print(1)", "memoryLimit": memory});
    let target = Target::executor(&server);
    target.run(&run(ITS_SLOT_MB)).await.unwrap();
    let refused = target.execute(&run(ITS_SLOT_MB + 1)).await;
    assert_eq!(refused.status, 422, "{:?}", refused.body);
    drop(server);
}
