//! Looks after the fleet: resolves names, asks every executor for its health, and now and then
//! for what it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use protocol::{ExecutorHealth, ExecutorInfo};
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;

use super::{Fleet, Member};
use crate::error::refuses_token;

/// How old an executor's information may be.
const INFO_AGE_MAX: Duration = Duration::from_secs(30);
/// Shortest time between two rounds, however often requests ask for one.
const ROUND_GAP_MIN: Duration = Duration::from_millis(200);
/// Largest answer to a probe, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// How to probe.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    /// The client for probes alone.
    pub client: Client,
    /// What executors expect from us.
    pub token: Option<SecretString>,
    /// Between two rounds.
    pub period: Duration,
    /// For one probe.
    pub timeout: Duration,
}

/// Why a probe gave nothing.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("nothing answers there")]
    Gone,
    #[error("it did not answer in time")]
    Slow,
    #[error("it broke the connection")]
    Broken,
    #[error("it refused our token; set GATEWAY_EXECUTOR_TOKEN to the fleet's")]
    Token,
    #[error("it answered {0} with something that is not what an executor says")]
    Garbage(StatusCode),
}

/// Probes until it is dropped.
pub(crate) async fn watch(fleet: Arc<Fleet>, prober: Prober) {
    loop {
        round(&fleet, &prober).await;
        tokio::time::sleep(ROUND_GAP_MIN).await;
        let rest = prober.period.saturating_sub(ROUND_GAP_MIN);
        // Both ends of the wait mean the same: the next round.
        drop(tokio::time::timeout(rest, fleet.wake.notified()).await);
    }
}

/// Resolves every name and probes every executor once, all at the same time.
async fn round(fleet: &Fleet, prober: &Prober) {
    join_all((0..fleet.endpoints.len()).map(|index| resolve(fleet, prober, index))).await;
    let members = fleet.members();
    join_all(members.iter().map(|member| probe(fleet, prober, member))).await;
    let timestamp = Timestamp::now();
    for member in members.iter() {
        member.settle(Instant::now(), timestamp);
    }
}

/// Resolves one endpoint's name again. What does not resolve now keeps its last addresses.
async fn resolve(fleet: &Fleet, prober: &Prober, index: usize) {
    let Some(endpoint) = fleet.endpoints.get(index) else { return };
    let Some(name) = endpoint.resolves() else { return };
    let looked_up = tokio::time::timeout(prober.timeout, tokio::net::lookup_host(name)).await;
    let Ok(Ok(found)) = looked_up else { return };
    let found: Vec<SocketAddr> = found.collect();
    let chosen = endpoint.one_family(&found);
    if chosen.is_empty() {
        return;
    }
    fleet.place(index, &chosen);
    let all_gone =
        fleet.members().iter().filter(|it| it.endpoint() == index).all(|it| it.is_gone());
    let other = found.iter().find(|it| chosen.first().is_some_and(|c| c.is_ipv6() != it.is_ipv6()));
    if let (true, Some(other)) = (all_gone, other)
        && !is_open(prober, chosen.first()).await
        && is_open(prober, Some(other)).await
    {
        endpoint.prefer(*other);
        fleet.place(index, &endpoint.one_family(&found));
    }
}

/// Whether anything listens there.
async fn is_open(prober: &Prober, address: Option<&SocketAddr>) -> bool {
    let Some(address) = address else { return false };
    let connected =
        tokio::time::timeout(prober.timeout, tokio::net::TcpStream::connect(address)).await;
    matches!(connected, Ok(Ok(_)))
}

async fn probe(fleet: &Fleet, prober: &Prober, member: &Member) {
    let started = Instant::now();
    match ask::<ExecutorHealth>(prober, member, "/health").await {
        Ok(health) => {
            let latency_ms = started.elapsed().as_secs_f64() * 1000.0;
            let is_old = member.info_at().is_none_or(|it| it.elapsed() >= INFO_AGE_MAX);
            if is_old && let Err(error) = inform(fleet, prober, member).await {
                let label = member.label();
                tracing::warn!(executor = label, "{label} does not say what it runs: {error}");
            }
            member.reached(health, latency_ms, Instant::now());
        }
        Err(error) => {
            let is_gone = matches!(error, ProbeError::Gone);
            member.missed(error.to_string(), is_gone, Instant::now());
        }
    }
}

async fn inform(fleet: &Fleet, prober: &Prober, member: &Member) -> Result<(), ProbeError> {
    let info = Arc::new(ask::<ExecutorInfo>(prober, member, "/info").await?);
    if let Some(endpoint) = fleet.endpoints.get(member.endpoint()) {
        endpoint.remember(&info);
    }
    member.informed(info, Instant::now());
    Ok(())
}

async fn ask<T: DeserializeOwned>(
    prober: &Prober,
    member: &Member,
    path: &str,
) -> Result<T, ProbeError> {
    let request = member.request(&prober.client, Method::GET, path).ok_or(ProbeError::Gone)?;
    let request = match &prober.token {
        Some(token) => request.bearer_auth(token.expose_secret()),
        None => request,
    };
    let mut response = request.timeout(prober.timeout).send().await.map_err(|it| failure(&it))?;
    let status = response.status();
    if refuses_token(status.as_u16()) {
        return Err(ProbeError::Token);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|it| failure(&it))? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(ProbeError::Garbage(status));
        }
    }
    serde_json::from_slice(&body).map_err(|error| {
        tracing::debug!(executor = member.label(), %error, "a probe's answer does not parse");
        ProbeError::Garbage(status)
    })
}

fn failure(error: &reqwest::Error) -> ProbeError {
    if error.is_connect() {
        ProbeError::Gone
    } else if error.is_timeout() {
        ProbeError::Slow
    } else {
        ProbeError::Broken
    }
}
