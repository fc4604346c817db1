//! Who gets which job, and when.

use queue::{Claim, Enqueued, Job, NewJob, Priority};

use crate::fixture::{Fixture, LEASE, claim, job};

fn of_priority(level: u8) -> NewJob {
    NewJob { priority: Priority::new(level).unwrap(), ..job("a") }
}

pub(crate) async fn a_leased_job_is_not_granted_again(fixture: &Fixture) {
    fixture.enqueue(job("a")).await;
    assert_eq!(fixture.claim("one", 5).await.len(), 1);
    assert_eq!(fixture.claim("two", 5).await, []);
}

pub(crate) async fn a_higher_priority_goes_first(fixture: &Fixture) {
    let low = fixture.enqueue(of_priority(0)).await;
    let high = fixture.enqueue(of_priority(9)).await;
    let granted: Vec<_> = fixture.claim("w", 2).await.iter().map(|it| it.lease.id).collect();
    assert_eq!(granted, [high, low]);
}

pub(crate) async fn a_long_backlog_of_one_caller_does_not_hold_up_another(fixture: &Fixture) {
    let backlog = (0..200).map(|_| job("busy")).collect();
    fixture.store().enqueue(backlog).await.unwrap();
    // It has been going on for a while.
    for _ in 0..20 {
        let grant = fixture.start("w").await;
        fixture.complete(&grant, "{}").await;
    }
    let quiet = fixture.enqueue(job("quiet")).await;
    let mut dispatches = 0;
    loop {
        dispatches += 1;
        let grant = fixture.start("w").await;
        if grant.lease.id == quiet {
            break;
        }
        fixture.complete(&grant, "{}").await;
    }
    assert!(dispatches <= 20, "it had to wait for {dispatches} others");
}

pub(crate) async fn one_claim_in_ten_takes_the_lowest_priority(fixture: &Fixture) {
    let lowest = fixture.enqueue(of_priority(0)).await;
    for _ in 0..40 {
        fixture.enqueue(of_priority(9)).await;
    }
    let mut claims = 1;
    while fixture.start("w").await.lease.id != lowest {
        claims += 1;
    }
    assert!(claims <= 10, "it took {claims} claims");
}

pub(crate) async fn a_caller_has_no_more_running_than_it_may(fixture: &Fixture) {
    fixture.store().enqueue((0..5).map(|_| job("a")).collect()).await.unwrap();
    let other = fixture.enqueue(job("b")).await;
    let capped = || Claim { running_max: 2, ..claim("w", 5) };
    let granted = fixture.store().claim(capped()).await.unwrap();
    let callers: Vec<_> = granted.iter().map(|it| it.caller.as_str()).collect();
    assert_eq!(callers.iter().filter(|it| **it == "a").count(), 2, "{callers:?}");
    assert!(granted.iter().any(|it| it.lease.id == other));
    assert_eq!(fixture.store().claim(capped()).await.unwrap(), []);
    fixture.complete(&granted[0], "{}").await;
    let closer = Claim { running_max_of: vec![("a".to_owned(), 1)], ..capped() };
    assert_eq!(fixture.store().claim(closer).await.unwrap(), []);
    assert_eq!(fixture.store().claim(capped()).await.unwrap().len(), 1);
}

pub(crate) async fn only_languages_that_are_asked_for_are_granted(fixture: &Fixture) {
    fixture.enqueue(NewJob { language: "beta".to_owned(), ..job("a") }).await;
    fixture.enqueue(job("a")).await;
    let languages = vec!["gamma".to_owned(), "beta".to_owned()];
    let granted = fixture.store().claim(Claim { languages, ..claim("w", 3) }).await.unwrap();
    assert_eq!(granted.iter().map(|it| it.language.as_str()).collect::<Vec<_>>(), ["beta"]);
}

pub(crate) async fn the_same_poll_gets_the_same_grants_until_they_are_accepted(fixture: &Fixture) {
    fixture.store().enqueue((0..3).map(|_| job("a")).collect()).await.unwrap();
    let poll = |word: &str, worker: &str| Claim { poll: Some(word.to_owned()), ..claim(worker, 1) };
    let first = fixture.store().claim(poll("1", "w")).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(fixture.store().claim(poll("1", "w")).await.unwrap(), first);
    assert_ne!(fixture.store().claim(poll("1", "other")).await.unwrap(), first);
    fixture.store().extend(vec![first[0].lease], LEASE).await.unwrap();
    assert_ne!(fixture.store().claim(poll("1", "w")).await.unwrap(), first);
}

pub(crate) async fn a_position_counts_those_before(fixture: &Fixture) {
    let first = fixture.enqueue(job("a")).await;
    let second = fixture.enqueue(job("a")).await;
    let urgent = fixture.enqueue(of_priority(9)).await;
    let mut found = Vec::new();
    for id in [urgent, first, second] {
        found.push(fixture.job(id).await.position);
    }
    assert_eq!(found, [Some(0), Some(1), Some(2)]);
    fixture.start("w").await;
    assert_eq!(fixture.job(urgent).await.position, None);
    assert_eq!(fixture.job(second).await.position, Some(1));
}

pub(crate) async fn a_far_position_is_told_though_not_counted(fixture: &Fixture) {
    let many = (Job::COUNTED_MAX + 50) as usize;
    let found = fixture.store().enqueue((0..many).map(|_| job("a")).collect()).await.unwrap();
    let Some(Enqueued::Created(last)) = found.last() else { panic!("{found:?}") };
    assert_eq!(fixture.job(*last).await.position, Some(Job::COUNTED_MAX + 49));
    // Whoever comes in before is counted, and so is who waits behind a few.
    let urgent = fixture.enqueue(of_priority(9)).await;
    assert_eq!(fixture.job(urgent).await.position, Some(0));
    let other = fixture.enqueue(job("b")).await;
    assert!(fixture.job(other).await.position < Some(4));
}

pub(crate) async fn a_store_tells_what_it_takes(fixture: &Fixture) {
    let before = fixture.store().stats().await.unwrap().bytes;
    let large = |_| NewJob { body: vec![b'x'; 100_000], ..job("a") };
    fixture.store().enqueue((0..20).map(large).collect()).await.unwrap();
    let after = fixture.store().stats().await.unwrap().bytes;
    assert!(after > before, "{before} {after}");
}
