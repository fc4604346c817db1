//! A store of its own for each case, and words for what the cases do.

use std::any::Any;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::{
    Bounds, Callback, Claim, Clock, Completed, Completion, DEFAULT_QUEUE, Delivery, DueCallbacks,
    Enqueued, Grant, Job, JobId, JobStore, Lane, NewJob, Priority, State, StoreError, Swept,
    Timestamp,
};
use tests::stores::RedisServer;

pub(crate) const LEASE: Duration = Duration::from_secs(5);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const HOUR: Duration = Duration::from_hours(1);

pub(crate) struct Fixture {
    store: Mutex<Option<Arc<dyn JobStore>>>,
    pub(crate) clock: Clock,
    bounds: Mutex<Bounds>,
    url: Mutex<String>,
    /// What is gone with it.
    ground: Box<dyn Any + Send + Sync>,
}

/// Has every commit that writes a job fail, in a file.
const BREAK_FILE: &str = "CREATE TABLE none (id INTEGER PRIMARY KEY); \
    CREATE TABLE broken (id INTEGER REFERENCES none DEFERRABLE INITIALLY DEFERRED); \
    CREATE TRIGGER broken_in AFTER INSERT ON jobs BEGIN INSERT INTO broken VALUES (1); END; \
    CREATE TRIGGER broken_anew AFTER UPDATE ON jobs BEGIN INSERT INTO broken VALUES (1); END";
const MEND_FILE: &str = "DROP TRIGGER broken_in; DROP TRIGGER broken_anew";
/// The same in a database.
const BREAK_DATABASE: &str = "CREATE FUNCTION flotilla.break() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN RAISE EXCEPTION 'broken'; END $$; CREATE CONSTRAINT TRIGGER broken \
    AFTER INSERT OR UPDATE ON flotilla.jobs DEFERRABLE INITIALLY DEFERRED \
    FOR EACH ROW EXECUTE FUNCTION flotilla.break()";
const MEND_DATABASE: &str = "DROP TRIGGER broken ON flotilla.jobs";

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("jobs.db");
        Self::open(format!("sqlite:{}", place.display()), Box::new(directory)).await
    }

    /// A database of its own in the server that all cases share.
    pub(crate) async fn postgres() -> Self {
        let url = crate::postgres::database().await;
        Self::open(url, Box::new(())).await
    }

    /// A server of its own. Nothing is lost as long as it runs; to flush each change would take long.
    pub(crate) async fn redis() -> Self {
        let server = RedisServer::start_with(&[("appendfsync", "everysec")]);
        Self::open(server.url(), Box::new(server)).await
    }

    async fn open(url: String, ground: Box<dyn Any + Send + Sync>) -> Self {
        let clock = Clock::set(Timestamp(1_000_000_000));
        let bounds = Bounds {
            waiting_max: 400,
            waiting_per_caller_max: 300,
            kept_max: 50,
            key_ttl: Duration::from_hours(24),
            patience: MINUTE,
        };
        let fixture = Self {
            store: Mutex::default(),
            clock,
            bounds: Mutex::new(bounds),
            url: Mutex::new(url),
            ground,
        };
        fixture.reopen().await;
        fixture
    }

    /// Closes the store, as the end of a gateway does.
    pub(crate) fn close(&self) {
        drop(self.store.lock().unwrap().take());
    }

    /// Opens the store again, as the next gateway does.
    pub(crate) async fn reopen(&self) {
        self.close();
        // The writer's last work is done on its own thread, or task.
        let store = queue::open(&self.url(), self.bounds(), self.clock.clone()).await.unwrap();
        *self.store.lock().unwrap() = Some(store);
    }

    /// Ends the store amid its work, as the end of its machine does, and opens it again: what was begun
    /// may have been done or not.
    pub(crate) async fn crash(&self) {
        let store = self.store();
        let mut begun = store.claim(claim("gone", 1));
        drop(futures::poll!(&mut begun));
        if let Some(server) = self.redis_server() {
            server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
            drop(begun);
        } else if self.is_file() {
            // What is in the files now is there after the end.
            let old = self.place();
            self.move_to("left.db");
            for ending in ["db", "db-wal"] {
                fs::copy(old.with_extension(ending), self.place().with_extension(ending)).unwrap();
            }
            drop(begun);
        } else {
            crate::postgres::end_sessions(&self.url()).await;
            drop(begun);
            drop(store);
            self.close();
            crate::postgres::until_nobody(&self.url()).await;
        }
        self.reopen().await;
    }

    /// Callbacks that are due, and not again for a minute. Of each caller three may be on their way.
    pub(crate) async fn callbacks(&self, sending: &[(&str, usize)]) -> Vec<Callback> {
        let sending = sending.iter().map(|(caller, count)| ((*caller).to_owned(), *count));
        let sending = sending.collect();
        let wish = DueCallbacks { limit: 9, time: MINUTE, of_caller_max: 3, sending };
        self.store().due_callbacks(wish).await.unwrap()
    }

    /// From now on the store is another file.
    pub(crate) fn move_to(&self, name: &str) {
        let directory = tempfile::tempdir_in(self.place().parent().unwrap()).unwrap().keep();
        *self.url.lock().unwrap() = format!("sqlite:{}", directory.join(name).display());
    }

    /// The server, where it is Redis.
    pub(crate) fn redis_server(&self) -> Option<&RedisServer> {
        self.ground.downcast_ref()
    }

    /// Opens the store once more, beside itself.
    pub(crate) async fn open_again(&self) -> Result<Arc<dyn JobStore>, StoreError> {
        let bounds = Bounds { patience: Duration::ZERO, ..self.bounds() };
        queue::open(&self.url(), bounds, self.clock.clone()).await
    }

    fn bounds(&self) -> Bounds {
        *self.bounds.lock().unwrap()
    }

    /// Opens the store again, with room for many jobs.
    pub(crate) async fn widen(&self) {
        let (waiting_max, kept_max) = (100_000, 100_000);
        let wide =
            Bounds { waiting_max, waiting_per_caller_max: waiting_max, kept_max, ..self.bounds() };
        *self.bounds.lock().unwrap() = wide;
        self.reopen().await;
    }

    /// Has no change of a job become durable, or has all of them again.
    pub(crate) async fn break_commits(&self, is_broken: bool) {
        if let Some(server) = self.redis_server() {
            let most = if is_broken { "1" } else { "0" };
            server.command(&["CONFIG", "SET", "maxmemory", most]);
        } else if self.is_file() {
            let sql = if is_broken { BREAK_FILE } else { MEND_FILE };
            rusqlite::Connection::open(self.place()).unwrap().execute_batch(sql).unwrap();
        } else {
            let sql = if is_broken { BREAK_DATABASE } else { MEND_DATABASE };
            crate::postgres::ask(&self.url(), sql).await;
        }
    }

    /// The store, and once more beside itself where that can be.
    pub(crate) async fn gateways(&self) -> [Arc<dyn JobStore>; 2] {
        let other = match self.open_again().await {
            Ok(other) => other,
            Err(StoreError::Taken(_)) => self.store(),
            Err(error) => panic!("{error}"),
        };
        [self.store(), other]
    }

    /// Which store it is.
    pub(crate) fn url(&self) -> String {
        self.url.lock().unwrap().clone()
    }

    pub(crate) fn is_file(&self) -> bool {
        self.url().starts_with("sqlite:")
    }

    /// The file, where it is one.
    pub(crate) fn place(&self) -> PathBuf {
        self.url().trim_start_matches("sqlite:").into()
    }

    pub(crate) fn store(&self) -> Arc<dyn JobStore> {
        self.store.lock().unwrap().clone().unwrap()
    }

    pub(crate) async fn enqueue(&self, job: NewJob) -> JobId {
        match self.enqueue_any(job).await {
            Enqueued::Created(id) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn enqueue_any(&self, job: NewJob) -> Enqueued {
        self.store().enqueue(vec![job]).await.unwrap()[0]
    }

    pub(crate) async fn claim(&self, worker: &str, most: usize) -> Vec<Grant> {
        self.store().claim(claim(worker, most)).await.unwrap()
    }

    /// The one job that there is to be claimed, accepted.
    pub(crate) async fn start(&self, worker: &str) -> Grant {
        let mut grants = self.claim(worker, 1).await;
        let grant = grants.pop().expect("a job is ready");
        self.store().extend(vec![grant.lease], LEASE).await.unwrap();
        grant
    }

    pub(crate) async fn complete(&self, grant: &Grant, body: &str) -> Completed {
        self.store().complete(vec![completion(grant, body)]).await.unwrap()[0]
    }

    /// Lets time pass, and the store do what is due then.
    pub(crate) async fn pass(&self, time: Duration) -> Swept {
        self.clock.pass(time);
        self.store().sweep(100).await.unwrap()
    }

    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.store().job(id).await.unwrap().expect("the job is kept")
    }
}

#[track_caller]
pub(crate) fn check(job: &Job, state: State, attempt: u32) {
    assert_eq!((job.state, job.attempt), (state, attempt), "{job:?}");
}

/// A random number below `most`.
pub(crate) fn random(most: usize) -> usize {
    let number = RandomState::new().hash_one(());
    usize::try_from(number % most as u64).unwrap()
}

/// A job of a caller, in the language `alpha`.
pub(crate) fn job(caller: &str) -> NewJob {
    NewJob {
        id: JobId::random(),
        caller: caller.to_owned(),
        waiting_max: None,
        lane: Lane::new("alpha", DEFAULT_QUEUE),
        body: b"{\"code\": \"1\"}".to_vec(),
        priority: Priority::default(),
        run_at: None,
        start_within: None,
        idempotency: None,
        delivery: Delivery::AtLeastOnce,
        attempts_max: 3,
        attempt_max: MINUTE,
        ttl: HOUR,
        callback_url: None,
    }
}

pub(crate) fn claim(worker: &str, most: usize) -> Claim {
    Claim {
        worker: worker.to_owned(),
        poll: None,
        lanes: vec![Lane::new("alpha", DEFAULT_QUEUE)],
        most,
        lease: LEASE,
        running_max: 100,
        running_max_of: Vec::new(),
    }
}

pub(crate) fn completion(grant: &Grant, body: &str) -> Completion {
    let mut digest = [0; 32];
    digest.iter_mut().zip(body.bytes()).for_each(|(digest, byte)| *digest = byte);
    Completion {
        lease: grant.lease,
        body: body.as_bytes().to_vec(),
        digest,
        was_cancelled: false,
        run_time: Duration::from_millis(100),
    }
}
