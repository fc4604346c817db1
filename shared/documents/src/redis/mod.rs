//! How servers tell each other of rooms by a Redis or Valkey server: on one channel, of which that
//! server keeps nothing. It may go away and come back; whoever was not heard, or did not hear,
//! asks the others anew.

mod listen;
mod message;
mod speak;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::waiting::Waiting;
use crate::bus::{Bus, Heard, ServerId, Word};
use crate::store::{StoreError, shown};
use crate::words::RoomId;

/// Where all of them speak. What stands in braces is as jobs have it.
const CHANNEL: &str = "{flotilla}:rooms";
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);
/// Before somebody who was not answered tries again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often a server says that it is there, and after how much silence it is taken to be gone.
const BEAT: Duration = Duration::from_secs(2);
const SILENCE_MAX: Duration = Duration::from_secs(8);

/// Tells other servers.
#[derive(Debug)]
pub(crate) struct RedisBus {
    own: ServerId,
    waiting: Arc<Waiting>,
    /// Those that tell and hear; they end with this.
    _tasks: JoinSet<()>,
}

impl RedisBus {
    /// Opens the bus at `redis://USER:PASSWORD@HOST:PORT` or `rediss://…`. A server that is not there
    /// is waited for as long as `patience`.
    pub(crate) async fn open(
        url: &str,
        patience: Duration,
        heard: mpsc::Sender<Heard>,
    ) -> Result<Self, StoreError> {
        // The one that the workspace has, whatever else a program is built with.
        drop(rustls::crypto::ring::default_provider().install_default());
        let is_redis = url.starts_with("redis://") || url.starts_with("rediss://");
        let client = Client::open(url).ok().filter(|_| is_redis);
        let client = client.ok_or_else(|| StoreError::BusUrl(shown(url)))?;
        let connection = await_connection(&client, patience).await;
        let connection =
            connection.map_err(|it| StoreError::BusUnavailable(format!("{}: {it}", shown(url))))?;
        let own = ServerId(uuid::Uuid::now_v7().as_u128());
        let waiting = Arc::<Waiting>::default();
        let mut tasks = JoinSet::new();
        let said = Arc::clone(&waiting);
        tasks.spawn(speak::speak(own, said, (client.clone(), connection), heard.clone()));
        tasks.spawn(listen::listen(own, client, heard));
        Ok(Self { own, waiting, _tasks: tasks })
    }
}

impl Bus for RedisBus {
    fn say(&self, room: &RoomId, word: Word) {
        self.waiting.push(message::write(self.own, room, &word));
    }
}

/// A connection to a server that may have to be waited for.
async fn await_connection(
    client: &Client,
    patience: Duration,
) -> RedisResult<MultiplexedConnection> {
    let until = Instant::now() + patience;
    loop {
        match connect(client).await {
            Ok(connection) => return Ok(connection),
            Err(error) if Instant::now() >= until || is_for_good(&error) => return Err(error),
            Err(_) => sleep(AGAIN).await,
        }
    }
}

/// A connection that was answered on.
async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(ANSWER));
    let connect = async {
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("PING").exec_async(&mut connection).await?;
        Ok(connection)
    };
    timeout(CONNECT + ANSWER, connect).await.unwrap_or_else(|_elapsed| Err(silence()))
}

/// Waiting does not help whom the server does not let in.
fn is_for_good(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}

fn silence() -> RedisError {
    RedisError::from((ErrorKind::Io, "the server does not answer"))
}

/// Logs that something does not work any more, or does again; once each.
#[derive(Debug, Default)]
struct Complaint {
    is_made: bool,
}

impl Complaint {
    fn note<T>(&mut self, what: &str, done: &RedisResult<T>) {
        match done {
            Ok(_) if self.is_made => tracing::info!("{what} again"),
            Err(error) if !self.is_made => tracing::warn!("{what} no more: {error}"),
            _ => {}
        }
        self.is_made = done.is_err();
    }
}
