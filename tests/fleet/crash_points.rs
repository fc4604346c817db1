//! The gateway of a store in a file is killed at every step of what it keeps and answers, and each of
//! those steps fails once: what was acknowledged is there, what was not is there whole or not at all,
//! and no job has two results.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Server, ServerBuilder, answering, client, lonely};

use crate::checks::{Checks, eventually, same, short};
use crate::jobs::{program, submit};
use crate::languages::start;
use crate::player::{Player, completion, leases};
use crate::stopped::{Fate, at_call, can_trace, most_calls, noted};
use crate::target::{Answer, get, try_whole, whole};

const PATIENCE: Duration = Duration::from_secs(30);
/// Rounds at the same time.
const AT_ONCE: usize = 3;
/// Jobs that the story tells of.
const JOBS: usize = 6;

/// How far a client and a worker came with a gateway, until it was gone or refused something.
#[derive(Debug, Default)]
struct Story {
    /// What was asked for last: nobody knows whether it was done.
    asked: &'static str,
    /// The jobs that were acknowledged, by their keys.
    acknowledged: BTreeMap<&'static str, String>,
    /// The lease whose result was told.
    completed: Option<Value>,
    /// What was acknowledged beside jobs.
    done: BTreeSet<&'static str>,
}

impl Story {
    /// Goes on until something is not answered as it should be.
    async fn tell(&mut self, gateway: &Server, info: &Value) -> Option<()> {
        let player = Player::new(gateway, "a");
        self.asked = "register";
        well(player.try_call("register", &player.registration(info)).await)?;
        let lease = self.lease(&player, gateway, "completed").await?;
        self.asked = "complete";
        self.completed = Some(lease.clone());
        let told = well(player.try_call("complete", &completion(&lease, "first")).await)?;
        assert_eq!(told.body["results"], json!(["recorded"]));
        self.done.insert("complete");
        let lease = self.lease(&player, gateway, "failed").await?;
        self.asked = "fail";
        let failure = json!({"id": lease["id"], "token": lease["token"], "reason": "broken",
            "isRetryable": false, "mayHaveRun": true});
        let told = well(player.try_call("fail", &json!({ "failures": [failure] })).await)?;
        assert_eq!(told.body["ended"], json!([true]));
        self.done.insert("fail");
        let lease = self.lease(&player, gateway, "released").await?;
        self.asked = "release";
        let told = well(player.try_call("release", &json!({ "leases": [lease] })).await)?;
        assert_eq!(told.body["ended"], json!([true]));
        let id = self.submit(gateway, "unwanted").await?;
        self.asked = "cancel";
        let asked = client().delete(gateway.url(&format!("/v1/jobs/{id}")));
        well(try_whole(asked).await.ok())?;
        self.done.insert("cancel");
        self.asked = "batch";
        let asked = client().post(gateway.url("/v1/jobs")).body(batch().to_string());
        let asked = asked.header("content-type", "application/json");
        let told = well(try_whole(asked).await.ok())?;
        for (key, job) in ["one", "other"].into_iter().zip(told.body["jobs"].as_array().unwrap()) {
            self.acknowledged.insert(key, job["id"].as_str().unwrap().to_owned());
        }
        Some(())
    }

    async fn submit(&mut self, gateway: &Server, key: &'static str) -> Option<String> {
        self.asked = "submit";
        let asked = client().post(gateway.url("/v1/jobs")).header("idempotency-key", key);
        let asked = asked.header("content-type", "application/json");
        let told = well(try_whole(asked.body(job(key).to_string())).await.ok())?;
        let id = told.body["id"].as_str().unwrap().to_owned();
        self.acknowledged.insert(key, id.clone());
        Some(id)
    }

    /// The accepted lease of a job that is submitted for it.
    async fn lease(
        &mut self,
        player: &Player<'_>,
        gateway: &Server,
        key: &'static str,
    ) -> Option<Value> {
        let id = self.submit(gateway, key).await?;
        self.asked = "poll";
        let told = well(player.try_call("poll", &player.poll_named(key, 1, &[])).await)?;
        let lease = leases(&told).pop().unwrap();
        assert_eq!(lease["id"], id.as_str());
        self.asked = "beat";
        let told = player.try_call("beat", &player.beat_of(std::slice::from_ref(&lease))).await;
        assert_eq!(well(told)?.body["leases"], json!(["held"]));
        Some(lease)
    }

    /// What holds of a gateway that goes on where this ended.
    async fn check(&self, gateway: &Server, info: &Value) -> Result<()> {
        let before = jobs(gateway).await;
        let ids: BTreeSet<&str> = before.iter().filter_map(|it| it["id"].as_str()).collect();
        for (key, id) in &self.acknowledged {
            ensure!(ids.contains(id.as_str()), "the job `{key}` was acknowledged and is lost");
        }
        let of_batch = before.iter().filter(|it| it["priority"] == 7).count();
        ensure!(of_batch == 0 || of_batch == 2, "{of_batch} jobs of a batch of two are there");
        // A worker tells first what it could not tell before.
        let unregistered = Player::new(gateway, "a");
        if let Some(lease) = &self.completed {
            let told = unregistered.complete(lease, "first").await;
            let is_known = self.done.contains("complete");
            ensure!(told == "duplicate" || (told == "recorded" && !is_known), "it is {told}");
        }
        let mut player = Player::register(gateway, info, "b").await;
        let ids = self.submit_again(gateway).await?;
        same("the number of jobs", &jobs(gateway).await.len(), &JOBS)?;
        if !self.done.contains("cancel") {
            let again = client().delete(gateway.url(&format!("/v1/jobs/{}", ids["unwanted"])));
            let told = whole(again).await;
            ensure!([200, 202, 409].contains(&told.status), "{} {}", told.status, told.body);
        }
        finish(&mut player, gateway).await?;
        for (key, id) in ids {
            let job = get(gateway, &format!("/v1/jobs/{id}")).await.body;
            self.ended_well(key, &job).with_context(|| format!("`{key}`: {}", short(&job)))?;
        }
        Ok(())
    }

    /// The names of all jobs, submitted once more with their keys.
    async fn submit_again(&self, gateway: &Server) -> Result<BTreeMap<&'static str, String>> {
        let mut ids = BTreeMap::new();
        for key in ["completed", "failed", "released", "unwanted"] {
            let told = submit(gateway, &job(key), &[("idempotency-key", key)]).await;
            same("the status", &told.status, &202)?;
            ids.insert(key, told.body["id"].as_str().context("no id")?.to_owned());
        }
        let told = submit(gateway, &batch(), &[]).await;
        same("the status", &told.status, &202)?;
        for (key, job) in ["one", "other"].into_iter().zip(told.body["jobs"].as_array().unwrap()) {
            ids.insert(key, job["id"].as_str().context("no id")?.to_owned());
        }
        for (key, id) in &self.acknowledged {
            same("the job of a key", &ids[key], id)?;
        }
        Ok(ids)
    }

    fn ended_well(&self, key: &str, job: &Value) -> Result<()> {
        let (state, output) = (job["state"].as_str(), &job["result"]["output"]);
        match key {
            "unwanted" => same("the state", &state, &Some("cancelled")),
            "failed" if state == Some("dead") => attempts(job),
            "failed" => {
                ensure!(!self.done.contains("fail"), "it is forgotten that it failed");
                same("the output", output, &json!("again"))
            }
            _ => {
                let is_told = key == "completed" && self.completed.is_some();
                let expected = if is_told { "first" } else { "again" };
                same("the output", output, &json!(expected))?;
                attempts(job)
            }
        }
    }
}

/// One attempt, or one more where the worker had accepted the job and started anew.
fn attempts(job: &Value) -> Result<()> {
    let attempts = job["attempt"].as_u64();
    ensure!(matches!(attempts, Some(1 | 2)), "{attempts:?} attempts");
    Ok(())
}

/// An answer that is one.
fn well(answer: Option<Answer>) -> Option<Answer> {
    let answer = answer?;
    if [503, 507].contains(&answer.status) {
        answer.is_problem(answer.status, answer.body["code"].as_str().unwrap()).unwrap();
        return None;
    }
    assert!([200, 202].contains(&answer.status), "{} {}", answer.status, answer.body);
    Some(answer)
}

fn job(key: &str) -> Value {
    program(&format!("print('{key}')"))
}

fn batch() -> Value {
    let with_key = |key: &str| {
        let mut job = job(key);
        job["idempotencyKey"] = json!(key);
        job["priority"] = json!(7);
        job
    };
    json!({ "jobs": [with_key("one"), with_key("other")] })
}

async fn jobs(gateway: &Server) -> Vec<Value> {
    let list = get(gateway, "/v1/jobs?limit=200").await.body;
    list["jobs"].as_array().unwrap().clone()
}

/// Plays the worker until every job is over. No job takes a second result.
async fn finish(player: &mut Player<'_>, gateway: &Server) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = jobs(gateway).await;
        if left.iter().all(|it| !it["finishedAt"].is_null()) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "stuck: {}", short(&left));
        let taken = player.poll(10, &[]).await;
        if taken.is_empty() {
            continue;
        }
        player.beat(&taken).await;
        for lease in taken {
            same("a result", &player.complete(&lease, "again").await, &json!("recorded"))?;
            same("another one", &player.complete(&lease, "more").await, &json!("conflict"))?;
        }
    }
}

/// The gateway of a directory's store.
fn gateway_of(directory: &Path) -> ServerBuilder {
    lonely(directory, &[("GATEWAY_WORKERS", "1")])
}

/// A server once it answers, or none if it has ended before.
async fn begun(builder: ServerBuilder) -> Option<Server> {
    let mut server = builder.spawn();
    let begun = async || {
        let live = client().get(server.url("/health/live")).send().await;
        live.is_ok() || server.has_ended()
    };
    eventually("it answers or ends", PATIENCE, begun).await.unwrap();
    if server.has_ended() { None } else { Some(server) }
}

/// Ends a gateway, and looks at what it leaves.
async fn end(gateway: Server, directory: &Path) -> Result<()> {
    tokio::task::spawn_blocking(move || drop(gateway)).await?;
    let connection = rusqlite::Connection::open(directory.join("jobs.db"))?;
    let told: String = connection.pragma_query_value(None, "integrity_check", |row| row.get(0))?;
    same("the file", &told.as_str(), &"ok")
}

/// Where rounds begin.
struct Stage {
    info: Value,
    /// A store that has nothing in it.
    empty: tempfile::TempDir,
    /// What a gateway was asked when it met its fate, by the call.
    met: Mutex<BTreeSet<(String, &'static str)>>,
}

impl Stage {
    async fn set() -> Option<Self> {
        let executor = start("python", &[]).await?;
        let info = get(&executor, "/info").await.body;
        let empty = tempfile::tempdir().unwrap();
        let gateway = answering(gateway_of(empty.path())).await;
        end(gateway, empty.path()).await.unwrap();
        Some(Self { info, empty, met: Mutex::default() })
    }

    /// A directory of a round's own.
    fn directory(&self, is_new: bool) -> Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        for name in ["jobs.db", "jobs.db-wal"].into_iter().filter(|_| !is_new) {
            let from = self.empty.path().join(name);
            if from.exists() {
                std::fs::copy(from, directory.path().join(name))?;
            }
        }
        Ok(directory)
    }

    /// How often each of these calls is made in the whole story.
    async fn count(&self, calls: &[&str], is_new: bool) -> Result<BTreeMap<String, usize>> {
        let directory = self.directory(is_new)?;
        let log = directory.path().join("calls");
        let words = noted(calls, &log);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let gateway = begun(gateway_of(directory.path()).wrapped(&words)).await;
        let gateway = gateway.context("it does not start")?;
        let mut story = Story::default();
        story.tell(&gateway, &self.info).await.context("the story does not end")?;
        end(gateway, directory.path()).await?;
        Ok(most_calls(&log))
    }

    /// One round: the story until fate is met, and how it goes on.
    async fn play(&self, call: &str, number: usize, fate: Fate, is_new: bool) -> Result<()> {
        let directory = self.directory(is_new)?;
        let words = at_call(call, number, fate);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut story = Story { asked: "start", ..Story::default() };
        let gateway = begun(gateway_of(directory.path()).wrapped(&words)).await;
        let mut is_over = true;
        if let Some(mut gateway) = gateway {
            is_over = story.tell(&gateway, &self.info).await.is_none();
            if fate != Fate::Killed {
                story.check(&gateway, &self.info).await.context("without a restart")?;
            }
            if !is_over || fate != Fate::Killed {
                gateway.signal(Signal::TERM);
            }
            let code = tokio::task::spawn_blocking(move || gateway.wait()).await?;
            let expected = if is_over && fate == Fate::Killed { None } else { Some(0) };
            if !is_over && code.is_none() {
                story.asked = "end";
                is_over = true;
            } else {
                same("how it ended", &code, &expected)?;
            }
        }
        if is_over {
            self.met.lock().unwrap().insert((call.to_owned(), story.asked));
        }
        let gateway = answering(gateway_of(directory.path())).await;
        story.check(&gateway, &self.info).await?;
        end(gateway, directory.path()).await
    }
}

/// What is asked of a gateway that meets `fate` at calls of these kinds, every so many of them.
async fn check(fate: Fate, calls: &'static [(&'static str, usize)]) {
    if !can_trace() {
        return;
    }
    let Some(stage) = Stage::set().await else { return };
    let stage = Arc::new(stage);
    let names: Vec<&str> = calls.iter().map(|it| it.0).collect();
    let mut checks = Checks::default();
    for is_new in [false, true] {
        let counted = stage.count(&names, is_new).await.unwrap();
        println!("{fate:?}: {counted:?}");
        for (call, step) in calls {
            let most = counted.get(*call).copied().unwrap_or_default();
            // A new store is made before the story begins, and only that is of interest then.
            let most = if is_new { most.min(60) } else { most };
            // How many there are differs a little from round to round, and what fails after the story
            // is nobody's.
            let most = if fate == Fate::Killed { most } else { most - most / 20 };
            for number in (1..=most).step_by(if is_new { step * 3 } else { *step }) {
                let kind = if is_new { "a new store" } else { "a store" };
                let name = format!("{fate:?} at {call} number {number} of {kind}");
                let stage = Arc::clone(&stage);
                checks.add(name, async move { stage.play(call, number, fate, is_new).await });
            }
        }
    }
    checks.make("crash points of the gateway", AT_ONCE).await;
    let met = stage.met.lock().unwrap().clone();
    println!("{fate:?}: {met:?}");
    let asked: BTreeSet<&str> = met.iter().map(|it| it.1).collect();
    let all = ["submit", "complete", "poll", "beat", "fail", "release", "cancel", "batch"];
    // Every commit is a point to be killed at; what fails is a sample.
    let wanted = if fate == Fate::Killed { all.len() } else { 2 };
    for name in &all[..wanted] {
        assert!(asked.contains(name), "nothing was met at `{name}`: {met:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_before_or_after_any_commit_keeps_what_it_acknowledged() {
    check(Fate::Killed, &[("pwrite64", 7), ("fdatasync", 1), ("fsync", 1), ("ftruncate", 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_before_any_answer_says_the_same_when_asked_again() {
    check(Fate::Killed, &[("sendto", 1), ("writev", 1), ("sendmsg", 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_at_any_call_costs_at_most_what_is_refused() {
    check(Fate::Fails("EIO"), &[("pwrite64", 23), ("fdatasync", 1), ("fsync", 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_at_any_call_costs_at_most_what_is_refused() {
    check(Fate::Fails("ENOSPC"), &[("pwrite64", 17), ("fallocate", 1)]).await;
}
