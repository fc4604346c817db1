//! Whatever happens to two stores alike, they do alike: who gets which job, and what is told of it.
//! The one in a file is what others are measured by.

use std::time::Duration;

use proptest::prelude::*;
use queue::{
    Claim, Completion, DEFAULT_QUEUE, Delivery, Failed, Failure, Filter, Gone, Grant,
    IdempotencyKey, JobId, Lane, LaneStats, Lease, NewJob, Priority, State, StoreError,
};

use crate::fixture::{Fixture, HOUR, LEASE, claim, completion, job};

/// The longest wait before an attempt that is not the last of three.
const AGAIN: Duration = Duration::from_secs(3);

/// What happens to both. Numbers choose among the leases and jobs that there were.
#[derive(Debug, Clone)]
enum Act {
    Enqueue {
        caller: u8,
        language: u8,
        priority: u8,
        later: u8,
        within: u8,
        kind: Kind,
    },
    Claim {
        most: usize,
        cap: u64,
        both: bool,
    },
    Accept(usize),
    Complete(usize, u64),
    Fail(usize, Fault),
    Release(usize),
    Cancel(usize),
    Redrive(usize),
    Pass(u64),
    Abandon(Gone),
    Purge,
    /// Time passes by which keys end.
    Age,
}

/// How a job is to be run.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Once,
    /// The same, under one of its caller's keys and with one of two contents.
    Keyed(u8, u8),
    /// It is tried again.
    Again,
}

/// How an attempt comes to nothing.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Final,
    Passing,
    Drain,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..4_u8, 0..2_u8, 0..3_u8, 0..5_u8, 0..5_u8, kind()).prop_map(
            |(caller, language, priority, later, within, kind)| {
                Act::Enqueue { caller, language, priority, later, within, kind }
            }
        ),
        4 => (1..4_usize, 1..4_u64, any::<bool>())
            .prop_map(|(most, cap, both)| Act::Claim { most, cap, both }),
        4 => any::<usize>().prop_map(Act::Accept),
        3 => (any::<usize>(), 1..5000_u64).prop_map(|(it, millis)| Act::Complete(it, millis)),
        2 => (any::<usize>(), fault()).prop_map(|(it, fault)| Act::Fail(it, fault)),
        1 => any::<usize>().prop_map(Act::Release),
        1 => any::<usize>().prop_map(Act::Cancel),
        1 => any::<usize>().prop_map(Act::Redrive),
        2 => (1..8_u64).prop_map(Act::Pass),
        1 => prop_oneof![Just(Gone::Cut), Just(Gone::Died)].prop_map(Act::Abandon),
        1 => Just(Act::Purge),
        1 => Just(Act::Age),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        2 => Just(Kind::Once),
        2 => (0..3_u8, 0..2_u8).prop_map(|(key, content)| Kind::Keyed(key, content)),
        2 => Just(Kind::Again),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Final), Just(Fault::Passing), Just(Fault::Drain)]
}

/// Two stores, the jobs that both were given, and what they granted.
struct Pair {
    stores: [Fixture; 2],
    jobs: Vec<JobId>,
    grants: Vec<[Grant; 2]>,
    /// A job has waited for its next attempt: how long is up to chance.
    has_waited: bool,
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
            Act::Fail(index, fault) => self.fail(*index, *fault).await,
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
                self.pass(Duration::from_secs(*seconds)).await;
            }
            Act::Abandon(gone) => alike!(self, |it| it.store().abandon("w".to_owned(), *gone)),
            Act::Age => self.pass(HOUR * 13).await,
            // What is counted beside jobs is each store's own affair.
            Act::Purge => {
                self.pass(HOUR / 4).await;
                for fixture in &self.stores {
                    fixture.store().purge(100).await.unwrap();
                }
            }
        }
    }

    async fn fail(&mut self, index: usize, fault: Fault) {
        let reason = if matches!(fault, Fault::Drain) { Failure::DRAINED[0] } else { "no disk" };
        let is_retryable = !matches!(fault, Fault::Final);
        let failure = |lease| {
            vec![Failure { lease, reason: reason.to_owned(), is_retryable, may_have_run: false }]
        };
        let told = async |it: &Fixture, lease| {
            let failed = it.store().fail(failure(lease)).await?;
            let now = it.clock.now();
            // When it is tried again is up to chance.
            let is_later = matches!(failed[0], Failed::Retry(at) if at != now);
            Ok::<_, StoreError>(if is_later { vec![Failed::Retry(now)] } else { failed })
        };
        alike!(self, |it, lease| told(it, lease), index);
        self.settle().await;
    }

    /// Lets time pass, and both do what is due then.
    async fn pass(&mut self, time: Duration) {
        let mut swept = Vec::new();
        for it in &self.stores {
            let done = it.pass(time).await;
            swept.push((done.leases, done.expired));
        }
        assert_eq!(swept[0], swept[1]);
        self.settle().await;
    }

    /// Has every job that waits for its next attempt be ready, in both.
    async fn settle(&mut self) {
        while self.somebody_waits().await {
            self.has_waited = true;
            for it in &self.stores {
                it.pass(AGAIN).await;
            }
        }
    }

    /// Whether a job waits for its next attempt.
    async fn somebody_waits(&self) -> bool {
        for it in &self.stores {
            for id in &self.jobs {
                let job = it.store().job(*id).await.unwrap();
                if job.is_some_and(|it| it.state == State::Scheduled && it.attempt > 0) {
                    return true;
                }
            }
        }
        false
    }

    async fn enqueue(&mut self, act: &Act) {
        let &Act::Enqueue { caller, language, priority, later, within, kind } = act else { return };
        let clock = &self.stores[0].clock;
        let new = NewJob {
            lane: Lane::new(["alpha", "beta"][usize::from(language)], DEFAULT_QUEUE),
            priority: Priority::new(priority * 4).unwrap(),
            run_at: (later > 2).then(|| clock.now().after(LEASE * u32::from(later))),
            start_within: (within > 2).then(|| LEASE * u32::from(within)),
            delivery: Delivery::AtMostOnce,
            ..job(&caller.to_string())
        };
        let new = match kind {
            Kind::Once => new,
            Kind::Keyed(key, content) => {
                let key = IdempotencyKey { key: key.to_string(), digest: [content; 32] };
                NewJob { idempotency: Some(key), ..new }
            }
            // In which order those wait that are tried again is up to chance: each has its own caller.
            Kind::Again => NewJob {
                caller: format!("again {}", self.jobs.len()),
                delivery: Delivery::AtLeastOnce,
                ..new
            },
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
        assert_eq!(self.lanes(one).await, self.lanes(other).await);
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

    /// What is told of lanes, as far as it is not up to chance.
    async fn lanes(&self, fixture: &Fixture) -> Vec<LaneStats> {
        let lanes = fixture.store().stats().await.unwrap().lanes.into_iter();
        let told = |it: LaneStats| {
            let oldest_ready_ms = it.oldest_ready_ms.filter(|_| !self.has_waited);
            LaneStats { oldest_ready_ms, ..it }
        };
        lanes.map(told).collect()
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
        let mut pair = Pair { stores, jobs: Vec::new(), grants: Vec::new(), has_waited: false };
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
