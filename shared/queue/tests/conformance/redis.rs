//! What holds for a store on a Redis server alone: several gateways use it, and it comes and goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::{
    Bounds, Cancelled, Claim, Clock, Completed, Durability, Enqueued, IdempotencyKey, JobId,
    JobStore, NewJob, State, StoreError, Timestamp,
};
use tests::stores::RedisServer;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fixture::{HOUR, LEASE, MINUTE, claim, completion, job};

/// Within so long, whoever asks hears something.
const SOON: Duration = Duration::from_secs(5);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

type Store = Arc<dyn JobStore>;

async fn open(server: &RedisServer) -> Store {
    open_at(server, Clock::steady()).await
}

async fn open_at(server: &RedisServer, clock: Clock) -> Store {
    queue::open(&server.url(), Bounds::default(), clock).await.unwrap()
}

async fn refused(url: &str, patience: Duration) -> StoreError {
    let bounds = Bounds { patience, ..Bounds::default() };
    queue::open(url, bounds, Clock::steady()).await.unwrap_err()
}

/// Has a job kept, and says whether that was acknowledged.
async fn enqueue(store: &Store, job: NewJob) -> Result<JobId, StoreError> {
    match store.enqueue(vec![job]).await?[..] {
        [Enqueued::Created(id)] => Ok(id),
        ref other => panic!("{other:?}"),
    }
}

/// Asks again until there is an answer.
async fn until_it_answers(store: &Store) {
    let answers = async {
        while store.stats().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, answers).await.expect("the store works again by itself");
}

/// What each caller has running by what was heard: never more than there is.
#[derive(Default)]
struct Running(Mutex<HashMap<String, u64>>);

impl Running {
    fn add(&self, caller: &str, most: u64) {
        let mut running = self.0.lock().unwrap();
        let runs = running.entry(caller.to_owned()).or_default();
        *runs += 1;
        assert!(*runs <= most, "{caller} has {runs} running");
    }

    fn remove(&self, caller: &str) {
        *self.0.lock().unwrap().get_mut(caller).unwrap() -= 1;
    }
}

#[tokio::test]
async fn two_gateways_never_get_the_same_job_and_keep_the_bounds() {
    const JOBS: usize = 300;
    let server = RedisServer::start_with(&[("appendfsync", "everysec")]);
    let stores = [open(&server).await, open(&server).await];
    let jobs = (0..JOBS).map(|number| job(["a", "b", "c"][number % 3])).collect();
    stores[0].enqueue(jobs).await.unwrap();
    let running = Arc::new(Running::default());
    let mut workers = JoinSet::new();
    for number in 0..8 {
        let (store, running) = (Arc::clone(&stores[number % 2]), Arc::clone(&running));
        workers.spawn(async move {
            let (mut done, worker) = (Vec::new(), format!("w{number}"));
            let mut idle = 0;
            while idle < 50 {
                let wish = Claim { running_max: 2, ..claim(&worker, 3) };
                let grants = store.claim(wish).await.unwrap();
                idle = if grants.is_empty() { idle + 1 } else { 0 };
                for grant in &grants {
                    running.add(&grant.caller, 2);
                }
                for grant in grants {
                    running.remove(&grant.caller);
                    let completed = store.complete(vec![completion(&grant, "{}")]).await.unwrap();
                    assert_eq!(completed, [Completed::Recorded]);
                    done.push(grant.lease.id);
                }
                tokio::task::yield_now().await;
            }
            done
        });
    }
    let mut done: Vec<JobId> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!(done.len(), JOBS);
    done.sort_unstable();
    done.dedup();
    assert_eq!(done.len(), JOBS);
}

#[tokio::test]
async fn what_one_gateway_does_wakes_those_who_wait_at_another() {
    let server = RedisServer::start();
    let (here, there) = (open(&server).await, open(&server).await);
    let waiter = here.wakes().waiter(Vec::new());
    // Once a job has woken somebody, everything is heard.
    let heard = async {
        loop {
            enqueue(&there, job("b")).await.unwrap();
            if timeout(Duration::from_millis(100), waiter.work()).await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("it hears");
    let new = job("a");
    let mut changes = here.wakes().watch(new.id);
    let id = new.id;
    enqueue(&there, new).await.unwrap();
    timeout(PATIENCE, waiter.work()).await.expect("there is work");
    let granted = there.claim(claim("w", 100)).await.unwrap();
    let grant = granted.into_iter().find(|it| it.lease.id == id).unwrap();
    timeout(PATIENCE, changes.changed()).await.expect("the job changed").unwrap();
    changes.mark_unchanged();
    there.complete(vec![completion(&grant, "{}")]).await.unwrap();
    timeout(PATIENCE, changes.changed()).await.expect("the job changed").unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_is_told_of_soon_and_comes_back_with_everything() {
    let mut server = RedisServer::start();
    let store = open(&server).await;
    let id = enqueue(&store, job("a")).await.unwrap();
    let grant = store.claim(claim("w", 1)).await.unwrap().pop().unwrap();
    let waiter = store.wakes().waiter(Vec::new());
    for is_killed in [true, false] {
        if is_killed {
            server.kill();
        } else {
            server.pause();
        }
        for _ in 0..2 {
            let asked = timeout(SOON, store.enqueue(vec![job("a")])).await.expect("it is told");
            assert!(matches!(asked, Err(StoreError::Unavailable(_))), "{asked:?}");
        }
        if is_killed {
            server.restart();
        } else {
            server.resume();
        }
        until_it_answers(&store).await;
        assert_eq!(store.job(id).await.unwrap().unwrap().state, State::Leased);
        enqueue(&store, job("b")).await.unwrap();
        // Who waits looks again, as something may have been missed.
        timeout(PATIENCE, waiter.work()).await.unwrap();
    }
    let completed = store.complete(vec![completion(&grant, "{}")]).await.unwrap();
    assert_eq!(completed, [Completed::Recorded]);
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_server() {
    let mut server = RedisServer::start();
    let store = open(&server).await;
    let mut acknowledged = Vec::new();
    for _ in 0..4 {
        let (tell, mut told) = tokio::sync::mpsc::channel(1000);
        let mut callers = JoinSet::new();
        for caller in 0..16 {
            let (store, tell) = (Arc::clone(&store), tell.clone());
            callers.spawn(async move {
                while let Ok(id) = enqueue(&store, job(&caller.to_string())).await {
                    tell.send(id).await.unwrap();
                }
            });
        }
        drop(tell);
        for _ in 0..200 {
            acknowledged.push(told.recv().await.unwrap());
        }
        server.kill();
        while let Some(id) = told.recv().await {
            acknowledged.push(id);
        }
        callers.join_all().await;
        server.restart();
        until_it_answers(&store).await;
        for id in &acknowledged {
            let found = store.job(*id).await.unwrap();
            assert_eq!(found.map(|it| it.state), Some(State::Ready), "{id} is lost");
        }
    }
}

#[tokio::test]
async fn after_an_outage_leases_get_time_and_otherwise_none() {
    let server = RedisServer::start();
    let clock = Clock::set(Timestamp(1_000_000_000));
    let store = open_at(&server, clock.clone()).await;
    enqueue(&store, NewJob { attempts_max: 9, ..job("a") }).await.unwrap();
    let mut grant = store.claim(claim("w", 1)).await.unwrap().pop().unwrap();
    store.extend(vec![grant.lease], LEASE).await.unwrap();
    store.sweep(100).await.unwrap();
    // Another gateway starts, and there was one all the while.
    clock.pass(LEASE * 2);
    let other = open_at(&server, clock.clone()).await;
    assert_eq!(other.sweep(100).await.unwrap().leases, 1);
    clock.pass(MINUTE);
    store.sweep(100).await.unwrap();
    grant = store.claim(claim("w", 1)).await.unwrap().pop().unwrap();
    store.extend(vec![grant.lease], LEASE).await.unwrap();
    // Nobody was there for a while.
    clock.pass(MINUTE);
    let last = open_at(&server, clock.clone()).await;
    assert_eq!(last.sweep(100).await.unwrap().leases, 0);
    clock.pass(LEASE);
    assert_eq!(last.sweep(100).await.unwrap().leases, 0);
    clock.pass(Duration::from_secs(11));
    assert_eq!(last.sweep(100).await.unwrap().leases, 1);
}

#[tokio::test]
async fn a_server_that_could_lose_jobs_is_refused_with_what_to_set() {
    for (name, value, words) in [
        ("appendonly", "no", "`appendonly yes`"),
        ("maxmemory-policy", "allkeys-lru", "`maxmemory-policy noeviction`"),
        ("appendfsync", "no", "`appendfsync always` or"),
        ("no-appendfsync-on-rewrite", "yes", "`no-appendfsync-on-rewrite no`"),
        ("replicaof", "127.0.0.1 1", "a replica"),
    ] {
        let server = RedisServer::start_with(&[(name, value)]);
        let error = refused(&server.url(), MINUTE).await;
        assert!(error.to_string().contains(words), "{name} {value}: {error}");
        let keys = server.command(&["DBSIZE"]);
        assert_eq!(keys.trim(), ":0", "{name} {value}");
    }
}

#[tokio::test]
async fn a_store_says_what_its_server_outlives() {
    for (value, expected) in
        [("always", Durability::PowerLoss), ("everysec", Durability::AboutASecond)]
    {
        let server = RedisServer::start_with(&[("appendfsync", value)]);
        assert_eq!(open(&server).await.durability(), expected);
        // Where that may not be asked, the least is said.
        server.command(&["ACL", "SETUSER", "default", "-config"]);
        assert_eq!(open(&server).await.durability(), Durability::AboutASecond);
    }
}

#[tokio::test]
async fn a_younger_or_a_strange_place_is_refused_and_stays_as_it_is() {
    for (change, word) in [
        (&["HSET", "{flotilla}:schema", "version", "99"][..], "version 99"),
        (&["HSET", "{flotilla}:schema", "application", "other"][..], "another program"),
        (&["DEL", "{flotilla}:schema"][..], "another program"),
        (&["SET", "{flotilla}:schema", "1"][..], "another program"),
    ] {
        let server = RedisServer::start();
        let store = open(&server).await;
        enqueue(&store, job("a")).await.unwrap();
        server.command(change);
        let before = server.command(&["DEBUG", "DIGEST"]);
        let error = refused(&server.url(), MINUTE).await;
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(server.command(&["DEBUG", "DIGEST"]), before);
    }
}

#[tokio::test]
async fn a_server_that_lets_nobody_in_is_told_of_without_the_password() {
    let server = RedisServer::start();
    server.command(&["CONFIG", "SET", "requirepass", "right"]);
    let place = server.url().replace("redis://", "");
    for url in
        [server.url(), format!("redis://:geheim@{place}"), format!("redis://x:geheim@{place}")]
    {
        let error = timeout(PATIENCE, refused(&url, HOUR)).await.expect("waiting does not help");
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
    }
    let url = format!("redis://:right@{place}");
    let store = queue::open(&url, Bounds::default(), Clock::steady()).await.unwrap();
    assert!(!format!("{store:?}").contains("right"));
    for url in ["redis://:geheim@127.0.0.1:1", "redis://:geheim@host:port", "rediss://u:geheim@?#"]
    {
        let error = refused(url, Duration::ZERO).await;
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
    }
}

#[tokio::test]
async fn a_full_server_takes_no_more_and_goes_on_when_there_is_room() {
    let server = RedisServer::start_with(&[("maxmemory", "8mb")]);
    let clock = Clock::set(Timestamp(1_000_000_000));
    let store = open_at(&server, clock.clone()).await;
    let large = || NewJob { body: vec![b'x'; 100_000], ..job("a") };
    let running = enqueue(&store, large()).await.unwrap();
    let grant = store.claim(claim("w", 1)).await.unwrap().pop().unwrap();
    let mut waiting = Vec::new();
    let error = loop {
        match enqueue(&store, large()).await {
            Ok(id) => waiting.push(id),
            Err(error) => break error,
        }
        assert!(waiting.len() < 200, "the server is never full");
    };
    assert!(matches!(error, StoreError::NoRoom), "{error}");
    // A result needs less room than a job, and there is not even that.
    server.command(&["CONFIG", "SET", "maxmemory", "6mb"]);
    let completed = store.complete(vec![completion(&grant, "{}")]).await;
    assert!(matches!(completed, Err(StoreError::NoRoom)), "{completed:?}");
    // Nothing is half done, and what needs no room goes on.
    let stats = store.stats().await.unwrap().lanes.remove(0);
    assert_eq!((stats.ready, stats.leased), (waiting.len() as u64, 1));
    assert_eq!(store.result(running).await.unwrap(), None);
    assert_eq!(store.job(running).await.unwrap().unwrap().state, State::Leased);
    store.extend(vec![grant.lease], LEASE).await.unwrap();
    for id in &waiting {
        assert_eq!(store.cancel(*id).await.unwrap(), Cancelled::Now);
    }
    clock.pass(2 * HOUR);
    while store.purge(100).await.unwrap() > 0 {}
    // Memory is given back behind the back of whoever asks.
    let recorded = async {
        loop {
            match store.complete(vec![completion(&grant, "{}")]).await {
                Ok(completed) => break completed,
                Err(error) => assert!(matches!(error, StoreError::NoRoom), "{error}"),
            }
        }
    };
    assert_eq!(timeout(PATIENCE, recorded).await.unwrap(), [Completed::Recorded]);
    enqueue(&store, large()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let server = RedisServer::start();
    let store = open(&server).await;
    for _ in 0..3 {
        server.command(&["SCRIPT", "FLUSH"]);
        enqueue(&store, job("a")).await.unwrap();
        server.command(&["SCRIPT", "FLUSH"]);
        let grant = store.claim(claim("w", 1)).await.unwrap().pop().unwrap();
        server.command(&["SCRIPT", "FLUSH"]);
        let completed = store.complete(vec![completion(&grant, "{}")]).await.unwrap();
        assert_eq!(completed, [Completed::Recorded]);
    }
}

#[tokio::test]
async fn a_server_that_comes_back_empty_is_ours_all_the_same() {
    let mut server = RedisServer::start();
    let store = open(&server).await;
    let lost = enqueue(&store, job("a")).await.unwrap();
    server.command(&["FLUSHALL"]);
    server.restart();
    until_it_answers(&store).await;
    let id = enqueue(&store, job("a")).await.unwrap();
    store.sweep(100).await.unwrap();
    assert_eq!(store.job(lost).await.unwrap(), None);
    assert_eq!(open(&server).await.job(id).await.unwrap().unwrap().state, State::Ready);
}

#[tokio::test]
async fn nothing_is_left_of_what_is_purged() {
    let server = RedisServer::start();
    let clock = Clock::set(Timestamp(1_000_000_000));
    let store = open_at(&server, clock.clone()).await;
    let keys = || server.command(&["DBSIZE"]).trim_start_matches(':').trim().parse::<u64>();
    for caller in ["a", "b"] {
        let callback_url = Some("http://example.org".to_owned());
        let idempotency = Some(IdempotencyKey { key: "key".to_owned(), digest: [1; 32] });
        enqueue(&store, NewJob { callback_url, idempotency, ..job(caller) }).await.unwrap();
        let grant = store.claim(claim(caller, 1)).await.unwrap().pop().unwrap();
        store.complete(vec![completion(&grant, "{}")]).await.unwrap();
    }
    let full = keys().unwrap();
    clock.pass(8 * 24 * HOUR);
    store.sweep(100).await.unwrap();
    while store.purge(100).await.unwrap() > 0 {}
    // The schema, three counts, and the last sweep.
    let left = keys().unwrap();
    assert!(full > 20 && left <= 5, "{full} became {left}");
}
