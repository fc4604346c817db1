//! Disks that fill up below a store of jobs or of rooms, or below the results of a worker: what is new is
//! refused with what to do, what is there comes to its end, and all goes on when there is room again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::stores::{PostgresServer, RedisServer};
use tests::{Server, answering, client, lonely};

use crate::checks::{eventually, same};
use crate::connections::is_running;
use crate::jobs::{ended, program, submit, submitted};
use crate::languages::start;
use crate::player::Player;
use crate::resources::{SmallDisk, fill};
use crate::rooms::{Gateways, play};
use crate::target::{get, whole};
use crate::workers::{registered, worker};

const PATIENCE: Duration = Duration::from_mins(1);
/// What every store says that is full.
const NO_ROOM: &str = "the store has no room left; free some on its disk";

/// A small disk of a test's own. None, and that is said, if this user may not have one.
fn small_disk(directory: &Path, megabytes: u32) -> Option<(SmallDisk, PathBuf)> {
    let disk = directory.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = SmallDisk::mount_of(&disk, megabytes);
    if mounted.is_none() {
        println!("SKIPPED: this user may not mount a small disk");
    }
    Some((mounted?, disk))
}

/// A program of 30 KB.
fn large(number: usize) -> Value {
    program(&format!("print({number})  # {}", "x".repeat(30_000)))
}

/// Submits until that is refused, and says which jobs were taken.
async fn submit_until_full(gateway: &Server, most: usize) -> Result<Vec<String>> {
    let mut taken = Vec::new();
    while taken.len() < most {
        let answer = submit(gateway, &large(taken.len()), &[]).await;
        if answer.status != 202 {
            ensure!(answer.status == 507, "{} {}", answer.status, answer.body);
            answer.is_problem(507, "store_full")?;
            same("the detail", &answer.body["detail"], &json!(NO_ROOM))?;
            ensure!(!answer.header("retry-after").is_empty(), "Retry-After is missing");
            return Ok(taken);
        }
        taken.push(answer.body["id"].as_str().context("no id")?.to_owned());
    }
    anyhow::bail!("{most} jobs fit");
}

/// What the gateway says of its health, once it is so.
async fn health_is(gateway: &Server, wanted: &str, output: Option<&str>) -> Result<()> {
    let mut last = Value::Null;
    let is_so = async || {
        last = get(gateway, "/health").await.body;
        last["status"] == wanted && output.is_none_or(|it| last["output"] == it)
    };
    let so = eventually("the health", PATIENCE, is_so).await;
    so.with_context(|| format!("it is {last}"))
}

/// What holds of a gateway below whose store a disk fills up and is made free again. `info` is what
/// the worker says that the test plays; `keeps_room` is whether the store has room for results then.
async fn fills_and_is_freed(
    gateway: &Server,
    (info, keeps_room): (&Value, bool),
    (fill_up, make_free): (impl AsyncFnOnce(), impl AsyncFnOnce()),
) -> Result<()> {
    let mut player = Player::register(gateway, info, "a").await;
    health_is(gateway, "pass", None).await?;
    let key = [("idempotency-key", "before")];
    let before = submit(gateway, &program("print(1)"), &key).await.body["id"].clone();
    let given = player.poll(1, &[]).await;
    same("the lease", &player.beat(&given).await, &json!(["held"]))?;
    fill_up().await;
    // Were its lease to end meanwhile, it would wait as well.
    let holds = async {
        loop {
            tokio::time::sleep(Duration::from_secs(3)).await;
            player.beat(&given).await;
        }
    };
    let taken = tokio::select! {
        taken = submit_until_full(gateway, 3000) => taken?,
        () = holds => unreachable!("it holds it for good"),
    };
    println!("{} jobs were taken before the disk was full", taken.len());
    let queue = get(gateway, "/v1/queue").await.body;
    same("the jobs that wait", &queue["languages"][0]["ready"], &json!(taken.len()))?;
    health_is(gateway, "warn", Some(NO_ROOM)).await?;
    if keeps_room {
        // What was acknowledged is known, and what runs comes to its end.
        let again = submit(gateway, &program("print(1)"), &key).await;
        same("the job of a key", &again.body["id"], &before)?;
        is_taken_at_last(&player, &given[0]).await?;
    }
    make_free().await;
    health_is(gateway, "pass", None).await?;
    let job = get(gateway, &format!("/v1/jobs/{}", before.as_str().context("no id")?)).await.body;
    if keeps_room {
        same("the output", &job["result"]["output"], &json!("done"))?;
        same("the attempts", &job["attempt"], &json!(1))?;
    } else {
        // Where no lease could be extended it has ended, and the job goes on elsewhere.
        same("the result", &job["result"], &Value::Null)?;
    }
    for id in &taken {
        let told = whole(client().delete(gateway.url(&format!("/v1/jobs/{id}")))).await;
        same("the status", &told.status, &202)?;
    }
    let next = submitted(gateway, &program("print(2)")).await;
    let is_done = async || {
        let given = player.poll(10, &[]).await;
        player.beat(&given).await;
        for lease in &given {
            player.complete(lease, "next").await;
        }
        get(gateway, &format!("/v1/jobs/{next}")).await.body["state"] == "succeeded"
    };
    eventually("the next job ends", PATIENCE, is_done).await
}

/// Tells a result until it is taken, as workers do.
async fn is_taken_at_last(player: &Player<'_>, lease: &Value) -> Result<()> {
    let mut told = Value::Null;
    let is_taken = async || {
        told = player.complete(lease, "done").await;
        told == "recorded" || told == "duplicate"
    };
    let taken = eventually("the result is taken", PATIENCE, is_taken).await;
    taken.with_context(|| format!("it is {told}"))
}

async fn info() -> Option<Value> {
    let executor = start("python", &[]).await?;
    Some(get(&executor, "/info").await.body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_below_a_file_of_jobs_refuses_new_ones_and_ends_the_others() {
    let directory = tempfile::Builder::new().prefix("flotilla-disk-").tempdir().unwrap();
    let Some((_mounted, disk)) = small_disk(directory.path(), 48) else { return };
    let Some(info) = info().await else { return };
    let gateway = answering(lonely(&disk, &[])).await;
    let filler = disk.join("filler");
    let fill_up = async || fill(&filler);
    let make_free = async || std::fs::remove_file(&filler).unwrap();
    fills_and_is_freed(&gateway, (&info, true), (fill_up, make_free)).await.unwrap();
    tokio::task::spawn_blocking(move || drop(gateway)).await.unwrap();
    let store = rusqlite::Connection::open(disk.join("jobs.db")).unwrap();
    let told: String = store.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(told, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_below_rooms_shows_everybody_out_until_there_is_room_and_keeps_what_was_kept() {
    let directory = tempfile::Builder::new().prefix("flotilla-disk-").tempdir().unwrap();
    let Some((_mounted, disk)) = small_disk(directory.path(), 48) else { return };
    let place = disk.clone();
    let builder = move || lonely(&place, &[]);
    let one = Some(answering(builder()).await);
    let filler = Some(disk.join("filler"));
    let mut gateways = Gateways { filler, ..Gateways::alone(Box::new(builder), one) };
    play(&mut gateways, &["outOfDisk"]).await;
    tokio::task::spawn_blocking(move || drop(gateways)).await.unwrap();
    let store = rusqlite::Connection::open(disk.join("jobs.db.rooms")).unwrap();
    let told: String = store.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(told, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_on_a_full_disk_and_ends_what_is_there() {
    let directory = tempfile::Builder::new().prefix("flotilla-disk-").tempdir().unwrap();
    let Some((_mounted, disk)) = small_disk(directory.path(), 48) else { return };
    let Some(info) = info().await else { return };
    let gateway = answering(lonely(&disk, &[])).await;
    let mut player = Player::register(&gateway, &info, "a").await;
    let id = submitted(&gateway, &program("print(1)")).await;
    let given = player.poll(1, &[]).await;
    player.beat(&given).await;
    gateway.signal(rustix::process::Signal::KILL);
    gateway.abandon();
    fill(&disk.join("filler"));
    let gateway = answering(lonely(&disk, &[])).await;
    is_taken_at_last(&Player::new(&gateway, "a"), &given[0]).await.unwrap();
    let job = get(&gateway, &format!("/v1/jobs/{id}")).await.body;
    assert_eq!(job["result"]["output"], "done", "{job}");
    Player::register(&gateway, &info, "b").await;
    let refused = submit(&gateway, &program("print(2)"), &[]).await;
    refused.is_problem(507, "store_full").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_below_postgresql_refuses_new_jobs_and_forgets_none() {
    let directory = tempfile::Builder::new().prefix("flotilla-disk-").tempdir().unwrap();
    crate::killed::open_to_all(directory.path());
    let Some((_mounted, disk)) = small_disk(directory.path(), 160) else { return };
    let Some(info) = info().await else { return };
    let place = disk.clone();
    let server = tokio::task::spawn_blocking(move || PostgresServer::start_in(&place, &[]));
    let server = server.await.unwrap();
    let url = server.url("postgres");
    let gateway = answering(lonely(&disk, &[("GATEWAY_STORE_URL", &url)])).await;
    let filler = disk.join("filler");
    let fill_up = async || fill(&filler);
    let make_free = async || std::fs::remove_file(&filler).unwrap();
    fills_and_is_freed(&gateway, (&info, false), (fill_up, make_free)).await.unwrap();
    tokio::task::spawn_blocking(move || drop((gateway, server))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_without_memory_refuses_new_jobs_and_forgets_none() {
    let Some(info) = info().await else { return };
    let server = tokio::task::spawn_blocking(RedisServer::start).await.unwrap();
    let url = server.url();
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[("GATEWAY_STORE_URL", &url)])).await;
    let bound = |most: &str| server.command(&["CONFIG", "SET", "maxmemory", most]);
    let fill_up = async || drop(bound("12mb"));
    let make_free = async || drop(bound("0"));
    fills_and_is_freed(&gateway, (&info, false), (fill_up, make_free)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_below_a_worker_s_results_costs_none_of_them() {
    let directory = tempfile::Builder::new().prefix("flotilla-disk-").tempdir().unwrap();
    let Some((_mounted, disk)) = small_disk(directory.path(), 8) else { return };
    let place = directory.path();
    let gateway = answering(lonely(place, &[])).await;
    let port = gateway.port();
    let spool = disk.join("spool");
    let settings = [("EXECUTOR_SLOTS", "1"), ("EXECUTOR_SPOOL_DIR", spool.to_str().unwrap())];
    let Some(worker) = worker(&gateway, "w", &settings).await else { return };
    let id = submitted(&gateway, &program("import time\ntime.sleep(4)\nprint('done')")).await;
    is_running(&worker, 1).await;
    fill(&disk.join("filler"));
    gateway.signal(rustix::process::Signal::KILL);
    gateway.abandon();
    let is_told = async || worker.log().contains("a result is in memory only");
    eventually("the result cannot be kept", PATIENCE, is_told).await.unwrap();
    let gateway = answering(lonely(place, &[]).at(port)).await;
    registered(&gateway, "w").await.unwrap();
    let job = ended(&gateway, &id).await;
    assert_eq!((&job["state"], &job["result"]["output"]), (&json!("succeeded"), &json!("done\n")));
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "it ran once: {job}");
    let next = submitted(&gateway, &program("print('next')")).await;
    assert_eq!(ended(&gateway, &next).await["result"]["output"], "next\n");
    tokio::task::spawn_blocking(move || drop((worker, gateway))).await.unwrap();
}
