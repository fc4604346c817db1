//! Jobs come in.

use std::collections::HashMap;

use queue::{
    Cancelled, Completed, DEFAULT_QUEUE, Durability, Enqueued, Filter, IdempotencyKey, JobId, Lane,
    NewJob, State,
};

use crate::fixture::{Fixture, HOUR, MINUTE, check, claim, completion, job};

fn keyed(caller: &str, digest: u8) -> NewJob {
    let idempotency = Some(IdempotencyKey { key: "key".to_owned(), digest: [digest; 32] });
    NewJob { idempotency, ..job(caller) }
}

pub(crate) async fn a_job_that_was_acknowledged_is_there_after_a_restart(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    fixture.reopen().await;
    let found = fixture.job(id).await;
    assert_eq!((found.state, found.caller.as_str()), (State::Ready, "a"));
    assert_eq!(fixture.start("w").await.body, job("a").body);
}

pub(crate) async fn what_cannot_be_committed_is_not_acknowledged_and_leaves_nothing(
    fixture: &Fixture,
) {
    let store = fixture.store();
    let running = fixture.enqueue(job("a")).await;
    let grant = fixture.start("w").await;
    let waits = fixture.enqueue(job("a")).await;
    fixture.break_commits(true).await;
    let batch = vec![keyed("a", 1), job("a")];
    let ids: Vec<_> = batch.iter().map(|it| it.id).collect();
    assert!(store.enqueue(batch).await.is_err());
    assert!(store.complete(vec![completion(&grant, "{}")]).await.is_err());
    assert!(store.claim(claim("w", 1)).await.is_err());
    fixture.break_commits(false).await;
    for id in ids {
        assert_eq!(store.job(id).await.unwrap(), None);
    }
    check(&fixture.job(running).await, State::Leased, 1);
    check(&fixture.job(waits).await, State::Ready, 0);
    assert_eq!(store.result(running).await.unwrap(), None);
    // Nor is the key taken, or the lease over.
    fixture.enqueue(keyed("a", 2)).await;
    assert_eq!(fixture.complete(&grant, "{}").await, Completed::Recorded);
    assert_eq!(fixture.claim("w", 9).await.len(), 2);
}

pub(crate) async fn a_key_outlives_the_job_that_it_stands_for(fixture: &Fixture) {
    let id = fixture.enqueue(NewJob { ttl: MINUTE, ..keyed("a", 1) }).await;
    let grant = fixture.start("w").await;
    fixture.complete(&grant, "{}").await;
    fixture.clock.pass(HOUR);
    while fixture.store().purge(100).await.unwrap() > 0 {}
    assert_eq!(fixture.store().job(id).await.unwrap(), None);
    assert_eq!(fixture.enqueue_any(keyed("a", 1)).await, Enqueued::Existing(id));
    assert_eq!(fixture.enqueue_any(keyed("a", 2)).await, Enqueued::Conflict);
    assert_eq!(fixture.claim("w", 1).await, []);
}

pub(crate) async fn a_store_says_what_an_acknowledged_job_outlives(fixture: &Fixture) {
    // Servers are set up for that by whoever runs them; the cases' own Redis flushes every second.
    let is_redis = fixture.url().starts_with("redis");
    let expected = if is_redis { Durability::AboutASecond } else { Durability::PowerLoss };
    assert_eq!(fixture.store().durability(), expected);
}

pub(crate) async fn a_key_stands_for_one_job(fixture: &Fixture) {
    let id = fixture.enqueue(keyed("a", 1)).await;
    assert_eq!(fixture.enqueue_any(keyed("a", 1)).await, Enqueued::Existing(id));
    let both = fixture.store().enqueue(vec![keyed("b", 1), keyed("b", 1)]).await.unwrap();
    let Enqueued::Created(first) = both[0] else { panic!("{both:?}") };
    assert_eq!(both[1], Enqueued::Existing(first));
    assert_eq!(fixture.claim("w", 9).await.len(), 2);
}

pub(crate) async fn a_key_with_other_content_is_a_conflict(fixture: &Fixture) {
    fixture.enqueue(keyed("a", 1)).await;
    assert_eq!(fixture.enqueue_any(keyed("a", 2)).await, Enqueued::Conflict);
}

pub(crate) async fn keys_of_callers_are_apart(fixture: &Fixture) {
    fixture.enqueue(keyed("a", 1)).await;
    fixture.enqueue(keyed("b", 2)).await;
}

pub(crate) async fn beyond_its_bound_a_caller_is_refused_and_others_are_not(fixture: &Fixture) {
    let many = (0..301).map(|_| job("a")).collect();
    let answers = fixture.store().enqueue(many).await.unwrap();
    let full = Enqueued::Full { waiting_max: 300, is_callers: true };
    assert_eq!(answers.iter().filter(|it| **it == full).count(), 1);
    fixture.enqueue(job("b")).await;
    let answers = fixture.store().enqueue((0..100).map(|_| job("c")).collect()).await.unwrap();
    assert_eq!(answers.last(), Some(&Enqueued::Full { waiting_max: 400, is_callers: false }));
}

pub(crate) async fn a_caller_may_have_a_bound_of_its_own(fixture: &Fixture) {
    let bounded = |count| (0..count).map(|_| NewJob { waiting_max: Some(2), ..job("a") }).collect();
    let answers = fixture.store().enqueue(bounded(3)).await.unwrap();
    assert_eq!(answers[2], Enqueued::Full { waiting_max: 2, is_callers: true });
    fixture.start("w").await;
    let answers = fixture.store().enqueue(bounded(1)).await.unwrap();
    assert!(matches!(answers[0], Enqueued::Created(_)), "what runs does not wait: {answers:?}");
}

pub(crate) async fn a_batch_is_kept_in_its_order(fixture: &Fixture) {
    let jobs: Vec<NewJob> = (0..5).map(|_| job("a")).collect();
    let ids: Vec<_> = jobs.iter().map(|it| it.id).collect();
    fixture.store().enqueue(jobs).await.unwrap();
    let granted: Vec<_> = fixture.claim("w", 5).await.iter().map(|it| it.lease.id).collect();
    assert_eq!(granted, ids);
}

pub(crate) async fn a_cancelled_job_is_never_granted(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    assert_eq!(fixture.store().cancel(id).await.unwrap(), Cancelled::Now);
    assert_eq!(fixture.job(id).await.state, State::Cancelled);
    assert_eq!(fixture.claim("w", 1).await, []);
    let unknown = JobId::random();
    assert_eq!(fixture.store().cancel(unknown).await.unwrap(), Cancelled::Unknown);
}

pub(crate) async fn many_jobs_are_looked_at_in_one_go(fixture: &Fixture) {
    let (a, b) = (fixture.enqueue(job("a")).await, fixture.enqueue(job("b")).await);
    let look = async || {
        let found = fixture.store().versions(vec![a, JobId::random(), b]).await.unwrap();
        found.into_iter().collect::<HashMap<_, _>>()
    };
    let before = look().await;
    assert_eq!(before.len(), 2);
    fixture.store().cancel(b).await.unwrap();
    let after = look().await;
    assert_eq!(after[&a], before[&a]);
    assert!(after[&b] > before[&b]);
    assert_eq!(fixture.store().versions(Vec::new()).await.unwrap(), []);
}

pub(crate) async fn jobs_are_listed_by_what_they_are(fixture: &Fixture) {
    let first = fixture.enqueue(job("a")).await;
    let second =
        fixture.enqueue(NewJob { lane: Lane::new("beta", DEFAULT_QUEUE), ..job("a") }).await;
    let other = fixture.enqueue(job("b")).await;
    fixture.store().cancel(first).await.unwrap();
    let all = Filter::default();
    let of_a = Filter { caller: Some("a".to_owned()), ..Filter::default() };
    let cancelled = Filter { state: Some(State::Cancelled), ..Filter::default() };
    let beta = Filter { language: Some("beta".to_owned()), ..Filter::default() };
    let late = Filter { since: Some(fixture.clock.now().after(HOUR)), ..all.clone() };
    for (filter, expected) in [
        (all.clone(), vec![other, second, first]),
        (of_a, vec![second, first]),
        (cancelled, vec![first]),
        (beta, vec![second]),
        (late, vec![]),
    ] {
        let page = fixture.store().list(filter.clone(), None, 10).await.unwrap();
        let found: Vec<_> = page.jobs.iter().map(|it| it.id).collect();
        assert_eq!((found, page.next), (expected, None), "{filter:?}");
    }
    let page = fixture.store().list(all.clone(), None, 2).await.unwrap();
    let rest = fixture.store().list(all, page.next, 2).await.unwrap();
    assert_eq!(rest.jobs.iter().map(|it| it.id).collect::<Vec<_>>(), [first]);
    assert_eq!(rest.next, None);
}
