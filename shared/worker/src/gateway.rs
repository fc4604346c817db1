//! The gateway, as a worker calls it.

use std::time::Duration;

use protocol::Problem;
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::WorkerError;

/// Opening a connection may take so long.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long an answer may take that need not wait for anything.
const TIME_MAX: Duration = Duration::from_secs(20);
/// How many bytes of a body go out each second, at least.
const BYTES_PER_SECOND: usize = 256 << 10;
/// How much longer a call may take for the size of its body.
const BODY_TIME_MAX: Duration = Duration::from_mins(6);

/// Where jobs come from.
#[derive(Debug)]
pub(crate) struct Gateway {
    client: Client,
    base: Url,
    key: SecretString,
}

/// Why a call came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody is there.
    #[error("{0}")]
    Away(String),
    /// It broke off or took too long, as what is too large for the line does.
    #[error("{0}")]
    Cut(String),
    /// It may help to call again.
    #[error("{0}")]
    Again(String),
    /// The gateway has forgotten us, such as after a restart.
    #[error("the gateway does not know this worker")]
    Unknown,
    /// What was said is more than the gateway takes at a time.
    #[error("{0}")]
    TooLarge(String),
    /// What was said is not what it has to be.
    #[error("{0}")]
    Unfit(String),
    /// It does not help to call again before somebody has changed something.
    #[error("{0}")]
    Refused(String),
}

impl Gateway {
    pub(crate) fn new(url: &str, key: SecretString) -> Result<Self, WorkerError> {
        let wrong = || WorkerError::Url(url.to_owned());
        let base: Url = url.trim_end_matches('/').parse().or(Err(wrong()))?;
        let is_right = matches!(base.scheme(), "http" | "https") && base.username().is_empty();
        if !is_right || base.host_str().is_none() || base.query().is_some() {
            return Err(wrong());
        }
        if base.scheme() == "http" && !key.expose_secret().is_empty() && !is_local(&base) {
            tracing::warn!("the worker's key goes to {base} unencrypted; use https");
        }
        // Somebody may have chosen one before; theirs is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = Client::builder()
            .user_agent("flotilla-worker")
            .connect_timeout(CONNECT_TIME_MAX)
            .redirect(reqwest::redirect::Policy::none());
        // Without TLS no certificates are needed, and a small image may have none.
        let client = if base.scheme() == "https" {
            builder.build()
        } else {
            builder.tls_certs_only([]).build()
        };
        Ok(Self { client: client.map_err(WorkerError::Client)?, base, key })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &Url {
        &self.base
    }

    /// Calls one path of the workers' protocol. The answer may wait for `wait`, and then takes a
    /// while at most, which is longer for a large body.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        name: &str,
        body: &(impl Serialize + ?Sized),
        wait: Duration,
    ) -> Result<T, CallError> {
        let url = format!("{}/v1/worker/{name}", self.base.as_str().trim_end_matches('/'));
        let body = serde_json::to_vec(body).map_err(|it| CallError::Refused(it.to_string()))?;
        let time = wait + TIME_MAX + body_time(body.len());
        let mut request = self.client.post(url).timeout(time).body(body);
        request = request.header("content-type", "application/json");
        if !self.key.expose_secret().is_empty() {
            request = request.bearer_auth(self.key.expose_secret());
        }
        let answer = request.send().await.map_err(|it| broken(&it))?;
        let status = answer.status();
        let body = answer.bytes().await;
        if status == StatusCode::OK {
            let body = body.map_err(|it| broken(&it))?;
            return serde_json::from_slice(&body)
                .map_err(|it| CallError::Again(format!("the gateway's answer is none: {it}")));
        }
        // It says enough without its reason.
        let problem = body.ok().and_then(|it| serde_json::from_slice::<Problem>(&it).ok());
        Err(refusal(status, problem.as_ref()))
    }
}

/// How much longer a call may take whose body is that large.
fn body_time(bytes: usize) -> Duration {
    let seconds = u64::try_from(bytes / BYTES_PER_SECOND).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).min(BODY_TIME_MAX)
}

fn broken(error: &reqwest::Error) -> CallError {
    let text = told(error);
    if error.is_connect() { CallError::Away(text) } else { CallError::Cut(text) }
}

fn refusal(status: StatusCode, problem: Option<&Problem>) -> CallError {
    let code = problem.map(|it| it.code.as_str()).unwrap_or_default();
    let detail = problem.map_or_else(|| format!("it answered {status}"), |it| it.detail.clone());
    match status {
        StatusCode::NOT_FOUND if code == "unknown_worker" => CallError::Unknown,
        StatusCode::REQUEST_TIMEOUT => CallError::Cut(detail),
        StatusCode::TOO_MANY_REQUESTS => CallError::Again(detail),
        StatusCode::PAYLOAD_TOO_LARGE => CallError::TooLarge(detail),
        StatusCode::UNPROCESSABLE_ENTITY => CallError::Unfit(detail),
        _ if status.is_client_error() => CallError::Refused(detail),
        _ => CallError::Again(detail),
    }
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// An error and its reasons, without the address.
fn told(error: &reqwest::Error) -> String {
    let mut text = String::from(if error.is_connect() {
        "the gateway cannot be reached"
    } else if error.is_timeout() {
        "the gateway took too long"
    } else {
        "the connection to the gateway broke off"
    });
    let mut reason = std::error::Error::source(error);
    while let Some(error) = reason {
        text.push_str(": ");
        text.push_str(&error.to_string());
        reason = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let problem = |code: &str| Problem::new(404, code, "no".to_owned(), "");
        let unknown = refusal(StatusCode::NOT_FOUND, Some(&problem("unknown_worker")));
        assert!(matches!(unknown, CallError::Unknown));
        for status in [StatusCode::BAD_GATEWAY, StatusCode::TOO_MANY_REQUESTS] {
            assert!(matches!(refusal(status, None), CallError::Again(_)));
        }
        for status in [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND, StatusCode::CONFLICT] {
            assert!(matches!(refusal(status, None), CallError::Refused(_)));
        }
        let large = refusal(StatusCode::PAYLOAD_TOO_LARGE, None);
        assert!(matches!(large, CallError::TooLarge(_)));
        assert!(matches!(refusal(StatusCode::UNPROCESSABLE_ENTITY, None), CallError::Unfit(_)));
        assert!(matches!(refusal(StatusCode::REQUEST_TIMEOUT, None), CallError::Cut(_)));
    }

    #[test]
    fn a_large_body_has_longer_and_not_for_ever() {
        assert_eq!(body_time(1000), Duration::ZERO);
        assert_eq!(body_time(64 << 20), Duration::from_secs(256));
        assert_eq!(body_time(usize::MAX), BODY_TIME_MAX);
    }

    #[test]
    fn what_is_no_gateway_is_refused() {
        for wrong in ["", "gateway", "ftp://a", "https://user@a", "https://a?b"] {
            assert!(Gateway::new(wrong, SecretString::default()).is_err(), "{wrong}");
        }
    }
}
