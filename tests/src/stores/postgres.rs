//! A PostgreSQL server.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Home, PLACE, wait_until};
use crate::lasting_port;

/// What its one user is called, and its word.
const USER: &str = "flotilla";
const PASSWORD: &str = "a-word-for-tests";

/// A PostgreSQL server with a directory of its own, on a free port of loopback. It flushes to the disk
/// as one in production does.
#[derive(Debug)]
pub struct PostgresServer {
    home: Home,
    programs: PathBuf,
    port: u16,
    server: Option<Child>,
}

impl PostgresServer {
    /// Starts one that has nothing but what every server has.
    pub fn start() -> Self {
        Self::start_in(Path::new(PLACE), &[])
    }

    /// The same below a directory, with variables.
    pub fn start_in(place: &Path, variables: &[(&str, &str)]) -> Self {
        let (programs, home) = (programs(), Home::new(place, variables));
        let word = home.directory.join("word");
        std::fs::write(&word, PASSWORD).unwrap();
        let log = home.directory.join("log");
        let made = home
            .command(&programs.join("initdb"))
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"])
            .arg(format!("--username={USER}"))
            .arg(format!("--pwfile={}", word.display()))
            .arg(format!("--pgdata={}", home.data().display()))
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .status()
            .unwrap();
        let told = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(made.success(), "initdb ended with {made}:\n{}", told());
        let mut server = Self { home, programs, port: lasting_port(), server: None };
        server.restart();
        server
    }

    /// The address of a database; `postgres` is there from the start.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Has it do something in the database `postgres`.
    pub fn command(&self, statement: &str) {
        let done = self
            .home
            .command(&self.programs.join("psql"))
            .args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--command", statement])
            .arg(self.url("postgres"))
            .env("PGOPTIONS", "-c client_min_messages=warning")
            .status()
            .unwrap();
        assert!(done.success(), "psql ended with {done}: {statement}");
    }

    /// Its processes, as far as it runs.
    pub fn pids(&self) -> Vec<i32> {
        let Some(server) = &self.server else { return Vec::new() };
        let all = children(server.id()).into_iter().chain([server.id()]);
        all.filter_map(|it| it.try_into().ok()).collect()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The word that must not be shown.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Kills every process of it at once, as the loss of its machine would.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let pid = server.id();
        // It is stopped first, so that it starts nobody meanwhile.
        signal(pid, Signal::STOP);
        let children = children(pid);
        for child in children.iter().copied().chain([pid]) {
            signal(child, Signal::KILL);
        }
        server.wait().unwrap();
        for child in children {
            let status = PathBuf::from(format!("/proc/{child}/cwd"));
            let works_here = || std::fs::read_link(&status).is_ok_and(|it| it == self.home.data());
            wait_until("a killed server does not end", || !works_here());
        }
    }

    /// Stops every process of it where it is, or has them go on: it hangs, and answers nobody.
    pub fn hang(&self, hangs: bool) {
        let Some(server) = &self.server else { return };
        let what = if hangs { Signal::STOP } else { Signal::CONT };
        for process in children(server.id()).into_iter().chain([server.id()]) {
            signal(process, what);
        }
    }

    /// Starts it again with what it has on its disk, and waits until it is ready.
    pub fn restart(&mut self) {
        self.kill();
        let data = self.home.data();
        let log = self.home.directory.join("log");
        let told = File::options().create(true).append(true).open(&log).unwrap();
        // Memory that it shares is a file of its directory, which goes with it.
        let server = self
            .home
            .command(&self.programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "dynamic_shared_memory_type=mmap", "-c", "shared_buffers=32MB"])
            .arg("-p")
            .arg(self.port.to_string())
            .stdout(Stdio::null())
            .stderr(told)
            .spawn()
            .unwrap();
        self.home.note_server(&server);
        let pid = server.id().to_string();
        self.server = Some(server);
        let state = data.join("postmaster.pid");
        wait_until("the server does not start", || {
            let state = std::fs::read_to_string(&state).unwrap_or_default();
            let lines: Vec<&str> = state.lines().map(str::trim).collect();
            lines.first() == Some(&pid.as_str()) && lines.get(7) == Some(&"ready")
        });
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.hang(false);
        if let Some(mut server) = self.server.take() {
            // What it shares with its processes is given back only if it ends by itself.
            signal(server.id(), Signal::QUIT);
            server.wait().unwrap();
        }
    }
}

/// Where the newest server's programs are. What is on the `PATH` may be somebody's own.
fn programs() -> PathBuf {
    let packaged = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut packaged: Vec<PathBuf> = packaged.map(|it| it.path().join("bin")).collect();
    let version = |path: &Path| {
        let parent = path.parent().and_then(Path::file_name);
        parent.and_then(|it| it.to_str()?.parse::<u32>().ok()).unwrap_or(0)
    };
    packaged.sort_by_key(|it| std::cmp::Reverse(version(it)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::split_paths(&path).collect::<Vec<_>>();
    let has_server = |it: &&PathBuf| it.join("initdb").exists() && it.join("postgres").exists();
    let found = packaged.iter().chain(&named).find(has_server);
    found.expect("there is no PostgreSQL server; run `scripts/install --tests`").clone()
}

fn children(pid: u32) -> Vec<u32> {
    let told = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    told.unwrap_or_default().split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal).unwrap_or_default();
    }
}
