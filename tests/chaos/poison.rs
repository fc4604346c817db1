//! A program that brings down whoever runs it is given to two, and to nobody more.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::client;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::clients::{CALLERS, Load, program, shown};
use crate::fleet::{Fleet, Kind, Plan};
use crate::history::{View, Wanted};

/// A lease that nobody extends, a sweep, and the wait for the next attempt.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_two_workers_die_with_is_poison_until_somebody_redrives_it() {
    let plan = Plan {
        kind: Kind::Sqlite,
        workers: 2,
        has_executor: false,
        worker_settings: &[],
        clocks: None,
    };
    let Some(mut fleet) = Fleet::start(&plan).await else { return };
    let load = Load::new(fleet.urls());
    let mut chance = Chance::new(1);
    let (caller, key, _) = CALLERS[0];
    let wanted = Wanted { caller, number: 1, at_most_once: false };
    let body = json!({ "language": "python", "code": program(1, Duration::from_secs(8)), "maxAttempts": 20 });
    let id = load.submit(&wanted, key, &body, &mut chance).await.unwrap();
    for death in 1..=2 {
        let view = until(&load, &id, |it| it.state == "leased" && it.attempts.len() == death).await;
        let holder = view.attempts[death - 1].worker.clone();
        fleet.until_held(&holder, &id).await;
        let is_holder = |name: &str| holder.ends_with(&format!(":{name}"));
        let victim = fleet.workers.iter_mut().find(|it| is_holder(&it.name)).unwrap();
        // What is said with a beat is kept a moment later.
        sleep(Duration::from_secs(1)).await;
        victim.kill();
        // One comes back at once, as from a supervisor, and the other one stays away.
        if death == 1 {
            victim.start();
        }
    }
    let dead = until(&load, &id, View::is_final).await;
    assert_eq!((dead.state.as_str(), dead.reason.as_deref()), ("dead", Some("poison")), "{dead:?}");
    let reasons: Vec<_> = dead.attempts.iter().filter_map(|it| it.reason.as_deref()).collect();
    assert_eq!(reasons, ["lost", "lost"]);
    fleet.heal().await;
    let url = format!("{}/v1/jobs/{id}", fleet.urls()[0]);
    let request = client().post(format!("{url}/redrive")).bearer_auth(key);
    assert_eq!(request.send().await.unwrap().status(), 202);
    let done = until(&load, &id, View::is_final).await;
    assert_eq!(done.state, "succeeded", "{done:?}");
    assert!(done.result.unwrap().1.starts_with("1 "));
    assert_eq!(shown(&url, key).await["attempt"], 1, "it has all its attempts again");
}

/// The job, once it is so.
async fn until(load: &Load, id: &str, is_so: impl Fn(&View) -> bool) -> View {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = load.look(id, CALLERS[0].1, "", &mut Chance::new(0)).await.unwrap();
        if is_so(&view) {
            return view;
        }
        assert!(Instant::now() < deadline, "{view:?}");
        sleep(Duration::from_millis(50)).await;
    }
}
