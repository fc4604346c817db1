//! What time does to jobs.

use std::time::Duration;

use queue::{
    Completed, Delivery, Extended, Failed, Failure, Gone, Grant, JobId, NewJob, State, Swept,
};

use crate::fixture::{Fixture, HOUR, LEASE, MINUTE, check, job};

pub(crate) async fn a_lease_that_nobody_extends_ends_and_the_job_goes_on(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    let first = fixture.start("dies").await;
    for _ in 0..3 {
        fixture.pass(LEASE / 2).await;
        let extended = fixture.store().extend(vec![first.lease], LEASE).await.unwrap();
        assert_eq!(extended, [Extended::Held { time: LEASE, cancel: false }]);
    }
    let swept = fixture.pass(LEASE * 2).await;
    assert_eq!(swept.leases, 1);
    assert_eq!(fixture.store().extend(vec![first.lease], LEASE).await.unwrap(), [Extended::Lost]);
    fixture.pass(MINUTE).await;
    let second = fixture.start("lives").await;
    assert_eq!((second.lease.id, second.attempt), (id, 2));
}

pub(crate) async fn a_grant_that_nobody_accepts_spends_no_attempt(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    for _ in 0..5 {
        assert_eq!(fixture.claim("deaf", 1).await.len(), 1);
        fixture.pass(LEASE * 2).await;
        check(&fixture.job(id).await, State::Ready, 0);
    }
}

pub(crate) async fn two_workers_that_die_with_a_job_are_enough(fixture: &Fixture) {
    let id = fixture.enqueue(NewJob { attempts_max: 100, ..job("a") }).await;
    for _ in 0..2 {
        fixture.start("dies").await;
        fixture.pass(LEASE * 2).await;
        fixture.pass(MINUTE).await;
    }
    let dead = fixture.job(id).await;
    check(&dead, State::Dead, 2);
    assert_eq!(dead.reason.as_deref(), Some("poison"));
}

pub(crate) async fn only_workers_that_die_in_a_row_make_a_job_poison(fixture: &Fixture) {
    let id = fixture.enqueue(NewJob { attempts_max: 100, ..job("a") }).await;
    let die = async || {
        fixture.start("dies").await;
        fixture.pass(LEASE * 2).await;
        let job = fixture.job(id).await;
        fixture.pass(MINUTE).await;
        (job.state == State::Dead, job.reason)
    };
    let lost = (false, Some("lost".to_owned()));
    assert_eq!(die().await, lost);
    // Whoever tells of a fault has outlived the job.
    let grant = fixture.start("lives").await;
    fail(fixture, &grant).await;
    fixture.pass(MINUTE).await;
    assert_eq!(die().await, lost);
    // That cannot be said of who handed it back, was cut off, or never heard of it.
    let grant = fixture.start("leaves").await;
    fixture.store().release(vec![grant.lease]).await.unwrap();
    fixture.start("cut").await;
    assert_eq!(fixture.store().abandon("cut".to_owned(), Gone::Cut).await.unwrap(), 1);
    fixture.claim("deaf", 1).await;
    fixture.pass(LEASE * 2).await;
    assert_eq!(die().await, (true, Some("poison".to_owned())));
    // Nor does it count any more for one that somebody wants again.
    assert!(fixture.store().redrive(id).await.unwrap());
    assert_eq!(die().await, lost);
}

async fn fail(fixture: &Fixture, grant: &Grant) -> Failed {
    let (lease, reason) = (grant.lease, "no disk".to_owned());
    let failure = Failure { lease, reason, is_retryable: true, may_have_run: false };
    fixture.store().fail(vec![failure]).await.unwrap()[0]
}

pub(crate) async fn retries_wait_longer_each_time_up_to_a_minute(fixture: &Fixture) {
    const JOBS: usize = 30;
    let jobs = (0..JOBS).map(|_| NewJob { attempts_max: 100, attempt_max: HOUR, ..job("a") });
    fixture.store().enqueue(jobs.collect()).await.unwrap();
    for longest in [1, 2, 4, 8, 16, 32, 60, 60].map(Duration::from_secs) {
        let mut waits = Vec::new();
        for grant in fixture.claim("w", JOBS).await {
            let Failed::Retry(at) = fail(fixture, &grant).await else {
                panic!("it is not retried")
            };
            waits.push(fixture.clock.now().until(at));
        }
        assert_eq!(waits.len(), JOBS);
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        // At random, so that they do not all come back at once.
        assert!(*most <= longest && *most > longest / 2, "{most:?} of {longest:?}");
        assert!(*least < longest / 2, "{least:?} of {longest:?}");
        fixture.pass(MINUTE).await;
    }
}

pub(crate) async fn a_sweep_gets_through_all_that_is_due_in_steps(fixture: &Fixture) {
    const OF_EACH: usize = 5;
    let store = fixture.store();
    let soon = Some(LEASE * 2);
    let run_at = Some(fixture.clock.now().after(LEASE));
    let unheard = NewJob { start_within: soon, ..job("a") };
    let once = NewJob { delivery: Delivery::AtMostOnce, ..job("a") };
    let mut ids = Vec::new();
    let last = NewJob { attempts_max: 1, ..job("a") };
    for new in [unheard, last, once, job("a")] {
        for _ in 0..OF_EACH {
            ids.push(fixture.enqueue(NewJob { id: JobId::random(), ..new.clone() }).await);
        }
    }
    let grants = fixture.claim("w", ids.len()).await;
    let heard = grants.iter().filter(|it| !ids[..OF_EACH].contains(&it.lease.id));
    store.extend(heard.map(|it| it.lease).collect(), LEASE).await.unwrap();
    for id in &ids[3 * OF_EACH..] {
        store.cancel(*id).await.unwrap();
    }
    for new in [NewJob { run_at, ..job("a") }, NewJob { run_at, start_within: soon, ..job("a") }] {
        for _ in 0..OF_EACH {
            ids.push(fixture.enqueue(NewJob { id: JobId::random(), ..new.clone() }).await);
        }
    }
    fixture.clock.pass(LEASE * 4);
    let mut all = Swept::default();
    loop {
        let swept = store.sweep(3).await.unwrap();
        assert!(swept.leases <= 3 && swept.promoted <= 3 && swept.expired <= 3, "{swept:?}");
        if swept == Swept::default() {
            break;
        }
        all.leases += swept.leases;
        all.promoted += swept.promoted;
        all.expired += swept.expired;
    }
    assert_eq!((all.leases, all.expired), (4 * OF_EACH, 2 * OF_EACH));
    let expected =
        [State::Expired, State::Dead, State::Dead, State::Cancelled, State::Ready, State::Expired];
    for (ids, expected) in ids.chunks(OF_EACH).zip(expected) {
        for id in ids {
            assert_eq!(fixture.job(*id).await.state, expected);
        }
    }
}

pub(crate) async fn what_may_run_once_is_not_run_again(fixture: &Fixture) {
    let id = fixture.enqueue(NewJob { delivery: Delivery::AtMostOnce, ..job("a") }).await;
    fixture.start("dies").await;
    fixture.pass(LEASE * 2).await;
    let dead = fixture.job(id).await;
    check(&dead, State::Dead, 1);
    assert_eq!(dead.reason.as_deref(), Some("lost"));
}

pub(crate) async fn a_worker_that_starts_anew_again_and_again_is_killed_by_its_job(
    fixture: &Fixture,
) {
    let id = fixture.enqueue(NewJob { attempts_max: 9, ..job("a") }).await;
    let died = async || fixture.store().abandon("w".to_owned(), Gone::Died).await.unwrap();
    // What it never had it did not die with.
    fixture.claim("w", 1).await;
    assert_eq!(died().await, 1);
    check(&fixture.job(id).await, State::Ready, 0);
    fixture.start("w").await;
    assert_eq!(died().await, 1);
    check(&fixture.job(id).await, State::Ready, 1);
    fixture.start("w").await;
    assert_eq!(died().await, 1);
    let dead = fixture.job(id).await;
    check(&dead, State::Dead, 2);
    assert_eq!(dead.reason.as_deref(), Some("poison"));
}

pub(crate) async fn a_worker_whose_gateway_starts_anew_gives_its_jobs_back(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    let once = fixture.enqueue(NewJob { delivery: Delivery::AtMostOnce, ..job("a") }).await;
    for _ in 0..3 {
        fixture.start("w").await;
        fixture.start("w").await;
        assert_eq!(fixture.store().abandon("other".to_owned(), Gone::Cut).await.unwrap(), 0);
        assert_eq!(fixture.store().abandon("w".to_owned(), Gone::Cut).await.unwrap(), 2);
        check(&fixture.job(id).await, State::Ready, 0);
        check(&fixture.job(once).await, State::Dead, 1);
        assert!(fixture.store().redrive(once).await.unwrap());
    }
}

pub(crate) async fn no_lease_goes_beyond_its_attempt(fixture: &Fixture) {
    fixture.enqueue(NewJob { attempt_max: Duration::from_secs(8), ..job("a") }).await;
    let grant = fixture.start("hangs").await;
    fixture.pass(Duration::from_secs(4)).await;
    let extended = fixture.store().extend(vec![grant.lease], LEASE).await.unwrap();
    assert_eq!(extended, [Extended::Held { time: Duration::from_secs(4), cancel: false }]);
    fixture.clock.pass(Duration::from_secs(4));
    assert_eq!(fixture.store().extend(vec![grant.lease], LEASE).await.unwrap(), [Extended::Lost]);
}

pub(crate) async fn a_job_waits_for_its_time(fixture: &Fixture) {
    let at = fixture.clock.now().after(HOUR);
    let id = fixture.enqueue(NewJob { run_at: Some(at), ..job("a") }).await;
    fixture.pass(HOUR / 2).await;
    assert_eq!(fixture.claim("w", 1).await, []);
    assert_eq!(fixture.job(id).await.state, State::Scheduled);
    assert_eq!(fixture.pass(HOUR / 2).await.promoted, 1);
    assert_eq!(fixture.start("w").await.lease.id, id);
}

pub(crate) async fn a_job_that_is_not_started_in_time_expires(fixture: &Fixture) {
    let soon = || NewJob { start_within: Some(MINUTE), ..job("a") };
    let missed = fixture.enqueue(soon()).await;
    assert_eq!(fixture.pass(2 * MINUTE).await.expired, 1);
    assert_eq!(fixture.job(missed).await.state, State::Expired);
    let late = fixture.enqueue(soon()).await;
    fixture.clock.pass(2 * MINUTE);
    assert_eq!(fixture.claim("w", 1).await, []);
    assert_eq!(fixture.job(late).await.state, State::Expired);
    let started = fixture.enqueue(soon()).await;
    fixture.start("w").await;
    fixture.pass(2 * MINUTE).await;
    fixture.pass(2 * MINUTE).await;
    assert_eq!(fixture.job(started).await.state, State::Ready);
}

pub(crate) async fn a_job_that_was_granted_and_not_started_expires_all_the_same(fixture: &Fixture) {
    let soon = || NewJob { start_within: Some(MINUTE), ..job("a") };
    let unheard = fixture.enqueue(soon()).await;
    fixture.claim("deaf", 1).await;
    fixture.pass(LEASE * 2).await;
    assert_eq!(fixture.job(unheard).await.state, State::Ready);
    assert_eq!(fixture.pass(MINUTE).await.expired, 1);
    check(&fixture.job(unheard).await, State::Expired, 0);
    let released = fixture.enqueue(soon()).await;
    let grant = fixture.claim("leaves", 1).await.remove(0);
    fixture.store().release(vec![grant.lease]).await.unwrap();
    assert_eq!(fixture.claim("leaves", 1).await.len(), 1);
    fixture.clock.pass(2 * MINUTE);
    assert_eq!(fixture.store().abandon("leaves".to_owned(), Gone::Cut).await.unwrap(), 1);
    assert_eq!(fixture.claim("w", 1).await, []);
    check(&fixture.job(released).await, State::Expired, 0);
}

pub(crate) async fn a_job_that_was_started_in_time_is_retried_later(fixture: &Fixture) {
    let once = NewJob { start_within: Some(MINUTE), attempts_max: 2, ..job("a") };
    let id = fixture.enqueue(once).await;
    for attempt in 1..=2 {
        let grant = fixture.start("w").await;
        assert_eq!((grant.lease.id, grant.attempt), (id, attempt));
        let (lease, reason) = (grant.lease, "no disk".to_owned());
        let failure = Failure { lease, reason, is_retryable: true, may_have_run: false };
        fixture.store().fail(vec![failure]).await.unwrap();
        fixture.pass(2 * MINUTE).await;
    }
    check(&fixture.job(id).await, State::Dead, 2);
    // Nor is it too late for one that somebody wants again.
    assert!(fixture.store().redrive(id).await.unwrap());
    fixture.pass(2 * MINUTE).await;
    assert_eq!(fixture.start("w").await.lease.id, id);
}

pub(crate) async fn a_cancelled_job_whose_worker_dies_is_cancelled(fixture: &Fixture) {
    let id = fixture.enqueue(job("a")).await;
    fixture.start("dies").await;
    fixture.store().cancel(id).await.unwrap();
    fixture.pass(LEASE * 2).await;
    check(&fixture.job(id).await, State::Cancelled, 1);
}

pub(crate) async fn leases_outlive_a_restart(fixture: &Fixture) {
    fixture.enqueue(job("a")).await;
    let grant = fixture.start("w").await;
    fixture.clock.pass(LEASE * 2);
    fixture.reopen().await;
    assert_eq!(fixture.pass(LEASE).await.leases, 0);
    assert_eq!(fixture.complete(&grant, "{}").await, Completed::Recorded);
}
