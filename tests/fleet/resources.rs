//! What a server stands on goes away: its toolchain, its disk, its descriptors. It says so, and
//! goes on when it is back.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{ServerBuilder, client};

use crate::checks::{eventually, short};
use crate::connections::slots_are_free;
use crate::killed::open_to_all;
use crate::language::language;
use crate::languages::start;
use crate::raw;
use crate::target::{Target, get};

const PATIENCE: Duration = Duration::from_secs(20);

/// A program that no cache knows.
fn fresh(number: usize) -> Value {
    json!({"code": format!("#include <cstdio>\nint main() {{ std::printf(\"{number}\\n\"); }}\n")})
}

#[tokio::test]
async fn a_toolchain_that_is_removed_is_missed_and_comes_back() {
    let directory = tempfile::Builder::new().prefix("flotilla-toolchain-").tempdir().unwrap();
    open_to_all(directory.path());
    let bin = directory.path().join("own/bin");
    std::fs::create_dir_all(&bin).unwrap();
    let program = bin.join("g++");
    std::fs::write(&program, "#!/bin/sh\nexec /usr/bin/g++ \"$@\"\n").unwrap();
    open_to_all(&program);
    let path = bin.to_string_lossy().into_owned();
    let Some(executor) = start("cpp", &[("EXECUTOR_TOOLCHAIN_PATH", path.as_str())]).await else {
        return;
    };
    let target = Target::executor(&executor);
    assert_eq!(target.run(&fresh(1)).await.unwrap()["output"], "1\n");
    let aside = directory.path().join("aside");
    std::fs::rename(&program, &aside).unwrap();
    let missing = target.execute(&fresh(2)).await;
    missing.is_problem(503, "runtime_missing").unwrap();
    assert!(!missing.header("retry-after").is_empty(), "Retry-After is missing");
    assert_eq!(
        target.run(&fresh(1)).await.unwrap()["output"],
        "1\n",
        "what is compiled still runs"
    );
    std::fs::rename(&aside, &program).unwrap();
    assert_eq!(target.run(&fresh(2)).await.unwrap()["output"], "2\n");
    slots_are_free(&executor).await.unwrap();
}

/// A small file system of its own, for as long as this lives.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None if this user may not mount.
    fn mount(directory: &Path) -> Option<Self> {
        Self::mount_of(directory, 48)
    }

    /// The same of another size.
    pub(crate) fn mount_of(directory: &Path, megabytes: u32) -> Option<Self> {
        let size = format!("size={megabytes}m,mode=777");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "flotilla-test"])
            .arg(directory)
            .output()
            .is_ok_and(|it| it.status.success());
        mounted.then(|| Self(directory.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).output());
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_forgotten_when_it_is_not_full() {
    let directory = tempfile::Builder::new().prefix("flotilla-disk-").tempdir().unwrap();
    open_to_all(directory.path());
    let disk = directory.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let Some(_mounted) = SmallDisk::mount(&disk) else {
        println!("SKIPPED: this user may not mount a small disk");
        return;
    };
    let place = disk.to_string_lossy().into_owned();
    let Some(executor) = start("cpp", &[("EXECUTOR_STATE_DIR", place.as_str())]).await else {
        return;
    };
    let target = Target::executor(&executor);
    assert_eq!(target.run(&fresh(1)).await.unwrap()["output"], "1\n");
    let filler = disk.join("filler");
    fill(&filler);
    for number in 2..6 {
        let answer = target.execute(&fresh(number)).await;
        let is_told = answer.is_problem(503, "out_of_resources").is_ok()
            || answer.body["status"] == "compile_error";
        assert!(is_told, "{} {}", answer.status, short(&answer.body));
    }
    // Whatever the compiler said then must not be remembered.
    std::fs::remove_file(&filler).unwrap();
    for number in 2..6 {
        let report = target.run(&fresh(number)).await.unwrap();
        assert_eq!(report["output"], format!("{number}\n"), "{}", short(&report));
    }
    slots_are_free(&executor).await.unwrap();
    drop(executor);
    assert_eq!(crate::killed::names(&disk), Vec::<String>::new());
}

#[tokio::test]
async fn a_program_that_fills_the_disk_fails_alone() {
    let directory = tempfile::Builder::new().prefix("flotilla-disk-").tempdir().unwrap();
    open_to_all(directory.path());
    let disk = directory.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let Some(_mounted) = SmallDisk::mount(&disk) else {
        println!("SKIPPED: this user may not mount a small disk");
        return;
    };
    let place = disk.to_string_lossy().into_owned();
    // Where runs have a file system of their own, that is what they fill.
    let settings =
        [("EXECUTOR_STATE_DIR", place.as_str()), ("EXECUTOR_FILES_BYTES_MAX", "33554432")];
    let Some(executor) = start("cpp", &settings).await else { return };
    let code = "#include <fstream>\n#include <string>\nint main() {\n    std::string block(1 << 20, 'x');\n    for (int n = 0; n < 64; n++)\n        if (!(std::ofstream(\"f\" + std::to_string(n)) << block << std::flush)) return 9;\n}\n";
    let target = Target::executor(&executor);
    let report = target.run(&json!({"code": code})).await.unwrap();
    assert_eq!(report["exitCode"], 9, "{}", short(&report));
    assert_eq!(target.run(&fresh(1)).await.unwrap()["output"], "1\n");
    slots_are_free(&executor).await.unwrap();
    drop(executor);
}

/// Writes until nothing fits any more.
pub(crate) fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

#[tokio::test]
async fn a_server_without_descriptors_says_so_and_recovers() {
    let wrapper = ["prlimit", "--nofile=72:72"];
    let Ok(executor) = ServerBuilder::new("executor-python").wrapped(&wrapper).try_start().await
    else {
        println!("SKIPPED: no executor starts with so few descriptors");
        return;
    };
    let target = Target::executor(&executor);
    let ok = language("python").tool(&["nothing"]);
    assert_eq!(target.run(&ok).await.unwrap()["output"], "ok\n");
    // One connection after the other is kept open, with a run in between.
    let mut held = Vec::new();
    let mut told = 0;
    for _ in 0..80 {
        let Ok(connection) = raw::connect(&executor).await else { break };
        held.push(connection);
        told += usize::from(run_among(&target, &ok).await.unwrap());
        if told == 3 {
            break;
        }
    }
    println!("{told} runs were refused for want of descriptors");
    drop(held);
    let works = async || target.run(&ok).await.is_ok_and(|it| it["output"] == "ok\n");
    eventually("it works again", PATIENCE, works).await.unwrap();
    slots_are_free(&executor).await.unwrap();
    assert_eq!(get(&executor, "/health").await.body["status"], "pass");
}

/// Tries a run that may find no descriptor, and says whether it was refused.
async fn run_among(target: &Target, request: &Value) -> Result<bool> {
    let sent = client()
        .post(target.url("/execute"))
        .header("content-type", "application/json")
        .timeout(Duration::from_secs(2))
        .body(request.to_string());
    // Nobody takes the connection while there is no descriptor for it.
    let Ok(response) = sent.send().await else { return Ok(true) };
    let (status, text) = (response.status(), response.text().await?);
    if status == 200 {
        ensure!(text.contains(r#""output":"ok\n""#), "the answer is {text}");
        return Ok(false);
    }
    ensure!(status == 503 && text.contains("out_of_resources"), "the answer is {status} {text}");
    Ok(true)
}
