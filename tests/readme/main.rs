//! Executes every example of README.md against a real fleet and compares what comes out. In what
//! an example expects, `…` stands for anything.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::tests_outside_test_module,
    reason = "a test fails by panicking, and starts programs"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::{binary, executors, repository};

/// One command and what it must print.
struct Example {
    command: String,
    expected: String,
}

/// A fleet as `flotilla up` starts it, on free ports.
struct Fleet {
    up: Child,
    ready: Value,
}

impl Fleet {
    fn start() -> Self {
        let mut up = Command::new(binary("flotilla"))
            .args(["up", "--port-base", "0", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { up, ready: serde_json::from_str(&line).unwrap() }
    }

    /// The documented address of each server, and where it is now.
    fn addresses(&self) -> BTreeMap<String, String> {
        let host = |url: &Value| url.as_str().unwrap().trim_start_matches("http://").to_owned();
        let mut addresses =
            BTreeMap::from([("localhost:8000".to_owned(), host(&self.ready["url"]))]);
        for executor in self.ready["executors"].as_array().unwrap() {
            let port = documented_port(executor["name"].as_str().unwrap());
            addresses.insert(format!("localhost:{port}"), host(&executor["url"]));
        }
        addresses
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.up.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let status = self.up.wait().unwrap();
        if !std::thread::panicking() {
            assert!(status.success(), "`flotilla up` ended with {status}");
        }
    }
}

#[test]
fn every_example_prints_what_it_says() {
    let fleet = Fleet::start();
    let running = fleet.ready["executors"].as_array().unwrap().len();
    assert_eq!(running, executors().len(), "not every language runs: {}", fleet.ready["failures"]);
    let text = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let examples = examples(&text);
    assert!(examples.len() >= 20, "only {} examples were found", examples.len());
    let directory = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    for example in &examples {
        let printed = run(&fleet, example, directory.path());
        if !matches(&example.expected, &printed) {
            faults.push(format!(
                "$ {}\nshould print:\n{}\nbut prints:\n{printed}",
                example.command, example.expected
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn an_ellipsis_stands_for_anything_and_the_rest_for_itself() {
    assert!(matches("a…c…", "abbbc and more"));
    assert!(matches("abc", "abc\n"));
    assert!(!matches("a…c", "abb"));
    assert!(!matches("abc", "abcd"));
}

fn run(fleet: &Fleet, example: &Example, directory: &Path) -> String {
    let mut command = example.command.clone();
    for (documented, actual) in fleet.addresses() {
        command = command.replace(&documented, &actual);
    }
    let binaries = binary("flotilla").parent().unwrap().to_owned();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-c", &command])
        .current_dir(directory)
        .env("PATH", format!("{}:{path}", binaries.display()))
        .env("FLOTILLA_URL", fleet.ready["url"].as_str().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text + &String::from_utf8(output.stderr).unwrap()
}

/// The commands of all `console` blocks, each with the lines that follow it.
fn examples(text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let blocks = text.split("```console\n").skip(1).map(|it| it.split("\n```").next().unwrap());
    for block in blocks {
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                examples.push(Example { command: command.to_owned(), expected: String::new() });
                continue;
            }
            let example = examples.last_mut().unwrap_or_else(|| panic!("`{line}` has no command"));
            // A command goes on for as long as a quote is open.
            let part = if example.command.matches('\'').count() % 2 == 1 {
                &mut example.command
            } else {
                &mut example.expected
            };
            if !part.is_empty() {
                part.push('\n');
            }
            part.push_str(line);
        }
    }
    examples
}

/// Whether `text` is what `expected` says, trailing white space aside.
fn matches(expected: &str, text: &str) -> bool {
    let mut parts = expected.trim_end().split('…');
    let Some(mut rest) = text.trim_end().strip_prefix(parts.next().unwrap()) else { return false };
    let mut last_is_open = false;
    let parts: Vec<&str> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        last_is_open = is_last && part.is_empty();
        let found = if is_last { rest.rfind(part) } else { rest.find(part) };
        let Some(found) = found else { return false };
        rest = &rest[found + part.len()..];
    }
    last_is_open || rest.is_empty()
}

/// The port that an executor has unless it is told otherwise.
fn documented_port(name: &str) -> u64 {
    let output = Command::new(binary(&format!("executor-{name}"))).arg("--describe").output();
    let description: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    description["port"].as_u64().unwrap()
}
