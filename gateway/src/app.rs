//! Puts the gateway together, runs it, and drains it.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use reqwest::Client;
use service::Ending;
use tokio::task::JoinSet;

use crate::audit::Audit;
use crate::auth::{InvalidKeys, Keys};
use crate::envelope::envelope;
use crate::fleet::{Fleet, InvalidFleet, Prober, watch};
use crate::jobs::{Jobs, Work};
use crate::listen::{self, ListenError};
use crate::metrics::Metrics;
use crate::peers::{self, Identity};
use crate::routes;
use crate::settings::{Executors, InvalidSettings, Settings, seconds};
use crate::shared::Shared;

/// Opening a connection to an executor may take so long.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Idle connections are dropped before an executor would drop them under a request.
const IDLE_TIME_MAX: Duration = Duration::from_secs(4);
/// No answer takes longer than the longest deadline.
const READ_TIME_MAX: Duration = Duration::from_mins(20);
/// The head of a request may take so long to arrive.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// An idle connection of a client is kept so long.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// A client has so long to close its side.
const DISCONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StartError(#[from] Reason);

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    #[error(transparent)]
    Keys(#[from] InvalidKeys),
    #[error("GATEWAY_AUDIT_FILE: {0}; name a file that can be written, or none")]
    Audit(#[source] io::Error),
    #[error(transparent)]
    Fleet(#[from] InvalidFleet),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(
        "GATEWAY_HOST is {0}, which others can reach, and there are no API keys; set GATEWAY_KEYS \
         or GATEWAY_KEYS_FILE, or listen on 127.0.0.1"
    )]
    NoKeys(String),
    #[error("cannot prepare TLS to executors; install the system's CA certificates: {0}")]
    Tls(#[source] reqwest::Error),
    #[error("GATEWAY_STORE_URL: {0}")]
    Store(#[from] queue::StoreError),
    #[error("GATEWAY_ROOMS_URL, GATEWAY_ROOMS_BUS_URL, or GATEWAY_STORE_URL: {0}")]
    Rooms(#[from] documents::StoreError),
    #[error("there are no random numbers: {0}")]
    Chance(getrandom::Error),
    #[error("cannot start serving: {0}")]
    Serve(#[source] io::Error),
}

/// A gateway that listens and looks after its fleet, and serves once it is run.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    server: Running,
    address: SocketAddr,
    tasks: JoinSet<()>,
    work: Option<Work>,
}

/// actix's server does not say what it is.
struct Running(Server);

impl std::fmt::Debug for Running {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Server")
    }
}

/// Checks everything, opens the socket, and starts to probe the executors.
pub async fn build(settings: Settings, executors: &Executors) -> Result<Gateway, StartError> {
    build_all(settings, executors).await.map_err(StartError)
}

async fn build_all(settings: Settings, executors: &Executors) -> Result<Gateway, Reason> {
    settings.check()?;
    // Somebody may have chosen one before, as tests do; theirs is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let keys = Keys::open(settings.keys.as_ref(), settings.keys_file.as_deref())?;
    let audit = Audit::open(settings.audit_file.as_deref(), settings.audit_file_mb << 20);
    let audit = audit.map_err(Reason::Audit)?;
    let metrics = Metrics::new();
    let fleet = Arc::new(Fleet::new(&executors.0, metrics.circuit_opens())?);
    let address = listen::resolve(&settings.host, settings.port).await?;
    if !address.ip().to_canonical().is_loopback() && keys.is_open() {
        return Err(Reason::NoKeys(settings.host));
    }
    let listener = listen::listen(address)?;
    let address = listener.local_addr().map_err(Reason::Serve)?;
    let is_far = settings.self_url.as_ref().is_some_and(|it| it.starts_with("https:"));
    let needs_tls = fleet.needs_tls() || is_far;
    let clients = Clients::new(workers(&settings), needs_tls).map_err(Reason::Tls)?;
    let jobs = Jobs::open(&settings).await?;
    let rooms = crate::rooms::open(&settings).await?;
    let identity = Identity::random().map_err(Reason::Chance)?;
    let kept = (jobs, rooms);
    let shared = Arc::new(Shared::new(settings, (identity, keys, audit), metrics, fleet, kept));
    let own = || client(shared.fleet.needs_tls()).map_err(Reason::Tls);
    let tasks = look_after(&shared, own()?);
    let runner = own()?;
    let work = shared.jobs.as_ref().map(|it| it.start(address.port(), &shared, runner));
    let server = serve(&shared, clients, listener).map_err(Reason::Serve)?;
    announce(&shared, address);
    Ok(Gateway { shared, server: Running(server), address, tasks, work })
}

/// Starts what goes on beside requests.
fn look_after(shared: &Arc<Shared>, client: Client) -> JoinSet<()> {
    let settings = &shared.settings;
    let prober = Prober {
        client,
        token: settings.executor_token.clone(),
        period: seconds(settings.probe_seconds),
        timeout: seconds(settings.probe_timeout_seconds),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(watch(Arc::clone(&shared.fleet), prober));
    tasks.spawn(Arc::clone(&shared.keys).watch());
    tasks.spawn(Arc::clone(&shared.rate_limit).sweep());
    if let Some(api) = &shared.job_api {
        tasks.spawn(Arc::clone(&api.rate_limit).sweep());
    }
    tasks.spawn(Arc::clone(&shared.runs).sweep());
    if let Some(rooms) = &shared.rooms {
        let (rooms, shared) = (Arc::clone(rooms), Arc::clone(shared));
        tasks.spawn(async move {
            tokio::select! {
                () = rooms.keep_clean() => {}
                () = peers::announce(&rooms, &shared.identity, &shared.settings) => {}
                // Requests are waited for, and people in a room would stay.
                () = shared.drain.begun() => rooms.drain().await,
            }
        });
    }
    tasks
}

fn serve(
    shared: &Arc<Shared>,
    clients: Clients,
    listener: std::net::TcpListener,
) -> io::Result<Server> {
    let settings = &shared.settings;
    let workers = workers(settings);
    let data = web::Data::from(Arc::clone(shared));
    let clients = Arc::new(clients);
    let app = move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::Data::new(clients.next()))
            .configure(routes::configure)
            .wrap(from_fn(envelope))
            .wrap(from_fn(telemetry::request_context))
    };
    let server = HttpServer::new(app)
        .workers(workers.get())
        .max_connections(settings.connections_max.div_ceil(workers.get()))
        .client_request_timeout(HEAD_TIME_MAX)
        .client_disconnect_timeout(DISCONNECT_TIME_MAX)
        .keep_alive(KEEP_ALIVE)
        // A client that closes its side is gone, and its run must stop.
        .h1_allow_half_closed(false)
        .shutdown_timeout(settings.drain_seconds)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}

fn workers(settings: &Settings) -> NonZeroUsize {
    let processors = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    NonZeroUsize::new(settings.workers).unwrap_or_else(processors)
}

fn announce(shared: &Shared, address: SocketAddr) {
    let places = shared.fleet.places();
    tracing::info!(executors = places, "the gateway listens on http://{address}");
    if places == 0 {
        tracing::warn!("there are no executors; set <NAME>_EXECUTOR_URL, such as http://host:8001");
    }
    if shared.keys.is_open() {
        tracing::warn!(
            "there are no API keys: whoever reaches this machine's loopback may run code"
        );
    }
}

/// Connections to executors are driven by the worker that opened them, so every worker has its
/// own: one that has drained takes no other's connections with it.
#[derive(Debug)]
struct Clients {
    first: Client,
    others: Vec<Client>,
    next: AtomicUsize,
}

impl Clients {
    fn new(count: NonZeroUsize, needs_tls: bool) -> Result<Self, reqwest::Error> {
        let first = client(needs_tls)?;
        let others = (1..count.get()).map(|_| client(needs_tls)).collect::<Result<_, _>>()?;
        Ok(Self { first, others, next: AtomicUsize::new(0) })
    }

    fn next(&self) -> Client {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % (self.others.len() + 1);
        self.others.get(index).unwrap_or(&self.first).clone()
    }
}

fn client(needs_tls: bool) -> Result<Client, reqwest::Error> {
    let builder = Client::builder()
        .user_agent("flotilla-gateway")
        .connect_timeout(CONNECT_TIME_MAX)
        .read_timeout(READ_TIME_MAX)
        .pool_idle_timeout(IDLE_TIME_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    // Without TLS no certificates are needed, and a small image may have none.
    if needs_tls { builder.build() } else { builder.tls_certs_only([]).build() }
}

impl Gateway {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it from elsewhere.
    pub fn handle(&self) -> ServerHandle {
        self.server.0.handle()
    }

    /// Serves until its handle stops it.
    pub async fn run(mut self) -> io::Result<()> {
        let served = self.server.0.await;
        self.shared.drain.begin();
        if let Some(work) = self.work {
            work.end().await;
        }
        if let Some(rooms) = &self.shared.rooms {
            peers::leave(rooms, &self.shared.identity, &self.shared.settings).await;
            rooms.drain().await;
        }
        self.tasks.shutdown().await;
        served
    }

    /// Serves until SIGTERM or SIGINT, then drains: running requests finish within the drain
    /// time. A second signal ends it at once.
    pub async fn serve(mut self, mut ending: Ending) -> io::Result<()> {
        let handle = self.handle();
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            for is_graceful in [true, false] {
                ending.next().await;
                shared.drain.begin();
                tracing::info!(is_graceful, "the gateway stops");
                // Whoever awaits the server sees it end; the next signal must be heard meanwhile.
                drop(handle.stop(is_graceful));
            }
        });
        self.run().await
    }
}
