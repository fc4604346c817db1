//! One server process of the workspace.

use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{binary, repository};

/// Where servers keep what they write. Not below `/tmp`, where a run may have files of its own.
const ROOT: &str = "/var/tmp";

/// Whether a missing toolchain is a fault: `scripts/test` brings them all.
pub const REQUIRE: &str = "REQUIRE_RUNTIMES";

/// Ports that no outgoing connection is given, so that a server finds its own free again.
const LASTING_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How long a server may take to be well: toolchains are found, and samples run.
const START_PATIENCE: Duration = Duration::from_mins(5);

/// How long a server may take to end: a worker lets its runs end for 20 s, and tells of them for 10.
const END_PATIENCE: Duration = Duration::from_mins(1);

/// What a server is started with.
#[derive(Debug)]
pub struct ServerBuilder {
    program: PathBuf,
    /// Words before the program, such as a wrapper that takes rights away.
    wrapper: Vec<String>,
    environment: Vec<(String, String)>,
    directory: tempfile::TempDir,
    port: u16,
}

impl ServerBuilder {
    /// A binary of the workspace on a free port of loopback, with state of its own.
    pub fn new(name: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("flotilla-test-").tempdir_in(ROOT).unwrap();
        // Users of slots, and the tests' other users, must reach what is below.
        set_mode(directory.path(), 0o711);
        let state = directory.path().join("state");
        std::fs::create_dir(&state).unwrap();
        set_mode(&state, 0o777);
        let builder = Self {
            program: binary(name),
            wrapper: Vec::new(),
            environment: Vec::new(),
            directory,
            port: free_port(),
        };
        let toolchains = toolchain_path();
        let prepared = prepared_directory();
        if name.starts_with("executor-") {
            builder
                .set("EXECUTOR_STATE_DIR", &state.to_string_lossy())
                .set("EXECUTOR_PREPARED_DIR", &prepared.to_string_lossy())
                .set("EXECUTOR_TOOLCHAIN_PATH", &toolchains)
        } else {
            builder
        }
    }

    /// Sets a variable.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has it listen where another one did that has ended.
    #[must_use]
    pub fn at(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Where a path of it will be.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Puts words before the program.
    #[must_use]
    pub fn wrapped(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|it| (*it).to_owned()).collect();
        self
    }

    /// Starts the server without waiting for anything.
    pub fn spawn(self) -> Server {
        let log = self.directory.path().join("log");
        let words: Vec<String> = self
            .wrapper
            .iter()
            .cloned()
            .chain([self.program.to_string_lossy().into_owned(), "--drain-on-stdin-eof".to_owned()])
            .collect();
        let (first, rest) = words.split_first().unwrap();
        let child = Command::new(first)
            .args(rest)
            .env("PORT", self.port.to_string())
            .envs(self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Server { child, port: self.port, directory: self.directory, log }
    }

    /// Starts the server and waits until it is well.
    pub async fn start(self) -> Server {
        self.try_start().await.unwrap_or_else(|log| panic!("the server ended:\n{log}"))
    }

    /// Starts the server and waits until it is well. If it ends instead, that is told with what
    /// it logged.
    pub async fn try_start(self) -> Result<Server, String> {
        let mut server = self.spawn();
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if let Some(status) = server.child.try_wait().unwrap() {
                return Err(format!("{status}\n{}", server.log()));
            }
            let health = crate::client().get(server.url("/health")).send().await;
            if health.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(server);
            }
            assert!(Instant::now() < deadline, "the server is not well:\n{}", server.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A server process. Dropping it drains it and fails the test if it leaves anything.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
    log: PathBuf,
}

impl Server {
    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Where its state is.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        File::open(&self.log).unwrap().read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// Closes its standard input, as the end of whoever started it would.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end and returns its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + END_PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the server does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it, without a look at what it leaves.
    pub fn abandon(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What is in its state directory, names only.
    pub fn left_behind(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.state()).unwrap();
        entries.map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|it| it.is_none()) {
            self.signal(Signal::TERM);
            // A second one hurries what is still running.
            std::thread::sleep(Duration::from_millis(100));
            kill_process(Pid::from_raw(self.pid()).unwrap(), Signal::TERM).unwrap_or_default();
            let code = self.wait();
            if !std::thread::panicking() {
                assert_eq!(code, Some(0), "the server did not end well:\n{}", self.log());
                assert_eq!(self.left_behind(), Vec::<String>::new(), "{}", self.log());
            }
        }
    }
}

/// Starts an executor, or says why its language is skipped.
pub async fn start_executor(folder: &str, settings: &[(&str, &str)]) -> Option<Server> {
    let builder = ServerBuilder::new(&format!("executor-{folder}"));
    let builder = settings.iter().fold(builder, |builder, (name, value)| builder.set(name, value));
    match builder.try_start().await {
        Ok(server) => Some(server),
        Err(log) if log.contains("no toolchain was found") && std::env::var(REQUIRE).is_err() => {
            println!("SKIPPED: {folder} has no toolchain on this machine");
            None
        }
        Err(log) => panic!("executor-{folder} ended:\n{log}"),
    }
}

/// A port that is free now, and will be so again after a server that had it has ended. No two tests of
/// a process are given the same.
pub fn lasting_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let span = u64::from(LASTING_PORTS.end - LASTING_PORTS.start);
    for attempt in 0..1000_u32 {
        let chance = RandomState::new().hash_one(attempt) % span;
        let port = LASTING_PORTS.start + u16::try_from(chance).unwrap();
        let is_new = GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        if is_new && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Toolchains that the scripts brought into the checkout.
pub fn toolchain_path() -> String {
    let Ok(entries) = std::fs::read_dir(repository().join(".toolchains")) else {
        return String::new();
    };
    let directories = entries.flatten().map(|entry| entry.path().join("bin"));
    let existing = directories.filter(|it| it.is_dir());
    existing.map(|it| it.to_string_lossy().into_owned()).collect::<Vec<_>>().join(":")
}

/// Where prepared toolchains are kept from test to test: one place for each user.
pub fn prepared_directory() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    let directory = Path::new(ROOT).join(format!("flotilla-prepared-{user}"));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
