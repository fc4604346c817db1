//! What is asked of a gateway whose store or which itself may end at any moment, and what must hold
//! when it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Server, client};

use crate::checks::{same, short};
use crate::jobs::{program, submit};
use crate::player::{Player, completion, leases};
use crate::target::{Answer, get, try_whole, whole};

const PATIENCE: Duration = Duration::from_secs(30);
/// Jobs that the story tells of.
const JOBS: usize = 6;
/// What of the story leaves something in the store.
pub(crate) const STEPS: [&str; 8] =
    ["submit", "complete", "poll", "beat", "fail", "release", "cancel", "batch"];

/// How far a client and a worker came with a gateway, until it was gone or refused something.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// What was asked for last: nobody knows whether it was done.
    pub(crate) asked: &'static str,
    /// The jobs that were acknowledged, by their keys.
    acknowledged: BTreeMap<&'static str, String>,
    /// The lease whose result was told.
    completed: Option<Value>,
    /// What was acknowledged beside jobs.
    done: BTreeSet<&'static str>,
}

impl Story {
    /// One that waits for its gateway to start.
    pub(crate) fn new() -> Self {
        Self { asked: "start", ..Self::default() }
    }

    /// Goes on until something is not answered as it should be.
    pub(crate) async fn tell(&mut self, gateway: &Server, info: &Value) -> Option<()> {
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
    pub(crate) async fn check(&self, gateway: &Server, info: &Value) -> Result<()> {
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
