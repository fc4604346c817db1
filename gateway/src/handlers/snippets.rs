//! `/v1/snippets`: what pages share by a link that could not hold all of it.

use actix_web::http::header::{self, ETag, EntityTag, IfNoneMatch};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use documents::SnippetId;
use protocol::Refusal;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::admission::{AdmissionError, check_media_type};
use crate::body::{self, BodyBounds};
use crate::error::ApiError;
use crate::handlers::execute::content_type;
use crate::rooms::RoomError;
use crate::shared::Shared;

/// Largest snippet, in bytes.
const BYTES_MAX: usize = 256 << 10;
/// What is known by its content never changes. Others than whoever asked have to ask themselves.
const CACHE: &str = "private, max-age=31536000, immutable";

/// Where a snippet is kept.
#[derive(Debug, Serialize)]
struct Kept {
    id: SnippetId,
    path: String,
}

/// `POST /v1/snippets`
pub(crate) async fn keep(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    check_media_type(content_type(request.headers()).as_deref())?;
    let bounds = BodyBounds { bytes_max: BYTES_MAX, seconds: shared.settings.body_seconds };
    let body = body::read(&request, payload, &shared.bodies, bounds).await?;
    is_object(&body.bytes)?;
    // As it came: numbers, and the order of fields, are not ours to change.
    let kept = shared.rooms()?.keep_snippet(body.bytes.clone()).await.map_err(RoomError::from)?;
    let id = kept.ok_or(RoomError::TooManySnippets)?;
    let path = format!("/v1/snippets/{id}");
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, path.clone()));
    Ok(response.json(Kept { id, path }))
}

/// `GET /v1/snippets/{id}`
pub(crate) async fn one(
    id: web::Path<String>,
    known: web::Header<IfNoneMatch>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let id: SnippetId = id.parse().or(Err(RoomError::NoSnippet))?;
    let found = shared.rooms()?.snippet(&id).await.map_err(RoomError::from)?;
    let data = found.ok_or(RoomError::NoSnippet)?;
    let tag = EntityTag::new_strong(id.to_string());
    let is_known = match known.into_inner() {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => tags.iter().any(|it| it.weak_eq(&tag)),
    };
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header(ETag(tag));
    response.insert_header((header::CACHE_CONTROL, CACHE));
    if is_known {
        return Ok(response.finish());
    }
    Ok(response.content_type("application/json").body(data))
}

/// Refuses what is no JSON object.
fn is_object(bytes: &Bytes) -> Result<(), ApiError> {
    let not_json =
        |problem: String| ApiError::from(AdmissionError::from(Refusal::NotJson(problem)));
    let text = std::str::from_utf8(bytes).map_err(|it| not_json(it.to_string()))?;
    let value: &RawValue = serde_json::from_str(text).map_err(|it| not_json(it.to_string()))?;
    if value.get().starts_with('{') {
        Ok(())
    } else {
        Err(ApiError::invalid("", "must be an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &'static [u8], code: Option<&str>) {
        let refusal = is_object(&Bytes::from_static(text)).err();
        assert_eq!(refusal.map(|it| it.code()), code, "{text:?}");
    }

    #[test]
    fn a_snippet_is_a_json_object() {
        check(b"{}", None);
        check(b" {\"a\": [1e400, 12345678901234567890123], \"a\": {}}\n", None);
        check(b"[]", Some("invalid_request"));
        check(b"\"{\"", Some("invalid_request"));
        check(b"", Some("not_json"));
        check(b"{", Some("not_json"));
        check(b"{} {}", Some("not_json"));
        check(b"{\"a\": \"\xff\"}", Some("not_json"));
    }
}
