//! A fleet whose every part can be killed and started again where it was.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tests::processes::{children, kill, words};
use tests::stores::{PLACE, PostgresServer, RedisServer};
use tests::{Server, ServerBuilder, ShiftedClock, client, lasting_port, start_executor};
use tokio::sync::OnceCell;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::clients::{CALLERS, shown};

/// The key that workers come with.
const WORKER_KEY: &str = "wanda-0123456789abcdef";
/// The key that operators come with.
const OPERATOR_KEY: &str = "ada-0123456789abcdefg";
/// How long any part may take to be well.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where jobs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    Redis,
}

#[derive(Debug)]
enum Store {
    File(String),
    Postgres(PostgresServer),
    Redis(RedisServer),
}

/// How a fleet is made.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) kind: Kind,
    pub(crate) workers: usize,
    /// Whether gateways reach an executor beside.
    pub(crate) has_executor: bool,
    /// What is set for every worker.
    pub(crate) worker_settings: &'a [(&'a str, &'a str)],
    /// The wall clocks of the store's server, the gateways and the workers.
    pub(crate) clocks: Option<&'a [ShiftedClock; 3]>,
}

/// All of it. Workers end first, and the store last.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) workers: Vec<Part>,
    pub(crate) gateways: Vec<Part>,
    /// One that gateways reach; none where there are only workers.
    pub(crate) executor: Option<Part>,
    store: Store,
    directory: TempDir,
}

/// One process of it, which is there or not.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    program: &'static str,
    port: u16,
    settings: Vec<(String, String)>,
    server: Option<Server>,
}

impl Part {
    fn new(name: &str, program: &'static str, settings: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings = settings.iter().map(own).collect();
        Self { name: name.to_owned(), program, port: lasting_port(), settings, server: None }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How the name ends that it has jobs under: a worker's is its own, and a gateway's tells its port.
    pub(crate) fn ending(&self) -> String {
        match self.program {
            "gateway" => format!(":{}", self.port),
            _ => format!(":{}", self.name),
        }
    }

    /// The process that there is.
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Kills it, if it is there.
    pub(crate) fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.abandon();
        }
    }

    /// Starts it where it was, if it is not there.
    pub(crate) fn start(&mut self) {
        if self.server.is_none() {
            let builder = ServerBuilder::new(self.program).at(self.port);
            let settings = self.settings.iter();
            let builder = settings.fold(builder, |builder, (name, value)| builder.set(name, value));
            self.server = Some(builder.spawn());
        }
    }

    /// Ends it as an operator does, and waits for that.
    pub(crate) async fn end(&mut self) {
        let mut server = self.server.take().unwrap();
        server.signal(Signal::TERM);
        let (code, server) =
            tokio::task::spawn_blocking(move || (server.wait(), server)).await.unwrap();
        assert_eq!(code, Some(0), "{} did not end well:\n{}", self.name, server.log());
        assert_eq!(server.left_behind(), Vec::<String>::new(), "{}", self.name);
    }

    /// Has it stand still, or go on.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.server().signal(if is_paused { Signal::STOP } else { Signal::CONT });
    }

    /// Kills the process that it starts programs by. False if there is none now.
    pub(crate) fn kill_spawner(&self) -> bool {
        let Some(server) = &self.server else { return false };
        let is_spawner = |pid: &i32| words(*pid).iter().any(|it| it == "sandbox-spawner");
        let spawner = children(server.pid()).into_iter().find(is_spawner);
        if let Some(pid) = spawner {
            kill(pid);
        }
        spawner.is_some()
    }

    /// Waits until it answers at a path, well or not.
    pub(crate) async fn answers(&self, path: &str, is_well: bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = client().get(format!("{}{path}", self.url())).send().await;
            if answer.is_ok_and(|it| !is_well || it.status().is_success()) {
                return;
            }
            let log = || self.server.as_ref().map(Server::log);
            assert!(Instant::now() < deadline, "{} is not well: {:?}", self.name, log());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Fleet {
    /// Starts all of it; none if there is no Python here.
    pub(crate) async fn start(plan: &Plan<'_>) -> Option<Self> {
        if !has_python().await {
            return None;
        }
        let directory = tempfile::Builder::new().prefix("flotilla-chaos-").tempdir_in("/var/tmp");
        let directory = directory.unwrap();
        open(directory.path(), 0o711);
        let store = block_in_place(|| Store::start(plan, directory.path()));
        let slots = [("EXECUTOR_SLOTS", "2"), ("EXECUTOR_DRAIN_SECONDS", "20")];
        let executor = plan.has_executor.then(|| {
            let state = state(directory.path(), "executor");
            let settings = [&slots[..], &[("EXECUTOR_STATE_DIR", state.as_str())]].concat();
            Part::new("the executor", "executor-python", &settings)
        });
        let mut fleet = Self {
            gateways: gateways(plan, &store, executor.as_ref()),
            workers: Vec::new(),
            executor,
            store,
            directory,
        };
        let clock = variables(plan.clocks.map(|it| &it[2]));
        for index in 0..plan.workers {
            let gateway = fleet.gateways[index % fleet.gateways.len()].url();
            let name = format!("worker-{index}");
            let spool = fleet.directory.path().join(&name).to_string_lossy().into_owned();
            let state = state(fleet.directory.path(), &name);
            let own = [
                ("EXECUTOR_STATE_DIR", state.as_str()),
                ("EXECUTOR_PULL_URL", gateway.as_str()),
                ("EXECUTOR_PULL_KEY", WORKER_KEY),
                ("EXECUTOR_WORKER_NAME", name.as_str()),
                ("EXECUTOR_SPOOL_DIR", spool.as_str()),
            ];
            let settings = [&slots[..], &own[..], plan.worker_settings, &borrowed(&clock)].concat();
            fleet.workers.push(Part::new(&name, "executor-python", &settings));
        }
        fleet.heal().await;
        Some(fleet)
    }

    /// Starts whatever is not there, and waits until all of it is well.
    pub(crate) async fn heal(&mut self) {
        for part in self.gateways.iter_mut().chain(&mut self.executor).chain(&mut self.workers) {
            part.start();
        }
        for part in self.executor.iter().chain(&self.workers) {
            part.answers("/health", true).await;
        }
        for gateway in &self.gateways {
            gateway.answers("/health/live", true).await;
            let deadline = Instant::now() + PATIENCE;
            loop {
                let queue = shown(&format!("{}/v1/queue", gateway.url()), CALLERS[0].1).await;
                let workers = shown(&format!("{}/v1/workers", gateway.url()), OPERATOR_KEY).await;
                if queue["health"] == "pass" && self.is_whole(&queue, &workers) {
                    break;
                }
                assert!(Instant::now() < deadline, "not whole: {queue} {workers}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Waits until a worker has said that it has a job, by which it accepts it.
    pub(crate) async fn until_held(&self, worker: &str, id: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let url = format!("{}/v1/workers", self.gateways[0].url());
            let workers = shown(&url, OPERATOR_KEY).await;
            let mut all = workers["workers"].as_array().unwrap().iter();
            let jobs = all.find(|it| it["id"] == worker).and_then(|it| it["jobs"].as_array());
            if jobs.is_some_and(|it| it.iter().any(|job| job == id)) {
                return;
            }
            assert!(Instant::now() < deadline, "{worker} does not have {id}: {workers}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn is_whole(&self, queue: &Value, workers: &Value) -> bool {
        let workers = workers["workers"].as_array().unwrap().iter();
        let live = workers.filter(|it| it["isLive"] == true).count();
        let executors = queue["executors"].as_u64().unwrap();
        live == self.workers.len() && executors == u64::from(self.executor.is_some())
    }

    /// Whether the store has a server of its own.
    pub(crate) fn has_server(&self) -> bool {
        !matches!(self.store, Store::File(_))
    }

    /// Kills the store's server.
    pub(crate) fn kill_store(&mut self) {
        block_in_place(|| match &mut self.store {
            Store::File(_) => {}
            Store::Postgres(server) => server.kill(),
            Store::Redis(server) => server.kill(),
        });
    }

    /// Starts the store's server with what it kept.
    pub(crate) fn restart_store(&mut self) {
        block_in_place(|| match &mut self.store {
            Store::File(_) => {}
            Store::Postgres(server) => server.restart(),
            Store::Redis(server) => server.restart(),
        });
    }

    /// The base URLs of the gateways.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.gateways.iter().map(Part::url).collect()
    }
}

impl Drop for Fleet {
    /// What stands still would not end.
    fn drop(&mut self) {
        for server in self.workers.iter().filter_map(|it| it.server.as_ref()) {
            server.signal(Signal::CONT);
        }
    }
}

impl Store {
    fn start(plan: &Plan<'_>, directory: &Path) -> Self {
        let clock = variables(plan.clocks.map(|it| &it[0]));
        match plan.kind {
            Kind::Sqlite => Self::File(format!("sqlite:{}", directory.join("jobs.db").display())),
            Kind::Postgres => {
                Self::Postgres(PostgresServer::start_in(Path::new(PLACE), &borrowed(&clock)))
            }
            Kind::Redis => Self::Redis(RedisServer::start_in(&borrowed(&clock), &[])),
        }
    }

    fn url(&self) -> String {
        match self {
            Self::File(url) => url.clone(),
            Self::Postgres(server) => server.url("postgres"),
            Self::Redis(server) => server.url(),
        }
    }
}

/// Where an executor has its work directories, whichever start of it: each cleans up after the last.
fn state(directory: &Path, name: &str) -> String {
    let state = directory.join(format!("{name}-state"));
    std::fs::create_dir(&state).unwrap();
    // Users of slots must get through.
    open(&state, 0o777);
    state.to_string_lossy().into_owned()
}

fn open(place: &Path, mode: u32) {
    std::fs::set_permissions(place, PermissionsExt::from_mode(mode)).unwrap();
}

/// Whether there is a Python here, as the first executor says that starts.
async fn has_python() -> bool {
    static HAS_PYTHON: OnceCell<bool> = OnceCell::const_new();
    let look = async || start_executor("python", &[("EXECUTOR_SLOTS", "1")]).await.is_some();
    *HAS_PYTHON.get_or_init(look).await
}

/// Two gateways, where they can share the store.
fn gateways(plan: &Plan<'_>, store: &Store, executor: Option<&Part>) -> Vec<Part> {
    let callers = CALLERS.iter().map(|(name, key, most)| format!("{name}:{key} running={most}"));
    let others =
        [format!("wanda:{WORKER_KEY} role=work"), format!("ada:{OPERATOR_KEY} role=admin")];
    let keys = callers.chain(others).collect::<Vec<_>>().join(",");
    let url = store.url();
    let clock = variables(plan.clocks.map(|it| &it[1]));
    let executor = executor.map(Part::url);
    let count = if plan.kind == Kind::Sqlite { 1 } else { 2 };
    let gateway = |index: usize| {
        let mut settings = vec![
            ("GATEWAY_KEYS", keys.as_str()),
            ("GATEWAY_STORE_URL", url.as_str()),
            ("GATEWAY_DRAIN_SECONDS", "5"),
            ("GATEWAY_PROBE_SECONDS", "0.2"),
            ("GATEWAY_RATE_PER_MINUTE", "1000000"),
            ("GATEWAY_RATE_BURST", "100000"),
        ];
        settings.extend(executor.as_deref().map(|it| ("PYTHON_EXECUTOR_URL", it)));
        settings.extend(borrowed(&clock));
        Part::new(&format!("gateway {index}"), "gateway", &settings)
    };
    (0..count).map(gateway).collect()
}

fn variables(clock: Option<&ShiftedClock>) -> Vec<(&'static str, String)> {
    clock.map(ShiftedClock::variables).into_iter().flatten().collect()
}

fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
