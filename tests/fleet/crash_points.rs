//! The gateway of a store in a file is killed at every step of what it keeps and answers, and each of
//! those steps fails once: what was acknowledged is there, what was not is there whole or not at all,
//! and no job has two results.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::Value;
use tests::{Server, ServerBuilder, answering, client, lonely};

use crate::checks::{Checks, eventually, same};
use crate::languages::start;
use crate::stopped::{Fate, at_call, can_trace, most_calls, noted};
use crate::story::{STEPS, Story};
use crate::target::get;

const PATIENCE: Duration = Duration::from_secs(30);
/// Rounds at the same time.
const AT_ONCE: usize = 3;

/// Where a gateway keeps things. One whose rooms are new is killed at those first.
const FILES: [&str; 4] = ["jobs.db", "jobs.db-wal", "jobs.db.rooms", "jobs.db.rooms-wal"];

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
        for name in FILES.into_iter().filter(|_| !is_new) {
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
        let mut story = Story::new();
        story.tell(&gateway, &self.info).await.context("the story does not end")?;
        end(gateway, directory.path()).await?;
        Ok(most_calls(&log))
    }

    /// One round: the story until fate is met, and how it goes on.
    async fn play(&self, call: &str, number: usize, fate: Fate, is_new: bool) -> Result<()> {
        let directory = self.directory(is_new)?;
        let words = at_call(call, number, fate);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut story = Story::new();
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
    // Every commit is a point to be killed at; what fails is a sample.
    let wanted = if fate == Fate::Killed { STEPS.len() } else { STEPS.len() / 2 };
    let count = STEPS.iter().filter(|it| asked.contains(**it)).count();
    assert!(count >= wanted, "it was met at {count} of the steps only: {met:?}");
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
