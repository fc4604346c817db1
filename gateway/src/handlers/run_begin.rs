//! What begins a run that people take part in, by itself or in a room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::web;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use documents::RoomId;
use reqwest::Client;
use sha2::{Digest as _, Sha256};
use telemetry::RequestContext;
use tokio::sync::oneshot;

use super::runs::shown;
use crate::admission::{Action, check_media_type};
use crate::auth::Caller;
use crate::body::{self, BodyBounds};
use crate::dispatch::{Call, Form};
use crate::envelope::LanguageLabel;
use crate::error::ApiError;
use crate::handlers::execute::{admit_body, body_bytes_max, content_type, explained, whole};
use crate::handlers::jobs::header_key;
use crate::runs::{Access, Begun, Created, NewRun, Run, Tickets, drive};
use crate::settings::seconds;
use crate::shared::Shared;
use crate::wait::Wait;

/// How long a new run is waited for to be taken or refused, before it is told as queued.
const BEGIN_PATIENCE: Duration = Duration::from_secs(2);

/// For whom a run is.
#[derive(Debug)]
pub(crate) struct Party {
    /// Whose it counts as.
    pub(crate) caller: Caller,
    /// Where it is seen, if that is a room.
    pub(crate) room: Option<RoomId>,
}

/// What came of a wish for a run.
pub(crate) enum Wish {
    /// There is a new one.
    Fresh(Arc<Run>),
    /// There was one by this key already.
    Known(Arc<Run>),
    /// An executor refused it, in its own words.
    Refused(HttpResponse),
}

/// Begins what a request asks for.
pub(crate) async fn begin(
    request: &HttpRequest,
    payload: web::Payload,
    party: Party,
    shared: &web::Data<Shared>,
    client: &Client,
) -> Result<Wish, ApiError> {
    if shared.drain.is_draining() {
        return Err(ApiError::Ending);
    }
    check_media_type(content_type(request.headers()).as_deref())?;
    let key = header_key(request.headers())?;
    let snapshot = shared.fleet.snapshot(&shared.fleet.members(), Instant::now());
    let bounds =
        BodyBounds { bytes_max: body_bytes_max(&snapshot), seconds: shared.settings.body_seconds };
    let body = body::read(request, payload, &shared.bodies, bounds).await?;
    let allowance = seconds(shared.settings.allowance_seconds);
    let (admitted, label) = admit_body(Action::Execute, &body.bytes, snapshot, allowance).await?;
    request.extensions_mut().insert(LanguageLabel(label.clone()));
    let Party { caller, room } = party;
    let digest = || Sha256::digest(&body.bytes).into();
    let new = NewRun {
        caller: caller.id(),
        idempotency: key.map(|key| (key, digest())),
        room,
        language: if label.is_empty() { admitted.language.clone() } else { label },
        interactive: admitted.interactive,
    };
    let context = request.extensions().get::<RequestContext>().cloned();
    let (run, controls) = match shared.runs.create(new, Instant::now())? {
        Created::Known(run) => return Ok(Wish::Known(run)),
        Created::Fresh(run, controls) => (run, controls),
    };
    // Nobody can look at it before they are told of it.
    let _viewer = run.attach();
    let counted = shared.running.enter(&caller).inspect_err(|_| shared.runs.forget(&run))?;
    let call = Call {
        action: Action::Execute,
        body: body.bytes.clone(),
        language: admitted.language,
        form: Form::Events,
        context: context.unwrap_or_else(|| RequestContext::from_headers(None, None)),
        caller: caller.id(),
        deadline: admitted.deadline,
        key: Some(run.secrets.key.clone()),
    };
    let (begun, begins) = oneshot::channel();
    let (shared_too, client) = (shared.clone().into_inner(), client.clone());
    let driving = drive(Arc::clone(&run), shared_too, client, call, (controls, begun));
    // It goes on whatever becomes of this request, and ends with the worker.
    drop(tokio::spawn(async move {
        driving.await;
        drop((counted, body));
    }));
    if let Some(refusal) = refusal(begins, shared).await {
        shared.runs.forget(&run);
        return refusal.map(Wish::Refused);
    }
    Ok(Wish::Fresh(run))
}

/// What to answer if a run is refused soon.
async fn refusal(
    begins: oneshot::Receiver<Begun>,
    shared: &Shared,
) -> Option<Result<HttpResponse, ApiError>> {
    match tokio::time::timeout(BEGIN_PATIENCE, begins).await {
        Ok(Ok(Begun::Refused(document))) => Some(Ok(whole(document))),
        Ok(Ok(Begun::Failed(error))) => Some(Err(explained(error, shared))),
        Ok(Ok(Begun::Taken)) | Err(_) => None,
        Ok(Err(_)) => Some(Err(ApiError::Internal)),
    }
}

/// The answer to whoever began a run, after it is over or has been waited for.
pub(crate) async fn created(
    run: &Arc<Run>,
    tickets: &Tickets,
    wait: Wait,
) -> Result<HttpResponse, ApiError> {
    await_end(run, wait).await?;
    let mut response = HttpResponse::Created();
    wait.tell(&mut response);
    response.insert_header((header::LOCATION, format!("/v1/runs/{}", run.id)));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.json(shown(run, Access::Full, Some(tickets))))
}

/// Waits so long for the end of a run.
pub(crate) async fn await_end(run: &Arc<Run>, wait: Wait) -> Result<(), ApiError> {
    if !wait.time.is_zero() {
        let _viewer = run.attach().ok_or(ApiError::TooManyViewers)?;
        drop(tokio::time::timeout(wait.time, run.over()).await);
    }
    Ok(())
}
