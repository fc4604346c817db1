//! HTTP clients with their timeouts.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a small question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for services on this machine: no proxy, and no certificates to read.
pub(crate) fn local_client() -> reqwest::Result<Client> {
    choose_cryptography();
    let builder = Client::builder().connect_timeout(CONNECT_TIMEOUT).no_proxy();
    builder.tls_certs_only([]).build()
}

/// A client for a fleet anywhere; the system's certificates and proxy hold. `timeout` is for
/// each request as a whole.
pub(crate) fn client(timeout: Duration) -> reqwest::Result<Client> {
    choose_cryptography();
    Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(timeout).build()
}

/// The body of a `GET`, which must be answered 200 at once.
pub(crate) async fn get<T: DeserializeOwned>(
    client: &Client,
    url: &str,
    token: Option<&str>,
) -> anyhow::Result<T> {
    let mut request = client.get(url).timeout(ASK_TIMEOUT);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.with_context(|| format!("GET {url}"))?;
    let status = response.status();
    let body = response.bytes().await.with_context(|| format!("GET {url}"))?;
    if !status.is_success() {
        bail!("GET {url}: {status}: {}", head(&body));
    }
    serde_json::from_slice(&body).with_context(|| format!("GET {url}: {}", head(&body)))
}

/// A request's body as JSON.
pub(crate) fn with_json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header(CONTENT_TYPE, "application/json").body(body.to_string())
}

/// The beginning of a body, for a message.
pub(crate) fn head(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(500).collect()
}

fn choose_cryptography() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        // An earlier client chose it already.
    }
}
