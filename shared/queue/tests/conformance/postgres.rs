//! What holds for a store that several gateways share.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use queue::{Bounds, Claim, Clock, Durability, Enqueued, JobId, JobStore, State, StoreError};
use sqlx::{Connection as _, PgConnection};
use tests::stores::PostgresServer;
use tokio::time::timeout;

use crate::fixture::{Fixture, LEASE, claim, completion, job};

/// The server that all cases share which do not kill theirs. It ends with this process.
pub(crate) static SERVER: LazyLock<PostgresServer> = LazyLock::new(PostgresServer::start);

/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);
/// How long an operation takes at most whatever the server does.
const ANSWER: Duration = Duration::from_secs(5);

/// The address of a new database.
pub(crate) async fn database() -> String {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let name = format!("d{}", MADE.fetch_add(1, Ordering::Relaxed));
    ask(&SERVER.url("postgres"), &format!("CREATE DATABASE {name}")).await;
    SERVER.url(&name)
}

/// Has a server do something.
pub(crate) async fn ask(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

pub(crate) async fn number(url: &str, sql: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let found = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await;
    found.unwrap()
}

/// Ends what all others do in a database.
pub(crate) async fn end_sessions(url: &str) {
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    ask(url, end).await;
}

/// Waits until nobody else uses a database.
pub(crate) async fn until_nobody(url: &str) {
    until_some("a session does not end", async || {
        let others = "SELECT count(*) FROM pg_stat_activity \
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        (number(url, others).await == 0).then_some(())
    })
    .await;
}

/// Opens a store with the database's own clock.
pub(crate) async fn open(url: &str) -> Arc<dyn JobStore> {
    let bounds = Bounds { patience: LONG, ..Bounds::default() };
    queue::open(url, bounds, Clock::steady()).await.unwrap()
}

/// Waits until something succeeds.
pub(crate) async fn until_some<T>(what: &str, attempt: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(done) = attempt().await {
            return done;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_grant_no_job_twice_and_keep_to_the_cap() {
    const CALLERS: [&str; 4] = ["a", "b", "c", "d"];
    const CAP: usize = 3;
    let fixture = Fixture::postgres().await;
    let gateways = [fixture.store(), fixture.open_again().await.unwrap()];
    for caller in CALLERS {
        let jobs = (0..50).map(|_| job(caller)).collect();
        fixture.store().enqueue(jobs).await.unwrap();
    }
    let runs: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let seen: Arc<Mutex<HashSet<JobId>>> = Arc::default();
    let workers = (0..8).map(|index| {
        let (store, runs, seen) = (gateways[index % 2].clone(), runs.clone(), seen.clone());
        tokio::spawn(async move {
            let wish =
                || Claim { running_max: CAP as u64, ..claim(&format!("w{index}"), 1 + index % 3) };
            while seen.lock().unwrap().len() < 200 {
                let grants = store.claim(wish()).await.unwrap();
                for grant in &grants {
                    let is_new = seen.lock().unwrap().insert(grant.lease.id);
                    assert!(is_new, "a job was granted twice");
                    let mut runs = runs.lock().unwrap();
                    let runs = runs.entry(grant.caller.clone()).or_default();
                    *runs += 1;
                    assert!(*runs <= CAP, "{} has {runs} jobs running", grant.caller);
                }
                for grant in &grants {
                    // It runs until that is written, and so not for longer than is counted here.
                    *runs.lock().unwrap().get_mut(&grant.caller).unwrap() -= 1;
                    store.complete(vec![completion(grant, "{}")]).await.unwrap();
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let stats = fixture.store().stats().await.unwrap();
    assert_eq!((stats.lanes[0].ready, stats.lanes[0].leased), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_enqueue_at_once_keep_to_the_bound_and_to_keys() {
    let fixture = Fixture::postgres().await;
    let gateways = [fixture.store(), fixture.open_again().await.unwrap()];
    let callers = (0..40).map(|index| {
        let store = gateways[index % 2].clone();
        tokio::spawn(async move {
            let mut jobs: Vec<_> = (0..10).map(|_| job("a")).collect();
            let (key, digest) = ("key".to_owned(), [7; 32]);
            jobs[0].idempotency = Some(queue::IdempotencyKey { key, digest });
            store.enqueue(jobs).await.unwrap()
        })
    });
    let mut answers = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        answers.extend(caller.await.unwrap());
    }
    let created = answers.iter().filter(|it| matches!(it, Enqueued::Created(_))).count();
    let existing = answers.iter().filter(|it| matches!(it, Enqueued::Existing(_))).count();
    assert_eq!((created, existing), (300, 39));
}

#[tokio::test]
async fn a_wake_reaches_the_other_gateway() {
    let url = database().await;
    let (here, there) = (open(&url).await, open(&url).await);
    // What a listener that has just begun to listen tells everybody is not what is meant here.
    until_some("nobody listens", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' \
                   AND datname = current_database()";
        (number(&url, sql).await == 2).then_some(())
    })
    .await;
    let waiter = there.wakes().waiter(Vec::new());
    let new = job("a");
    let id = new.id;
    let mut changes = there.wakes().watch(id);
    here.enqueue(vec![new]).await.unwrap();
    timeout(LONG, waiter.work()).await.unwrap();
    timeout(LONG, changes.changed()).await.unwrap().unwrap();
    here.cancel(id).await.unwrap();
    timeout(LONG, changes.changed()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_told_of_and_then_found_again() {
    let mut server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let store = open(&server.url("postgres")).await;
    let acknowledged = job("a");
    let id = acknowledged.id;
    store.enqueue(vec![acknowledged]).await.unwrap();
    let grant = store.claim(claim("w", 1)).await.unwrap().remove(0);
    store.extend(vec![grant.lease], LEASE).await.unwrap();
    for hangs in [false, true] {
        if hangs {
            server.hang(true);
        } else {
            tokio::task::block_in_place(|| server.kill());
        }
        let asked = async { tokio::join!(store.enqueue(vec![job("a")]), store.job(id)) };
        let (enqueued, found) = timeout(ANSWER, asked).await.expect("it is told in time");
        let enqueued = enqueued.map(drop).unwrap_err();
        for error in [enqueued, found.map(drop).unwrap_err()] {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
            assert!(!error.to_string().contains(server.password()), "{error}");
        }
        if hangs {
            server.hang(false);
        } else {
            tokio::task::block_in_place(|| server.restart());
        }
        let found = until_some("it is not found again", async || store.job(id).await.ok()).await;
        assert_eq!(found.unwrap().state, State::Leased);
        until_some("nothing is written again", async || store.enqueue(vec![job("a")]).await.ok())
            .await;
    }
    let done = store.complete(vec![completion(&grant, "{}")]).await.unwrap();
    assert_eq!(done, [queue::Completed::Recorded]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_outlives_kills_amid_the_work() {
    const ROUNDS: usize = 5;
    let mut server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let store = open(&server.url("postgres")).await;
    assert_eq!(store.durability(), Durability::PowerLoss);
    let acknowledged: Arc<Mutex<Vec<JobId>>> = Arc::default();
    for round in 1..=ROUNDS {
        let callers = (0..32).map(|index| {
            let (store, acknowledged) = (store.clone(), acknowledged.clone());
            tokio::spawn(async move {
                loop {
                    let Ok(done) = store.enqueue(vec![job(&format!("c{index}"))]).await else {
                        return;
                    };
                    let Enqueued::Created(id) = done[0] else { panic!("{done:?}") };
                    acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        until_some("nothing is acknowledged", async || {
            (acknowledged.lock().unwrap().len() >= 500 * round).then_some(())
        })
        .await;
        tokio::task::block_in_place(|| server.kill());
        for caller in callers {
            caller.await.unwrap();
        }
        tokio::task::block_in_place(|| server.restart());
        until_some("it is not found again", async || store.enqueue(vec![]).await.ok()).await;
    }
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    for id in &acknowledged {
        assert!(store.job(*id).await.unwrap().is_some(), "{id} was acknowledged and is lost");
    }
    let ready = store.stats().await.unwrap().lanes[0].ready;
    let kept = number(&server.url("postgres"), "SELECT count(*) FROM flotilla.jobs").await;
    assert_eq!(i64::try_from(ready).unwrap(), kept);
    assert!(acknowledged.len() as u64 <= ready, "{} of {ready}", acknowledged.len());
}

#[tokio::test]
async fn leases_get_grace_only_when_nobody_swept() {
    for (is_swept, ended) in [(false, 0), (true, 1)] {
        let fixture = Fixture::postgres().await;
        fixture.enqueue(job("a")).await;
        fixture.start("w").await;
        fixture.clock.pass(LEASE / 2);
        if is_swept {
            fixture.store().sweep(10).await.unwrap();
        }
        fixture.clock.pass(LEASE);
        let other = fixture.open_again().await.unwrap();
        assert_eq!(other.sweep(10).await.unwrap().leases, ended);
    }
}

#[tokio::test]
async fn texts_may_have_any_character() {
    let fixture = Fixture::postgres().await;
    let key = queue::IdempotencyKey { key: "k\0é".to_owned(), digest: [0; 32] };
    let odd = || queue::NewJob { idempotency: Some(key.clone()), ..job("c\0'\"\\") };
    let id = fixture.enqueue(odd()).await;
    assert_eq!(fixture.enqueue_any(odd()).await, Enqueued::Existing(id));
    assert_eq!(fixture.claim("w\0", 1).await.len(), 1);
}

#[tokio::test]
async fn a_job_that_cannot_be_kept_harms_nobody_elses() {
    let fixture = Fixture::postgres().await;
    let twice = job("a");
    fixture.enqueue(twice.clone()).await;
    let store = fixture.store();
    let (bad, good) = tokio::join!(store.enqueue(vec![twice]), store.enqueue(vec![job("b")]));
    assert!(matches!(bad, Err(StoreError::Unavailable(_))), "{bad:?}");
    assert!(matches!(good.unwrap()[0], Enqueued::Created(_)));
}

#[tokio::test]
async fn a_disk_that_is_full_is_told_apart() {
    let url = database().await;
    let store = open(&url).await;
    let full = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS \
                $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$; \
                CREATE TRIGGER no_room BEFORE INSERT ON flotilla.bodies EXECUTE FUNCTION no_room()";
    ask(&url, full).await;
    let error = store.enqueue(vec![job("a")]).await.unwrap_err();
    assert!(matches!(error, StoreError::NoRoom), "{error}");
    ask(&url, "DROP TRIGGER no_room ON flotilla.bodies").await;
    store.enqueue(vec![job("a")]).await.unwrap();
}

#[tokio::test]
async fn connections_that_were_ended_are_made_again() {
    let url = database().await;
    let store = open(&url).await;
    let new = job("a");
    let id = new.id;
    store.enqueue(vec![new]).await.unwrap();
    for _ in 0..3 {
        end_sessions(&url).await;
        assert!(store.job(id).await.unwrap().is_some());
        assert!(matches!(store.enqueue(vec![job("a")]).await.unwrap()[0], Enqueued::Created(_)));
    }
}

#[tokio::test]
async fn a_gateway_that_hangs_holds_nobody_up_for_longer_than_an_answer() {
    let url = database().await;
    let store = open(&url).await;
    let mut hangs = PgConnection::connect(&url).await.unwrap();
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(1181511540, 1)";
    sqlx::raw_sql(lock).execute(&mut hangs).await.unwrap();
    let asked = timeout(ANSWER, store.enqueue(vec![job("a")]));
    let error = asked.await.expect("it is told in time").unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    hangs.close().await.unwrap();
    until_some("nothing is written again", async || store.enqueue(vec![job("a")]).await.ok()).await;
}

#[tokio::test]
async fn many_gateways_may_start_at_once() {
    let url = database().await;
    let stores = futures::future::join_all((0..6).map(|_| open(&url))).await;
    stores[0].enqueue(vec![job("a")]).await.unwrap();
    assert_eq!(stores[5].claim(claim("w", 1)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_opened_says_where_it_is_and_no_password() {
    let good = SERVER.url("postgres");
    let nobody = good.replace(&format!(":{}", good.rsplit(':').next().unwrap()), ":1/postgres");
    for (url, word) in [
        (nobody, "127.0.0.1:1"),
        (SERVER.url("nowhere"), "nowhere"),
        (good.replace("flotilla:", "flotilla:x"), "password authentication failed"),
        (good.replace("postgres://", "postgress://"), "postgress://…@127.0.0.1"),
        (good.replace("127.0.0.1:", "127.0.0.1:x"), "…@127.0.0.1"),
    ] {
        let bounds = Bounds { patience: Duration::ZERO, ..Bounds::default() };
        let error = queue::open(&url, bounds, Clock::steady()).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert!(!error.to_string().contains(SERVER.password()), "{error}");
    }
}
