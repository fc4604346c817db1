//! `flotilla run`: a file through the fleet as if it ran here.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tests::Server;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::checks::{Checks, same};
use crate::connections::{is_gone, word};
use crate::faults::gateway;
use crate::language::language;
use crate::languages::start;

const PATIENCE: Duration = Duration::from_mins(1);

/// Files to run, and the fleet to run them.
struct Desk {
    directory: tempfile::TempDir,
    url: String,
}

/// What came of a command.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Desk {
    fn new(gateway: &Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("tool.py", language("python").tool),
            ("tool.cpp", language("cpp").tool),
            ("broken.cpp", "int main() { return missing }\n"),
            ("plain.txt", "nothing to run"),
            ("ünï.py", "import sys; print(sys.argv[0])"),
        ] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Self { directory, url: gateway.url("") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, options: &[&str], file: &str, args: &[&str]) -> Result<Child> {
        let mut command = Command::new(tests::binary("flotilla"));
        command.arg("run").args(["--url", &self.url]).args(options).arg(self.path(file));
        command.arg("--").args(args).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command.spawn()?)
    }

    /// Runs a file to its end.
    async fn run(&self, options: &[&str], file: &str, args: &[&str], input: &str) -> Result<Ended> {
        let mut child = self.start(options, file, args)?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        // A command that fails at once reads nothing.
        stdin.write_all(input.as_bytes()).await.unwrap_or_default();
        drop(stdin);
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await??;
        Ok(Ended {
            code: ended.status.code(),
            stdout: String::from_utf8(ended.stdout)?,
            stderr: String::from_utf8(ended.stderr)?,
        })
    }

    async fn ends(&self, options: &[&str], file: &str, args: &[&str], code: i32) -> Result<Ended> {
        let ended = self.run(options, file, args, "").await?;
        ensure!(ended.code == Some(code), "it exits with {:?}: {}", ended.code, ended.stderr);
        Ok(ended)
    }
}

#[tokio::test]
async fn flotilla_run_is_like_running_the_file_here() {
    let (Some(python), Some(cpp)) = (start("python", &[]).await, start("cpp", &[]).await) else {
        return;
    };
    let gateway = gateway(&[("python", &python), ("cpp", &cpp)], &[]).await;
    let desk = Desk::new(&gateway);
    let mut checks = Checks::default();
    checks.add("the program's exit code is passed through", exit_codes(&desk));
    checks.add("standard input and output are passed through", streams(&desk));
    checks.add("output comes while the program runs", live(&desk));
    checks.add("options reach the program", options(&desk));
    checks.add("what does not compile exits with 1 and says why", compile_error(&desk));
    checks.add("faults that are not the program's have their own codes", faults(&desk));
    checks.add("ctrl-C stops the run", interrupt(&desk));
    checks.make("flotilla run", 3).await;
    drop(gateway);
}

async fn exit_codes(desk: &Desk) -> Result<()> {
    for code in [0, 1, 42, 121, 255] {
        desk.ends(&[], "tool.py", &["exit", &code.to_string()], code).await?;
    }
    desk.ends(&[], "tool.cpp", &["exit", "7"], 7).await?;
    desk.ends(&[], "tool.py", &["signal", "9"], 137).await?;
    let aborted = desk.ends(&[], "tool.cpp", &["signal", "6"], 134).await?;
    ensure!(aborted.stderr.contains("SIGABRT"), "{}", aborted.stderr);
    Ok(())
}

async fn streams(desk: &Desk) -> Result<()> {
    let echoed = desk.run(&[], "tool.cpp", &["echo"], "größe\nohne Ende").await?;
    same("the output", &echoed.stdout.as_str(), &"größe\nohne Ende")?;
    same("the error", &echoed.stderr.as_str(), &"")?;
    let large = "0123456789abcde\n".repeat(1 << 18);
    let counted = desk.run(&[], "tool.py", &["count"], &large).await?;
    same("the count", &counted.stdout.as_str(), &"4194304\n")?;
    let arguments = desk.ends(&[], "tool.py", &["args", "--url", "a b", "-x"], 0).await?;
    same("the arguments", &arguments.stdout.as_str(), &"[--url]\n[a b]\n[-x]\n")?;
    let named = desk.ends(&[], "ünï.py", &[], 0).await?;
    ensure!(named.stdout.trim_end().ends_with("ünï.py"), "{}", named.stdout);
    Ok(())
}

async fn live(desk: &Desk) -> Result<()> {
    let mut child = desk.start(&[], "tool.py", &["flush"])?;
    drop(child.stdin.take());
    let stdout = child.stdout.take().context("no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let first = tokio::time::timeout(PATIENCE, lines.next_line()).await??;
    same("the first line", &first.as_deref(), &Some("first"))?;
    let ended: Option<ExitStatus> = child.try_wait()?;
    ensure!(ended.is_none(), "the first line came with the end");
    same("the second line", &lines.next_line().await?.as_deref(), &Some("second"))?;
    let output = child.wait_with_output().await?;
    same("the error", &String::from_utf8(output.stderr)?.as_str(), &"problem\n")?;
    same("the exit code", &output.status.code(), &Some(0))
}

async fn options(desk: &Desk) -> Result<()> {
    let given = ["--env", "GREETING=hello", "--language", "python", "--timeout", "20"];
    let told = desk.ends(&given, "tool.py", &["env", "GREETING"], 0).await?;
    same("the variable", &told.stdout.as_str(), &"hello\n")?;
    desk.ends(&["--option", "-std=c++20", "--memory", "64"], "tool.cpp", &["nothing"], 0).await?;
    let late = desk.ends(&["--timeout", "2.5"], "tool.py", &["sleep", "30"], 123).await?;
    ensure!(late.stderr.contains("timeout"), "{}", late.stderr);
    same("the output before", &late.stdout.as_str(), &"asleep\n")?;
    desk.ends(&["--memory", "32"], "tool.cpp", &["hog"], 123).await.map(drop)
}

async fn compile_error(desk: &Desk) -> Result<()> {
    let refused = desk.ends(&[], "broken.cpp", &[], 1).await?;
    ensure!(refused.stderr.contains("broken.cpp:1"), "{}", refused.stderr);
    same("the output", &refused.stdout.as_str(), &"")
}

async fn faults(desk: &Desk) -> Result<()> {
    let rows: [(&[&str], &str, i32); 7] = [
        (&[], "no-such-file.py", 120),
        (&[], "plain.txt", 120),
        (&["--no-such-option"], "tool.py", 120),
        (&["--env", "nothing"], "tool.py", 120),
        (&["--language", "cobol"], "tool.py", 122),
        (&["--timeout", "0"], "tool.py", 122),
        (&["--option", "-o/tmp/x"], "tool.cpp", 122),
    ];
    for (options, file, code) in rows {
        let ended = desk.ends(options, file, &["nothing"], code).await?;
        ensure!(!ended.stderr.is_empty(), "{options:?} {file}: nothing is said");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let nowhere = Desk { directory: tempfile::tempdir()?, url: format!("http://{free}") };
    std::fs::write(nowhere.path("a.py"), "")?;
    let ended = nowhere.ends(&[], "a.py", &[], 121).await?;
    ensure!(ended.stderr.contains(&free.to_string()), "{}", ended.stderr);
    Ok(())
}

async fn interrupt(desk: &Desk) -> Result<()> {
    let word = word("is-interrupted");
    let mut child = desk.start(&[], "tool.py", &["sleep", "50", &word])?;
    drop(child.stdin.take());
    let stdout = child.stdout.take().context("no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    tokio::time::timeout(PATIENCE, lines.next_line()).await??;
    let pid = child.id().and_then(|it| Pid::from_raw(i32::try_from(it).ok()?));
    kill_process(pid.context("it ended")?, Signal::INT)?;
    let status = tokio::time::timeout(PATIENCE, child.wait()).await??;
    same("the exit code", &status.code(), &Some(130))?;
    is_gone(&word).await
}
