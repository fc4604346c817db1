//! How the database is reached, and what is said when it is not.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgConnection, PgPool};
use tokio::time::timeout;

use crate::StoreError;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);
/// How long anybody waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(3);
/// Connections of one server.
const CONNECTIONS: u32 = 6;
/// How often a server that is not there is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// What every session has. A gateway that hangs keeps nobody waiting for ever. Who has had commits
/// wait for more than their own disk keeps that.
const SESSION: &str = "SET search_path = flotilla_rooms; SET statement_timeout = '4s'; \
    SET lock_timeout = '4s'; SET idle_in_transaction_session_timeout = '4s'; \
    SET client_min_messages = warning; SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') = 'off';";

/// What kept an operation from being done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("it does not answer in time")]
    Late,
}

impl Fault {
    /// What the server said, as a code.
    fn code(&self) -> Option<String> {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return None };
        error.code().map(std::borrow::Cow::into_owned)
    }

    /// Whether waiting may help who cannot connect.
    fn may_pass(&self) -> bool {
        // "The database system is starting up", and "too many clients".
        self.code().is_none_or(|it| it.starts_with("57") || it.starts_with("53"))
            && !matches!(self, Self::Sql(sqlx::Error::Tls(_) | sqlx::Error::Configuration(_)))
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
        let options = options.application_name("flotilla-rooms").disable_statement_logging();
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

    async fn connect(&self) -> Result<PgConnection, Fault> {
        let connect = async {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(SESSION).execute(&mut connection).await?;
            Ok(connection)
        };
        timeout(CONNECT, connect.boxed()).await.unwrap_or(Err(Fault::Late))
    }

    /// Connections for what is done. None is made before it is needed.
    pub(super) fn connections(&self) -> PgPool {
        self.pool(PgPoolOptions::new().max_connections(CONNECTIONS))
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
