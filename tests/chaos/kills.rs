//! Somebody is killed at a moment of chance, again and again, while clients leave jobs.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::chance::{Chance, rounds, seed};
use crate::checker::{check, story};
use crate::clients::{CALLERS, Load, shown};
use crate::fleet::{Fleet, Kind, Part, Plan};
use crate::history::{History, View};

/// Clients that leave jobs at the same time.
const CLIENTS: usize = 5;
/// A lease that nobody extends ends within this.
const LEASE: Duration = Duration::from_secs(16);
/// How long jobs may take to come to their ends once all is well again: two leases that nobody
/// extends, and the waits after them.
const REST: Duration = Duration::from_secs(90);

/// Who is hit.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Gateway,
    Worker,
    Spawner,
    Executor,
    Store,
    /// It stands still for longer than a lease.
    Pause,
}

const VICTIMS: [Victim; 8] = [
    Victim::Gateway,
    Victim::Gateway,
    Victim::Worker,
    Victim::Worker,
    Victim::Spawner,
    Victim::Executor,
    Victim::Store,
    Victim::Pause,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_in_a_file_whoever_is_killed() {
    survive(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_in_postgresql_whoever_is_killed() {
    survive(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_in_redis_whoever_is_killed() {
    survive(Kind::Redis).await;
}

async fn survive(kind: Kind) {
    let plan = Plan { kind, workers: 2, has_executor: true, worker_settings: &[], clocks: None };
    let Some(mut fleet) = Fleet::start(&plan).await else { return };
    let seed = seed();
    println!("{kind:?}: CHAOS_SEED={seed}");
    let mut chance = Chance::new(seed);
    let load = Load::new(fleet.urls());
    let clients = load.start(CLIENTS, &mut chance);
    let mut paused = None;
    for _ in 0..rounds() {
        sleep(chance.millis(200, 1500)).await;
        wake(&fleet, &load, &mut paused, false).await;
        hit(&mut fleet, &load, &mut chance, &mut paused).await;
    }
    load.end();
    clients.join_all().await;
    wake(&fleet, &load, &mut paused, true).await;
    fleet.heal().await;
    load.recorder.did("all is well");
    hold(&fleet, &load, seed, &mut chance).await;
}

/// Has a worker go on that stood still for longer than a lease; waits for that time if `is_last`.
async fn wake(fleet: &Fleet, load: &Load, paused: &mut Option<(usize, Instant)>, is_last: bool) {
    let Some((index, since)) = *paused else { return };
    if is_last {
        sleep(LEASE.saturating_sub(since.elapsed())).await;
    }
    if since.elapsed() >= LEASE {
        fleet.workers[index].pause(false);
        load.recorder.did(format!("{} goes on", fleet.workers[index].name));
        *paused = None;
    }
}

/// Hits somebody, and has it start again after a while.
async fn hit(
    fleet: &mut Fleet,
    load: &Load,
    chance: &mut Chance,
    paused: &mut Option<(usize, Instant)>,
) {
    let did = |what: &str, whom: &str| load.recorder.did(format!("{what} {whom}"));
    let hits = |what: &str, part: &Part| {
        load.recorder.hit(format!("{what} {}", part.name), part.ending());
    };
    let worker = chance.below(fleet.workers.len());
    let is_paused = paused.is_some_and(|(index, _)| index == worker);
    let down = chance.millis(0, 1200);
    match VICTIMS[chance.below(VICTIMS.len())] {
        Victim::Store if fleet.has_server() => {
            did("kills", "the store");
            fleet.kill_store();
            sleep(down).await;
            fleet.restart_store();
            did("starts", "the store");
        }
        Victim::Gateway | Victim::Store => {
            let index = chance.below(fleet.gateways.len());
            let gateway = &mut fleet.gateways[index];
            hits("kills", gateway);
            gateway.kill();
            sleep(down).await;
            gateway.start();
            gateway.answers("/health/live", false).await;
            did("starts", &gateway.name);
        }
        Victim::Executor => {
            let executor = fleet.executor.as_mut().unwrap();
            did("kills", &executor.name);
            executor.kill();
            sleep(down).await;
            executor.start();
        }
        Victim::Spawner if !is_paused => {
            if fleet.workers[worker].kill_spawner() {
                did("kills the spawner of", &fleet.workers[worker].name);
            }
        }
        Victim::Pause if paused.is_none() => {
            hits("pauses", &fleet.workers[worker]);
            fleet.workers[worker].pause(true);
            *paused = Some((worker, Instant::now()));
        }
        Victim::Worker | Victim::Spawner | Victim::Pause => {
            let part = &mut fleet.workers[worker];
            hits("kills", part);
            part.kill();
            if is_paused {
                *paused = None;
            }
            sleep(down).await;
            part.start();
        }
    }
}

/// Waits until everything has come to rest, and holds the history against what was promised.
pub(crate) async fn hold(fleet: &Fleet, load: &Load, seed: u64, chance: &mut Chance) -> History {
    let deadline = Instant::now() + REST;
    let mut open = load.acknowledged();
    while let Some((id, key)) = open.pop() {
        let view = load.look(&id, key, "?wait=5s", chance).await;
        if view.is_some_and(|it| !it.is_final()) && Instant::now() < deadline {
            open.push((id, key));
        }
    }
    let history = History {
        began: load.recorder.began_ms,
        events: load.recorder.events(),
        last: last(fleet).await,
        counted: counted(fleet).await,
        caps: CALLERS.iter().map(|(caller, _, most)| (*caller, *most)).collect(),
    };
    let violations = check(&history);
    for violation in &violations {
        println!("{violation:?}, with CHAOS_SEED={seed}:");
        for event in story(&history, violation.subject()) {
            println!("    {event}");
        }
    }
    assert!(violations.is_empty(), "CHAOS_SEED={seed}: {violations:#?}");
    report(&history);
    history
}

/// Every job that each gateway lists, as it shows it.
async fn last(fleet: &Fleet) -> Vec<View> {
    let mut views = Vec::new();
    for gateway in fleet.urls() {
        for (_, key, _) in CALLERS {
            let mut next = String::new();
            loop {
                let page = shown(&format!("{gateway}/v1/jobs?limit=200{next}"), key).await;
                for job in page["jobs"].as_array().unwrap() {
                    let id = job["id"].as_str().unwrap();
                    views.push(View::read(&shown(&format!("{gateway}/v1/jobs/{id}"), key).await));
                }
                let Some(cursor) = page["next"].as_str() else { break };
                next = format!("&cursor={cursor}");
            }
        }
    }
    views
}

/// How many jobs wait or run by what the store counts, and how many are dead.
async fn counted(fleet: &Fleet) -> (u64, u64) {
    let queue = shown(&format!("{}/v1/queue", fleet.urls()[0]), CALLERS[0].1).await;
    let lanes = queue["languages"].as_array().unwrap();
    let sum = |names: &[&str]| {
        let all = lanes.iter().flat_map(|lane| names.iter().map(|it| lane[*it].as_u64().unwrap()));
        all.sum::<u64>()
    };
    (sum(&["scheduled", "ready", "leased"]), sum(&["dead"]))
}

/// Says what there was, so that a run that found nothing can be told from one that did nothing.
fn report(history: &History) {
    let mut states = std::collections::BTreeMap::new();
    let mut reasons = std::collections::BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for view in history.last.iter().filter(|it| seen.insert(it.id.clone())) {
        *states.entry(view.state.as_str()).or_insert(0) += 1;
        for attempt in &view.attempts {
            *reasons.entry(attempt.reason.as_deref().unwrap_or_default()).or_insert(0) += 1;
        }
    }
    println!("jobs: {states:?}; attempts: {reasons:?}");
}
