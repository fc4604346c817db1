//! Gateways and workers are replaced one after another, as an operator does, and nobody notices.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::chance::{Chance, seed};
use crate::clients::{CALLERS, Load, program};
use crate::fleet::{Fleet, Kind, Plan};
use crate::history::Wanted;
use crate::kills::hold;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_on_postgresql_loses_nothing() {
    roll(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_on_redis_loses_nothing() {
    roll(Kind::Redis).await;
}

async fn roll(kind: Kind) {
    let plan = Plan { kind, workers: 3, has_executor: false, worker_settings: &[], clocks: None };
    let Some(mut fleet) = Fleet::start(&plan).await else { return };
    let seed = seed();
    println!("{kind:?}: CHAOS_SEED={seed}");
    let mut chance = Chance::new(seed);
    let load = Load::new(fleet.urls());
    let clients = load.start(4, &mut chance);
    for part in fleet.gateways.iter_mut().chain(&mut fleet.workers) {
        sleep(chance.millis(300, 800)).await;
        load.recorder.did(format!("ends {}", part.name));
        part.end().await;
        part.start();
        part.answers("/health/live", false).await;
        load.recorder.did(format!("starts {}", part.name));
    }
    load.end();
    clients.join_all().await;
    fleet.heal().await;
    let history = hold(&fleet, &load, seed, &mut chance).await;
    for view in &history.last {
        // Whoever is asked to leave tells what becomes of its jobs.
        let reasons = view.attempts.iter().filter_map(|it| it.reason.as_deref());
        assert!(!reasons.into_iter().any(|it| it == "lost"), "{view:?}");
        assert_ne!(view.state, "dead", "{view:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_outlives_more_drains_than_it_has_attempts() {
    let hurry = [("EXECUTOR_DRAIN_SECONDS", "1")];
    let plan = Plan {
        kind: Kind::Sqlite,
        workers: 2,
        has_executor: false,
        worker_settings: &hurry,
        clocks: None,
    };
    let Some(mut fleet) = Fleet::start(&plan).await else { return };
    let load = Load::new(fleet.urls());
    let mut chance = Chance::new(1);
    let (caller, key, _) = CALLERS[1];
    let wanted = Wanted { caller, number: 1, at_most_once: false };
    let code = program(1, Duration::from_secs(12));
    let body = json!({ "language": "python", "code": code, "maxAttempts": 1 });
    let id = load.submit(&wanted, key, &body, &mut chance).await.unwrap();
    for drains in 0..2 {
        let holder = loop {
            let view = load.look(&id, key, "", &mut chance).await.unwrap();
            if view.state == "leased" && view.attempts.len() > drains {
                break view.attempts[drains].worker.clone();
            }
            assert!(!view.is_final(), "{view:?}");
            sleep(Duration::from_millis(50)).await;
        };
        fleet.until_held(&holder, &id).await;
        sleep(Duration::from_millis(500)).await;
        let is_holder = |name: &str| holder.ends_with(&format!(":{name}"));
        let part = fleet.workers.iter_mut().find(|it| is_holder(&it.name)).unwrap();
        part.end().await;
        part.start();
    }
    fleet.heal().await;
    hold(&fleet, &load, 1, &mut chance).await;
    let view = load.look(&id, key, "", &mut chance).await.unwrap();
    let reasons: Vec<_> = view.attempts.iter().filter_map(|it| it.reason.as_deref()).collect();
    assert_eq!((view.state.as_str(), reasons), ("succeeded", vec!["drain", "drain", "completed"]));
}
