//! A gateway loses its store before, while or after something is written, and does not know which: it
//! says that it cannot, and whoever asks again finds it done once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::stores::{PostgresServer, RedisServer};
use tests::{Server, answering, client, lonely};

use crate::between::{Between, Deed, Moment, When};
use crate::checks::{Checks, same, short};
use crate::jobs::{program, submit};
use crate::languages::start;
use crate::player::{Player, completion, leases};
use crate::target::{Answer, get, whole};

const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway whose store is behind something that may cut it off.
struct Stage<'a> {
    gateway: &'a Server,
    between: &'a Between,
    info: &'a Value,
    /// What the gateway says to its store when something is to stay, if it says so.
    commit: Option<&'static [u8]>,
}

impl Stage<'_> {
    /// Asks for something that comes to an end nobody knows, and then again until it is answered.
    /// `words` are what only this says to the store.
    async fn ask_twice(
        &self,
        when: When,
        words: Vec<Vec<u8>>,
        ask: impl AsyncFn() -> Answer,
    ) -> Result<Answer> {
        self.between.plan(Moment { words, then: self.commit, when, deed: Deed::Cut });
        let first = ask().await;
        ensure!(self.between.is_done(), "it was not cut off: {} {}", first.status, first.body);
        first.is_problem(503, "store_unavailable")?;
        ensure!(!first.header("retry-after").is_empty(), "Retry-After is missing");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let again = ask().await;
            if again.status != 503 {
                ensure!([200, 202].contains(&again.status), "{} {}", again.status, again.body);
                return Ok(again);
            }
            ensure!(Instant::now() < deadline, "the store is not found again: {}", again.body);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One job whose every step is asked for twice.
    async fn play(&self, when: When, word: &str) -> Result<()> {
        let player = Player::register(self.gateway, self.info, "a").await;
        let before = self.count().await;
        let body = program(&format!("print('{word}')"));
        let key = [("idempotency-key", word)];
        let submit = async || submit(self.gateway, &body, &key).await;
        let told = self.ask_twice(when, vec![word.into()], submit).await.context("submit")?;
        let id = told.body["id"].as_str().context("no id")?.to_owned();
        same("the number of jobs", &self.count().await, &(before + 1))?;

        let name = format!("poll-{word}");
        let poll = player.poll_named(&name, 1, &[]);
        let told =
            self.ask_twice(when, vec![name.into()], async || player.call("poll", &poll).await);
        let given = leases(&told.await.context("poll")?);
        same("the jobs that are given", &given.len(), &1)?;
        same("the job", &given[0]["id"], &json!(id))?;
        let lease = &given[0];
        let beat = player.beat_of(&given);
        let told = self.ask_twice(when, token(lease), async || player.call("beat", &beat).await);
        same("the lease", &told.await.context("beat")?.body["leases"], &json!(["held"]))?;

        let output = format!("output-{word}");
        let result = completion(lease, &output);
        let tell = async || player.call("complete", &result).await;
        let told = self.ask_twice(when, vec![output.clone().into()], tell).await;
        let told = &told.context("complete")?.body["results"][0];
        let expected: &[&str] = match (when, self.commit) {
            (When::Before, _) => &["recorded"],
            // Others are answered on the same connection, so it may have been cut a little sooner.
            (When::After, Some(_)) => &["duplicate"],
            _ => &["recorded", "duplicate"],
        };
        ensure!(told.as_str().is_some_and(|it| expected.contains(&it)), "the result is {told}");
        same("another result", &player.complete(lease, "another").await, &json!("conflict"))?;
        let job = get(self.gateway, &format!("/v1/jobs/{id}")).await.body;
        same("the output", &job["result"]["output"], &json!(output)).context(short(&job))?;
        same("the attempts", &job["attempt"], &json!(1)).context(short(&job))?;
        self.give_back(&player, when, word).await
    }

    /// A job that is handed back, and one that comes to nothing.
    async fn give_back(&self, player: &Player<'_>, when: When, word: &str) -> Result<()> {
        for (number, name) in ["release", "fail", "cancel"].into_iter().enumerate() {
            let told = submit(self.gateway, &program("print(1)"), &[]).await;
            let id = told.body["id"].as_str().context("no id")?.to_owned();
            let poll = player.poll_named(&format!("{name}-{word}"), 1, &[]);
            let lease = leases(&player.call("poll", &poll).await).pop().context("no lease")?;
            let held = std::slice::from_ref(&lease);
            same("the lease", &player.beat(held).await, &json!(["held"]))?;
            let failure = json!({"id": lease["id"], "token": lease["token"], "reason": "broken",
                "isRetryable": false, "mayHaveRun": true});
            let bodies = [json!({ "leases": held }), json!({ "failures": [failure] })];
            let ask = async || match bodies.get(number) {
                Some(body) => player.call(name, body).await,
                None => whole(client().delete(self.gateway.url(&format!("/v1/jobs/{id}")))).await,
            };
            let words = if name == "cancel" { vec![bytes(&id)] } else { token(&lease) };
            self.ask_twice(when, words, ask).await.context(name)?;
            let job = get(self.gateway, &format!("/v1/jobs/{id}")).await.body;
            let expected = ["ready", "dead", "leased"][number];
            same("the state", &job["state"], &json!(expected)).context(short(&job))?;
            if name == "release" {
                same("the attempts", &job["attempt"], &json!(0)).context(short(&job))?;
                whole(client().delete(self.gateway.url(&format!("/v1/jobs/{id}")))).await;
            }
            if name == "cancel" {
                same("the lease", &player.beat(held).await, &json!(["cancel"]))?;
                player.call("fail", &bodies[1]).await;
            }
        }
        Ok(())
    }

    async fn count(&self) -> usize {
        let list = get(self.gateway, "/v1/jobs?limit=200").await.body;
        list["jobs"].as_array().unwrap().len()
    }
}

/// What a lease's token is to a store.
fn token(lease: &Value) -> Vec<Vec<u8>> {
    vec![bytes(lease["token"].as_str().unwrap())]
}

/// The bytes that hexadecimal digits stand for.
fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|it| *it != b'-').collect();
    let pair = |it: &[u8]| u8::from_str_radix(std::str::from_utf8(it).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// What is asked of a store that a gateway reaches through `between` at `url`.
async fn check(between: &Between, url: &str, commit: Option<&'static [u8]>) {
    let Some(executor) = start("python", &[]).await else { return };
    let info = get(&executor, "/info").await.body;
    drop(executor);
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[("GATEWAY_STORE_URL", url)])).await;
    let stage = Stage { gateway: &gateway, between, info: &info, commit };
    let mut checks = Checks::default();
    for when in [When::Before, When::Sent, When::After] {
        let stage = &stage;
        let name = format!("a store that is cut off ({when:?}) does everything once");
        checks.add(name, async move { stage.play(when, &format!("word{when:?}")).await });
    }
    checks.make("unknown outcomes", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_that_is_cut_off_at_a_commit_does_everything_once() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let between = Between::start(server.port()).await;
    let url = server.url("postgres").replace(&port(server.port()), &port(between.port()));
    check(&between, &url, Some(b"COMMIT")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_is_cut_off_at_an_operation_does_everything_once() {
    let server = tokio::task::spawn_blocking(RedisServer::start).await.unwrap();
    let between = Between::start(server.port()).await;
    let url = server.url().replace(&port(server.port()), &port(between.port()));
    check(&between, &url, None).await;
}

fn port(number: u16) -> String {
    format!("127.0.0.1:{number}")
}
