//! One function a path.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use protocol::{
    ExecutorHealth, ExecutorInfo, FieldError, HealthStatus, Interactive, IsolationReport, Refusal,
    RunEvent, RunRequest, RuntimeInfo, ValidateRequest,
};
use telemetry::{RUN_KEY_HEADER, RequestContext};
use tokio::sync::{mpsc, watch};

use super::{Service, body};
use crate::cache::Sharing;
use crate::core::{Core, Wanted};
use crate::error::{ApiError, problem_of_fault, status_of_health};
use crate::house_rules;
use crate::live::{Live, RunKey};
use crate::log::{self, Log};
use crate::run::{self, Order};
use crate::slots::Slot;

/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /health`: what is known, not a new test.
pub(super) async fn health(service: web::Data<Service>) -> HttpResponse {
    let slots = &service.core.slots;
    let quarantined = slots.quarantined();
    let standing = &service.core.standing;
    let (status, output) = if service.is_draining() {
        (HealthStatus::Fail, Some("draining: no new runs are taken".to_owned()))
    } else if let Some(broken) = standing.broken() {
        (HealthStatus::Fail, Some(broken))
    } else if quarantined == slots.count() {
        (HealthStatus::Fail, Some("every slot is out of service; restart".to_owned()))
    } else if quarantined > 0 {
        (HealthStatus::Warn, Some(format!("{quarantined} slots are out of service")))
    } else if let Some(complaint) = standing.complaint(Instant::now()) {
        (HealthStatus::Warn, Some(complaint))
    } else if let Some(trouble) = service.trouble_of_worker() {
        (HealthStatus::Warn, Some(format!("no jobs are pulled: {trouble}")))
    } else {
        (HealthStatus::Pass, None)
    };
    let health = ExecutorHealth {
        status,
        service_id: format!("executor-{}", service.core.spec.name),
        output,
        isolation: service.core.isolation.level,
        slots: slots.count(),
        slots_free: slots.free(),
        slots_quarantined: quarantined,
        waiting: slots.waiting(),
    };
    HttpResponse::build(status_of_health(status))
        .content_type("application/health+json")
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .json(health)
}

/// `GET /info`.
pub(super) async fn info(request: HttpRequest, service: web::Data<Service>) -> HttpResponse {
    match service.authorize(&request) {
        Ok(()) => HttpResponse::Ok().json(describe(&service.core)),
        Err(error) => error.answer(&request),
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(request: HttpRequest, service: web::Data<Service>) -> HttpResponse {
    if let Err(error) = service.authorize(&request) {
        return error.answer(&request);
    }
    let core = &service.core;
    HttpResponse::Ok().content_type(telemetry::metrics::CONTENT_TYPE).body(core.metrics.render(
        &core.slots,
        core.pool.stock(),
        core.spawner.restarts(),
    ))
}

/// `POST /execute`.
pub(super) async fn execute(
    request: HttpRequest,
    payload: web::Payload,
    service: web::Data<Service>,
) -> HttpResponse {
    match try_execute(&request, payload, &service).await {
        Ok(answer) => answer,
        Err(error) => reject(&service.core, &error, &request),
    }
}

/// `POST /validate`.
pub(super) async fn validate(
    request: HttpRequest,
    payload: web::Payload,
    service: web::Data<Service>,
) -> HttpResponse {
    match try_validate(&request, payload, &service).await {
        Ok(answer) => answer,
        Err(error) => reject(&service.core, &error, &request),
    }
}

async fn try_execute(
    request: &HttpRequest,
    payload: web::Payload,
    service: &Service,
) -> Result<HttpResponse, ApiError> {
    let arrived = Instant::now();
    let core = &service.core;
    let body = accept(request, payload, service).await?;
    let mut asked = RunRequest::parse(&body, &core.bounds)?;
    drop(body);
    let sources = std::mem::take(&mut asked.sources);
    let admitted = core.admit(Wanted {
        language: asked.language.as_deref(),
        version: asked.version.as_deref(),
        sources,
        options: &asked.compiler_options,
        output_files: &asked.output_files,
    })?;
    core.house_rules.check(&admitted.program)?;
    let sharing = if asked.cache { core.cache.sharing(caller(request)) } else { Sharing::Nobody };
    let cancel = watch::Sender::new(false);
    let live = live(request, service, asked.interactive, &cancel)?;
    let waiting = Instant::now();
    let slot = slot(core).await?;
    let order = Order {
        request_id: request_id(request),
        request: asked,
        admitted,
        arrived,
        queued: waiting.elapsed(),
        sharing,
        live,
    };
    let (events, guard) = start(core, order, slot, cancel);
    if wants_stream(request) {
        return Ok(stream(events, guard));
    }
    let report = log::fold(events).await;
    drop(guard);
    match report {
        Ok(report) => Ok(HttpResponse::Ok().json(report)),
        Err(Some(problem)) => Err(ApiError::Told(problem)),
        Err(None) => Err(ApiError::Lost),
    }
}

/// The lines to whoever takes part in a run, by the key that the request brings for that.
fn live(
    request: &HttpRequest,
    service: &Service,
    interactive: Option<Interactive>,
    cancel: &watch::Sender<bool>,
) -> Result<Option<Live>, ApiError> {
    let refused = |pointer: &str, detail: &str| {
        ApiError::Refused(Refusal::Invalid(vec![FieldError::new(pointer, detail)]))
    };
    if interactive.is_some_and(|it| it.terminal.is_some()) && !service.core.has_terminals {
        return Err(refused("/tty", "this host grants no terminals; run it without one"));
    }
    let key = request.headers().get(RUN_KEY_HEADER).and_then(|it| it.to_str().ok());
    let Some(key) = key.and_then(RunKey::parse) else {
        return match interactive {
            Some(_) => Err(refused(
                "/interactive",
                "nobody could type here; send it to `POST /v1/runs` of a gateway",
            )),
            None => Ok(None),
        };
    };
    let live = service.live.open(key, interactive, cancel.clone());
    live.map(Some).ok_or(ApiError::KeyTaken)
}

async fn try_validate(
    request: &HttpRequest,
    payload: web::Payload,
    service: &Service,
) -> Result<HttpResponse, ApiError> {
    let core = &service.core;
    let body = accept(request, payload, service).await?;
    let asked = ValidateRequest::parse(&body, &core.bounds)?;
    let admitted = core.admit(Wanted {
        language: asked.language.as_deref(),
        version: asked.version.as_deref(),
        sources: asked.sources,
        options: &[],
        output_files: &[],
    })?;
    let slot = slot(core).await?;
    let request_id = request_id(request);
    let (cancel, cancelled) = watch::channel(false);
    let guard = CancelOnDrop(cancel);
    let core = Arc::clone(core);
    // On its own, so that it cleans up after itself when the client goes away.
    let validating = tokio::spawn(async move {
        let validated = core.validate(admitted, cancelled, &request_id).await;
        let unclean =
            matches!(validated, Err(run::RunFault::Process(crate::process::Fault::Unclean)));
        if unclean {
            slot.quarantine();
        } else {
            drop(slot);
        }
        validated.map_err(|fault| problem_of_fault(&fault, &request_id))
    });
    let validated = validating.await;
    drop(guard);
    match validated {
        Ok(Ok(report)) => Ok(HttpResponse::Ok().json(report)),
        Ok(Err(problem)) => Err(ApiError::Told(Box::new(problem))),
        Err(_) => Err(ApiError::Lost),
    }
}

/// Everything before a body is looked at.
async fn accept(
    request: &HttpRequest,
    payload: web::Payload,
    service: &Service,
) -> Result<bytes::BytesMut, ApiError> {
    service.authorize(request)?;
    if service.is_draining() {
        return Err(ApiError::NotReady("draining: no new runs are taken here"));
    }
    is_isolated(&service.core)?;
    let bytes_max = service.core.bounds.body_bytes_max();
    body::read(request, payload, bytes_max, service.body_seconds).await
}

/// Nothing runs while a promise is known to be broken.
fn is_isolated(core: &Core) -> Result<(), ApiError> {
    core.standing.broken().map_or(Ok(()), |why| Err(ApiError::IsolationBroken(why)))
}

/// A slot for a run. Meanwhile a self-test may have failed.
async fn slot(core: &Core) -> Result<Slot, ApiError> {
    let slot = core.slots.take().await?;
    is_isolated(core)?;
    Ok(slot)
}

fn reject(core: &Core, error: &ApiError, request: &HttpRequest) -> HttpResponse {
    let answer = error.answer(request);
    core.metrics.rejected(answer.status().canonical_reason().unwrap_or("unknown"));
    answer
}

/// Stops a run when the answer to its client is dropped.
struct CancelOnDrop(watch::Sender<bool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Starts a run on its own, so that it cleans up after itself whatever becomes of its client.
fn start(
    core: &Arc<Core>,
    order: Order,
    slot: Slot,
    cancel: watch::Sender<bool>,
) -> (mpsc::Receiver<RunEvent>, CancelOnDrop) {
    let (log, events) = Log::new();
    drop(tokio::spawn(run::run(Arc::clone(core), order, slot, log, cancel.subscribe())));
    (events, CancelOnDrop(cancel))
}

fn wants_stream(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|it| it.to_str().ok());
    accept.is_some_and(|it| it.contains("text/event-stream"))
}

/// The log as server-sent events.
fn stream(events: mpsc::Receiver<RunEvent>, guard: CancelOnDrop) -> HttpResponse {
    let lines = futures::stream::unfold((events, guard), |(mut events, guard)| async move {
        let line = match tokio::time::timeout(KEEP_ALIVE, events.recv()).await {
            Err(_) => ": keep-alive\n\n".to_owned(),
            Ok(None) => return None,
            Ok(Some(event)) => {
                let data = serde_json::to_string(&event).unwrap_or_default();
                format!("event: {}\ndata: {data}\n\n", event.name())
            }
        };
        Some((Ok::<_, Infallible>(Bytes::from(line)), (events, guard)))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header((
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ))
        .streaming(lines)
}

/// Whom a gateway knows the caller as; it is anybody's word where there is no
/// token.
fn caller(request: &HttpRequest) -> Option<&str> {
    request.headers().get(telemetry::CALLER_HEADER)?.to_str().ok().filter(|it| !it.is_empty())
}

fn request_id(request: &HttpRequest) -> String {
    let context = request.extensions().get::<RequestContext>().cloned();
    context.map(|it| it.request_id).unwrap_or_default()
}

/// What this executor says of itself.
fn describe(core: &Core) -> ExecutorInfo {
    let main = core.languages.first();
    let runtimes = core.runtimes.iter().enumerate().map(|(index, runtime)| RuntimeInfo {
        version: runtime.toolchain.version.clone(),
        default: index == 0,
    });
    let features = ["cases", "files", "interactive", "outputFiles", "stream", "validate"];
    let terminals = core.has_terminals.then_some("tty");
    let compiles = core.spec.compile.as_ref().map(|_| "compile");
    let rules = core.house_rules.note();
    let ruled = rules.as_ref().map(|_| house_rules::FEATURE);
    ExecutorInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        language: main.map(|it| it.id.clone()).unwrap_or_default(),
        aliases: main.map(|it| it.aliases.clone()).unwrap_or_default(),
        runtimes: runtimes.collect(),
        languages: core.languages.clone(),
        limits: core.bounds.clone(),
        slots: core.slots.count(),
        slots_free: core.slots.free(),
        waiting: core.slots.waiting(),
        features: features
            .into_iter()
            .chain(terminals)
            .chain(compiles)
            .chain(ruled)
            .map(str::to_owned)
            .collect(),
        isolation: IsolationReport { self_test: core.standing.report(), ..core.isolation.clone() },
        warm: core.warm_info(),
        samples: core.samples.clone(),
        notes: core.notes.iter().cloned().chain(rules).collect(),
    }
}
