//! Hears what other stores on the same server did. What is not heard only comes later: whoever waits
//! looks again after a while.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use redis::aio::PubSub;
use redis::{ErrorKind, Msg, RedisError, RedisResult, Value};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};
use uuid::Uuid;

use super::PREFIX;
use super::link::{CONNECT, Link};
use crate::{JobId, Wakes};

/// How long to wait before another try to hear.
const AGAIN: Duration = Duration::from_millis(500);
/// How often a silent connection is tried.
const TRY: Duration = Duration::from_secs(10);

/// Hears until it is dropped.
#[derive(Debug)]
pub(super) struct Ear(JoinHandle<()>);

impl Ear {
    /// Wakes who waits for what others than `own` did.
    pub(super) fn start(link: Arc<Link>, wakes: Arc<Wakes>, own: Uuid) -> Self {
        Self(tokio::spawn(async move {
            loop {
                let outages = link.outages();
                match connect(&link).await {
                    Ok(heard) => {
                        hear(heard, &wakes, own).await;
                        // The operations' connection went to the same server.
                        link.renew(outages);
                    }
                    Err(error) => tracing::debug!("other gateways cannot be heard: {error}"),
                }
                sleep(AGAIN).await;
            }
        }))
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connect(link: &Link) -> RedisResult<PubSub> {
    let connect = async {
        let mut heard = link.client().get_async_pubsub().await?;
        heard.subscribe(&[format!("{PREFIX}work"), format!("{PREFIX}changed")]).await?;
        Ok(heard)
    };
    let silence = || RedisError::from((ErrorKind::Io, "the server does not answer"));
    timeout(CONNECT, connect).await.unwrap_or_else(|_elapsed| Err(silence()))
}

/// Hears until the connection is lost.
async fn hear(heard: PubSub, wakes: &Wakes, own: Uuid) {
    let (mut sink, mut messages) = heard.split();
    // Nothing was heard until now.
    wakes.tell_everybody();
    let mut tries = interval(TRY);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => tell(&message, wakes, own),
                None => return,
            },
            _ = tries.tick() => match timeout(CONNECT, sink.ping::<Value>()).await {
                Ok(Ok(_pong)) => {}
                _ => return,
            },
        }
    }
}

/// A message is the store that sent it, and then jobs.
fn tell(message: &Msg, wakes: &Wakes, own: Uuid) {
    let Some((sender, jobs)) = message.get_payload_bytes().split_at_checked(16) else { return };
    if sender == own.as_bytes() {
        return;
    }
    if message.get_channel_name().ends_with("work") {
        wakes.tell_of_work();
    }
    let (ids, _) = jobs.as_chunks::<16>();
    wakes.tell_of(ids.iter().map(|it| JobId::from_bytes(*it)));
}
