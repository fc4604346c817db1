//! Programs mean the same to an executor as to the bare toolchain in a shell: what they print on
//! either stream, how they end, and what they see of the world. Each is run both ways with the same
//! input, arguments and variables; programs are in `semantics/`, one folder a language.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tests::{Server, ServerBuilder, repository};

use crate::checks::{Checks, eventually, same, short};
use crate::target::{Target, get};

/// The directories that toolchains are looked for in, by the executor and by the shell.
const TOOLCHAINS: &str = "/usr/local/bin:/usr/bin:/bin";

/// How long something may take to stand ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// No program here works longer, in seconds.
const SECONDS_MAX: &str = "60";

/// A program of a table `[[program]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    /// What holds of it, as a sentence.
    name: String,
    /// The entry file's text; others are in `files`.
    code: String,
    /// The entry file, if not the language's own.
    entry: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    input: String,
    /// Its output is by chance: no two runs print the same.
    #[serde(default)]
    chance: bool,
    /// It looks at the clock: a busy machine may be late, and not each time.
    #[serde(default)]
    by_clock: bool,
    /// What stands ready cannot serve it, as it would see a difference.
    #[serde(default)]
    needs_cold: bool,
}

/// A file of programs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Programs {
    program: Vec<Program>,
}

/// How a language is run in a shell.
#[derive(Debug)]
struct Shell {
    /// The name in requests.
    language: &'static str,
    executor: &'static str,
    /// The folder of its programs.
    folder: &'static str,
    entry: &'static str,
    /// What is done before a run, if anything, and the run; `{entry}` is the entry file.
    commands: &'static [&'static [&'static str]],
    /// Variables that the executor sets for every run.
    env: &'static [(&'static str, &'static str)],
    /// A program that prints its work directory.
    place: &'static str,
}

const PYTHON: Shell = Shell {
    language: "python",
    executor: "python",
    folder: "python",
    entry: "main.py",
    commands: &[&["python3", "{entry}"]],
    env: &[
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("OMP_NUM_THREADS", "1"),
        ("OPENBLAS_NUM_THREADS", "1"),
    ],
    place: "import os; print(os.getcwd())",
};

const JAVASCRIPT: Shell = Shell {
    language: "javascript",
    executor: "javascript",
    folder: "javascript",
    entry: "main.js",
    commands: &[&["node", "{entry}"]],
    env: &[],
    place: "console.log(process.cwd())",
};

/// Its programs are JavaScript too, so that a shell can run them.
const TYPESCRIPT: Shell = Shell { language: "typescript", folder: "typescript", ..JAVASCRIPT };

const JAVA: Shell = Shell {
    language: "java",
    executor: "java",
    folder: "java",
    entry: "Main.java",
    commands: &[&["javac", "-nowarn", "{entry}"], &["java", "-cp", ".", "Main"]],
    env: &[],
    place: "class Main { public static void main(String[] args) { System.out.println(System.getProperty(\"user.dir\")); } }",
};

/// What came of a run.
#[derive(Debug, PartialEq, Eq)]
struct Ending {
    stdout: String,
    stderr: String,
    code: Option<i64>,
    signal: Option<String>,
}

impl Shell {
    /// The programs of its folder.
    fn programs(&self) -> Vec<Program> {
        let folder = repository().join("tests/fleet/semantics").join(self.folder);
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
        paths.sort();
        paths
            .iter()
            .flat_map(|path| {
                let text = fs::read_to_string(path).unwrap();
                let programs: Programs =
                    toml::from_str(&text).with_context(|| path.display().to_string()).unwrap();
                programs.program
            })
            .collect()
    }

    /// Runs a program in a shell of its own directory.
    fn run(&self, program: &Program) -> Result<Ending> {
        let place = tempfile::tempdir()?;
        let directory = place.path().canonicalize()?;
        fs::create_dir(directory.join("tmp"))?;
        let entry = program.entry.as_deref().unwrap_or(self.entry);
        let work = directory.join("work");
        write(&work, entry, &program.code)?;
        for (path, text) in &program.files {
            write(&work, path, text)?;
        }
        let (last, before) = self.commands.split_last().context("there is a command")?;
        for words in before {
            let status = self.command(words, entry, program, &work).status()?;
            ensure!(status.success(), "it does not compile");
        }
        let mut command = self.command(last, entry, program, &work);
        let command = command.args(&program.args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("its input is a pipe")?;
        let input = program.input.clone();
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output()?;
        // A program need not read its input.
        drop(writer.join());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ending {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            code: output.status.code().map(i64::from),
            signal: output.status.signal().map(signal_name),
        }
        .without(&work.to_string_lossy()))
    }

    fn command(&self, words: &[&str], entry: &str, program: &Program, work: &Path) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["-s", "KILL", SECONDS_MAX])
            .args(words.iter().map(|it| it.replace("{entry}", entry)))
            .current_dir(work)
            .env_clear()
            .envs([("PATH", TOOLCHAINS), ("LANG", "C.UTF-8"), ("TZ", "UTC")])
            .env("HOME", work)
            .env("TMPDIR", work.with_file_name("tmp"))
            .envs(self.env.iter().copied())
            .envs(&program.env);
        command
    }

    /// The same as a request.
    fn request(&self, program: &Program) -> Value {
        let entry = program.entry.as_deref().unwrap_or(self.entry);
        let main = json!({"path": entry, "content": program.code});
        let others =
            program.files.iter().map(|(path, text)| json!({"path": path, "content": text}));
        let files: Vec<Value> = std::iter::once(main).chain(others).collect();
        json!({"files": files, "args": program.args, "env": program.env, "inputData": program.input})
    }
}

impl Ending {
    fn of(report: &Value) -> Self {
        let text = |field: &str| report[field].as_str().unwrap_or_default().to_owned();
        Self {
            stdout: text("output"),
            stderr: text("error"),
            code: report["exitCode"].as_i64(),
            signal: report["signal"].as_str().map(str::to_owned),
        }
    }

    /// With the work directory's path, ids of processes and addresses taken out.
    fn without(self, place: &str) -> Self {
        let clean = |text: String| without_ids(&text.replace(place, "<work>"));
        Self { stdout: clean(self.stdout), stderr: clean(self.stderr), ..self }
    }
}

fn write(work: &Path, path: &str, text: &str) -> Result<()> {
    let path = work.join(path);
    fs::create_dir_all(path.parent().context("it is in a directory")?)?;
    Ok(fs::write(path, text)?)
}

/// `(node:123) Warning` and `<A object at 0x7f>` without their numbers.
fn without_ids(text: &str) -> String {
    let pids = without_number(text, "(node:", |it| it.is_ascii_digit());
    without_number(&pids, "0x", |it| it.is_ascii_hexdigit())
}

fn without_number(text: &str, before: &str, is_digit: fn(char) -> bool) -> String {
    let parts: Vec<&str> = text
        .split(before)
        .enumerate()
        .map(|(index, part)| if index == 0 { part } else { part.trim_start_matches(is_digit) })
        .collect();
    parts.join(before)
}

fn signal_name(number: i32) -> String {
    let name = match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGABRT => "SIGABRT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGTERM => "SIGTERM",
        libc::SIGUSR1 => "SIGUSR1",
        _ => return format!("signal {number}"),
    };
    name.to_owned()
}

async fn check(shells: &[&Shell]) {
    for is_warm in [true, false] {
        let server = ServerBuilder::new(&format!("executor-{}", shells[0].executor))
            .set("PATH", TOOLCHAINS)
            .set("EXECUTOR_SLOTS", "1")
            .set("EXECUTOR_WARM", &is_warm.to_string())
            .start()
            .await;
        for shell in shells {
            let target = Target::executor_for(&server, shell.language);
            let probe = target.run(&json!({"code": shell.place})).await.unwrap();
            let place = probe["output"].as_str().unwrap().trim().to_owned();
            let mut checks = Checks::default();
            for program in shell.programs() {
                let name = format!("{}: {}", shell.language, program.name);
                let sides = Sides { shell, server: &server, place: &place, is_warm };
                checks.add(name, compare(sides, program));
            }
            let how = if is_warm { "warm" } else { "cold" };
            checks.make(&format!("{}, {how} starts", shell.language), 1).await;
        }
    }
}

/// Both sides of a comparison.
struct Sides<'a> {
    shell: &'a Shell,
    server: &'a Server,
    /// Where our side's programs work.
    place: &'a str,
    /// Whether they start warm.
    is_warm: bool,
}

impl Sides<'_> {
    async fn ours(&self, program: &Program) -> Result<Ending> {
        let starts_warm = self.is_warm && !program.needs_cold;
        if starts_warm {
            let stands_ready = async || {
                let info = get(self.server, "/info").await.body;
                // What is not there is forked.
                let is_forked = info["warm"]["runtimes"][0]["start"] == "zygote";
                is_forked || info["warm"]["waiting"].as_u64().is_some_and(|it| it > 0)
            };
            eventually("something stands ready", PATIENCE, stands_ready).await?;
        }
        let target = Target::executor_for(self.server, self.shell.language);
        let report = target.run(&self.shell.request(program)).await?;
        same("that it starts warm", &report["warm"], &json!(starts_warm))?;
        Ok(Ending::of(&report).without(self.place))
    }
}

async fn compare(sides: Sides<'_>, program: Program) -> Result<()> {
    let shell = sides.shell;
    let mut ours = sides.ours(&program).await?;
    if program.chance {
        let again = sides.ours(&program).await?;
        let both = (ours.stdout != again.stdout, ours.code == Some(0) && again.code == Some(0));
        ensure!(both == (true, true), "both print the same, or fail: {}", short(&(ours, again)));
        return Ok(());
    }
    let mut theirs = shell.run(&program)?;
    for _ in 0..if program.by_clock { 4 } else { 0 } {
        if ours != theirs {
            (ours, theirs) = (sides.ours(&program).await?, shell.run(&program)?);
        }
    }
    ensure!(ours == theirs, "it does {}, and in a shell {}", short(&ours), short(&theirs));
    Ok(())
}

#[tokio::test]
async fn python_means_what_it_means_in_a_shell() {
    check(&[&PYTHON]).await;
}

#[tokio::test]
async fn javascript_and_typescript_mean_what_they_mean_in_a_shell() {
    check(&[&JAVASCRIPT, &TYPESCRIPT]).await;
}

#[tokio::test]
async fn java_means_what_it_means_in_a_shell() {
    check(&[&JAVA]).await;
}
