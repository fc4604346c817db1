//! Other gateways of the same store. A run is in the memory of the gateway that began it, whose name is
//! a part of the run's own: whoever asks another gateway for it is passed on, and back comes what that
//! one says.
//!
//! Invariant: what is passed on goes to addresses only that gateways wrote into the store, at the path
//! that it came to, and never further than once. It is answered there as if it had been asked there:
//! with a ticket, a key or an invitation that is good there, and counted for the same address, which a
//! gateway believes who shows the token that is in the store, too.

mod frames;
mod pass_on;

use std::fmt::Write as _;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, web};
use documents::{Rooms, ServerPlace};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::auth::Caller;
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
/// Hexadecimal digits of the token that gateways show each other.
const TOKEN_LENGTH: usize = 64;
/// Longest address of a gateway, in bytes.
const URL_BYTES_MAX: usize = 512;
/// Says that a request comes from another gateway, by the token of the one that it is passed on to.
const PASSED_ON: HeaderName = HeaderName::from_static("x-passed-on");

/// This gateway, as others know it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: OwnName,
    /// What other gateways show that pass something on.
    token: SecretString,
}

impl Identity {
    /// That of one start of a gateway, which nobody else has.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; NAME_LENGTH / 2 + TOKEN_LENGTH / 2];
        getrandom::fill(&mut bytes)?;
        let mut name = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            write!(name, "{byte:02x}").unwrap_or_default();
        }
        let token = name.split_off(NAME_LENGTH);
        Ok(Self { name: OwnName(name), token: token.into() })
    }

    /// Whether another gateway passes this on.
    pub(crate) fn is_passed_on(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(&PASSED_ON).map(HeaderValue::as_bytes).unwrap_or_default();
        shown.ct_eq(self.token.expose_secret().as_bytes()).into()
    }
}

/// The name of this gateway, which is a part of those of its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnName(String);

impl OwnName {
    /// The name of a new run here.
    pub(crate) fn run(&self) -> String {
        format!("{RUN_PREFIX}{}{}", Uuid::now_v7().simple(), self.0)
    }

    /// The name of the gateway that a run of this name is in, if that is another one.
    fn other<'a>(&self, run: &'a str) -> Option<&'a str> {
        let digits = run.strip_prefix(RUN_PREFIX)?;
        let is_run = digits.len() == NUMBER_LENGTH + NAME_LENGTH
            && digits.bytes().all(|it| it.is_ascii_hexdigit());
        let name = digits.get(NUMBER_LENGTH..)?;
        (is_run && name != self.0).then_some(name)
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

/// Tells other gateways where this one is, for as long as it goes on.
pub(crate) async fn announce(rooms: &Rooms, own: &Identity, settings: &Settings) {
    let Some(url) = &settings.self_url else { return std::future::pending().await };
    let (url, token) = (url.clone(), own.token.expose_secret().to_owned());
    rooms.announce(&own.name.0, &ServerPlace { url, token }).await;
}

/// Tells other gateways that this one is gone.
pub(crate) async fn leave(rooms: &Rooms, own: &Identity, settings: &Settings) {
    if settings.self_url.is_some() {
        rooms.leave(&own.name.0).await;
    }
}

/// Where the answer to a request is.
#[derive(Debug)]
struct Elsewhere {
    url: Url,
    /// What the gateway there expects of others.
    token: String,
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
        Ok(Some(place)) => {
            let Some(client) = request.app_data::<web::Data<Client>>().cloned() else {
                return Ok(request.error_response(ApiError::Internal));
            };
            let (request, mut payload) = request.into_parts();
            let answer = pass_on::pass_on(&request, payload.take(), place, &shared, &client).await;
            Ok(match answer {
                Ok(response) => ServiceResponse::new(request, response),
                Err(error) => ServiceResponse::from_err(error, request),
            })
        }
        Err(error) => Ok(request.error_response(error)),
    }
}

/// Where a request is to be passed on to, if it is for a run of another gateway.
async fn elsewhere(
    request: &ServiceRequest,
    shared: &Shared,
) -> Result<Option<Elsewhere>, ApiError> {
    let path = request.match_info();
    let run = path.get("runId").or_else(|| path.get("id")).unwrap_or_default();
    let (Some(name), Some(rooms)) = (shared.identity.name.other(run), &shared.rooms) else {
        return Ok(None);
    };
    // What is refused is refused here: whoever is nobody, and pages that may not open sockets.
    let is_known = request.extensions().contains::<Caller>();
    let is_socket = request.headers().contains_key(header::UPGRADE);
    let may = !is_socket || may_call(request.headers(), &shared.settings.cors_origins);
    let is_look = matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE);
    if !is_known || !may || !is_look || request.headers().contains_key(&PASSED_ON) {
        return Ok(None);
    }
    let found = rooms.server(name).await.map_err(RoomError::from)?;
    let Some(ServerPlace { url, token }) = found.filter(|it| is_base_url(&it.url)) else {
        return Ok(None);
    };
    let Ok(mut url) = Url::parse(&url) else { return Ok(None) };
    url.set_path(request.uri().path());
    url.set_query(request.uri().query());
    // It is the same path there, however it is written.
    Ok((url.path() == request.uri().path()).then_some(Elsewhere { url, token }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_s_name_tells_its_gateway() {
        let own = || Identity::random().unwrap().name;
        let (one, other) = (own(), own());
        assert_eq!(one.0.len(), NAME_LENGTH);
        let run = one.run();
        assert_eq!(one.other(&run), None, "it is here");
        assert_eq!(other.other(&run), Some(one.0.as_str()));
        let no_name = run.replace(&one.0, "zzzzzzzzzzzzzzzz");
        let no_number = format!("run_{}{}", "/../".repeat(8), one.0);
        let longer = format!("{run}0");
        for wrong in ["", "run_", "run_1", &run[1..], &run[..51], &longer, &no_name, &no_number] {
            assert_eq!(other.other(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn who_shows_the_token_is_a_gateway() {
        let own = Identity::random().unwrap();
        let with = |token: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(PASSED_ON, HeaderValue::from_str(token).unwrap());
            own.is_passed_on(&headers)
        };
        assert!(with(own.token.expose_secret()));
        assert!(!with("1") && !with("") && !with(&"0".repeat(TOKEN_LENGTH)));
        assert!(!own.is_passed_on(&HeaderMap::new()));
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
