//! A Redis or Valkey server of a test's own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Home, PATIENCE, PLACE};
use crate::lasting_port;

/// Ports that are tried.
const TRIES: usize = 20;

/// A Redis or Valkey server with a directory of its own, on a free port of loopback.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    settings: Vec<(String, String)>,
    home: Home,
}

impl RedisServer {
    /// Starts one that keeps everything: each change is flushed before it is answered.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with other settings, by their names in `redis.conf`.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_in(&[], settings)
    }

    /// The same with variables.
    pub fn start_in(variables: &[(&str, &str)], settings: &[(&str, &str)]) -> Self {
        let home = Home::new(Path::new(PLACE), variables);
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
            let port = lasting_port();
            let mut child = spawn(&home, port, &settings);
            if wait(&mut child, port) {
                return Self { child, port, settings, home };
            }
            // Somebody else took the port meanwhile.
        }
        panic!("no server starts: {:?}", std::fs::read_to_string(home.data().join("log")))
    }

    /// What a store is opened with.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
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

    /// Starts it again with what it kept, on the same port.
    pub fn restart(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
        self.child = spawn(&self.home, self.port, &self.settings);
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

fn spawn(home: &Home, port: u16, settings: &[(String, String)]) -> Child {
    let settings = settings.iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()]);
    // Without a file of settings it takes those of no system.
    let child = home
        .command(&program())
        .args(["--port", &port.to_string(), "--logfile", "log"])
        .args(settings)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    home.note_server(&child);
    child
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
