//! Whatever happens to two stores alike, they do alike: who gets which job, and what is told of it.
//! The one in a file is what others are measured by.

use std::time::Duration;

use proptest::prelude::*;
use queue::{
    Claim, Completion, DEFAULT_QUEUE, Delivery, Failure, Filter, Gone, Grant, JobId, Lane, Lease,
    NewJob, Priority, State,
};

use crate::fixture::{Fixture, HOUR, LEASE, claim, completion, job};

/// What happens to both. Numbers choose among the leases and jobs that there were.
#[derive(Debug, Clone)]
enum Act {
    Enqueue { caller: u8, language: u8, priority: u8, later: u8, within: u8 },
    Claim { most: usize, cap: u64, both: bool },
    Accept(usize),
    Complete(usize, u64),
    Fail(usize),
    Release(usize),
    Cancel(usize),
    Redrive(usize),
    Pass(u64),
    Abandon(Gone),
    Purge,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..4_u8, 0..2_u8, 0..3_u8, 0..5_u8, 0..5_u8).prop_map(
            |(caller, language, priority, later, within)| {
                Act::Enqueue { caller, language, priority, later, within }
            }
        ),
        4 => (1..4_usize, 1..4_u64, any::<bool>())
            .prop_map(|(most, cap, both)| Act::Claim { most, cap, both }),
        2 => any::<usize>().prop_map(Act::Accept),
        3 => (any::<usize>(), 1..5000_u64).prop_map(|(it, millis)| Act::Complete(it, millis)),
        1 => any::<usize>().prop_map(Act::Fail),
        1 => any::<usize>().prop_map(Act::Release),
        1 => any::<usize>().prop_map(Act::Cancel),
        1 => any::<usize>().prop_map(Act::Redrive),
        2 => (1..8_u64).prop_map(Act::Pass),
        1 => prop_oneof![Just(Gone::Cut), Just(Gone::Died)].prop_map(Act::Abandon),
        1 => Just(Act::Purge),
    ]
}

/// Two stores, the jobs that both were given, and what they granted.
struct Pair {
    stores: [Fixture; 2],
    jobs: Vec<JobId>,
    grants: Vec<[Grant; 2]>,
}

/// Has both do something, and that be the same.
macro_rules! alike {
    ($pair:expr, |$fixture:ident, $lease:ident| $act:expr, $index:expr) => {
        if let Some(index) = $index.checked_rem($pair.grants.len()) {
            let mut answers = Vec::new();
            for ($fixture, grant) in $pair.stores.iter().zip(&$pair.grants[index]) {
                let $lease = grant.lease;
                answers.push($act.await.unwrap());
            }
            assert_eq!(answers[0], answers[1]);
        }
    };
    ($pair:expr, |$fixture:ident| $act:expr) => {{
        let mut answers = Vec::new();
        for $fixture in &$pair.stores {
            answers.push($act.await.unwrap());
        }
        assert_eq!(answers[0], answers[1]);
    }};
}

impl Pair {
    async fn do_one(&mut self, act: &Act) {
        match act {
            Act::Enqueue { .. } => self.enqueue(act).await,
            Act::Claim { most, cap, both } => self.claim(*most, *cap, *both).await,
            Act::Accept(index) => {
                alike!(self, |it, lease| it.store().extend(vec![lease], LEASE), index);
            }
            Act::Complete(index, millis) => {
                let run_time = Duration::from_millis(*millis);
                let done = |lease: Lease, grant: &Grant| {
                    vec![Completion { lease, run_time, ..completion(grant, "{}") }]
                };
                let Some(any) = self.grants.first().map(|it| it[0].clone()) else { return };
                alike!(self, |it, lease| it.store().complete(done(lease, &any)), index);
            }
            Act::Fail(index) => {
                let failure = |lease| {
                    let reason = "no disk".to_owned();
                    vec![Failure { lease, reason, is_retryable: false, may_have_run: false }]
                };
                alike!(self, |it, lease| it.store().fail(failure(lease)), index);
            }
            Act::Release(index) => {
                alike!(self, |it, lease| it.store().release(vec![lease]), index);
            }
            Act::Cancel(index) => {
                let Some(id) = pick(&self.jobs, *index) else { return };
                alike!(self, |it| it.store().cancel(id));
            }
            Act::Redrive(index) => {
                let Some(id) = pick(&self.jobs, *index) else { return };
                alike!(self, |it| it.store().redrive(id));
            }
            Act::Pass(seconds) => {
                self.stores.iter().for_each(|it| it.clock.pass(Duration::from_secs(*seconds)));
                alike!(self, |it| it.store().sweep(100));
            }
            Act::Abandon(gone) => alike!(self, |it| it.store().abandon("w".to_owned(), *gone)),
            // What is counted beside jobs is each store's own affair.
            Act::Purge => {
                for fixture in &self.stores {
                    fixture.clock.pass(HOUR / 4);
                    fixture.store().sweep(100).await.unwrap();
                    fixture.store().purge(100).await.unwrap();
                }
            }
        }
    }

    async fn enqueue(&mut self, act: &Act) {
        let &Act::Enqueue { caller, language, priority, later, within } = act else { return };
        let clock = &self.stores[0].clock;
        let new = NewJob {
            lane: Lane::new(["alpha", "beta"][usize::from(language)], DEFAULT_QUEUE),
            priority: Priority::new(priority * 4).unwrap(),
            run_at: (later > 2).then(|| clock.now().after(LEASE * u32::from(later))),
            start_within: (within > 2).then(|| LEASE * u32::from(within)),
            // Whether it is run again is up to its worker: how much later would be up to chance.
            delivery: Delivery::AtMostOnce,
            ..job(&caller.to_string())
        };
        self.jobs.push(new.id);
        alike!(self, |it| it.store().enqueue(vec![new.clone()]));
    }

    async fn claim(&mut self, most: usize, cap: u64, both: bool) {
        let languages = if both { &["beta", "alpha"][..] } else { &["alpha"] };
        let wish = Claim {
            lanes: languages.iter().map(|it| Lane::new(it, DEFAULT_QUEUE)).collect(),
            running_max: cap,
            running_max_of: vec![("0".to_owned(), 1)],
            ..claim("w", most)
        };
        let [one, other] = &self.stores;
        let granted = one.store().claim(wish.clone()).await.unwrap();
        let also = other.store().claim(wish).await.unwrap();
        assert_eq!(granted.len(), also.len(), "{granted:?} {also:?}");
        for (one, other) in granted.into_iter().zip(also) {
            let lease = one.lease;
            assert_eq!(
                one,
                Grant { lease: Lease { token: lease.token, ..other.lease }, ..other.clone() }
            );
            self.grants.push([one, other]);
        }
    }

    /// What is told of everything.
    async fn check(&self, index: usize) {
        for id in &self.jobs {
            alike!(self, |it| it.store().job(*id));
            alike!(self, |it| it.store().attempts(*id));
        }
        let [one, other] = &self.stores;
        let told = [one.store().stats().await.unwrap(), other.store().stats().await.unwrap()];
        assert_eq!(told[0].lanes, told[1].lanes);
        for caller in [None, Some("1".to_owned()), Some("nobody".to_owned())] {
            alike!(self, |it| it.store().counts(caller.clone()));
        }
        let now = one.clock.now();
        let filters = [
            Filter::default(),
            Filter { caller: Some("1".to_owned()), ..Filter::default() },
            Filter { state: Some(State::Ready), ..Filter::default() },
            Filter { queue: Some(DEFAULT_QUEUE.to_owned()), ..Filter::default() },
            Filter { since: Some(now), ..Filter::default() },
            Filter { before: Some(now), ..Filter::default() },
        ];
        let mut held = Vec::new();
        for it in [one, other] {
            let found = it.store().held("w".to_owned(), 100).await.unwrap();
            held.push(
                found.into_iter().map(|it| (it.lease.id, it.caller, it.age)).collect::<Vec<_>>(),
            );
        }
        assert_eq!(held[0], held[1]);
        let filter = filters[index % filters.len()].clone();
        alike!(self, |it| it.store().list(filter.clone(), None, 100));
    }
}

fn pick(jobs: &[JobId], index: usize) -> Option<JobId> {
    jobs.get(index.checked_rem(jobs.len())?).copied()
}

/// Has the same happen to a store in a file and to another.
fn agree(acts: &[Act], open: impl Future<Output = Fixture>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stores = [Fixture::sqlite().await, open.await];
        let mut pair = Pair { stores, jobs: Vec::new(), grants: Vec::new() };
        for (index, act) in acts.iter().enumerate() {
            pair.do_one(act).await;
            pair.check(index).await;
        }
    });
}

fn of_cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(of_cases(40))]

    #[test]
    fn a_server_does_as_a_file_does(acts in proptest::collection::vec(act(), 1..80)) {
        agree(&acts, Fixture::redis());
    }
}

proptest! {
    #![proptest_config(of_cases(8))]

    #[test]
    fn a_database_does_as_a_file_does(acts in proptest::collection::vec(act(), 1..80)) {
        agree(&acts, Fixture::postgres());
    }
}
