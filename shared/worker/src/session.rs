//! Who this worker is to the gateway, and how they get on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::ExecutorInfo;
use protocol::worker::{PROTOCOL, Registered, Registration};
use tokio::sync::Mutex as AsyncMutex;
use uuid::Uuid;

use crate::executor::Executor;
use crate::gateway::{CallError, Gateway};

/// The first and the longest wait after a call that came to nothing.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// One start of a worker, as its gateway knows it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) gateway: Gateway,
    pub(crate) executor: Executor,
    /// Which start of the worker this is.
    pub(crate) incarnation: String,
    name: Mutex<String>,
    queues: Vec<String>,
    slots: Mutex<usize>,
    registered: Mutex<Option<Registered>>,
    registering: AsyncMutex<()>,
    trouble: Mutex<Option<String>>,
}

/// Waits that grow, with chance in them so that not all workers come back at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff(u32);

impl Backoff {
    /// Waits, longer each time.
    pub(crate) async fn wait(&mut self) {
        let (first, longest) = BACKOFF;
        let most = first.saturating_mul(1 << self.0.min(16)).min(longest);
        self.0 += 1;
        let chance = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        tokio::time::sleep(most.mul_f64(0.1 + 0.9 * chance)).await;
    }
}

impl Session {
    /// Nobody knows us yet. An empty `name` is made up later.
    pub(crate) fn new(
        gateway: Gateway,
        executor: Executor,
        (name, queues): (String, Vec<String>),
    ) -> Self {
        Self {
            gateway,
            executor,
            incarnation: random(),
            name: Mutex::new(name),
            queues,
            slots: Mutex::default(),
            registered: Mutex::default(),
            registering: AsyncMutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// Has the worker named after its machine and its language, if it has no name.
    pub(crate) fn take_name(&self, info: &ExecutorInfo) {
        let mut name = lock(&self.name);
        if name.is_empty() {
            let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
            *name = format!("{machine}-{}", info.language);
        }
        tracing::info!(worker = *name, "pulling jobs from {}", self.gateway.url());
    }

    /// Tells the gateway who we are. A fresh start has none of the jobs that it had before.
    pub(crate) async fn register(
        &self,
        info: ExecutorInfo,
        is_fresh: bool,
    ) -> Result<(), CallError> {
        *lock(&self.slots) = info.slots;
        let told = Registration {
            worker: self.name(),
            incarnation: self.incarnation.clone(),
            is_fresh,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: [PROTOCOL, PROTOCOL],
            queues: self.queues.clone(),
            info,
        };
        let registered = self.gateway.call::<Registered>("register", &told, Duration::ZERO).await?;
        *lock(&self.registered) = Some(registered);
        self.is_well();
        Ok(())
    }

    /// Registers once more with a gateway that has forgotten us; our jobs go on.
    pub(crate) async fn register_again(&self) -> Result<(), CallError> {
        let _one_at_a_time = self.registering.lock().await;
        match self.executor.info().await {
            Some(info) => self.register(info, false).await,
            None => Err(CallError::Again("the executor does not answer".to_owned())),
        }
    }

    /// How often to say what we have, and how long a lease is.
    pub(crate) fn periods(&self) -> (Duration, Duration) {
        let registered = lock(&self.registered);
        let times = registered.as_ref().map_or((5000, 15_000), |it| (it.beat_ms, it.lease_ms));
        (Duration::from_millis(times.0.max(100)), Duration::from_millis(times.1.max(1000)))
    }

    /// Why nothing is pulled, if that is so.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Remembers why nothing is pulled.
    pub(crate) fn note(&self, error: &CallError) {
        let text = error.to_string();
        let mut trouble = lock(&self.trouble);
        // Once, and not at every try.
        if trouble.as_ref() != Some(&text) {
            tracing::error!("no jobs are pulled: {text}");
            *trouble = Some(text);
        }
    }

    /// Something is pulled.
    pub(crate) fn is_well(&self) {
        let mut trouble = lock(&self.trouble);
        if trouble.take().is_some() {
            tracing::info!("jobs are pulled again");
        }
    }

    /// Who we are.
    pub(crate) fn name(&self) -> String {
        lock(&self.name).clone()
    }

    /// How many jobs may run here.
    pub(crate) fn slots(&self) -> usize {
        *lock(&self.slots)
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A word that nobody else has.
pub(crate) fn random() -> String {
    Uuid::now_v7().simple().to_string()
}
