//! What every answer has in common: problems in one shape with the request's id, security
//! headers, CORS, a log line and a count. A panic is answered, too.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpResponse, web};
use futures::FutureExt as _;
use telemetry::{REQUEST_ID_HEADER, RequestContext};

use crate::auth::Caller;
use crate::error::{ApiError, foreign};
use crate::shared::Shared;

/// The language that a request turned out to be about, for metrics; a request extension.
#[derive(Debug, Clone)]
pub(crate) struct LanguageLabel(pub String);

const SECURITY_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];
const EXPOSED: &str = "x-request-id, retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset, \
     preference-applied";

/// Middleware around everything, just inside the one that gives requests their id.
pub(crate) async fn envelope(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let Some(shared) = request.app_data::<web::Data<Shared>>().cloned() else {
        return Ok(request.error_response(ApiError::Internal));
    };
    let _serving = shared.metrics.serving();
    let context = request.extensions().get::<RequestContext>().cloned();
    let request_id = context.as_ref().map_or("", |it| it.request_id.as_str());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let cors = origin.as_ref().and_then(|it| allowed_origin(it, &shared.settings.cors_origins));
    let mut response = if is_preflight(&request) {
        request.into_response(preflight(cors.is_some()))
    } else {
        match AssertUnwindSafe(next.call(request)).catch_unwind().await {
            Ok(answered) => as_problem(answered?, request_id, &shared),
            Err(panic) => return Err(after_panic(&*panic, request_id, cors, &shared)),
        }
    };
    let varies = !shared.settings.cors_origins.is_empty();
    add_headers(response.headers_mut(), cors, varies);
    note(&shared, &response, context.as_ref(), started);
    Ok(response)
}

/// Writes a fault again, now that the request's id is known. Headers of the first writing stay.
fn as_problem(
    response: ServiceResponse<BoxBody>,
    request_id: &str,
    shared: &Shared,
) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else { return response };
    let meant;
    let fault = if let Some(fault) = error.as_error::<ApiError>() {
        fault
    } else {
        meant = foreign(error);
        &meant
    };
    shared.metrics.refused(fault.code());
    let mut written = fault.response(request_id);
    for (name, value) in response.headers() {
        if !written.headers().contains_key(name) {
            written.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response.into_response(written)
}

/// There is no request left to answer, so the answer travels as an error that holds it whole.
fn after_panic(
    panic: &(dyn Any + Send),
    request_id: &str,
    cors: Option<HeaderValue>,
    shared: &Shared,
) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let reason = text.unwrap_or("a value that is no text");
    tracing::error!(request.id = request_id, reason, "a request handler panicked");
    shared.metrics.refused(ApiError::Internal.code());
    let mut response = ApiError::Internal.response(request_id);
    add_headers(response.headers_mut(), cors, true);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
    }
    InternalError::from_response("a request handler panicked", response).into()
}

fn add_headers(headers: &mut HeaderMap, cors: Option<HeaderValue>, varies: bool) {
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, value);
    }
    if varies {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = cors {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static(EXPOSED);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// What `Access-Control-Allow-Origin` says to an origin, if it may call us.
fn allowed_origin(origin: &HeaderValue, allowed: &[String]) -> Option<HeaderValue> {
    if allowed.iter().any(|it| it == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    allowed.iter().any(|it| it.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(is_allowed: bool) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    if is_allowed {
        response
            .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, DELETE"))
            .insert_header((
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "authorization, content-type, accept, x-api-key, x-request-id, traceparent, \
                 idempotency-key, last-event-id, prefer, room-invitation",
            ))
            .insert_header((header::ACCESS_CONTROL_MAX_AGE, "600"));
    }
    response.finish()
}

fn note(
    shared: &Shared,
    response: &ServiceResponse<BoxBody>,
    context: Option<&RequestContext>,
    started: Instant,
) {
    let request = response.request();
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let status = response.status().as_u16();
    let took = started.elapsed();
    let extensions = request.extensions();
    let language = extensions.get::<LanguageLabel>().map_or("", |it| it.0.as_str());
    shared.metrics.answered(&route, status, language, took);
    let method = request.method().as_str();
    let caller = match extensions.get::<Caller>() {
        Some(Caller::Named(holder)) => holder.name.as_str(),
        Some(Caller::Anonymous) | None => "anonymous",
    };
    let request_id = context.map_or("", |it| it.request_id.as_str());
    let trace_id = context.map_or("", |it| it.trace_id.as_str());
    let wall_ms = took.as_secs_f64() * 1000.0;
    if response.status().is_success() && request.method() != Method::POST {
        tracing::debug!(
            request.id = request_id,
            trace.id = trace_id,
            caller,
            status,
            wall_ms,
            "{method} {route} {status}"
        );
    } else {
        tracing::info!(
            request.id = request_id,
            trace.id = trace_id,
            caller,
            language,
            status,
            wall_ms,
            "{method} {route} {status}"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::App;
    use actix_web::body::to_bytes;
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, init_service, try_call_service};

    use super::*;
    use crate::audit::Audit;
    use crate::auth::Keys;
    use crate::fleet::Fleet;
    use crate::metrics::Metrics;
    use crate::peers::Identity;
    use crate::settings::Settings;

    async fn panics() -> HttpResponse {
        panic!("on purpose")
    }

    #[actix_web::test]
    async fn a_panic_is_a_problem_with_the_requests_id() {
        let metrics = Metrics::new();
        let fleet = Arc::new(Fleet::new(&[], metrics.circuit_opens()).unwrap());
        let keys = Keys::open(None, None).unwrap();
        let shared = Shared::new(
            Settings::default(),
            (Identity::random().unwrap(), keys, Audit::default()),
            metrics,
            fleet,
            (None, None),
        );
        let app = App::new()
            .app_data(web::Data::new(shared))
            .route("/", web::get().to(panics))
            .wrap(from_fn(envelope))
            .wrap(from_fn(telemetry::request_context));
        let app = init_service(app).await;
        let request = TestRequest::get().insert_header((REQUEST_ID_HEADER, "my-id"));
        let error = try_call_service(&app, request.to_request()).await.unwrap_err();
        let response = error.error_response();
        let header = |name| response.headers().get(name).map(|it| it.to_str().unwrap());
        assert_eq!(header(REQUEST_ID_HEADER), Some("my-id"));
        assert_eq!(header(header::CONTENT_TYPE), Some("application/problem+json"));
        assert_eq!(response.status().as_u16(), 500);
        let body = to_bytes(response.into_body()).await.unwrap();
        let problem: protocol::Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem.code.as_str(), problem.request_id.as_str()), ("internal", "my-id"));
    }

    #[track_caller]
    fn check(origin: &'static str, allowed: &[&str], expected: Option<&str>) {
        let allowed: Vec<String> = allowed.iter().map(|it| (*it).to_owned()).collect();
        let found = allowed_origin(&HeaderValue::from_static(origin), &allowed);
        assert_eq!(found.as_ref().map(|it| it.to_str().unwrap()), expected);
    }

    #[test]
    fn only_named_origins_may_call() {
        check("https://a.example", &[], None);
        check("https://a.example", &["https://a.example"], Some("https://a.example"));
        check("https://evil.example", &["https://a.example"], None);
        check("https://a.example.evil", &["https://a.example"], None);
        check("https://a.example", &["*"], Some("*"));
    }
}
