//! A worker is killed at every step of a job, or what it says and hears is lost there: the job comes to
//! its end with one result, and the worker leaves nothing behind.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Server, ServerBuilder, answering, lonely};

use crate::between::{Between, Deed, Moment, When};
use crate::checks::{Checks, eventually, same, short};
use crate::connections::{is_there, word};
use crate::jobs::{ended, program, started, submitted};
use crate::languages::start;
use crate::processes::{kill, spawner_and_reapers, with_word};
use crate::stopped::{Fate, at_call, can_trace};
use crate::target::get;
use crate::workers::{registered, worker};

const PATIENCE: Duration = Duration::from_mins(1);

/// What a worker says of a job to its gateway.
const SAID: [&str; 3] = ["poll", "beat", "complete"];
/// Where it is killed: it has been given a job, is about to accept it, has done so, has its result, and
/// has told it.
const KILLED: [(&str, When); 5] = [
    ("poll", When::After),
    ("beat", When::Before),
    ("beat", When::After),
    ("complete", When::Before),
    ("complete", When::After),
];

/// A worker that calls a gateway at a port.
fn caller(port: u16, spool: &Path) -> ServerBuilder {
    ServerBuilder::new("executor-python")
        .set("EXECUTOR_PULL_URL", &format!("http://127.0.0.1:{port}"))
        .set("EXECUTOR_WORKER_NAME", "w")
        .set("EXECUTOR_SLOTS", "1")
        .set("EXECUTOR_SPOOL_DIR", spool.to_str().unwrap())
}

/// A program whose every run says something else.
fn chance() -> Value {
    program("import os\nprint(os.urandom(8).hex())")
}

/// A job's end: it has one result, and what the worker kept is let go.
async fn ends_once(gateway: &Server, id: &str, spool: &Path) -> Result<Value> {
    let job = ended(gateway, id).await;
    same("the state", &job["state"], &json!("succeeded")).context(short(&job))?;
    let output = job["result"]["output"].as_str().context("no output")?;
    ensure!(output.len() == 17, "the output is {output}");
    let is_let_go = async || names(spool).is_empty();
    let let_go = eventually("what was kept is let go", PATIENCE, is_let_go).await;
    let_go.with_context(|| format!("{:?}", names(spool)))?;
    same("the result", &get(gateway, &format!("/v1/jobs/{id}")).await.body, &job)?;
    Ok(job)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
}

/// When the worker says `name`.
fn moment(name: &str, when: When, deed: Deed) -> Moment {
    let words = vec![format!("POST /v1/worker/{name} ").into_bytes()];
    Moment { words, then: None, when, deed }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_says_or_hears_may_be_lost() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    let between = Between::start(gateway.port()).await;
    let spool = directory.path().join("spool");
    let Some(executor) = start("python", &[]).await else { return };
    drop(executor);
    between.plan(moment("register", When::After, Deed::Cut));
    let worker = caller(between.port(), &spool).start().await;
    let mut checks = Checks::default();
    for name in SAID {
        for when in [When::Before, When::After] {
            let (gateway, between, spool) = (&gateway, &between, &spool);
            checks.add(format!("a `{name}` that is lost ({when:?}) costs nothing"), async move {
                registered(gateway, "w").await?;
                between.plan(moment(name, when, Deed::Cut));
                // The poll that is open gives the first, and the one that is lost the second.
                for _ in 0..2 {
                    let id = submitted(gateway, &chance()).await;
                    let job = ends_once(gateway, &id, spool).await?;
                    // It ran once: nobody but its worker had it.
                    same("the attempts", &job["attempt"], &json!(1)).context(short(&job))?;
                }
                between.done().await;
                Ok(())
            });
        }
    }
    checks.make("what is lost between a worker and its gateway", 1).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_anything_that_it_says_costs_no_job() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    let spool = directory.path().join("spool");
    // One that takes no such jobs says what languages there are.
    let other = [("EXECUTOR_PULL_QUEUES", "others")];
    let Some(_other) = worker(&gateway, "other", &other).await else { return };
    let mut checks = Checks::default();
    for (name, when) in KILLED {
        let (gateway, spool) = (&gateway, &spool);
        checks.add(format!("killed at a `{name}` ({when:?})"), async move {
            let between = Between::start(gateway.port()).await;
            between.plan(moment(name, when, Deed::Hold));
            let victim = caller(between.port(), spool).spawn();
            let id = submitted(gateway, &chance()).await;
            between.done().await;
            victim.signal(Signal::KILL);
            victim.abandon();
            let heir = caller(gateway.port(), spool).start().await;
            let job = ends_once(gateway, &id, spool).await?;
            // It may be that the job was to blame: a worker that dies with one costs an attempt.
            let attempts = job["attempt"].as_u64();
            ensure!(matches!(attempts, Some(1 | 2)), "{}", short(&job));
            tokio::task::spawn_blocking(move || drop(heir)).await?;
            Ok(())
        });
    }
    checks.make("kills of a worker", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_while_it_keeps_a_result_costs_no_job() {
    if !can_trace() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    let Some(executor) = start("python", &[]).await else { return };
    drop(executor);
    let mut checks = Checks::default();
    // The file is written, it is on the disk, it has its name, and it is told and let go.
    for (call, number) in [("fsync", 1), ("rename,renameat,renameat2", 1), ("fsync", 2)] {
        let (spool, place) = (&spool, directory.path());
        checks.add(format!("killed at {call} number {number}"), async move {
            let gateway = answering(lonely(place, &[])).await;
            let between = Between::start(gateway.port()).await;
            let words = at_call(call, number, Fate::Killed);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let victim = caller(between.port(), spool).wrapped(&words).spawn();
            registered(&gateway, "w").await?;
            between.plan(moment("complete", When::Before, Deed::Cut));
            let id = submitted(&gateway, &chance()).await;
            between.done().await;
            let mut victim = victim;
            let ends = async || victim.has_ended();
            eventually("it is killed as it keeps a result", PATIENCE, ends).await?;
            drop((between, victim));
            let heir = caller(gateway.port(), spool).start().await;
            ends_once(&gateway, &id, spool).await?;
            tokio::task::spawn_blocking(move || drop((heir, gateway))).await?;
            Ok(())
        });
    }
    checks.make("kills of a worker at its spool", 1).await;
}

/// Who is killed in the middle of a job.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Spawner,
    SpawnerAndReapers,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_outlives_the_processes_that_run_it() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    let slots = [("EXECUTOR_SLOTS", "1")];
    let Some(worker) = worker(&gateway, "w", &slots).await else { return };
    let mut checks = Checks::default();
    for victim in [Victim::Spawner, Victim::SpawnerAndReapers] {
        let (gateway, worker) = (&gateway, &worker);
        checks.add(format!("killing {victim:?} costs an attempt at most"), async move {
            let word = word(&format!("job-{victim:?}"));
            let code = "import sys, time\nprint(sys.argv[1][:3], flush=True)\ntime.sleep(6)";
            let mut body = program(code);
            body["args"] = json!([word]);
            let id = submitted(gateway, &body).await;
            started(gateway, &id).await;
            is_there(&word).await?;
            let run = with_word(&word);
            let (spawner, reapers) = spawner_and_reapers(worker.pid(), &run);
            let spawner = spawner.context("there is no spawner")?;
            match victim {
                Victim::Spawner => kill(spawner),
                Victim::SpawnerAndReapers => {
                    [vec![spawner], reapers].into_iter().flatten().for_each(kill);
                }
            }
            let job = ended(gateway, &id).await;
            same("the state", &job["state"], &json!("succeeded")).context(short(&job))?;
            same("the output", &job["result"]["output"], &json!(format!("{}\n", &word[..3])))?;
            // Without its spawner a run goes on; without its reaper it is stopped, and counts.
            let attempts = if matches!(victim, Victim::Spawner) { 1 } else { 2 };
            same("the attempts", &job["attempt"], &json!(attempts)).context(short(&job))
        });
    }
    checks.make("processes below a worker", 1).await;
}
