//! How jobs end.

use std::time::Duration;

use queue::{
    Cancelled, Completed, Completion, Delivery, Extended, Failed, Failure, Grant, Held, NewJob,
    Released, State,
};

use crate::fixture::{Fixture, LEASE, MINUTE, check, completion, job};

fn failure(grant: &Grant, is_retryable: bool) -> Failure {
    Failure { lease: grant.lease, reason: "no disk".to_owned(), is_retryable, may_have_run: true }
}

async fn fail(fixture: &Fixture, grant: &Grant, is_retryable: bool) -> Failed {
    fixture.store().fail(vec![failure(grant, is_retryable)]).await.unwrap()[0]
}

pub(crate) async fn a_result_is_recorded_once(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    let grant = fixture.start("w").await;
    assert_eq!(fixture.store().result(id).await.unwrap(), None);
    assert_eq!(fixture.complete(&grant, "one").await, Completed::Recorded);
    assert_eq!(fixture.complete(&grant, "two").await, Completed::Duplicate { is_same: false });
    assert_eq!(fixture.store().result(id).await.unwrap().unwrap().body, b"one");
    check(&fixture.job(id).await, State::Succeeded, 1);
}

pub(crate) async fn the_same_result_again_is_a_duplicate(fixture: &Fixture) {
    fixture.enqueue(job("a")).await;
    let grant = fixture.start("w").await;
    fixture.complete(&grant, "one").await;
    assert_eq!(fixture.complete(&grant, "one").await, Completed::Duplicate { is_same: true });
}

pub(crate) async fn an_attempt_is_given_back_whose_worker_was_asked_to_leave(fixture: &Fixture) {
    let id = fixture.enqueue(NewJob { attempts_max: 2, ..job("a") }).await;
    let once = NewJob { delivery: Delivery::AtMostOnce, ..job("b") };
    for reason in Failure::DRAINED {
        let grant = fixture.start("leaves").await;
        let reason = reason.to_owned();
        let left = Failure { reason, ..failure(&grant, true) };
        let failed = fixture.store().fail(vec![left.clone()]).await.unwrap()[0];
        assert!(matches!(failed, Failed::Retry(_)), "{failed:?}");
        check(&fixture.job(id).await, State::Ready, 0);
        let again = fixture.store().fail(vec![left]).await.unwrap()[0];
        assert_eq!(again, Failed::Stale);
    }
    // Who always leaves is no reason to run a job for ever.
    let until_dead = async || {
        for leases in 1..50 {
            let grant = fixture.start("leaves").await;
            let left = Failure { reason: "drain".to_owned(), ..failure(&grant, true) };
            fixture.store().fail(vec![left]).await.unwrap();
            if fixture.job(id).await.state == State::Dead {
                return leases;
            }
            fixture.pass(Duration::from_secs(3)).await;
        }
        panic!("it never ends");
    };
    assert_eq!(until_dead().await, 30, "two before, and its two attempts");
    assert!(fixture.store().redrive(id).await.unwrap());
    assert_eq!(until_dead().await, 32, "as at first");
    let once = fixture.enqueue(once).await;
    let grant = fixture.start("leaves").await;
    let left = Failure { reason: "drain".to_owned(), ..failure(&grant, true) };
    let failed = fixture.store().fail(vec![left]).await.unwrap()[0];
    assert_eq!(failed, Failed::Final(State::Dead));
    check(&fixture.job(once).await, State::Dead, 1);
}

pub(crate) async fn however_often_a_job_was_handed_back_a_drain_spends_no_attempt(
    fixture: &Fixture,
) {
    let id = fixture.enqueue(NewJob { attempts_max: 1, ..job("a") }).await;
    for _ in 0..60 {
        let grant = fixture.claim("w", 1).await.remove(0);
        fixture.store().release(vec![grant.lease]).await.unwrap();
    }
    let grant = fixture.start("leaves").await;
    let left = Failure { reason: "drain".to_owned(), ..failure(&grant, true) };
    let failed = fixture.store().fail(vec![left]).await.unwrap()[0];
    assert!(matches!(failed, Failed::Retry(_)), "{failed:?}");
    check(&fixture.job(id).await, State::Ready, 0);
}

pub(crate) async fn a_stranger_changes_nothing(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    let mut forged = fixture.start("w").await;
    forged.lease.token = "00".repeat(16).parse().unwrap();
    let before = fixture.job(id).await;
    assert_eq!(fixture.complete(&forged, "x").await, Completed::Stale);
    assert_eq!(fail(fixture, &forged, true).await, Failed::Stale);
    let store = fixture.store();
    assert_eq!(store.release(vec![forged.lease]).await.unwrap(), [Released::Stale]);
    assert_eq!(store.extend(vec![forged.lease], LEASE).await.unwrap(), [Extended::Lost]);
    assert_eq!(fixture.job(id).await, before);
    forged.lease.id = queue::JobId::random();
    assert_eq!(fixture.complete(&forged, "x").await, Completed::Gone);
}

pub(crate) async fn a_late_result_is_taken_if_nobody_else_has_the_job(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    let grant = fixture.start("w").await;
    fixture.clock.pass(MINUTE);
    assert_eq!(fixture.complete(&grant, "late").await, Completed::Recorded);
    fixture.pass(MINUTE).await;
    check(&fixture.job(id).await, State::Succeeded, 1);
}

pub(crate) async fn a_result_after_another_was_granted_the_job_is_stale(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    let first = fixture.start("paused").await;
    fixture.pass(MINUTE).await;
    assert_eq!(fixture.complete(&first, "first").await, Completed::Stale);
    fixture.pass(MINUTE).await;
    let second = fixture.start("other").await;
    assert_eq!(fixture.complete(&first, "first").await, Completed::Stale);
    assert_eq!(fixture.complete(&second, "second").await, Completed::Recorded);
    assert_eq!(fixture.complete(&first, "first").await, Completed::Stale);
    assert_eq!(fixture.store().result(id).await.unwrap().unwrap().body, b"second");
}

pub(crate) async fn a_worker_s_leases_are_found_again_with_their_tokens(fixture: &Fixture) {
    for caller in ["a", "b", "c"] {
        fixture.enqueue(job(caller)).await;
    }
    let grants = fixture.claim("w:1/", 2).await;
    let other = fixture.claim("w:1", 1).await;
    fixture.clock.pass(LEASE / 5);
    fixture.reopen().await;
    let held = async |limit| fixture.store().held("w:1/".to_owned(), limit).await.unwrap();
    let expected =
        |grant: &Grant| Held { lease: grant.lease, caller: grant.caller.clone(), age: LEASE / 5 };
    assert_eq!(held(10).await, [&grants[0], &grants[1]].map(expected));
    assert_eq!(held(1).await, [expected(&grants[0])]);
    assert_eq!(fixture.store().held("nobody".to_owned(), 10).await.unwrap(), []);
    // With what was found a job can be finished, and then there is nothing to be found.
    fixture.complete(&grants[0], "{}").await;
    assert_eq!(held(10).await, [expected(&grants[1])]);
    assert_eq!(fixture.store().release(vec![grants[1].lease]).await.unwrap().len(), 1);
    assert_eq!(held(10).await, []);
    // Nor is what another worker has by now.
    let again = fixture.claim("w:2/", 1).await;
    assert_eq!((again[0].lease.id, held(10).await), (grants[1].lease.id, vec![]));
    assert_eq!(fixture.store().held("w:1".to_owned(), 10).await.unwrap(), [expected(&other[0])]);
}

pub(crate) async fn a_fault_is_retried_and_then_the_job_is_dead(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    for attempt in 1..3 {
        let grant = fixture.start("w").await;
        assert_eq!(grant.attempt, attempt);
        let Failed::Retry(at) = fail(fixture, &grant, true).await else { panic!("no retry") };
        assert!(fixture.clock.now().until(at) <= Duration::from_secs(2));
        check(&fixture.job(id).await, State::Scheduled, attempt);
        fixture.pass(MINUTE).await;
    }
    let grant = fixture.start("w").await;
    assert_eq!(fail(fixture, &grant, true).await, Failed::Final(State::Dead));
    let dead = fixture.job(id).await;
    check(&dead, State::Dead, 3);
    assert_eq!(dead.reason.as_deref(), Some("no disk"));
    let attempts = fixture.store().attempts(id).await.unwrap();
    let told: Vec<_> = attempts.iter().map(|it| (it.number, it.reason.as_deref())).collect();
    assert_eq!(told, [(1, Some("no disk")), (2, Some("no disk")), (3, Some("no disk"))]);
}

pub(crate) async fn a_fault_that_no_retry_helps_is_the_end(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    let grant = fixture.start("w").await;
    assert_eq!(fail(fixture, &grant, false).await, Failed::Final(State::Dead));
    check(&fixture.job(id).await, State::Dead, 1);
}

pub(crate) async fn what_is_released_has_spent_no_attempt(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    for _ in 0..5 {
        let grant = fixture.start("w").await;
        assert_eq!(grant.attempt, 1);
        let released = fixture.store().release(vec![grant.lease]).await.unwrap();
        assert_eq!(released, [Released::Released]);
        check(&fixture.job(id).await, State::Ready, 0);
    }
}

pub(crate) async fn a_running_job_hears_that_it_is_cancelled(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    let grant = fixture.start("w").await;
    assert_eq!(fixture.store().cancel(id).await.unwrap(), Cancelled::Requested);
    assert!(fixture.job(id).await.cancel_requested);
    let heard = fixture.store().extend(vec![grant.lease], LEASE).await.unwrap();
    assert_eq!(heard, [Extended::Held { time: LEASE, cancel: true }]);
    let stopped = Completion { was_cancelled: true, ..completion(&grant, "{}") };
    let recorded = fixture.store().complete(vec![stopped]).await.unwrap();
    assert_eq!(recorded, [Completed::Recorded]);
    check(&fixture.job(id).await, State::Cancelled, 1);
}

pub(crate) async fn a_cancel_that_comes_too_late_says_so(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    let grant = fixture.start("w").await;
    fixture.complete(&grant, "{}").await;
    let late = fixture.store().cancel(id).await.unwrap();
    assert_eq!(late, Cancelled::AlreadyFinal(State::Succeeded));
    check(&fixture.job(id).await, State::Succeeded, 1);
}

pub(crate) async fn a_dead_job_can_be_redriven(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    let old = fixture.start("w").await;
    assert!(!fixture.store().redrive(id).await.unwrap());
    fail(fixture, &old, false).await;
    assert!(fixture.store().redrive(id).await.unwrap());
    check(&fixture.job(id).await, State::Ready, 0);
    let new = fixture.start("w").await;
    assert_eq!(fixture.complete(&old, "old").await, Completed::Stale);
    assert_eq!(fixture.complete(&new, "new").await, Completed::Recorded);
}
