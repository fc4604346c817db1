//! Who a request is: its id, and its place in a distributed trace (W3C Trace Context).

use actix_web::HttpMessage as _;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;

/// Carries the request's id, inwards and outwards.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Carries what the gateway knows a caller as to an executor: opaque, and never a key.
pub const CALLER_HEADER: HeaderName = HeaderName::from_static("x-caller-id");
/// Carries the key by which a gateway takes part in a run of an executor: a secret.
pub const RUN_KEY_HEADER: HeaderName = HeaderName::from_static("x-run-key");
/// Carries the trace context (<https://www.w3.org/TR/trace-context/>).
pub const TRACEPARENT_HEADER: HeaderName = HeaderName::from_static("traceparent");

/// The identity of one request, found in its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    /// 1 to 64 letters, digits, `-`, `_` and `.`: the client's, or ours.
    pub request_id: String,
    /// 32 hex digits: the client's, or ours.
    pub trace_id: String,
    /// 16 hex digits, ours.
    pub span_id: String,
    /// The trace flags of the client, or `01`.
    pub trace_flags: String,
}

impl RequestContext {
    /// Takes over what the headers say, as far as it is well-formed, and makes up the rest.
    pub fn from_headers(request_id: Option<&str>, traceparent: Option<&str>) -> Self {
        let request_id = request_id.filter(|id| is_request_id(id));
        let (trace_id, trace_flags) =
            traceparent.and_then(parse_traceparent).unwrap_or_else(|| (hex(16), "01".to_owned()));
        Self {
            request_id: request_id.map_or_else(|| hex(16), str::to_owned),
            trace_id,
            span_id: hex(8),
            trace_flags,
        }
    }

    /// The `traceparent` for a request that we send on behalf of this one.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{}", self.trace_id, self.span_id, self.trace_flags)
    }
}

/// Middleware: gives every request a [`RequestContext`] and every answer its id.
pub async fn request_context<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let header = |name: HeaderName| request.headers().get(name).and_then(|it| it.to_str().ok());
    let context =
        RequestContext::from_headers(header(REQUEST_ID_HEADER), header(TRACEPARENT_HEADER));
    let id = HeaderValue::from_str(&context.request_id).ok();
    request.extensions_mut().insert(context);
    let mut response = next.call(request).await?;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
    }
    Ok(response)
}

fn is_request_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.'))
}

/// The trace id and flags of a `traceparent`; versions above ours are read as ours.
fn parse_traceparent(header: &str) -> Option<(String, String)> {
    let mut parts = header.trim().split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.chars().all(|it| matches!(it, '0'..='9' | 'a'..='f'))
    };
    let well_formed =
        is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    let zero = |text: &str| text.chars().all(|it| it == '0');
    let valid = well_formed && version != "ff" && !zero(trace) && !zero(span);
    (valid && (version != "00" || parts.next().is_none()))
        .then(|| (trace.to_owned(), flags.to_owned()))
}

/// `bytes` random bytes as hex digits.
fn hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::error!(%error, "the system gives no random bytes; ids are not unique");
    }
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_trace_goes_on_under_a_new_span() {
        let header = format!("00-{TRACE}-b7ad6b7169203331-00");
        let context = RequestContext::from_headers(Some("abc"), Some(&header));
        assert_eq!((context.request_id.as_str(), context.trace_id.as_str()), ("abc", TRACE));
        assert!(context.traceparent().starts_with(&format!("00-{TRACE}-")));
        assert!(context.traceparent().ends_with("-00"));
        assert!(!context.traceparent().contains("b7ad6b7169203331"));
    }

    #[test]
    fn what_is_malformed_is_replaced() {
        for header in ["", "00", "00-0-0-0", &format!("ff-{TRACE}-b7ad6b7169203331-01")] {
            let context = RequestContext::from_headers(Some("a b\n"), Some(header));
            assert_ne!(context.trace_id, TRACE);
            assert_eq!((context.request_id.len(), context.trace_id.len()), (32, 32));
        }
    }
}
