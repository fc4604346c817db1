//! What is kept, and for how long.

use std::time::Duration;

use queue::{
    DEFAULT_QUEUE, Enqueued, Filter, IdempotencyKey, JobId, Lane, LaneStats, NewJob, State, Swept,
};

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
    let first = fixture.enqueue(keyed(1)).await;
    fixture.store().cancel(first).await.unwrap();
    fixture.clock.pass(24 * HOUR + MINUTE);
    fixture.store().purge(100).await.unwrap();
    let second = fixture.enqueue(keyed(1)).await;
    assert_ne!(first, second);
}

pub(crate) async fn a_key_stands_for_its_job_for_as_long_as_that_is_kept(fixture: &Fixture) {
    let run_at = Some(fixture.clock.now().after(30 * 24 * HOUR));
    let later = |digest| NewJob { run_at, ..keyed(digest) };
    let id = fixture.enqueue(later(1)).await;
    let stands_for_it = async || {
        assert_eq!(fixture.enqueue_any(later(1)).await, Enqueued::Existing(id));
        assert_eq!(fixture.enqueue_any(later(2)).await, Enqueued::Conflict);
    };
    // Its own time is over again and again, and it is looked through or not.
    for _ in 0..4 {
        fixture.clock.pass(7 * 24 * HOUR);
        stands_for_it().await;
        fixture.store().purge(100).await.unwrap();
        stands_for_it().await;
    }
    assert_eq!(fixture.pass(3 * 24 * HOUR).await.promoted, 1);
    let grant = fixture.start("w").await;
    stands_for_it().await;
    fixture.complete(&grant, "{}").await;
    fixture.clock.pass(HOUR / 2);
    fixture.store().purge(100).await.unwrap();
    stands_for_it().await;
    // It goes after its job.
    fixture.clock.pass(25 * HOUR);
    while fixture.store().purge(100).await.unwrap() > 0 {}
    assert_ne!(fixture.enqueue(keyed(2)).await, id);
}

/// A job with a key that always is the same.
fn keyed(digest: u8) -> NewJob {
    let idempotency = Some(IdempotencyKey { key: "key".to_owned(), digest: [digest; 32] });
    NewJob { idempotency, ..job("a") }
}

pub(crate) async fn of_keys_the_oldest_go_beyond_a_number_unless_their_jobs_are_open(
    fixture: &Fixture,
) {
    let keyed = |number: usize| {
        let idempotency = Some(IdempotencyKey { key: format!("{number:03}"), digest: [1; 32] });
        NewJob { idempotency, start_within: Some(Duration::from_secs(1)), ..job("a") }
    };
    let open = fixture.enqueue(NewJob { start_within: None, ..keyed(0) }).await;
    for batch in [1..181, 181..361, 361..541] {
        fixture.store().enqueue(batch.map(keyed).collect()).await.unwrap();
        fixture.clock.pass(MINUTE);
        assert_eq!(fixture.store().sweep(1_000).await.unwrap().expired, 180);
    }
    // Whoever may have nothing waiting hears only of what came before.
    let kept = async || {
        let probe = |number| NewJob { waiting_max: Some(0), ..keyed(number) };
        let answers = fixture.store().enqueue((0..541).map(probe).collect()).await.unwrap();
        let kept = answers.iter().enumerate().filter(|(_, it)| matches!(it, Enqueued::Existing(_)));
        assert_eq!(answers[0], Enqueued::Existing(open));
        kept.map(|(number, _)| number).collect::<Vec<_>>()
    };
    assert_eq!(kept().await.len(), 541);
    fixture.store().purge(10).await.unwrap();
    let in_steps = kept().await;
    assert!((531..541).contains(&in_steps.len()), "{} in steps", in_steps.len());
    while fixture.store().purge(100).await.unwrap() > 0 {}
    let last: Vec<usize> = std::iter::once(0).chain(42..541).collect();
    assert_eq!(kept().await, last, "ten times as many as jobs");
}

pub(crate) async fn a_lane_is_forgotten_with_its_last_job(fixture: &Fixture) {
    let in_lane =
        |language: &str, caller| NewJob { lane: Lane::new(language, DEFAULT_QUEUE), ..job(caller) };
    fixture.enqueue(in_lane("beta", "a")).await;
    for _ in 0..5 {
        fixture.enqueue(job("a")).await;
        let grant = fixture.start("w").await;
        fixture.complete(&grant, "{}").await;
    }
    let lane = async |language: &str| {
        let lanes = fixture.store().stats().await.unwrap().lanes;
        lanes.into_iter().find(|it| it.lane == Lane::new(language, DEFAULT_QUEUE))
    };
    assert_eq!(lane("alpha").await.unwrap().average_run_ms, Some(100));
    fixture.clock.pass(2 * HOUR);
    // One by one, so that what comes in between finds all of it or nothing.
    while fixture.store().purge(1).await.unwrap() > 0 {}
    assert_eq!(lane("alpha").await, None);
    assert_eq!(lane("beta").await.unwrap().ready, 1);
    // Nobody has an advantage there, nor owes anything.
    for caller in ["a", "a", "b", "b"] {
        fixture.enqueue(job(caller)).await;
    }
    assert_eq!(lane("alpha").await.unwrap().average_run_ms, None);
    let granted: Vec<_> = fixture.claim("w", 4).await.into_iter().map(|it| it.caller).collect();
    assert_eq!(granted, ["a", "b", "a", "b"]);
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
    fixture.widen().await;
    let start_within = Some(MINUTE);
    let expired = fixture.enqueue(NewJob { start_within, ..job("a") }).await;
    fixture.pass(2 * MINUTE).await;
    let cancelled = fixture.enqueue(job("a")).await;
    fixture.store().cancel(cancelled).await.unwrap();
    let other = fixture.enqueue(job("b")).await;
    fixture.store().cancel(other).await.unwrap();
    let at = fixture.clock.now().after(10 * HOUR);
    let waits = fixture.enqueue(NewJob { run_at: Some(at), ..job("a") }).await;
    let leased = fixture.enqueue(job("a")).await;
    let also = fixture.enqueue(job("b")).await;
    fixture.claim("w", 2).await;
    fixture.clock.pass(MINUTE);
    let before = fixture.clock.now();
    let ready = fixture.enqueue(job("a")).await;
    let run_at = Some(fixture.clock.now().after(HOUR));
    let many = |_| NewJob { run_at, start_within, ..job("many") };
    for _ in 0..11 {
        fixture.store().enqueue((0..1_000).map(many).collect()).await.unwrap();
    }
    fixture.clock.pass(MINUTE);
    let since = Some(fixture.clock.now());
    let last = fixture.enqueue(job("c")).await;
    for (caller, state, expected) in [
        (None, State::Expired, vec![expired]),
        (None, State::Cancelled, vec![other, cancelled]),
        (Some("a"), State::Cancelled, vec![cancelled]),
        (None, State::Dead, vec![]),
        (None, State::Leased, vec![also, leased]),
        (Some("a"), State::Leased, vec![leased]),
        (None, State::Ready, vec![last, ready]),
        (Some("a"), State::Ready, vec![ready]),
    ] {
        let filter = Filter { state: Some(state), ..of(caller) };
        check_listed(fixture, filter.clone(), &expected).await;
        let old = expected.iter().copied().filter(|it| ![ready, last].contains(it));
        let old: Vec<JobId> = old.collect();
        check_listed(fixture, Filter { before: Some(before), ..filter }, &old).await;
    }
    check_listed(fixture, Filter { since, ..of(None) }, &[last]).await;
    check_listed(fixture, Filter { since, ..of(Some("a")) }, &[]).await;
    let beta = Some("beta".to_owned());
    check_listed(fixture, Filter { since, language: beta, ..of(None) }, &[]).await;
    fixture.clock.pass(2 * HOUR);
    while fixture.store().sweep(1_000).await.unwrap() != Swept::default() {}
    let scheduled = Filter { state: Some(State::Scheduled), ..of(None) };
    check_listed(fixture, scheduled, &[waits]).await;
    let again = Filter { state: Some(State::Ready), ..of(None) };
    check_listed(fixture, again, &[last, ready, also, leased]).await;
}

fn of(caller: Option<&str>) -> Filter {
    Filter { caller: caller.map(str::to_owned), ..Filter::default() }
}

/// Holds what is listed against what there is: on one page, and on pages of one job.
async fn check_listed(fixture: &Fixture, filter: Filter, expected: &[JobId]) {
    let page = fixture.store().list(filter.clone(), None, 10).await.unwrap();
    let found: Vec<_> = page.jobs.iter().map(|it| it.id).collect();
    assert_eq!((&found[..], page.next), (expected, None), "{filter:?}");
    let (mut found, mut from) = (Vec::new(), None);
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
