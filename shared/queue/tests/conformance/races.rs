//! What happens at once, in whatever order.

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use queue::{Completed, Enqueued, Extended, Filter, IdempotencyKey, JobId, NewJob, State, Swept};

use crate::fixture::{Fixture, HOUR, LEASE, completion, job, random};

pub(crate) async fn a_key_that_comes_a_hundred_times_at_once_is_one_job(fixture: &Fixture) {
    let gateways = fixture.gateways().await;
    let submit = |number: usize| {
        let store = gateways[number % 2].clone();
        let idempotency = Some(IdempotencyKey { key: "key".to_owned(), digest: [1; 32] });
        tokio::spawn(async move {
            store.enqueue(vec![NewJob { idempotency, ..job("a") }]).await.unwrap()[0]
        })
    };
    let answers = join_all((0..100).map(submit)).await;
    let answers: Vec<Enqueued> = answers.into_iter().map(Result::unwrap).collect();
    let created = answers.iter().filter_map(|it| match it {
        Enqueued::Created(id) => Some(*id),
        _ => None,
    });
    let created: Vec<JobId> = created.collect();
    let [id] = created[..] else { panic!("{created:?}") };
    assert_eq!(answers.iter().filter(|it| **it == Enqueued::Existing(id)).count(), 99);
    let page = fixture.store().list(Filter::default(), None, 9).await.unwrap();
    assert_eq!(page.jobs.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
}

/// What somebody did to a late lease.
#[derive(Debug)]
enum Did {
    Completed(usize, Completed),
    Extended(usize, Extended),
    Swept(Swept),
}

/// Does everything at once, in any order.
async fn do_at_once(mut acts: Vec<BoxFuture<'_, Did>>) -> Vec<Did> {
    for index in (1..acts.len()).rev() {
        acts.swap(index, random(index + 1));
    }
    let late = acts.into_iter().map(|act| async {
        for _ in 0..random(20) {
            tokio::task::yield_now().await;
        }
        act.await
    });
    join_all(late).await
}

pub(crate) async fn either_a_sweep_or_the_worker_has_a_late_job(fixture: &Fixture) {
    const ROUNDS: usize = 25;
    const JOBS: usize = 40;
    let gateways = fixture.gateways().await;
    let mut ended = [0, 0];
    for _ in 0..ROUNDS {
        let jobs = (0..JOBS).map(|_| NewJob { attempts_max: 9, attempt_max: HOUR, ..job("a") });
        fixture.store().enqueue(jobs.collect()).await.unwrap();
        let grants = fixture.claim("w", JOBS).await;
        assert_eq!(grants.len(), JOBS);
        let leases = grants.iter().map(|it| it.lease).collect();
        fixture.store().extend(leases, LEASE).await.unwrap();
        fixture.clock.pass(LEASE * 2);
        let mut acts: Vec<BoxFuture<'_, Did>> = Vec::new();
        for (index, grant) in grants.iter().enumerate() {
            let store = &gateways[random(2)];
            let complete = async move {
                let done = store.complete(vec![completion(grant, "{}")]).await.unwrap();
                Did::Completed(index, done[0])
            };
            let extend = async move {
                let done = store.extend(vec![grant.lease], LEASE).await.unwrap();
                Did::Extended(index, done[0])
            };
            acts.extend([complete.boxed(), extend.boxed()]);
        }
        for store in gateways.iter().cycle().take(8) {
            acts.push(async move { Did::Swept(store.sweep(JOBS / 8).await.unwrap()) }.boxed());
        }
        let did = do_at_once(acts).await;
        let mut swept = 0;
        let mut recorded = [false; JOBS];
        let mut held = [false; JOBS];
        for it in &did {
            match it {
                Did::Swept(it) => swept += it.leases,
                Did::Completed(index, it) => recorded[*index] = *it == Completed::Recorded,
                Did::Extended(index, it) => held[*index] = *it != Extended::Lost,
            }
        }
        for (index, grant) in grants.iter().enumerate() {
            let job = fixture.job(grant.lease.id).await;
            let result = fixture.store().result(grant.lease.id).await.unwrap();
            assert_eq!(result.is_some(), recorded[index], "{job:?} {did:?}");
            // What was completed is swept no more, and what was extended is not late.
            // It may wait for no time at all until it is tried again.
            let waits = matches!(job.state, State::Scheduled | State::Ready);
            assert_eq!(job.state == State::Succeeded, recorded[index], "{job:?} {did:?}");
            assert_eq!(waits, !recorded[index], "{job:?} {did:?}");
            assert!(recorded[index] || !held[index], "{job:?} {did:?}");
            let attempts = fixture.store().attempts(grant.lease.id).await.unwrap();
            let expected = if recorded[index] { "completed" } else { "lost" };
            assert_eq!(attempts.last().unwrap().reason.as_deref(), Some(expected));
        }
        let done = recorded.iter().filter(|it| **it).count();
        assert_eq!(swept + done, JOBS, "{did:?}");
        ended = [ended[0] + done, ended[1] + swept];
        // Those that are tried again are in nobody's way in the next round.
        for (grant, _) in grants.iter().zip(recorded).filter(|(_, is_recorded)| !is_recorded) {
            fixture.store().cancel(grant.lease.id).await.unwrap();
        }
        fixture.store().purge(ROUNDS * JOBS).await.unwrap();
    }
    assert!(ended.iter().all(|it| *it > ROUNDS), "nothing was at once: {ended:?}");
}
