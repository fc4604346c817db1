//! Somebody sets the wall clock of a machine of the fleet while jobs run.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::ShiftedClock;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::clients::{CALLERS, Load, program};
use crate::fleet::{Fleet, Kind, Plan};
use crate::history::{View, Wanted};

const HOUR: i64 = 3600;
/// A dead worker's job runs elsewhere long before this, whatever the clocks say.
const ELSEWHERE: Duration = Duration::from_secs(30);
/// How long a clock is off: every job is beaten for, and the store is swept.
const SHIFT: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_ends_no_lease_in_a_file() {
    check(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_ends_no_lease_in_postgresql() {
    check(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_ends_no_lease_in_redis() {
    check(Kind::Redis).await;
}

async fn check(kind: Kind) {
    let clocks = [ShiftedClock::new(), ShiftedClock::new(), ShiftedClock::new()];
    let plan =
        Plan { kind, workers: 2, has_executor: false, worker_settings: &[], clocks: Some(&clocks) };
    let Some(mut fleet) = Fleet::start(&plan).await else { return };
    let load = Load::new(fleet.urls());
    let mut number = 0;
    // The file has no clock but its gateway's.
    for clock in clocks.iter().skip(usize::from(kind == Kind::Sqlite)) {
        let mut ids = Vec::new();
        for _ in 0..2 {
            number += 1;
            ids.push(started(&load, number, 2 * SHIFT + Duration::from_secs(1)).await);
        }
        for seconds in [HOUR, -HOUR] {
            clock.set(seconds);
            sleep(SHIFT).await;
        }
        clock.set(0);
        for id in ids {
            let view = until(&load, &id, PATIENCE, View::is_final).await;
            assert_eq!(view.state, "succeeded", "{view:?}");
            assert_eq!(view.attempts.len(), 1, "it ran once: {view:?}");
        }
    }
    // A worker that dies when all clocks have gone back holds nothing up.
    let id = started(&load, number + 1, Duration::from_secs(2)).await;
    for it in &clocks {
        it.set(-HOUR);
    }
    let view = until(&load, &id, PATIENCE, |it| it.state == "leased").await;
    let holder = view.attempts[0].worker.clone();
    let is_holder = |name: &str| holder.ends_with(&format!(":{name}"));
    fleet.workers.iter_mut().find(|it| is_holder(&it.name)).unwrap().kill();
    until(&load, &id, ELSEWHERE, |it| it.attempts.len() > 1).await;
    let view = until(&load, &id, PATIENCE, View::is_final).await;
    assert_eq!(view.state, "succeeded", "{view:?}");
    fleet.heal().await;
}

/// A job whose program runs.
async fn started(load: &Load, number: usize, time: Duration) -> String {
    let (caller, key, _) = CALLERS[1];
    let wanted = Wanted { caller, number, at_most_once: false };
    let body = json!({ "language": "python", "code": program(number, time) });
    let id = load.submit(&wanted, key, &body, &mut Chance::new(0)).await.unwrap();
    until(load, &id, PATIENCE, |it| it.state == "leased").await;
    // Its worker says that it has it before it starts.
    sleep(Duration::from_millis(500)).await;
    id
}

async fn until(load: &Load, id: &str, patience: Duration, is_so: impl Fn(&View) -> bool) -> View {
    let deadline = Instant::now() + patience;
    loop {
        let view = load.look(id, CALLERS[1].1, "", &mut Chance::new(0)).await.unwrap();
        if is_so(&view) {
            return view;
        }
        assert!(Instant::now() < deadline, "{view:?}");
        sleep(Duration::from_millis(100)).await;
    }
}
