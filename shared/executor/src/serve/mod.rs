//! The HTTP front of an executor: seven paths, problems for everything else, and a drain at the
//! end.

mod body;
mod handlers;
mod live;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use secrecy::ExposeSecret as _;
use service::Ending;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use worker::{Worker, WorkerError, WorkerSettings};

use crate::boot::state_parent;
use crate::core::Core;
use crate::error::ApiError;
use crate::live::LiveRuns;
use crate::selftest::Rounds;
use crate::settings::Settings;
use crate::warm::Makers;

/// How long a gateway may take to hear what became of its last jobs.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What the handlers share.
pub(crate) struct Service {
    pub(crate) core: Arc<Core>,
    token: Option<[u8; 32]>,
    draining: AtomicBool,
    body_seconds: u64,
    /// Runs that somebody takes part in.
    live: LiveRuns,
    /// The front that calls out, where there is one.
    worker: Mutex<Option<Worker>>,
}

impl Service {
    /// Whether no new runs are taken.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Why no jobs are pulled that should be.
    pub(crate) fn trouble_of_worker(&self) -> Option<String> {
        self.lock_worker().as_ref().and_then(Worker::trouble)
    }

    fn lock_worker(&self) -> MutexGuard<'_, Option<Worker>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the request carries the fleet's token. Digests are compared, so that neither
    /// content nor length tells by how long it takes.
    pub(crate) fn authorize(&self, request: &HttpRequest) -> Result<(), ApiError> {
        let Some(token) = &self.token else { return Ok(()) };
        let header = request.headers().get(actix_web::http::header::AUTHORIZATION);
        let given = header.and_then(|it| it.to_str().ok()?.strip_prefix("Bearer "));
        let given: [u8; 32] = Sha256::digest(given.unwrap_or_default()).into();
        if bool::from(given.ct_eq(token)) { Ok(()) } else { Err(ApiError::Unauthorized) }
    }
}

/// Opens the port, or says how to choose another.
pub(crate) fn listen(settings: &Settings, default_port: u16) -> anyhow::Result<TcpListener> {
    let port = if settings.port == 0 { default_port } else { settings.port };
    let address = SocketAddr::new(settings.host, port);
    let listener = TcpListener::bind(address).map_err(|error| {
        anyhow::anyhow!("cannot listen on {address}: {error}; set PORT to a port that is free")
    })?;
    Ok(listener)
}

/// Serves until it is asked to end, then drains.
pub(crate) async fn serve(
    core: Arc<Core>,
    settings: &Settings,
    listener: TcpListener,
    end_with_stdin: bool,
    makers: Makers,
) -> anyhow::Result<()> {
    let secret = settings.token.expose_secret();
    let token = (!secret.is_empty()).then(|| Sha256::digest(secret).into());
    let service = web::Data::new(Service {
        core: Arc::clone(&core),
        token,
        draining: AtomicBool::new(false),
        body_seconds: settings.body_seconds,
        live: LiveRuns::default(),
        worker: Mutex::default(),
    });
    let shared = service.clone();
    let address = listener.local_addr()?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .wrap(from_fn(telemetry::request_context))
            .configure(routes)
    })
    // A client that closes its sending half counts as gone: only so is one noticed that leaves
    // while its run is busy.
    .h1_allow_half_closed(false)
    .listen(listener)?
    .workers(2)
    .disable_signals()
    .client_request_timeout(Duration::from_secs(10))
    .keep_alive(Duration::from_secs(75))
    .shutdown_timeout(5)
    .run();
    tracing::info!(%address, level = %service.core.isolation.level, "serving");
    *service.lock_worker() = pull(settings, &core, address)?;
    let drain = Duration::from_secs(settings.drain_seconds);
    let ending = Ending::listen(end_with_stdin)?;
    let self_tests =
        Rounds::start(Arc::clone(&core), Duration::from_secs(settings.self_test_seconds));
    let draining = drain_at_end(server.handle(), service.clone(), drain, (ending, self_tests));
    let (served, ()) = tokio::join!(server, draining);
    makers.stop(&core).await;
    drop(service);
    held_by_us_alone(&core).await;
    Ok(served?)
}

/// Starts the front that calls out, if settings want it.
fn pull(
    settings: &Settings,
    core: &Core,
    executor: SocketAddr,
) -> Result<Option<Worker>, WorkerError> {
    if settings.pull_url.is_empty() {
        return Ok(None);
    }
    let spool = match &settings.spool_dir {
        path if path.as_os_str().is_empty() => {
            state_parent(settings).join(format!("spool-{}", core.spec.name))
        }
        path => path.clone(),
    };
    let settings = WorkerSettings {
        queues: settings.pull_queues.clone(),
        gateway: settings.pull_url.clone(),
        key: settings.pull_key.clone(),
        name: settings.worker_name.clone(),
        spool,
        executor,
        token: settings.token.clone(),
    };
    Worker::start(&settings).map(Some)
}

/// Waits for the worker threads and the last runs to let go of the core: what it keeps in the file
/// system is deleted by whoever holds it last, and nobody does if the process ends before.
async fn held_by_us_alone(core: &Arc<Core>) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let alone = async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while Arc::strong_count(core) > 1 {
            look.tick().await;
        }
    };
    if tokio::time::timeout(PATIENCE, alone).await.is_err() {
        tracing::warn!("runs are still under way; the next executor deletes their files");
    }
}

fn routes(config: &mut web::ServiceConfig) {
    let get = |path: &str, handler| {
        web::resource(path)
            .route(web::get().to(handler))
            .route(web::head().to(handler))
            .default_service(web::to(only_get))
    };
    config
        .service(get("/health", handlers::health))
        .service(
            web::resource("/info")
                .route(web::get().to(handlers::info))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/metrics")
                .route(web::get().to(handlers::metrics))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/execute")
                .route(web::post().to(handlers::execute))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/runs/{key}/stdin")
                .route(web::post().to(live::stdin))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/runs/{key}/control")
                .route(web::post().to(live::control))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/validate")
                .route(web::post().to(handlers::validate))
                .default_service(web::to(only_post)),
        )
        .default_service(web::to(nothing_here));
}

async fn only_get(request: HttpRequest) -> HttpResponse {
    ApiError::MethodNotAllowed("GET").answer(&request)
}

async fn only_post(request: HttpRequest) -> HttpResponse {
    ApiError::MethodNotAllowed("POST").answer(&request)
}

async fn nothing_here(request: HttpRequest) -> HttpResponse {
    ApiError::NotFound.answer(&request)
}

/// Waits for the end, takes no new runs, waits for those under way, and stops the server.
async fn drain_at_end(
    server: ServerHandle,
    service: web::Data<Service>,
    patience: Duration,
    (mut ending, self_tests): (Ending, Rounds),
) {
    ending.next().await;
    service.draining.store(true, Ordering::Release);
    tracing::info!("draining");
    let worker = service.lock_worker().take();
    if let Some(worker) = &worker {
        worker.drain();
    }
    self_tests.stop().await;
    let slots = &service.core.slots;
    let all_free = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while slots.free() + slots.quarantined() < slots.count() || slots.waiting() > 0 {
            look.tick().await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(patience, all_free) => {}
        () = ending.next() => {}
    }
    if let Some(worker) = worker {
        worker.end(LAST_WORDS).await;
    }
    server.stop(true).await;
}
