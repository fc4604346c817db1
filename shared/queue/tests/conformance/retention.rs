//! What is kept, and for how long.

use std::time::Duration;

use queue::{DEFAULT_QUEUE, Filter, IdempotencyKey, Lane, LaneStats, NewJob, State};

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

pub(crate) async fn of_callbacks_the_oldest_go_beyond_a_number(fixture: &Fixture) {
    let start_within = Some(Duration::from_secs(1));
    let new = |_| {
        let callback_url = Some("http://example.org".to_owned());
        NewJob { callback_url, start_within, ..job("a") }
    };
    let mut first = None;
    for _ in 0..3 {
        let jobs: Vec<NewJob> = (0..180).map(new).collect();
        first = first.or(Some(jobs[0].id));
        fixture.store().enqueue(jobs).await.unwrap();
        fixture.clock.pass(MINUTE);
        assert_eq!(fixture.store().sweep(1_000).await.unwrap().expired, 180);
    }
    let open = async || fixture.store().callbacks("a".to_owned(), 1_000).await.unwrap();
    assert_eq!(open().await.len(), 540);
    fixture.store().purge(10).await.unwrap();
    assert_eq!(open().await.len(), 530, "in steps");
    while fixture.store().purge(100).await.unwrap() > 0 {}
    let kept = open().await;
    assert_eq!(kept.len(), 500, "ten times as many as jobs");
    assert!(kept.iter().all(|it| Some(it.job_id) != first));
}

pub(crate) async fn the_last_attempts_are_kept(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    for _ in 0..103 {
        let grant = fixture.claim("w", 1).await.remove(0);
        fixture.store().release(vec![grant.lease]).await.unwrap();
    }
    let attempts = fixture.store().attempts(id).await.unwrap();
    assert_eq!(
        attempts.iter().map(|it| it.number).collect::<Vec<_>>(),
        (4..=103).collect::<Vec<_>>()
    );
    assert!(attempts.iter().all(|it| it.reason.as_deref() == Some("released")));
}

pub(crate) async fn few_jobs_are_listed_among_many(fixture: &Fixture) {
    let at = fixture.clock.now().after(HOUR);
    let start_within = Some(MINUTE);
    let expired = fixture.enqueue(NewJob { start_within, ..job("a") }).await;
    fixture.pass(2 * MINUTE).await;
    let cancelled = fixture.enqueue(job("a")).await;
    fixture.store().cancel(cancelled).await.unwrap();
    let other = fixture.enqueue(job("b")).await;
    fixture.store().cancel(other).await.unwrap();
    let waits = fixture.enqueue(NewJob { run_at: Some(at), ..job("a") }).await;
    let leased = fixture.enqueue(job("a")).await;
    let also = fixture.enqueue(job("b")).await;
    fixture.claim("w", 2).await;
    for (caller, state, expected) in [
        (None, State::Expired, vec![expired]),
        (None, State::Cancelled, vec![other, cancelled]),
        (Some("a"), State::Cancelled, vec![cancelled]),
        (None, State::Dead, vec![]),
        (None, State::Scheduled, vec![waits]),
        (None, State::Leased, vec![also, leased]),
        (Some("a"), State::Leased, vec![leased]),
    ] {
        let caller = caller.map(str::to_owned);
        let filter = Filter { caller, state: Some(state), ..Filter::default() };
        let mut found = Vec::new();
        let mut from = None;
        loop {
            let page = fixture.store().list(filter.clone(), from, 1).await.unwrap();
            found.extend(page.jobs.iter().map(|it| it.id));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{filter:?}");
    }
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
