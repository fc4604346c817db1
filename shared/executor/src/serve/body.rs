//! Reads a request's body within its bounds: of type, of size and of time.

use std::time::Duration;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use bytes::BytesMut;
use futures::StreamExt as _;

use crate::error::ApiError;

/// The whole body, at most `bytes_max` of it, within `seconds`.
pub(super) async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    bytes_max: usize,
    seconds: u64,
) -> Result<BytesMut, ApiError> {
    check_type(request)?;
    let deadline = Duration::from_secs(seconds);
    let body = tokio::time::timeout(deadline, collect(payload, bytes_max)).await;
    body.map_err(|_elapsed| ApiError::BodyTooSlow(seconds))?
}

/// A missing type is taken for JSON.
fn check_type(request: &HttpRequest) -> Result<(), ApiError> {
    let Some(value) = request.headers().get(CONTENT_TYPE) else { return Ok(()) };
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    Err(ApiError::NotJson(text.chars().take(64).collect()))
}

async fn collect(mut payload: web::Payload, bytes_max: usize) -> Result<BytesMut, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| ApiError::BodyBroken(error.to_string()))?;
        if body.len() + chunk.len() > bytes_max {
            return Err(ApiError::BodyTooLarge(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
