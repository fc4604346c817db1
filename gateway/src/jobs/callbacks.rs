//! Tells callers that their jobs are over: signed, again until it is taken, and never at an address
//! that only this machine or its own network has. A callback may come twice; its number says so.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use queue::{Callback, CallbackOutcome, DueCallbacks, JobStore, StoreError};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use tokio::task::{Id, JoinError, JoinSet};

use super::address::is_public;
use super::view::{self, Known};
use crate::error::is_taken;

/// How often the store is asked for callbacks that are due.
const LOOK: Duration = Duration::from_secs(1);
/// How long to gather before it is asked again because one is over.
const GATHER: Duration = Duration::from_millis(20);
/// Callbacks at a time.
const AT_ONCE: usize = 32;
/// Those of one caller's jobs: its receivers may be slow.
const OF_CALLER: usize = 4;
/// Meanwhile nobody else sends one.
const CLAIM: Duration = Duration::from_mins(1);
/// How long a receiver may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// How long to wait after each failure, in seconds: nine tries in about six hours.
const WAITS: [u64; 8] = [5, 30, 120, 600, 1800, 3600, 7200, 7200];

/// What sends callbacks.
#[derive(Debug)]
pub(crate) struct Callbacks {
    pub(crate) store: Arc<dyn JobStore>,
    /// What receivers know us by.
    pub(crate) secret: SecretString,
    /// Whether they may be in a network of ours.
    pub(crate) may_be_private: bool,
}

/// Why a receiver did not take a callback.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the host does not resolve: {0}")]
    Unresolved(std::io::Error),
    #[error("the host has a private address; an operator can allow that")]
    Private,
    #[error("{0}")]
    Transport(String),
    #[error("it answered {0}")]
    Refused(u16),
    #[error("the URL has no host")]
    NoHost,
    #[error("the job is gone")]
    NoJob,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Callbacks {
    /// Sends what is due, until it is dropped. Receivers that are slow hold up no other caller's.
    pub(crate) async fn send_all(self) {
        let callbacks = Arc::new(self);
        let mut sending = JoinSet::new();
        let mut callers: HashMap<Id, String> = HashMap::new();
        loop {
            while let Some(ended) = sending.try_join_next_with_id() {
                callers.remove(&id_of(&ended));
            }
            for callback in callbacks.due(&callers).await {
                let (callbacks, caller) = (Arc::clone(&callbacks), callback.caller.clone());
                let sent = sending.spawn(async move { callbacks.send(&callback).await });
                callers.insert(sent.id(), caller);
            }
            tokio::select! {
                // There may be more, for as soon as one of these is over.
                Some(ended) = sending.join_next_with_id() => {
                    callers.remove(&id_of(&ended));
                    tokio::time::sleep(GATHER).await;
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// What is due beside what is on its way.
    async fn due(&self, callers: &HashMap<Id, String>) -> Vec<Callback> {
        let mut sending = HashMap::new();
        for caller in callers.values() {
            *sending.entry(caller.clone()).or_default() += 1;
        }
        let limit = AT_ONCE.saturating_sub(callers.len());
        let wish = DueCallbacks { limit, time: CLAIM, of_caller_max: OF_CALLER, sending };
        self.store.due_callbacks(wish).await.unwrap_or_else(|error| {
            tracing::error!("callbacks cannot be looked for: {error}");
            Vec::new()
        })
    }

    async fn send(&self, callback: &Callback) {
        let outcome = match self.post(callback).await {
            Ok(()) => CallbackOutcome::Delivered,
            Err(fault) => after(callback.attempt, &fault),
        };
        if let CallbackOutcome::Dead(reason) = &outcome {
            tracing::warn!(job.id = %callback.id, "a callback is given up: {reason}");
        }
        if let Err(error) = self.store.note_callback(callback.number, outcome).await {
            // It is due again when nobody else would have sent it.
            tracing::error!(job.id = %callback.id, "a callback cannot be noted: {error}");
        }
    }

    async fn post(&self, callback: &Callback) -> Result<(), Fault> {
        let job = self.store.job(callback.id).await?.ok_or(Fault::NoJob)?;
        if !job.state.is_final() {
            // It goes on again, and has another callback when it ends.
            return Ok(());
        }
        let shown = view::shown(&*self.store, job, Known::default()).await?;
        let body = serde_json::to_string(&shown).map_err(|it| Fault::Transport(it.to_string()))?;
        let (client, url) = self.client(&callback.url).await?;
        let time = Timestamp::now().as_second();
        let signature = sign(self.secret.expose_secret(), time, &body);
        let sent = client
            .post(url)
            .header("content-type", "application/json")
            .header("x-flotilla-delivery", callback.number)
            .header("x-flotilla-signature", format!("t={time},v1={signature}"))
            .body(body)
            .send()
            .await;
        let answer = sent.map_err(|it| Fault::Transport(it.without_url().to_string()))?;
        let status = answer.status().as_u16();
        if is_taken(status) { Ok(()) } else { Err(Fault::Refused(status)) }
    }

    /// A client that goes to the very addresses that were looked at, and nowhere else.
    async fn client(&self, url: &str) -> Result<(Client, Url), Fault> {
        let url: Url = url.parse().or(Err(Fault::NoHost))?;
        let host = url.host_str().ok_or(Fault::NoHost)?.to_owned();
        let port = url.port_or_known_default().ok_or(Fault::NoHost)?;
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let found = tokio::net::lookup_host((name.as_str(), port)).await;
        let found: Vec<SocketAddr> = found.map_err(Fault::Unresolved)?.collect();
        if !self.may_be_private && !found.iter().all(|it| is_public(it.ip())) {
            return Err(Fault::Private);
        }
        let client = Client::builder()
            .user_agent("flotilla-gateway")
            .timeout(TIME_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .resolve_to_addrs(&host, &found);
        // Without TLS no certificates are needed, and a small image may have none.
        let client = if url.scheme() == "https" {
            client.build()
        } else {
            client.tls_certs_only([]).build()
        };
        Ok((client.map_err(|it| Fault::Transport(it.to_string()))?, url))
    }
}

/// Which of those that are sent is over, however it ended.
fn id_of(ended: &Result<(Id, ()), JoinError>) -> Id {
    match ended {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    }
}

/// What becomes of a callback whose `attempt`-th try failed, from 1.
fn after(attempt: u32, fault: &Fault) -> CallbackOutcome {
    let reason = fault.to_string();
    let is_hopeless = matches!(fault, Fault::Private | Fault::NoHost | Fault::NoJob);
    let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    match WAITS.get(index).filter(|_| !is_hopeless) {
        Some(seconds) => CallbackOutcome::Again { after: Duration::from_secs(*seconds), reason },
        None => CallbackOutcome::Dead(reason),
    }
}

/// The signature of a body that is sent at a time: HMAC-SHA-256 of `TIME.BODY`, as hex digits.
fn sign(secret: &str, time: i64, body: &str) -> String {
    // Keys of any length will do (RFC 2104).
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{time}.{body}").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_others_compute() {
        // By Python: hmac.new(b"Jefe", b"1.what do ya want for nothing?", "sha256").hexdigest().
        let signature = sign("Jefe", 1, "what do ya want for nothing?");
        assert_eq!(signature, "a9049465ce89cfb8e9aac62333abda66f80e3403f51f57f6bae3c3a4485eca38");
    }

    #[test]
    fn tries_end_and_what_is_hopeless_ends_at_once() {
        let fault = Fault::Refused(500);
        assert!(matches!(after(1, &fault), CallbackOutcome::Again { .. }));
        assert!(matches!(after(8, &fault), CallbackOutcome::Again { .. }));
        assert!(matches!(after(9, &fault), CallbackOutcome::Dead(_)));
        assert!(matches!(after(1, &Fault::Private), CallbackOutcome::Dead(_)));
    }
}
