//! Other gateways of the same store. A run is in the memory of the gateway that began it, whose name is
//! a part of the run's own: whoever asks another gateway for it is passed on, and back comes what that
//! one says.
//!
//! Invariant: what is passed on goes to addresses only that gateways wrote into the store, and never
//! further than once. It is answered there as if it had been asked there: with a ticket, a key or an
//! invitation that is good there.

mod pass_on;

use std::fmt::Write as _;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderName;
use actix_web::middleware::Next;
use actix_web::{Error, web};
use documents::Rooms;
use reqwest::{Client, Url};
use uuid::Uuid;

use crate::error::ApiError;
use crate::origin::may_call;
use crate::rooms::RoomError;
use crate::settings::Settings;
use crate::shared::Shared;

/// What runs' names begin with.
const RUN_PREFIX: &str = "run_";
/// Hexadecimal digits of a run's own number, and behind it of its gateway's name.
const NUMBER_LENGTH: usize = 32;
const NAME_LENGTH: usize = 16;
/// Longest address of a gateway, in bytes.
const URL_BYTES_MAX: usize = 512;
/// Whether a request comes from another gateway.
const PASSED_ON: HeaderName = HeaderName::from_static("x-passed-on");

/// This gateway, as others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnName(String);

impl OwnName {
    /// That of one start of a gateway: as many bits of chance as no two of them share.
    pub(crate) fn random() -> Self {
        let bytes = Uuid::now_v7().into_bytes();
        let mut name = String::with_capacity(NAME_LENGTH);
        for byte in bytes.iter().rev().take(NAME_LENGTH / 2) {
            write!(name, "{byte:02x}").unwrap_or_default();
        }
        Self(name)
    }

    /// The name of a new run here.
    pub(crate) fn run(&self) -> String {
        format!("{RUN_PREFIX}{}{}", Uuid::now_v7().simple(), self.0)
    }

    /// The name of the gateway that a run of this name is in, if that is another one.
    fn other<'a>(&self, run: &'a str) -> Option<&'a str> {
        let (_, name) = run.strip_prefix(RUN_PREFIX)?.split_at_checked(NUMBER_LENGTH)?;
        let is_name = name.len() == NAME_LENGTH && name.bytes().all(|it| it.is_ascii_hexdigit());
        (is_name && name != self.0).then_some(name)
    }
}

/// Whether a text may be the address of a gateway: no more than scheme, host and port.
pub(crate) fn is_base_url(text: &str) -> bool {
    let is_plain = |it: &Url| {
        let is_bare = it.path() == "/" && it.query().is_none() && it.fragment().is_none();
        let is_anonymous = it.username().is_empty() && it.password().is_none();
        matches!(it.scheme(), "http" | "https") && it.has_host() && is_bare && is_anonymous
    };
    text.len() <= URL_BYTES_MAX && Url::parse(text).is_ok_and(|it| is_plain(&it))
}

/// Tells other gateways where this one is, for as long as it goes on; and then that it is gone.
pub(crate) async fn announce(rooms: &Rooms, own: &OwnName, settings: &Settings) {
    match &settings.self_url {
        Some(url) => rooms.announce(&own.0, url).await,
        None => std::future::pending().await,
    }
}

/// Tells other gateways that this one is gone.
pub(crate) async fn leave(rooms: &Rooms, own: &OwnName, settings: &Settings) {
    if settings.self_url.is_some() {
        rooms.leave(&own.0).await;
    }
}

/// Middleware of what is asked of a run: if that is in another gateway, so is the answer.
pub(crate) async fn to_the_run(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(shared) = request.app_data::<web::Data<Shared>>().cloned() else {
        return Ok(request.error_response(ApiError::Internal));
    };
    match elsewhere(&request, &shared).await {
        Ok(None) => next.call(request).await,
        Ok(Some(url)) => {
            let Some(client) = request.app_data::<web::Data<Client>>().cloned() else {
                return Ok(request.error_response(ApiError::Internal));
            };
            let (request, mut payload) = request.into_parts();
            let answer = pass_on::pass_on(&request, payload.take(), url, &shared, &client).await;
            Ok(match answer {
                Ok(response) => ServiceResponse::new(request, response),
                Err(error) => ServiceResponse::from_err(error, request),
            })
        }
        Err(error) => Ok(request.error_response(error)),
    }
}

/// Where a request is to be passed on to, if it is for a run of another gateway.
async fn elsewhere(request: &ServiceRequest, shared: &Shared) -> Result<Option<Url>, ApiError> {
    let path = request.match_info();
    let run = path.get("runId").or_else(|| path.get("id")).unwrap_or_default();
    let (Some(name), Some(rooms)) = (shared.own_name.other(run), &shared.rooms) else {
        return Ok(None);
    };
    let is_passed_on = request.headers().contains_key(&PASSED_ON);
    // What a page may not do is told here: what comes from another gateway comes from no page.
    if is_passed_on || !may_call(request.headers(), &shared.settings.cors_origins) {
        return Ok(None);
    }
    let found = rooms.server(name).await.map_err(RoomError::from)?;
    let Some(found) = found.filter(|it| is_base_url(it)) else { return Ok(None) };
    let Ok(mut url) = Url::parse(&found) else { return Ok(None) };
    url.set_path(request.uri().path());
    url.set_query(request.uri().query());
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_s_name_tells_its_gateway() {
        let (one, other) = (OwnName::random(), OwnName::random());
        assert_eq!(one.0.len(), NAME_LENGTH);
        let run = one.run();
        assert_eq!(one.other(&run), None, "it is here");
        assert_eq!(other.other(&run), Some(one.0.as_str()));
        let no_name = run.replace(&one.0, "zzzzzzzzzzzzzzzz");
        for wrong in ["", "run_", "run_1", &run[1..], &run[..51], &format!("{run}0"), &no_name] {
            assert_eq!(other.other(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_no_more() {
        for right in ["http://10.0.0.1:8000", "https://a.example", "http://[fd00::1]:8000/"] {
            assert!(is_base_url(right), "{right}");
        }
        for wrong in [
            "",
            "a.example:8000",
            "ftp://a.example",
            "http://a.example/x",
            "http://a.example?x",
            "http://u:p@a.example",
            "http://",
        ] {
            assert!(!is_base_url(wrong), "{wrong}");
        }
    }
}
