//! What the console is tested with: its packages, Node, and suites that ask for servers to end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tests::{repository, toolchain_path};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

/// Runs a suite that asks for servers to end and to start while its pages are open.
pub(crate) async fn conduct(command: Command, mut grant: impl AsyncFnMut(&str)) {
    let mut suite = tokio::process::Command::from(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut answers = suite.stdin.take().unwrap();
    let mut lines = BufReader::new(suite.stdout.take().unwrap()).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push_str(&line);
        said.push('\n');
        let Some(wish) = line.strip_prefix("ASK to ") else { continue };
        grant(wish).await;
        answers.write_all(b"done\n").await.unwrap();
    }
    assert!(suite.wait().await.unwrap().success(), "{said}");
}

/// A copy of the page's sources with all of its packages, where no build of ours takes them away;
/// none where there is no Node, unless everything was brought in.
pub(crate) fn packages() -> Option<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(bring_packages).clone()
}

fn bring_packages() -> Option<PathBuf> {
    const COPIES: &[&str] = &[
        "package.json",
        "package-lock.json",
        "tsconfig.json",
        "vitest.config.ts",
        "page",
        "tests",
    ];
    if !has("npm", "--version") {
        skip("npm");
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    for name in COPIES {
        copy(&repository().join("gateway/console").join(name), &folder.join(name));
    }
    let lock = fs::read_to_string(folder.join("package-lock.json")).unwrap();
    let stamp = folder.join("node_modules/.installed");
    if fs::read_to_string(&stamp).is_ok_and(|it| it == lock) {
        return Some(folder);
    }
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"])
        .args(["--fetch-timeout=60000", "--fetch-retries=2", "--loglevel=error"])
        .current_dir(&folder)
        .env("PATH", path())
        .output()
        .unwrap();
    assert!(output.status.success(), "npm ci:\n{}", told(&output));
    fs::write(&stamp, lock).unwrap();
    Some(folder)
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
        return;
    }
    // What is not there any more must not be tested either.
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        copy(&from.join(&name), &to.join(&name));
    }
}

pub(crate) fn node(folder: &Path) -> Command {
    let mut command = Command::new("node");
    command.current_dir(folder).env("PATH", path());
    command
}

fn path() -> String {
    let brought = repository().join(".toolchains/console/path");
    let path = std::env::var("PATH").unwrap_or_default();
    // The one that was brought is there only where that of the system is too old.
    format!("{}:{}:{path}", brought.display(), toolchain_path())
}

pub(crate) fn has(program: &str, question: &str) -> bool {
    let output = Command::new(program).arg(question).env("PATH", path()).output();
    output.is_ok_and(|it| it.status.success())
}

pub(crate) fn skip(what: &str) {
    assert!(std::env::var("REQUIRE_RUNTIMES").is_err(), "there is no {what}");
    println!("SKIPPED: the console is not tested, as there is no {what}");
}

pub(crate) fn told(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}
