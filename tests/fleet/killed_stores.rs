//! PostgreSQL and Redis are killed at the very calls that keep something and that answer, and start
//! again with what is on the disk: what was acknowledged is there, what was not is there whole or not
//! at all, and no job has two results.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::stores::{PostgresServer, RedisServer};
use tests::{Server, answering, client, lonely};

use crate::checks::eventually;
use crate::languages::start;
use crate::stopped::{Attached, can_trace, most_calls};
use crate::story::{STEPS, Story};
use crate::target::get;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that jobs are kept in.
trait Store: Send + 'static {
    /// Its processes.
    fn pids(&self) -> Vec<i32>;
    /// What a gateway opens, with nothing in it.
    fn empty(&mut self) -> String;
    /// Kills what is left of it, and starts it again.
    fn restart(&mut self);
}

impl Store for PostgresServer {
    fn pids(&self) -> Vec<i32> {
        Self::pids(self)
    }

    fn empty(&mut self) -> String {
        self.command("DROP SCHEMA IF EXISTS flotilla CASCADE");
        self.url("postgres")
    }

    fn restart(&mut self) {
        Self::restart(self);
    }
}

impl Store for RedisServer {
    fn pids(&self) -> Vec<i32> {
        vec![self.pid()]
    }

    fn empty(&mut self) -> String {
        self.command(&["FLUSHALL"]);
        self.url()
    }

    fn restart(&mut self) {
        Self::restart(self);
    }
}

/// A story of each round, with a server that all of them have after one another.
struct Stage<S> {
    store: Option<S>,
    info: Value,
    rounds: usize,
    /// What was asked for when the server was killed.
    met: BTreeSet<&'static str>,
}

impl<S: Store> Stage<S> {
    /// Does with the server what waits for it.
    async fn with<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> T {
        let mut store = self.store.take().unwrap();
        let acting = tokio::task::spawn_blocking(move || (act(&mut store), store));
        let (told, store) = acting.await.unwrap();
        self.store = Some(store);
        told
    }

    /// A gateway of a store that has nothing in it, and where that is kept.
    async fn begin(&mut self) -> (tempfile::TempDir, Server) {
        self.rounds += 1;
        let url = self.with(S::empty).await;
        let directory = tempfile::tempdir().unwrap();
        let gateway = answering(lonely(directory.path(), &[("GATEWAY_STORE_URL", &url)])).await;
        is_well(&gateway).await.unwrap();
        (directory, gateway)
    }

    /// How often each of these calls is made in the whole story by whoever makes most of them.
    async fn count(&mut self, calls: &'static [&'static str]) -> Vec<usize> {
        let (directory, gateway) = self.begin().await;
        let log = directory.path().join("calls");
        let to = log.clone();
        let noting = self.with(move |it| Attached::noting(&it.pids(), calls, &to)).await;
        let told = Story::new().tell(&gateway, &self.info).await;
        assert!(told.is_some(), "the story does not end");
        tokio::task::spawn_blocking(move || drop((gateway, noting))).await.unwrap();
        let counted = most_calls(&log);
        println!("{counted:?}");
        calls.iter().map(|it| counted.get(*it).copied().unwrap_or_default()).collect()
    }

    /// One round: the story until the server is killed, and how it goes on.
    async fn play(&mut self, call: &'static str, number: usize) -> Result<()> {
        let (_directory, gateway) = self.begin().await;
        let killing = self.with(move |it| Attached::killing(&it.pids(), call, number)).await;
        let mut story = Story::new();
        if story.tell(&gateway, &self.info).await.is_none() {
            self.met.insert(story.asked);
        }
        self.with(move |it| {
            drop(killing);
            it.restart();
        })
        .await;
        is_well(&gateway).await?;
        let checked = story.check(&gateway, &self.info).await;
        tokio::task::spawn_blocking(move || drop(gateway)).await?;
        checked
    }
}

/// Waits until a gateway has found its store again.
async fn is_well(gateway: &Server) -> Result<()> {
    let is_well = async || {
        let asked = client().get(gateway.url("/v1/queue")).send().await;
        asked.is_ok_and(|it| it.status().is_success())
    };
    eventually("the gateway finds its store", PATIENCE, is_well).await
}

/// Kills at calls of these kinds, every so many of them.
async fn check<S: Store>(start_store: fn() -> S, calls: &'static [&'static str], steps: &[usize]) {
    if !can_trace() {
        return;
    }
    let Some(executor) = start("python", &[]).await else { return };
    let info = get(&executor, "/info").await.body;
    drop(executor);
    let store = tokio::task::spawn_blocking(start_store).await.unwrap();
    let mut stage = Stage { store: Some(store), info, rounds: 0, met: BTreeSet::new() };
    let counted = stage.count(calls).await;
    // What a store writes by itself is counted as well, so a number may be another step's the next time.
    for _ in 0..3 {
        for ((call, most), step) in calls.iter().zip(&counted).zip(steps) {
            for number in (1..=*most).step_by(*step) {
                let round = stage.play(call, number).await;
                round.with_context(|| format!("killed at {call} number {number}")).unwrap();
            }
        }
        if STEPS.iter().all(|it| stage.met.contains(it)) {
            break;
        }
    }
    println!("{} rounds: {:?}", stage.rounds, stage.met);
    for step in STEPS {
        assert!(stage.met.contains(step), "nobody was killed at `{step}`: {:?}", stage.met);
    }
    tokio::task::spawn_blocking(move || drop(stage)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_killed_at_any_commit_or_answer_keeps_what_was_acknowledged() {
    check(PostgresServer::start, &["fdatasync", "sendto"], &[1, 19]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_at_any_flush_or_answer_keeps_what_was_acknowledged() {
    check(RedisServer::start, &["fdatasync", "write"], &[1, 5]).await;
}
