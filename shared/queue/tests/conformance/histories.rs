//! Whatever callers and workers do, in whatever order, and whenever the store is opened again: no
//! acknowledged job is lost, none has two results, and what is final stays as it is.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use queue::{
    Completed, Delivery, Enqueued, Failure, Filter, Gone, Grant, IdempotencyKey, JobId, NewJob,
    State,
};

use crate::fixture::{Fixture, LEASE, MINUTE, job};

/// What somebody does. Numbers choose among the leases and jobs that there were.
#[derive(Debug, Clone)]
enum Act {
    Enqueue { caller: u8, key: Option<u8>, at_most_once: bool, soon: bool },
    Claim(usize),
    Accept(usize),
    Complete(usize),
    Fail(usize, bool),
    Release(usize),
    Cancel(usize),
    Redrive(usize),
    Pass(u64),
    Abandon(Gone),
    Reopen,
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u8, proptest::option::of(0..4_u8), any::<bool>(), any::<bool>()).prop_map(
            |(caller, key, at_most_once, soon)| Act::Enqueue { caller, key, at_most_once, soon }
        ),
        5 => (1..4_usize).prop_map(Act::Claim),
        4 => any::<usize>().prop_map(Act::Accept),
        4 => any::<usize>().prop_map(Act::Complete),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(it, again)| Act::Fail(it, again)),
        1 => any::<usize>().prop_map(Act::Release),
        1 => any::<usize>().prop_map(Act::Cancel),
        1 => any::<usize>().prop_map(Act::Redrive),
        4 => (1..20_u64).prop_map(Act::Pass),
        1 => prop_oneof![Just(Gone::Cut), Just(Gone::Died)].prop_map(Act::Abandon),
        1 => Just(Act::Reopen),
        1 => Just(Act::Crash),
    ]
}

/// What is known of what happened.
#[derive(Default)]
struct History {
    jobs: Vec<JobId>,
    keys: HashMap<(u8, u8), JobId>,
    grants: Vec<Grant>,
    recorded: HashMap<JobId, String>,
    finals: HashMap<JobId, State>,
}

impl History {
    async fn do_one(&mut self, fixture: &Fixture, act: &Act) {
        match act {
            Act::Enqueue { caller, key, at_most_once, soon } => {
                self.enqueue(fixture, (*caller, *key), (*at_most_once, *soon)).await;
            }
            Act::Claim(most) => {
                for grant in fixture.claim("w", *most).await {
                    let is_new = self.grants.iter().all(|it| it.lease.token != grant.lease.token);
                    assert!(is_new, "a token was used twice");
                    assert!(!self.finals.contains_key(&grant.lease.id), "a final job was granted");
                    self.grants.push(grant);
                }
            }
            Act::Accept(index) => {
                if let Some(grant) = pick(&self.grants, *index) {
                    fixture.store().extend(vec![grant.lease], LEASE).await.unwrap();
                }
            }
            Act::Complete(index) => {
                let grant = pick(&self.grants, *index).cloned();
                if let Some(grant) = grant {
                    self.complete(fixture, &grant).await;
                }
            }
            Act::Fail(index, is_retryable) => {
                if let Some(grant) = pick(&self.grants, *index) {
                    let (lease, reason) = (grant.lease, "x".to_owned());
                    let is_retryable = *is_retryable;
                    let failure = Failure { lease, reason, is_retryable, may_have_run: true };
                    fixture.store().fail(vec![failure]).await.unwrap();
                }
            }
            Act::Release(index) => {
                if let Some(grant) = pick(&self.grants, *index) {
                    fixture.store().release(vec![grant.lease]).await.unwrap();
                }
            }
            Act::Cancel(index) => {
                if let Some(id) = pick(&self.jobs, *index) {
                    fixture.store().cancel(*id).await.unwrap();
                }
            }
            Act::Redrive(index) => {
                if let Some(id) = pick(&self.jobs, *index)
                    && fixture.store().redrive(*id).await.unwrap()
                {
                    assert_eq!(self.finals.remove(id), Some(State::Dead));
                }
            }
            Act::Pass(seconds) => {
                fixture.pass(Duration::from_secs(*seconds)).await;
            }
            Act::Abandon(gone) => {
                fixture.store().abandon("w".to_owned(), *gone).await.unwrap();
            }
            Act::Reopen => fixture.reopen().await,
            Act::Crash => fixture.crash().await,
        }
    }

    async fn enqueue(
        &mut self,
        fixture: &Fixture,
        (caller, key): (u8, Option<u8>),
        (at_most_once, soon): (bool, bool),
    ) {
        let delivery = if at_most_once { Delivery::AtMostOnce } else { Delivery::AtLeastOnce };
        let word = key.map(|it| it.to_string());
        let new = NewJob {
            delivery,
            run_at: (!soon).then(|| fixture.clock.now().after(LEASE)),
            idempotency: word.map(|key| IdempotencyKey { key, digest: [0; 32] }),
            ..job(&caller.to_string())
        };
        let known = key.and_then(|key| self.keys.get(&(caller, key)).copied());
        match (fixture.enqueue_any(new).await, known) {
            (Enqueued::Existing(id), Some(known)) => assert_eq!(id, known),
            (Enqueued::Created(id), None) => {
                self.jobs.push(id);
                if let Some(key) = key {
                    self.keys.insert((caller, key), id);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    async fn complete(&mut self, fixture: &Fixture, grant: &Grant) {
        let body = grant.lease.token.to_string();
        match fixture.complete(grant, &body).await {
            Completed::Recorded => {
                let latest = self.grants.iter().rev().find(|it| it.lease.id == grant.lease.id);
                assert_eq!(latest, Some(grant), "a lease that had ended gave a result");
                assert_eq!(self.recorded.insert(grant.lease.id, body), None, "two results");
            }
            Completed::Duplicate { is_same } => {
                assert!(is_same);
                assert_eq!(self.recorded.get(&grant.lease.id), Some(&body));
            }
            Completed::Stale => assert_ne!(self.recorded.get(&grant.lease.id), Some(&body)),
            Completed::Gone => panic!("an acknowledged job is gone"),
        }
    }

    /// What must hold at any time.
    async fn check(&mut self, fixture: &Fixture) {
        let mut counted = HashMap::new();
        for id in &self.jobs {
            let job = fixture.job(*id).await;
            *counted.entry(job.state).or_insert(0_u64) += 1;
            assert!(job.attempt <= job.attempts_max, "{job:?}");
            if let Some(before) = self.finals.get(id) {
                assert_eq!(job.state, *before, "what is final changed");
            }
            if job.state.is_final() {
                self.finals.insert(*id, job.state);
            }
            let result = fixture.store().result(*id).await.unwrap().map(|it| it.body);
            let recorded = self.recorded.get(id).map(|it| it.as_bytes().to_vec());
            assert_eq!(result, recorded, "the result is what was recorded");
            assert_eq!(job.state == State::Succeeded, recorded.is_some(), "{job:?}");
        }
        let stats = fixture.store().stats().await.unwrap();
        let told = stats.lanes.first().cloned().unwrap_or_default();
        for (state, told) in [
            (State::Scheduled, told.scheduled),
            (State::Ready, told.ready),
            (State::Leased, told.leased),
            (State::Dead, told.dead),
        ] {
            assert_eq!(told, counted.get(&state).copied().unwrap_or(0), "{state:?}");
        }
    }

    /// From now on everything goes well: then everything comes to its end.
    async fn heal(&mut self, fixture: &Fixture) {
        for _ in 0..50 {
            fixture.pass(MINUTE).await;
            for grant in fixture.claim("w", 50).await {
                self.grants.push(grant.clone());
                fixture.store().extend(vec![grant.lease], LEASE).await.unwrap();
                self.complete(fixture, &grant).await;
            }
            self.check(fixture).await;
            let page = fixture.store().list(Filter::default(), None, 100).await.unwrap();
            assert_eq!(page.jobs.len(), self.jobs.len());
            if page.jobs.iter().all(|it| it.state.is_final()) {
                return;
            }
        }
        panic!("a job never ends");
    }
}

fn pick<T>(all: &[T], index: usize) -> Option<&T> {
    all.get(index.checked_rem(all.len())?)
}

/// Does all of it to a new store, and then has everything come to its end.
fn check(acts: &[Act], open: impl AsyncFn() -> Fixture) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let fixture = open().await;
        let mut history = History::default();
        for act in acts {
            history.do_one(&fixture, act).await;
            history.check(&fixture).await;
        }
        history.heal(&fixture).await;
    });
}

fn of_cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(of_cases(100))]

    #[test]
    fn nothing_is_lost_and_nothing_is_done_twice(acts in proptest::collection::vec(act(), 1..60)) {
        check(&acts, Fixture::sqlite);
    }
}

proptest! {
    #![proptest_config(of_cases(20))]

    #[test]
    fn nor_is_it_on_postgres(acts in proptest::collection::vec(act(), 1..60)) {
        check(&acts, Fixture::postgres);
    }
}

proptest! {
    #![proptest_config(of_cases(60))]

    #[test]
    fn nor_is_it_on_redis(acts in proptest::collection::vec(act(), 1..60)) {
        check(&acts, Fixture::redis);
    }
}
