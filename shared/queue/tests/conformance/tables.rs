//! What holds for the tables of a database: how older ones come to be as they are now, and how little
//! is read of them.

use queue::{Bounds, Claim, Clock, Failure, Filter, Gone, JobId, State};

use crate::fixture::{LEASE, claim, completion, job};
use crate::postgres::{SERVER, ask, database, number, open, until_some};

#[tokio::test]
async fn a_database_of_any_version_before_is_brought_to_this_one() {
    const STEPS: [&str; 3] = [
        include_str!("../../src/postgres/schema-1.sql"),
        include_str!("../../src/postgres/schema-2.sql"),
        include_str!("../../src/postgres/schema-3.sql"),
    ];
    for version in 1..=STEPS.len() {
        let url = database().await;
        let about = "CREATE SCHEMA flotilla; SET search_path = flotilla; \
                     CREATE TABLE about (is_one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (is_one), \
                     application TEXT NOT NULL, version BIGINT NOT NULL, last_sweep_at BIGINT); \
                     INSERT INTO about (application, version) VALUES";
        let id = JobId::random();
        let kept = format!(
            "INSERT INTO jobs (number, id, caller, language, state, rank, turn, cost, \
             attempts_max, attempt_ms_max, at_most_once, ttl_ms, created_at, ready_at) \
             VALUES (nextval('job_numbers'), '\\x{}', 'a', 'alpha', 'ready', 4, 0, 1, 3, 60000, \
             FALSE, 60000, 1, 1); INSERT INTO bodies VALUES (1, '{{}}')",
            id.to_string().replace('-', "")
        );
        let steps = STEPS[..version].concat();
        ask(&url, &format!("{about} ('flotilla jobs', {version}); {steps}; {kept}")).await;
        let store = open(&url).await;
        let granted = store.claim(claim("w", 1)).await.unwrap();
        assert_eq!(granted.iter().map(|it| it.lease.id).collect::<Vec<_>>(), [id]);
        assert_eq!(number(&url, "SELECT version FROM flotilla.about").await, 4);
    }
}

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
        let new = job("a");
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
    until_some("a session does not end", async || {
        let others = "SELECT count(*) FROM pg_stat_activity \
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        (number(&url, others).await == 0).then_some(())
    })
    .await;
    let looks = "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'jobs' \
                 AND indexrelname <> 'jobs_ready')::bigint \
                 + (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'jobs')";
    let looks = number(&url, looks).await;
    assert!(looks < 50 * JOBS, "{looks} entries were looked at for {CLAIMS} of {JOBS} jobs");
    let ready = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'jobs_ready'";
    let looks = number(&url, ready).await;
    // A position is counted up to a bound, and a claim reads a page or two.
    let most = i64::try_from(CLAIMS * (300 + 200)).unwrap();
    assert!(looks < most, "{looks} ready jobs were looked at by {CLAIMS} claims");
}
