//! What is kept, and for how long.

use std::time::Duration;

use queue::{DEFAULT_QUEUE, IdempotencyKey, Lane, LaneStats, NewJob};

use crate::fixture::{Fixture, HOUR, MINUTE, job};

pub(crate) async fn what_is_over_goes_after_its_time(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    let waits = fixture.enqueue(job("a")).await;
    let grant = fixture.start("w").await;
    fixture.complete(&grant, "{}").await;
    fixture.clock.pass(HOUR / 2);
    fixture.store().purge(100).await.unwrap();
    assert!(fixture.store().result(id).await.unwrap().is_some());
    assert_eq!(fixture.store().body(id).await.unwrap(), Some(job("a").body));
    fixture.clock.pass(HOUR);
    assert!(fixture.store().purge(100).await.unwrap() > 0);
    assert_eq!(fixture.store().job(id).await.unwrap(), None);
    assert_eq!(fixture.store().result(id).await.unwrap(), None);
    assert_eq!(fixture.store().body(id).await.unwrap(), None);
    assert_eq!(fixture.store().attempts(id).await.unwrap(), []);
    assert!(fixture.store().job(waits).await.unwrap().is_some());
}

pub(crate) async fn beyond_a_number_the_oldest_go(fixture: &Fixture) {
    let mut ids = Vec::new();
    for _ in 0..60 {
        let id = fixture.enqueue(job("a")).await;
        fixture.store().cancel(id).await.unwrap();
        fixture.clock.pass(Duration::from_secs(1));
        ids.push(id);
    }
    assert!(fixture.store().purge(4).await.unwrap() >= 4, "in steps");
    fixture.store().purge(100).await.unwrap();
    for (index, id) in ids.into_iter().enumerate() {
        assert_eq!(fixture.store().job(id).await.unwrap().is_some(), index >= 10, "{index}");
    }
}

pub(crate) async fn keys_go_after_theirs(fixture: &Fixture) {
    let key = || Some(IdempotencyKey { key: "key".to_owned(), digest: [1; 32] });
    let first = fixture.enqueue(NewJob { idempotency: key(), ..job("a") }).await;
    fixture.clock.pass(24 * HOUR + MINUTE);
    fixture.store().purge(100).await.unwrap();
    let second = fixture.enqueue(NewJob { idempotency: key(), ..job("a") }).await;
    assert_ne!(first, second);
}

pub(crate) async fn counts_are_right_all_the_while(fixture: &Fixture) {
    let at = fixture.clock.now().after(HOUR);
    fixture.enqueue(NewJob { run_at: Some(at), ..job("b") }).await;
    fixture.store().enqueue((0..4).map(|_| job("a")).collect()).await.unwrap();
    let grant = fixture.start("w").await;
    fixture.start("w").await;
    fixture.complete(&grant, "{}").await;
    fixture.clock.pass(MINUTE);
    let stats = fixture.store().stats().await.unwrap();
    let expected = LaneStats {
        lane: Lane::new("alpha", DEFAULT_QUEUE),
        scheduled: 1,
        ready: 2,
        leased: 1,
        dead: 0,
        oldest_ready_ms: Some(60_000),
        average_run_ms: Some(100),
    };
    assert_eq!(stats.lanes, [expected]);
    for (caller, expected) in [
        (None, vec![("scheduled", 1), ("ready", 2), ("leased", 1), ("succeeded", 1)]),
        (Some("a"), vec![("ready", 2), ("leased", 1), ("succeeded", 1)]),
        (Some("b"), vec![("scheduled", 1)]),
        (Some("c"), vec![]),
    ] {
        let counts = fixture.store().counts(caller.map(str::to_owned)).await.unwrap();
        let some = counts.iter().filter(|(_, jobs)| *jobs > 0);
        let some: Vec<_> = some.map(|(state, jobs)| (state.as_str(), jobs)).collect();
        assert_eq!(some, expected, "{caller:?}");
    }
}
