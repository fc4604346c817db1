//! What holds for the tables of a database: which are refused, and how little is read of them.

use queue::{
    Bounds, Claim, Clock, Failure, Filter, Gone, IdempotencyKey, NewJob, State, Timestamp,
};

use crate::fixture::{LEASE, claim, completion, job};
use crate::postgres::{SERVER, ask, database, number, open, until_nobody};

#[tokio::test]
async fn a_younger_or_a_strange_database_is_refused_and_stays_as_it_is() {
    let changes = [
        ("UPDATE flotilla.about SET version = 99", "version 99"),
        ("UPDATE flotilla.about SET application = 'x'", "another program"),
        (
            "DROP SCHEMA flotilla CASCADE; CREATE SCHEMA flotilla; CREATE TABLE flotilla.jobs (a INT)",
            "another program",
        ),
    ];
    for (change, word) in changes {
        let url = database().await;
        drop(open(&url).await);
        ask(&url, change).await;
        let count = "SELECT count(*) FROM pg_class";
        let before = number(&url, count).await;
        let error = queue::open(&url, Bounds::default(), Clock::steady()).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert!(!error.to_string().contains(SERVER.password()), "{error}");
        assert_eq!(number(&url, count).await, before);
    }
}

#[tokio::test]
async fn what_is_done_with_one_job_looks_at_few_others() {
    const JOBS: i64 = 1_000;
    const CLAIMS: usize = 200;
    let url = database().await;
    let store = open(&url).await;
    let wish = |poll: &str| {
        // So that there is always somebody who is passed over.
        let running_max_of = vec![("capped".to_owned(), 0)];
        Claim { poll: Some(poll.to_owned()), running_max_of, ..claim("w", 5) }
    };
    let do_one = async |poll: &str| {
        let grants = store.claim(wish(poll)).await.unwrap();
        assert_eq!(store.claim(wish(poll)).await.unwrap().len(), grants.len());
        let leases: Vec<_> = grants.iter().map(|it| it.lease).collect();
        store.extend(leases, LEASE).await.unwrap();
        for (index, grant) in grants.iter().enumerate() {
            let (lease, id) = (grant.lease, grant.lease.id);
            match index {
                0 => drop(store.complete(vec![completion(grant, "{}")]).await.unwrap()),
                1 => drop(store.release(vec![lease]).await.unwrap()),
                2 => drop(store.cancel(id).await.unwrap()),
                3 => {
                    let reason = "no disk".to_owned();
                    let failure =
                        Failure { lease, reason, is_retryable: false, may_have_run: false };
                    store.fail(vec![failure]).await.unwrap();
                    assert!(store.redrive(id).await.unwrap());
                }
                _ => {}
            }
        }
        store.abandon("w".to_owned(), Gone::Cut).await.unwrap();
        for state in [State::Dead, State::Cancelled, State::Leased] {
            let filter = Filter { state: Some(state), ..Filter::default() };
            store.list(filter, None, 10).await.unwrap();
        }
        store.sweep(10).await.unwrap();
        store.purge(10).await.unwrap();
        store.stats().await.unwrap();
        let idempotency = Some(IdempotencyKey { key: poll.to_owned(), digest: [1; 32] });
        let new = NewJob { idempotency, ..job("a") };
        let id = new.id;
        store.enqueue(vec![new]).await.unwrap();
        assert!(store.job(id).await.unwrap().is_some());
    };
    // How to find things is settled for good while there is hardly anything.
    do_one("first").await;
    store.enqueue((0..JOBS).map(|_| job("capped")).collect()).await.unwrap();
    store.enqueue((0..JOBS).map(|_| job("a")).collect()).await.unwrap();
    for index in 0..CLAIMS {
        do_one(&index.to_string()).await;
    }
    drop(store);
    // What a session has looked at is counted once it has ended.
    until_nobody(&url).await;
    let looks = "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes \
                 WHERE relname IN ('jobs', 'keys') AND indexrelname <> 'jobs_ready')::bigint \
                 + (SELECT sum(seq_tup_read) FROM pg_stat_user_tables \
                 WHERE relname IN ('jobs', 'keys'))::bigint";
    let looks = number(&url, looks).await;
    assert!(looks < 50 * JOBS, "{looks} entries were looked at for {CLAIMS} of {JOBS} jobs");
    let ready = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'jobs_ready'";
    let looks = number(&url, ready).await;
    // A position is counted up to a bound, and a claim reads a page or two.
    let most = i64::try_from(CLAIMS * (300 + 200)).unwrap();
    assert!(looks < most, "{looks} ready jobs were looked at by {CLAIMS} claims");
}

#[tokio::test]
async fn what_is_listed_is_found_among_many() {
    const JOBS: usize = 3_000;
    let url = database().await;
    let store = open(&url).await;
    let of_a =
        |caller: bool| Filter { caller: caller.then(|| "a".to_owned()), ..Filter::default() };
    let list = async || {
        for filter in [of_a(false), of_a(true)] {
            for state in [State::Scheduled, State::Leased, State::Cancelled, State::Dead] {
                let filter = Filter { state: Some(state), ..filter.clone() };
                assert_eq!(store.list(filter, None, 10).await.unwrap().jobs, []);
            }
            let language = Some("beta".to_owned());
            let since = Some(Timestamp(i64::MAX));
            let late = Filter { since, language: language.clone(), ..filter.clone() };
            assert_eq!(store.list(late, None, 10).await.unwrap().jobs, []);
            let early = Filter { before: Some(Timestamp(1)), language, ..filter };
            assert_eq!(store.list(early, None, 10).await.unwrap().jobs, []);
        }
    };
    list().await;
    store.enqueue((0..JOBS).map(|_| job("a")).collect()).await.unwrap();
    for _ in 0..10 {
        list().await;
    }
    drop(store);
    until_nobody(&url).await;
    let looks = "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'jobs') \
                 ::bigint + (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'jobs')";
    let looks = number(&url, looks).await;
    assert!(looks < 1_000, "{looks} entries were looked at to list none of {JOBS} jobs");
}
