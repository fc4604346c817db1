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
    /// It may help to call again.
    #[error("{0}")]
    Again(String),
    /// The gateway has forgotten us, such as after a restart.
    #[error("the gateway does not know this worker")]
    Unknown,
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
    /// while at most.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        name: &str,
        body: &(impl Serialize + ?Sized),
        wait: Duration,
    ) -> Result<T, CallError> {
        let url = format!("{}/v1/worker/{name}", self.base.as_str().trim_end_matches('/'));
        let body = serde_json::to_vec(body).map_err(|it| CallError::Refused(it.to_string()))?;
        let mut request = self.client.post(url).timeout(wait + TIME_MAX).body(body);
        request = request.header("content-type", "application/json");
        if !self.key.expose_secret().is_empty() {
            request = request.bearer_auth(self.key.expose_secret());
        }
        let again = |error: reqwest::Error| CallError::Again(told(&error));
        let answer = request.send().await.map_err(again)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(again)?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body)
                .map_err(|it| CallError::Again(format!("the gateway's answer is none: {it}")));
        }
        let problem = serde_json::from_slice::<Problem>(&body).ok();
        Err(refusal(status, problem.as_ref()))
    }
}

fn refusal(status: StatusCode, problem: Option<&Problem>) -> CallError {
    let code = problem.map(|it| it.code.as_str()).unwrap_or_default();
    let detail = problem.map_or_else(|| format!("it answered {status}"), |it| it.detail.clone());
    match status {
        StatusCode::NOT_FOUND if code == "unknown_worker" => CallError::Unknown,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => CallError::Again(detail),
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
    let mut text = String::from("the gateway cannot be reached");
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
    }

    #[test]
    fn what_is_no_gateway_is_refused() {
        for wrong in ["", "gateway", "ftp://a", "https://user@a", "https://a?b"] {
            assert!(Gateway::new(wrong, SecretString::default()).is_err(), "{wrong}");
        }
    }
}
