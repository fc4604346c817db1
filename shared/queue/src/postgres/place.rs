//! How the database is reached, and what is said when it is not.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgConnection, PgPool};
use tokio::time::timeout;

use crate::{JobId, StoreError, Timestamp, Token};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a reader waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(3);
/// Connections that read, and tell other gateways.
const READERS: u32 = 4;
/// How often a server that is not there is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// What every session has. Each statement is written for one of the indexes, and names rows by lists of
/// their numbers: what the server last saw of a table that fills within seconds would have it read
/// the whole, and take lists for short ones. A gateway that hangs keeps
/// nobody waiting for ever. Who has had commits wait for more than their own disk keeps that.
const SESSION: &str = "SET search_path = flotilla; SET jit = off; \
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
    SET enable_bitmapscan = off; SET enable_sort = off; SET enable_nestloop = off; \
    SET statement_timeout = '4s'; SET lock_timeout = '4s'; \
    SET idle_in_transaction_session_timeout = '4s'; SET client_min_messages = warning; \
    SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') = 'off';";

/// The database's own time, in milliseconds since 1970.
macro_rules! clock {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}
pub(super) use clock;

/// What kept an operation from being done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("it does not answer in time")]
    Late,
    #[error("a job changed that was held")]
    Changed,
    #[error("there are no random numbers: {0}")]
    Chance(getrandom::Error),
}

impl Fault {
    /// What the server said, as a code.
    fn code(&self) -> Option<String> {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return None };
        error.code().map(std::borrow::Cow::into_owned)
    }

    /// Whether the server looked at a statement and refused it, so that others may do: it is not
    /// on its way down, nor out of room.
    pub(super) fn is_of_one(&self) -> bool {
        const OF_ALL: [&str; 4] = ["08", "53", "57", "58"];
        self.code().is_some_and(|it| !OF_ALL.iter().any(|class| it.starts_with(class)))
    }

    /// Whether waiting may help who cannot connect.
    fn may_pass(&self) -> bool {
        // "The database system is starting up", and "too many clients".
        self.code().is_none_or(|it| it.starts_with("57") || it.starts_with("53"))
            && !matches!(self, Self::Sql(sqlx::Error::Tls(_) | sqlx::Error::Configuration(_)))
    }
}

impl From<getrandom::Error> for Fault {
    fn from(error: getrandom::Error) -> Self {
        Self::Chance(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault.code().as_deref() {
            Some("53100") => Self::NoRoom,
            _ => Self::Unavailable(fault.to_string()),
        }
    }
}

/// Which database, and how to show it: without its password.
#[derive(Debug, Clone)]
pub(super) struct Place {
    options: PgConnectOptions,
    shown: String,
}

impl Place {
    /// From a URL, if it is one.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let options: PgConnectOptions = url.parse().ok()?;
        let options = options.application_name("flotilla").disable_statement_logging();
        let (host, port) = (options.get_host(), options.get_port());
        let database = options.get_database().unwrap_or(options.get_username());
        let shown = format!("PostgreSQL at {host}:{port}/{database}");
        Some(Self { options, shown })
    }

    /// How to show it.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// What an error says to whoever does not know which database is meant.
    pub(super) fn told(&self, error: &Fault) -> StoreError {
        StoreError::Unavailable(format!("{}: {error}", self.shown))
    }

    /// A connection.
    pub(super) async fn connect(&self) -> Result<PgConnection, Fault> {
        let connect = async {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(SESSION).execute(&mut connection).await?;
            Ok(connection)
        };
        timeout(CONNECT, connect.boxed()).await.unwrap_or(Err(Fault::Late))
    }

    /// A connection to a server that may have to be waited for.
    pub(super) async fn await_connection(
        &self,
        patience: Duration,
    ) -> Result<PgConnection, StoreError> {
        let until = Instant::now() + patience;
        loop {
            match self.connect().await {
                Ok(connection) => return Ok(connection),
                Err(fault) if !fault.may_pass() || Instant::now() >= until => {
                    return Err(self.told(&fault));
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Connections for whoever reads. None is made before it is needed.
    pub(super) fn readers(&self) -> PgPool {
        self.pool(PgPoolOptions::new().max_connections(READERS))
    }

    /// One connection for good, for whoever listens.
    pub(super) fn ear(&self) -> PgPool {
        let options = PgPoolOptions::new().max_connections(1).max_lifetime(None);
        self.pool(options.idle_timeout(None))
    }

    fn pool(&self, options: PgPoolOptions) -> PgPool {
        let options = options.acquire_timeout(ACQUIRE).after_connect(|connection, _| {
            async { sqlx::raw_sql(SESSION).execute(connection).await.map(drop) }.boxed()
        });
        options.connect_lazy_with(self.options.clone())
    }
}

/// A name of a job, or a token, as the server keeps it.
pub(super) type Bytes = [u8; 16];

pub(super) fn bytes(id: JobId) -> Bytes {
    *id.as_bytes()
}

pub(super) fn id(bytes: Bytes) -> JobId {
    JobId::from_bytes(bytes)
}

pub(super) fn token_bytes(token: Token) -> Bytes {
    *token.as_bytes()
}

pub(super) fn token(bytes: Bytes) -> Token {
    Token::from_bytes(bytes)
}

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn time(at: Option<i64>) -> Option<Timestamp> {
    at.map(Timestamp)
}

/// A count that is never less than nothing.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A bound as the server takes one.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
