//! The front of an executor that only calls out: it asks a gateway for jobs and has them run by the
//! executor beside it, as any other caller would. So both fronts share one set of slots.
//!
//! # Theory of operation
//!
//! One poll is open at a time, and says how many jobs could be started. What it brings is accepted by
//! a beat before it is started; beats go on for as long as anything is held. A result goes out with
//! others that are ready, and asks for the next jobs at the same time. While the gateway cannot be
//! reached, results are written to a directory, and delivered later, by the next start if need be.
//! A result that the gateway never takes, such as one that is too large, is told as a failure.
//!
//! A lease is trusted by this process's own steady clock: what no beat has confirmed for the length of
//! a lease is stopped at once, as somebody else may have the job by then.

mod batch;
mod executor;
mod gateway;
mod held;
mod host;
mod pull;
mod results;
mod session;
mod spool;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::task::JoinHandle;

use executor::Executor;
use gateway::{CallError, Gateway};
use protocol::worker::{Ended, Releases};
use pull::Pull;

/// Whom to ask for jobs, and as whom.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The gateway's base URL.
    pub gateway: String,
    /// A key with the role `work`; empty where the gateway has no keys.
    pub key: SecretString,
    /// The worker's name, the same across restarts; empty for the machine's and the language's.
    pub name: String,
    /// The queues whose jobs to ask for; the default one if there is none.
    pub queues: Vec<String>,
    /// Where results wait that cannot be delivered.
    pub spool: PathBuf,
    /// Where the executor listens.
    pub executor: SocketAddr,
    /// What it wants to be shown; empty if nothing.
    pub token: SecretString,
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The URL is none.
    #[error("`{0}` is no URL of a gateway; write it as `https://host`")]
    Url(String),
    /// No connection can be prepared.
    #[error("cannot prepare connections; install the system's CA certificates: {0}")]
    Client(#[source] reqwest::Error),
    /// Results could not be kept.
    #[error("results cannot be kept in {}: {source}", .path.display())]
    Spool {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Asks a gateway whether it would give jobs to whoever has this key. Nothing changes by it.
pub async fn try_gateway(url: &str, key: SecretString) -> Result<(), TryError> {
    let gateway = Gateway::new(url, key)?;
    let nothing = Releases::default();
    gateway.call::<Ended>("release", &nothing, Duration::ZERO).await?;
    Ok(())
}

/// Why a gateway would give no jobs.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TryError(#[from] TryReason);

#[derive(Debug, thiserror::Error)]
enum TryReason {
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<WorkerError> for TryError {
    fn from(error: WorkerError) -> Self {
        Self(error.into())
    }
}

impl From<CallError> for TryError {
    fn from(error: CallError) -> Self {
        Self(error.into())
    }
}

/// A worker that pulls.
#[derive(Debug)]
pub struct Worker {
    pull: Arc<Pull>,
    pulling: JoinHandle<()>,
}

impl Worker {
    /// Starts to pull. The executor may begin to listen a little later.
    pub fn start(settings: &WorkerSettings) -> Result<Self, WorkerError> {
        let gateway = Gateway::new(&settings.gateway, settings.key.clone())?;
        let executor = Executor::new(settings.executor, settings.token.clone())?;
        let pull = Arc::new(Pull::new(settings, gateway, executor)?);
        let pulling = tokio::spawn(Arc::clone(&pull).run());
        Ok(Self { pull, pulling })
    }

    /// Why it does not pull, if it does not.
    pub fn trouble(&self) -> Option<String> {
        self.pull.session.trouble()
    }

    /// Takes no more jobs. Those that run go on.
    pub fn drain(&self) {
        self.pull.drain();
    }

    /// Stops what still runs, to be run elsewhere, delivers what there is, and leaves; within
    /// `patience`.
    pub async fn end(mut self, patience: Duration) {
        self.pull.stop_all();
        if tokio::time::timeout(patience, &mut self.pulling).await.is_err() {
            tracing::warn!("the gateway was not told of everything; results are kept for later");
            self.pull.give_up();
            drop(self.pulling.await);
        }
    }
}
