//! `POST /v1/execute` and `POST /v1/validate`: read, admit, send, pass the answer on.

use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{self, Bytes};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, HttpResponseBuilder};
use futures::StreamExt as _;
use protocol::Bounds;
use reqwest::Client;
use telemetry::RequestContext;

use crate::admission::{Action, Admitted, admit, check_media_type, language_of};
use crate::auth::Caller;
use crate::body::{self, BodyBounds};
use crate::dispatch::{Answer, Call, Document, Form};
use crate::envelope::LanguageLabel;
use crate::error::{ApiError, passed_on};
use crate::events::{EVENTS_TYPE, Relay};
use crate::routing::{self, NoChoice, Snapshot};
use crate::running::Counted;
use crate::settings::seconds;
use crate::shared::Shared;

/// Bodies up to this size are parsed right here; larger ones on a thread for such work.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// `POST /v1/execute`
pub(crate) async fn execute(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
    client: web::Data<Client>,
) -> Result<HttpResponse, ApiError> {
    submit(Action::Execute, &request, payload, &shared, &client).await
}

/// `POST /v1/validate`
pub(crate) async fn validate(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
    client: web::Data<Client>,
) -> Result<HttpResponse, ApiError> {
    submit(Action::Validate, &request, payload, &shared, &client).await
}

async fn submit(
    action: Action,
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared,
    client: &Client,
) -> Result<HttpResponse, ApiError> {
    check_media_type(content_type(request.headers()).as_deref())?;
    let snapshot = shared.fleet.snapshot(&shared.fleet.members(), Instant::now());
    let bounds =
        BodyBounds { bytes_max: body_bytes_max(&snapshot), seconds: shared.settings.body_seconds };
    let body = body::read(request, payload, &shared.bodies, bounds).await?;
    let arrived = Instant::now();
    let allowance = seconds(shared.settings.allowance_seconds);
    let (admitted, label) = admit_body(action, &body.bytes, snapshot, allowance).await?;
    admitted.has_no_company()?;
    request.extensions_mut().insert(LanguageLabel(label.clone()));
    let context = request.extensions().get::<RequestContext>().cloned();
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anonymous);
    let counted = shared.running.enter(&caller)?;
    let call = Call {
        action,
        body: body.bytes.clone(),
        language: admitted.language,
        form: form(action, request.headers()),
        context: context.unwrap_or_else(|| RequestContext::from_headers(None, None)),
        caller: caller.id(),
        deadline: admitted.deadline,
        key: None,
    };
    let answer = Box::pin(shared.dispatcher.send(client, call)).await;
    match answer.map_err(|error| explained(error, shared))? {
        Answer::Whole(document, upstream) => {
            let response = whole(document);
            let own = arrived.elapsed().saturating_sub(upstream);
            shared.metrics.dispatched(&label, upstream, own);
            Ok(response)
        }
        Answer::Events(relay) => Ok(events(relay, counted)),
    }
}

/// A language that no executor runs may be one that workers run.
pub(crate) fn explained(error: ApiError, shared: &Shared) -> ApiError {
    let language = match &error {
        ApiError::NoChoice(NoChoice::UnknownLanguage { language, .. }) => language,
        ApiError::NoChoice(NoChoice::NoLiveExecutor { language })
            if shared.fleet.members().is_empty() =>
        {
            language
        }
        _ => return error,
    };
    if routing::known_info(&shared.snapshot_for_jobs(), language).is_none() {
        return error;
    }
    NoChoice::OnlyWorkers { language: language.clone() }.into()
}

/// Admits a body by the bounds of its language. With it comes the language's own name, or an
/// empty one if nobody knows it: what strangers write is no label of a metric.
pub(crate) async fn admit_body(
    action: Action,
    body: &Bytes,
    snapshot: Snapshot,
    allowance: Duration,
) -> Result<(Admitted, String), ApiError> {
    let body = body.clone();
    let is_small = body.len() <= INLINE_BYTES_MAX;
    let parse = move || {
        let word = language_of(&body).unwrap_or_default();
        let info = routing::known_info(&snapshot, &word);
        let bounds = info.as_ref().map(|it| it.limits.clone()).unwrap_or_default();
        let label = info.as_ref().and_then(|it| routing::find(it, &word)).map(|it| it.id.clone());
        let admitted = admit(action, &body, &bounds, allowance)?;
        Ok((admitted, label.unwrap_or_default()))
    };
    if is_small {
        return parse();
    }
    web::block(parse).await.unwrap_or(Err(ApiError::Internal))
}

/// The largest body that any executor would take.
pub(crate) fn body_bytes_max(snapshot: &Snapshot) -> usize {
    let infos = snapshot.remembered.iter().filter_map(|it| it.info.as_ref());
    let largest = infos.map(|it| it.limits.body_bytes_max()).max();
    largest.unwrap_or_else(|| Bounds::default().body_bytes_max())
}

/// The content type that a request says it has.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn form(action: Action, headers: &HeaderMap) -> Form {
    let accepts = headers.get_all(header::ACCEPT).filter_map(|it| it.to_str().ok());
    let mut types = accepts.flat_map(|it| it.split(','));
    let wants_events = types.any(|it| {
        it.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case(EVENTS_TYPE))
    });
    if action == Action::Execute && wants_events { Form::Events } else { Form::Whole }
}

/// A whole answer, passed on.
pub(crate) fn whole(document: Document) -> HttpResponse {
    let mut response = HttpResponseBuilder::new(passed_on(document.status));
    response.content_type(document.content_type);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(seconds) = document.retry_after {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    response.body(document.body)
}

/// The program counts as running for as long as it is told of.
fn events(relay: Relay, counted: Option<Counted>) -> HttpResponse {
    let events = relay.stream().inspect(move |_| {
        let _counted = &counted;
    });
    crate::events::response().streaming(events)
}
