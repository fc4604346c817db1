//! A Redis or Valkey server of a test's own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Where servers keep what they write: on a disk, as `/tmp` may be none.
const ROOT: &str = "/var/tmp";
const PREFIX: &str = "flotilla-redis-";
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ports that no outgoing connection is given, so that a server finds its own free again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports that are tried.
const TRIES: usize = 20;

/// A server process with what it keeps. Both are gone when it is dropped; the process also when the
/// thread that started it ends in any way, and its directory when the next one is started after that.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    settings: Vec<(String, String)>,
    directory: TempDir,
    _lock: File,
}

impl RedisServer {
    /// Starts one that keeps everything: each change is flushed before it is answered.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with other settings, by their names in `redis.conf`.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        remove_left_behind();
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(ROOT).unwrap();
        let lock = File::create(directory.path().join("lock")).unwrap();
        lock.try_lock().unwrap();
        let standard = [
            ("bind", "127.0.0.1"),
            ("save", ""),
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("maxmemory-policy", "noeviction"),
        ];
        let settings: Vec<(String, String)> = standard
            .iter()
            .filter(|(name, _)| settings.iter().all(|(other, _)| other != name))
            .chain(settings)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        for _ in 0..TRIES {
            let port = free_port();
            let mut child = spawn(directory.path(), port, &settings);
            if wait(&mut child, port) {
                return Self { child, port, settings, directory, _lock: lock };
            }
            // Somebody else took the port meanwhile.
        }
        panic!("no server starts: {:?}", std::fs::read_to_string(directory.path().join("log")))
    }

    /// What a store is opened with.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has it stand still, as one that is overloaded.
    pub fn pause(&self) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), Signal::STOP).unwrap();
    }

    /// Has it go on.
    pub fn resume(&self) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), Signal::CONT).unwrap();
    }

    /// Starts it again with what it kept, on the same port. Do that on the thread that started it.
    pub fn restart(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
        self.child = spawn(self.directory.path(), self.port, &self.settings);
        assert!(wait(&mut self.child, self.port), "the server does not start again");
    }

    /// Has it do something, and returns its answer as it comes over the wire.
    pub fn command(&self, words: &[&str]) -> String {
        ask(self.port, words).unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        drop(self.child.wait());
    }
}

fn spawn(directory: &Path, port: u16, settings: &[(String, String)]) -> Child {
    let log = File::create(directory.join("log")).unwrap();
    let settings = settings.iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()]);
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program())
        .args(["--port", &port.to_string(), "--dir"])
        .arg(directory)
        .args(settings)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("`setpriv` of util-linux is installed")
}

/// The server that is installed.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories = std::env::split_paths(&path);
    let found = directories.find_map(|directory| {
        let mut programs =
            ["valkey-server", "redis-server"].map(|it| directory.join(it)).into_iter();
        programs.find(|it| it.exists())
    });
    found.expect("`redis-server` or `valkey-server` is installed")
}

/// Waits until a server is well. False if it ends instead.
fn wait(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if ask(port, &["PING"]).is_ok_and(|it| it.starts_with("+PONG")) {
            return true;
        }
        assert!(Instant::now() < deadline, "the server does not answer");
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Sends a command, and returns what comes first.
fn ask(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "*{}\r\n", words.len())?;
    for word in words {
        write!(stream, "${}\r\n{word}\r\n", word.len())?;
    }
    let mut answer = vec![0; 65_536];
    let length = stream.read(&mut answer)?;
    answer.truncate(length);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn free_port() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    for attempt in 0..1000_u32 {
        let chance = RandomState::new().hash_one(attempt) % u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(chance).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// Removes what servers kept whose tests were killed: nobody holds their locks.
fn remove_left_behind() {
    for entry in std::fs::read_dir(ROOT).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && File::open(entry.path().join("lock")).is_ok_and(|it| it.try_lock().is_ok())
        {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}
