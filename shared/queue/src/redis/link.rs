//! The connection to the server, which all operations share: what is asked at the same time goes
//! there together. It is made anew when it breaks, and whoever asks meanwhile is told soon.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, RedisError, RedisResult, ScriptInvocation,
};
use tokio::time::timeout;

use crate::StoreError;

/// How long connecting may take.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take. The crate's own bound of half a second is less than a disk may take
/// to flush; what was asked may have been done all the same.
const ANSWER: Duration = Duration::from_secs(3);
/// How long both may take.
const BOTH: Duration = Duration::from_secs(4);
/// What may wait to be sent.
const WAITING_MAX: usize = 1024;

type Connecting = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

/// A connection that comes back.
pub(super) struct Link {
    client: Client,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connecting: Option<Connecting>,
    /// How many connections broke.
    outages: u64,
}

/// The URL has a password.
impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Link")
    }
}

impl Link {
    /// One to the server that `url` names; it connects when it is used.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        // The one that the workspace has, whatever else a program is built with.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::open(url).or(Err(StoreError::url(url)))?;
        Ok(Self { client, current: Mutex::default() })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// How often the connection broke.
    pub(super) fn outages(&self) -> u64 {
        self.lock().outages
    }

    /// Runs a script; the server is told its text if it does not know it.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'static>,
    ) -> Result<T, StoreError> {
        self.with(async |mut connection| call.invoke_async(&mut connection).await).await
    }

    /// Does something with the connection, within the time that there is for it.
    pub(super) async fn with<T>(
        &self,
        act: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let (connecting, outages) = self.connecting();
        let done = timeout(BOTH, async { act(connecting.await?).await }).await;
        match done {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if error.is_unrecoverable_error() || error.is_io_error() {
                    self.renew(outages);
                }
                Err(told(&error))
            }
            Err(_elapsed) => {
                self.renew(outages);
                Err(StoreError::Unavailable("the server does not answer".to_owned()))
            }
        }
    }

    /// Has the next operation connect anew, if nobody has seen to that since so many outages.
    pub(super) fn renew(&self, outages: u64) {
        let mut current = self.lock();
        if current.outages == outages {
            current.outages += 1;
            current.connecting = None;
        }
    }

    fn connecting(&self) -> (Connecting, u64) {
        let mut current = self.lock();
        let connecting = current.connecting.get_or_insert_with(|| {
            let client = self.client.clone();
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT))
                .set_response_timeout(Some(ANSWER))
                .set_pipeline_buffer_size(WAITING_MAX);
            let connect =
                async move { client.get_multiplexed_async_connection_with_config(&config).await };
            connect.boxed().shared()
        });
        (connecting.clone(), current.outages)
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an error of the server is to whoever asked for something.
pub(super) fn told(error: &RedisError) -> StoreError {
    match error.code() {
        Some("OOM" | "MISCONF") => StoreError::NoRoom,
        Some("MOVED") => StoreError::Unavailable(
            "this server of a cluster does not keep `{flotilla}`; name the one that does"
                .to_owned(),
        ),
        _ => StoreError::Unavailable(error.to_string()),
    }
}
