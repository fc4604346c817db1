//! Rooms, by clients that others wrote: Yjs and `y-websocket`, unchanged, in Node. What they do is in
//! `clients/rooms/scenarios.mjs`; here are the gateways that they do it to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::stores::{PostgresServer, RedisServer};
use tests::{Server, ServerBuilder, answering, client, lonely, repository, toolchain_path};

use crate::resources::fill;
use crate::viewer::post;

/// Where the clients are.
const SOURCES: &str = "tests/fleet/clients/rooms";
/// What a gateway may hold in memory beside what it has when it starts, while it is lied to, in KiB. It
/// holds 2 MiB; one frame that the library believed would cost 130.
const HOSTILE_KB_MAX: u64 = 32 << 10;

/// A folder with the clients and what they are made of.
fn clients() -> Option<PathBuf> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rooms-clients");
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(repository().join(SOURCES)).unwrap().flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    let lock = std::fs::read_to_string(folder.join("package-lock.json")).unwrap();
    let stamp = folder.join("node_modules/.installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|it| it == lock) {
        return Some(folder);
    }
    // No scripts: nothing of these packages needs one. A slow registry ends in an error.
    let installed = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"])
        .args(["--fetch-timeout=60000", "--fetch-retries=2", "--loglevel=error"])
        .current_dir(&folder)
        .env("PATH", path())
        .status();
    match installed {
        Ok(status) if status.success() => {
            std::fs::write(&stamp, lock).unwrap();
            Some(folder)
        }
        // Where everything was brought in, this is a failure.
        _ if std::env::var("REQUIRE_RUNTIMES").is_ok() => {
            panic!("npm ci of {SOURCES}: {installed:?}; install Node.js 20 or newer with npm")
        }
        _ => {
            println!("SKIPPED: npm cannot bring the clients of rooms: {installed:?}");
            None
        }
    }
}

fn path() -> String {
    format!("{}:{}", toolchain_path(), std::env::var("PATH").unwrap_or_default())
}

/// Gateways, and how one of them is started again.
pub(crate) struct Gateways {
    pub(crate) builder: Box<dyn Fn() -> ServerBuilder + Send>,
    pub(crate) one: Option<Server>,
    pub(crate) other: Option<Server>,
    pub(crate) redis: Option<RedisServer>,
    /// What fills their disk up.
    pub(crate) filler: Option<PathBuf>,
}

impl Gateways {
    /// One with a store of its own.
    pub(crate) fn alone(
        builder: Box<dyn Fn() -> ServerBuilder + Send>,
        one: Option<Server>,
    ) -> Self {
        Self { builder, one, other: None, redis: None, filler: None }
    }

    fn url(&self) -> String {
        self.one.as_ref().map(|it| it.url("")).unwrap_or_default()
    }

    /// Sends all processes of documents a signal.
    fn signal_documents(&self, signal: Signal) {
        let all = documents_of(self.one.as_ref().unwrap());
        assert!(all.len() >= 2, "each room has a process: {all:?}");
        for process in all {
            kill_process(process, signal).unwrap();
        }
    }

    /// Does what the clients ask for.
    async fn act(&mut self, what: &str) {
        match what {
            "restart" => {
                let mut old = self.one.take().unwrap();
                let port = old.port();
                old.signal(Signal::TERM);
                assert_eq!(old.wait(), Some(0), "{}", old.log());
                self.one = Some(answering((self.builder)().at(port)).await);
            }
            "kill" => {
                let old = self.one.take().unwrap();
                let port = old.port();
                old.abandon();
                self.one = Some(answering((self.builder)().at(port)).await);
            }
            "fill the disk" => fill(self.filler.as_ref().unwrap()),
            "free the disk" => std::fs::remove_file(self.filler.as_ref().unwrap()).unwrap(),
            "stop documents" => self.signal_documents(Signal::STOP),
            "kill documents" => self.signal_documents(Signal::KILL),
            "kill other" => self.other.take().unwrap().abandon(),
            "kill redis" => self.redis.as_mut().unwrap().kill(),
            "start redis" => {
                let mut redis = self.redis.take().unwrap();
                let restarted = tokio::task::spawn_blocking(move || {
                    redis.restart();
                    redis
                });
                self.redis = Some(restarted.await.unwrap());
            }
            _ => panic!("{what}"),
        }
    }
}

/// Has the clients act scenarios out; each says what came of it.
pub(crate) async fn play(gateways: &mut Gateways, names: &[&str]) {
    let folder = clients();
    let Some(folder) = folder else { return };
    let other = gateways.other.as_ref().map(|it| it.url("")).unwrap_or_default();
    let mut node = Command::new("node")
        .arg("scenarios.mjs")
        .args([gateways.url(), other])
        .args(names)
        .current_dir(folder)
        .env("PATH", path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = node.stdin.take().unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let mut done = Vec::new();
    loop {
        let next = tokio::task::spawn_blocking(move || (lines.next(), lines));
        let (line, rest) = next.await.unwrap();
        lines = rest;
        let Some(line) = line else { break };
        let told: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if let Some(what) = told["ask"].as_str() {
            gateways.act(what).await;
            writeln!(answers, "{}", json!({ "done": what })).unwrap();
        } else if let Some(name) = told["done"].as_str() {
            println!("{name}: {} ms", told["milliseconds"]);
            done.push(name.to_owned());
        } else {
            let log = gateways.one.as_ref().map(Server::log).unwrap_or_default();
            panic!("{}: {}\n{log}", told["failed"], told["why"].as_str().unwrap_or_default());
        }
    }
    let status = node.wait().unwrap();
    assert!(status.success(), "the clients ended with {status}");
    assert_eq!(done, names);
}

/// Makes gateways with these settings, and files in a directory.
fn builder(
    directory: &TempDir,
    settings: &[(&str, &str)],
) -> Box<dyn Fn() -> ServerBuilder + Send> {
    let place = directory.path().to_owned();
    let settings: Vec<(String, String)> =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Box::new(move || {
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        lonely(&place, &settings)
    })
}

/// A gateway with a file of its own, and the directory of that.
async fn alone(settings: &[(&str, &str)]) -> (Gateways, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let builder = builder(&directory, settings);
    let one = Some(answering(builder()).await);
    (Gateways::alone(builder, one), directory)
}

/// The processes that keep a gateway's documents.
fn documents_of(server: &Server) -> Vec<Pid> {
    let children = format!("/proc/{0}/task", server.pid());
    let tasks = std::fs::read_dir(children).unwrap().flatten();
    let lists = tasks.map(|it| std::fs::read_to_string(it.path().join("children")).unwrap());
    let all: Vec<i32> = lists
        .flat_map(|it| it.split_whitespace().map(|it| it.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    let is_document = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"flotilla-document\0")
    };
    all.into_iter().filter(is_document).filter_map(Pid::from_raw).collect()
}

/// What a process has in memory, in KiB: at most so far.
fn peak_kb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_write_together_in_a_room() {
    let (mut gateways, _directory) = alone(&[]).await;
    play(&mut gateways, &["converge", "offline", "presence", "echo", "unicode"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_entered_by_who_may_and_bears_so_much() {
    let (mut gateways, _directory) = alone(&[]).await;
    play(&mut gateways, &["roles", "refusals", "bounds", "slow"]).await;
    let log = gateways.one.as_ref().unwrap().log();
    assert!(!log.contains("ticket="), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_blames_no_room() {
    let (mut gateways, _directory) = alone(&[("GATEWAY_ROOMS_MB", "1")]).await;
    play(&mut gateways, &["crowded"]).await;
    let log = gateways.one.as_ref().unwrap().log();
    assert!(log.contains("set GATEWAY_ROOMS_MB, or delete rooms"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_alone_and_idle_keeps_its_connection() {
    let (mut gateways, _directory) = alone(&[]).await;
    play(&mut gateways, &["alone"]).await;
}

#[tokio::test]
async fn there_are_no_more_rooms_than_an_operator_wants() {
    let (gateways, _directory) = alone(&[("GATEWAY_ROOMS_MAX", "1")]).await;
    let server = gateways.one.as_ref().unwrap();
    let make = async || post(server, "/v1/rooms", &json!({}), &[]).await;
    let first = make().await;
    assert_eq!(first.status, 201, "{first:?}");
    make().await.is_problem(503, "too_many_rooms").unwrap();
    let path = format!("/v1/rooms/{}", first.body["id"].as_str().unwrap());
    let deleted = client().delete(server.url(&path)).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    assert_eq!(make().await.status, 201, "there is place again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_own_their_rooms() {
    let keys = "ann:ann-0123456789abcdef,ben:ben-0123456789abcdef";
    let (mut gateways, _directory) = alone(&[("GATEWAY_KEYS", keys)]).await;
    play(&mut gateways, &["keyed"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_outlives_its_server() {
    let (mut gateways, _directory) = alone(&[]).await;
    play(&mut gateways, &["restart", "killed"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_lies_to_a_room_harms_nobody() {
    let (mut gateways, _directory) = alone(&[]).await;
    let before = peak_kb(gateways.one.as_ref().unwrap());
    play(&mut gateways, &["hostile"]).await;
    let after = peak_kb(gateways.one.as_ref().unwrap());
    println!("at most {before} kB before, and {after} kB after");
    assert!(after < before + HOSTILE_KB_MAX, "{before} kB became {after} kB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_library_does_not_bear_is_the_matter_of_one_room() {
    let (gateways, _directory) = alone(&[]).await;
    bears_what_is_greedy(gateways).await;
}

/// Has somebody send changes that take everything, and somebody kill documents; and looks at what those
/// may have and do.
pub(crate) async fn bears_what_is_greedy(mut gateways: Gateways) {
    let before = peak_kb(gateways.one.as_ref().unwrap());
    play(&mut gateways, &["greedy"]).await;
    let server = gateways.one.as_ref().unwrap();
    let after = peak_kb(server);
    assert!(after < before + HOSTILE_KB_MAX, "{before} kB became {after} kB");
    let log = server.log();
    assert_eq!(log.matches("a document broke at a change").count(), 2, "{log}");
    let of_rooms = documents_of(server);
    assert_eq!(of_rooms.len(), 2, "those that ended are no more");
    for pid in &of_rooms {
        let told = |name| std::fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_nonzero()));
        assert!(told("status").unwrap().contains("\nSeccomp:\t2\n"), "it has no other calls");
        assert_eq!(told("environ").unwrap_or_default(), "", "it knows no secret");
        assert_eq!(told("oom_score_adj").unwrap(), "1000\n", "it ends before others");
    }
    let mut server = gateways.one.take().unwrap();
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    for pid in of_rooms {
        assert!(test_kill_process(pid).is_err(), "a document outlives its gateway");
    }
}

/// Two gateways that keep rooms in one PostgreSQL server, with these settings beside.
async fn two(settings: &[(&str, &str)]) -> (Gateways, (TempDir, PostgresServer)) {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let url = server.url("postgres");
    let directory = tempfile::tempdir().unwrap();
    let kept = [("GATEWAY_STORE_URL", &*url), ("GATEWAY_ROOMS_URL", &*url)];
    let builder = builder(&directory, &[&kept[..], settings].concat());
    let (one, other) = (Some(answering(builder()).await), Some(answering(builder()).await));
    (Gateways { other, ..Gateways::alone(builder, one) }, (directory, server))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_share_rooms_by_postgresql() {
    let (mut gateways, _kept) = two(&[]).await;
    play(&mut gateways, &["shared", "killed"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_tell_each_other_of_rooms_by_redis() {
    let redis = tokio::task::spawn_blocking(RedisServer::start).await.unwrap();
    // Where jobs are kept in Redis, rooms are told of there as well.
    let (mut gateways, _kept) = two(&[("GATEWAY_STORE_URL", &redis.url())]).await;
    gateways.redis = Some(redis);
    play(&mut gateways, &["outage", "shared", "killed"]).await;
    let heard = gateways.redis.as_ref().unwrap();
    let heard = heard.command(&["PUBSUB", "NUMSUB", "{flotilla}:rooms"]);
    assert!(heard.ends_with(":1\r\n"), "one gateway is left, and hears: {heard}");
}

#[tokio::test]
async fn a_bus_for_rooms_that_are_in_a_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let bus = ("GATEWAY_ROOMS_BUS_URL", "redis://:secret-word@127.0.0.1:9");
    let mut gateway = lonely(directory.path(), &[bus]).spawn();
    assert_ne!(gateway.wait(), Some(0));
    let log = gateway.log();
    assert!(log.contains("keep them in PostgreSQL by GATEWAY_ROOMS_URL"), "{log}");
    assert!(!log.contains("secret-word"), "{log}");
}
