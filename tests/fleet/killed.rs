//! Processes that are killed from outside: the program, its reaper, the spawner, the server.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::json;
use tests::{Server, ServerBuilder};

use crate::checks::{Checks, eventually, same, short};
use crate::connections::{is_gone, is_there, sleeper, slots_are_free, word};
use crate::language::language;
use crate::languages::start;
use crate::processes::{
    below, children, is_ours, kill, lives, spawner_and_reapers, with_word, words,
};
use crate::target::{Answer, Target, get};

const PATIENCE: Duration = Duration::from_secs(15);

/// Who is killed in the middle of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Program,
    Reaper,
    Spawner,
    SpawnerAndReapers,
}

#[tokio::test]
async fn a_server_outlives_every_process_below_it() {
    let Some(executor) = start("python", &[("EXECUTOR_SLOTS", "2")]).await else { return };
    let mut checks = Checks::default();
    let victims = [
        Victim::Program,
        Victim::Reaper,
        Victim::Spawner,
        Victim::SpawnerAndReapers,
        Victim::Spawner,
    ];
    for (round, victim) in victims.into_iter().enumerate() {
        let name = format!("killing {victim:?} costs at most the run, and no slot (round {round})");
        checks.add(name, survive(&executor, victim, round));
    }
    checks.make("killed processes", 1).await;
    // Cells wait for a run, and hold nothing that was a run's.
    let all_are_ours = async || below(executor.pid()).into_iter().all(is_ours);
    eventually("nothing of the runs is left", PATIENCE, all_are_ours).await.unwrap();
}

async fn survive(executor: &Server, victim: Victim, round: usize) -> Result<()> {
    let target = Target::executor(executor);
    let word = word(&format!("victim-of-round-{round}"));
    let request = sleeper("8", &word);
    let (answer, killed) = tokio::join!(target.execute(&request), async {
        is_there(&word).await?;
        let run = with_word(&word);
        let (spawner, reapers) = spawner_and_reapers(executor.pid(), &run);
        let spawner = spawner.context("there is no spawner")?;
        match victim {
            Victim::Program => run.into_iter().for_each(kill),
            Victim::Reaper => {
                let of_run = |pid: &&i32| below(**pid).iter().any(|it| run.contains(it));
                kill(*reapers.iter().find(of_run).context("there is no reaper")?);
            }
            Victim::Spawner => kill(spawner),
            Victim::SpawnerAndReapers => {
                kill(spawner);
                for reaper in reapers {
                    kill(reaper);
                }
            }
        }
        Ok::<_, anyhow::Error>(())
    });
    killed?;
    told(victim, &answer)?;
    is_gone(&word).await?;
    slots_are_free(executor).await?;
    let health = get(executor, "/health").await.body;
    same("the health", &health["status"], &json!("pass"))?;
    let (one, other) = (language("python").tool(&["nothing"]), sleeper("0.2", "after"));
    let (one, other) = tokio::join!(target.run(&one), target.run(&other));
    same("the next run", &one?["output"], &json!("ok\n"))?;
    same("the run after", &other?["output"], &json!("asleep\nawake\n"))
}

/// What the client is told.
fn told(victim: Victim, answer: &Answer) -> Result<()> {
    match victim {
        Victim::Program => {
            let is_right = answer.status == 200
                && answer.body["status"] == "runtime_error"
                && answer.body["signal"] == "SIGKILL";
            ensure!(is_right, "the answer is {} {}", answer.status, short(&answer.body));
            Ok(())
        }
        Victim::Reaper | Victim::SpawnerAndReapers => {
            answer.is_problem(503, "run_lost")?;
            ensure!(!answer.header("retry-after").is_empty(), "Retry-After is missing");
            Ok(())
        }
        Victim::Spawner => {
            let is_right = answer.body["output"] == "asleep\nawake\n";
            ensure!(is_right, "the run did not go on: {} {}", answer.status, short(&answer.body));
            Ok(())
        }
    }
}

#[tokio::test]
async fn a_run_goes_on_when_the_reaper_of_another_dies() {
    let Some(executor) = start("python", &[("EXECUTOR_SLOTS", "2")]).await else { return };
    let target = Target::executor(&executor);
    let (victim_word, other_word) = (word("reaper-dies"), word("lives-on"));
    let (victim, other) = (sleeper("30", &victim_word), sleeper("12", &other_word));
    let (lost, lived, ()) = tokio::join!(target.execute(&victim), target.run(&other), async {
        is_there(&victim_word).await.unwrap();
        is_there(&other_word).await.unwrap();
        let run = with_word(&victim_word);
        let reapers = spawner_and_reapers(executor.pid(), &run).1;
        let reaper = reapers.iter().find(|it| below(**it).iter().any(|it| run.contains(it)));
        kill(*reaper.unwrap());
    });
    lost.is_problem(503, "run_lost").unwrap();
    assert_eq!(lived.unwrap()["output"], "asleep\nawake\n");
}

#[tokio::test]
async fn a_killed_server_leaves_no_process_and_the_next_one_cleans_up() {
    let state = tempfile::Builder::new().prefix("flotilla-killed-").tempdir().unwrap();
    open_to_all(state.path());
    let place = state.path().to_string_lossy().into_owned();
    let settings = [("EXECUTOR_SLOTS", "2"), ("EXECUTOR_STATE_DIR", place.as_str())];
    let Some(mut executor) = start("python", &settings).await else { return };
    let target = Target::executor(&executor);
    let word = word("server-dies");
    let request = sleeper("50", &word);
    let run = async {
        let url = target.url("/execute");
        let sent = tests::client().post(url).header("content-type", "application/json");
        sent.body(request.to_string()).send().await.is_err()
    };
    let (broke_off, helpers) = tokio::join!(run, async {
        is_there(&word).await.unwrap();
        let helpers = below(executor.pid());
        executor.signal(Signal::KILL);
        helpers
    });
    assert!(broke_off, "a killed server answered");
    executor.wait();
    is_gone(&word).await.unwrap();
    eventually("its helpers are gone", PATIENCE, async || !helpers.iter().any(|it| lives(*it)))
        .await
        .unwrap();
    let stale = names(state.path());
    assert_eq!(stale.len(), 1, "{stale:?}");
    let next = start("python", &settings).await.unwrap();
    let now = names(state.path());
    assert!(now.len() == 1 && now != stale, "stale state is left: {stale:?} {now:?}");
    let ok = language("python").tool(&["nothing"]);
    assert_eq!(Target::executor(&next).run(&ok).await.unwrap()["output"], "ok\n");
    drop(next);
    assert_eq!(names(state.path()), Vec::<String>::new());
}

#[tokio::test]
async fn sigterm_lets_runs_finish_and_takes_no_new_ones() {
    let Some(mut executor) = start("python", &[("EXECUTOR_SLOTS", "2")]).await else { return };
    let mut gateway = crate::faults::gateway(&[("python", &executor)], &[]).await;
    drained(&mut gateway, None).await;
    drained(&mut executor, Some("not_ready")).await;
    assert_eq!(executor.left_behind(), Vec::<String>::new());
}

/// Drains a server during a run; a new one is told `code`, or finds the door closed.
async fn drained(server: &mut Server, code: Option<&str>) {
    let target = match code {
        None => Target::gateway(server, "python"),
        Some(_) => Target::executor(server),
    };
    let word = word("is-drained");
    let request = sleeper("8", &word);
    let (report, ()) = tokio::join!(target.run(&request), async {
        is_there(&word).await.unwrap();
        server.signal(Signal::TERM);
        let Some(code) = code else { return };
        let draining = async || get(server, "/health").await.status == 503;
        eventually("it says that it drains", PATIENCE, draining).await.unwrap();
        let late = target.execute(&language("python").tool(&["nothing"])).await;
        late.is_problem(503, code).unwrap();
        assert!(!late.header("retry-after").is_empty(), "Retry-After is missing");
    });
    assert_eq!(report.unwrap()["output"], "asleep\nawake\n");
    assert_eq!(server.wait(), Some(0), "{}", server.log());
}

#[tokio::test]
async fn a_server_whose_parent_is_gone_leaves_nothing() {
    // The servers of these tests drain when their standard input ends, as `flotilla up` has it.
    let Some(mut executor) = start("python", &[("EXECUTOR_SLOTS", "1")]).await else { return };
    let helpers = children(executor.pid());
    assert!(helpers.iter().any(|it| words(*it).contains(&"sandbox-spawner".to_owned())));
    executor.close_stdin();
    assert_eq!(executor.wait(), Some(0), "{}", executor.log());
    assert_eq!(executor.left_behind(), Vec::<String>::new());
    assert!(!helpers.into_iter().any(lives));
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for name in ["executor-python", "gateway"] {
        let ended = ServerBuilder::new(name).set("PORT", &port).try_start().await;
        // Whoever holds the port is not well either, so only an end can come of it.
        let log = ended.map(|_| ()).unwrap_err();
        assert!(log.contains(&port) && log.contains("PORT"), "{name}: {log}");
    }
}

/// The names in a directory.
pub(crate) fn names(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Users of slots must get through.
pub(crate) fn open_to_all(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).unwrap();
}
