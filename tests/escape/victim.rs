//! A run that goes on while others attack it: it holds secrets in its environment, its memory
//! and its work directory, and says all the time that it is well.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tests::{Server, client};

use crate::ground::{TOKEN, state_directory};
use crate::machine;

/// What the victim keeps; must never appear in another run's answer.
pub(crate) const SECRET: &str = "escape-victim-b07d38";

/// Says `well` while its file and its memory are as it made them.
const PROGRAM: &str = r#"
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGIO, signal.SIGCONT):
    signal.signal(number, lambda *_: print("disturbed", flush=True))
secret = os.environ["VICTIM_SECRET"]
with open("secret.txt", "w") as file:
    file.write(secret)
print("at", os.getcwd(), flush=True)
while True:
    names = sorted(os.listdir())
    whole = open("secret.txt").read() == secret and names == ["main.py", "secret.txt"]
    print("well" if whole else f"disturbed {names}", flush=True)
    time.sleep(0.02)
"#;

/// Longest silence that a busy machine explains.
const SILENCE_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Victim {
    stream: reqwest::Response,
    heard: String,
    directory: PathBuf,
    processes: Vec<i32>,
    condition: String,
}

impl Victim {
    /// Starts it on `server`.
    pub(crate) async fn start(server: &Server) -> Self {
        let request = json!({
            "code": PROGRAM,
            "env": { "VICTIM_SECRET": SECRET },
            "timeout": 600,
            "cpuTime": 600,
        });
        let answer = client()
            .post(server.url("/execute"))
            .header("content-type", "application/json")
            .header("accept", "text/event-stream")
            .timeout(Duration::from_mins(11))
            .bearer_auth(TOKEN)
            .body(request.to_string());
        let mut stream = answer.send().await.expect("the executor answers");
        let mut heard = String::new();
        while !heard.contains("well") {
            let chunk = stream.chunk().await.unwrap().expect("the victim says that it is well");
            heard += &String::from_utf8_lossy(&chunk);
        }
        let processes = machine::run_below(server.pid());
        let work = state_directory(server).join("work");
        // Where it has files of its own, its work directory has no path for others.
        let runs = std::fs::read_dir(work).unwrap().map(|it| it.unwrap().path().join("work"));
        let directory = match runs.into_iter().find(|it| it.join("main.py").exists()) {
            Some(directory) => directory,
            None => format!("/proc/{}/cwd", processes.last().expect("there is a program")).into(),
        };
        let condition = condition(&processes);
        Self { stream, heard: String::new(), directory, processes, condition }
    }

    pub(crate) fn pid(&self) -> i32 {
        *self.processes.last().expect("there is a program")
    }

    pub(crate) fn reaper(&self) -> i32 {
        *self.processes.first().expect("there is a supervisor")
    }

    /// Its work directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the directory of runs with this name is its own.
    pub(crate) fn lives_in(&self, name: &str) -> bool {
        self.directory.parent().is_some_and(|it| it.ends_with(name))
    }

    /// Its supervisors, from above, and its program.
    pub(crate) fn processes(&self) -> Vec<i32> {
        self.processes.clone()
    }

    /// What was done to it since the last look. Waits for a fresh sign of life.
    pub(crate) async fn harm(&mut self) -> Vec<String> {
        // What it said before now lies in the way.
        while let Ok(chunk) =
            tokio::time::timeout(Duration::from_millis(1), self.stream.chunk()).await
        {
            if !self.hear(chunk) {
                return vec![format!("the victim was ended: {}", self.heard)];
            }
        }
        let chunk = tokio::time::timeout(SILENCE_MAX, self.stream.chunk()).await;
        if !chunk.is_ok_and(|chunk| self.hear(chunk)) {
            return vec![format!("the victim fell silent: {}", self.heard)];
        }
        let mut harm = Vec::new();
        if self.heard.contains("disturbed") {
            harm.push(format!("the victim was disturbed: {}", self.heard));
        }
        self.heard.clear();
        let now = condition(&self.processes);
        if now != self.condition {
            harm.push(format!("the victim was changed from {} to {now}", self.condition));
            self.condition = now;
        }
        harm
    }

    fn hear(&mut self, chunk: reqwest::Result<Option<impl AsRef<[u8]>>>) -> bool {
        let Ok(Some(chunk)) = chunk else { return false };
        self.heard += &String::from_utf8_lossy(chunk.as_ref());
        !self.heard.contains("event: exit") && !self.heard.contains("event: fault")
    }
}

fn condition(processes: &[i32]) -> String {
    processes.iter().map(|pid| machine::condition(*pid)).collect()
}
