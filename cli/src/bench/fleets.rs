//! The fleets that are measured: one as anybody would start it, and beside it one that keeps
//! nothing warm, of those executors that do.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use protocol::Level;

use super::BenchArguments;
use super::client::FleetClient;
use super::queue::Keys;
use crate::fleet::{Fleet, FleetChoices, PortChoice, Ready};
use crate::output::say;

/// How long a fleet may take to start: the first time it prepares toolchains.
const BOOT_MAX: Duration = Duration::from_mins(10);
/// What a bench needs of a gateway: no keys, and no rate limit in the way.
const GATEWAY: [(&str, &str); 6] = [
    ("GATEWAY_KEYS", ""),
    ("GATEWAY_KEYS_FILE", ""),
    ("GATEWAY_RATE_PER_MINUTE", "4000000000"),
    ("GATEWAY_RATE_BURST", "4000000000"),
    ("GATEWAY_JOBS_WAITING_MAX", "4000000"),
    ("GATEWAY_JOBS_WAITING_PER_CALLER_MAX", "4000000"),
];
/// What keeps an executor from having warm processes.
const COLD: (&str, &str) = ("EXECUTOR_WARM", "false");

/// What was started. Must be stopped.
#[derive(Debug)]
pub(crate) struct Fleets {
    warm: Fleet,
    cold: Option<Fleet>,
}

/// A fleet that serves.
#[derive(Debug)]
pub(crate) struct Serving {
    /// Where to ask it.
    pub(crate) client: FleetClient,
    /// What it consists of.
    pub(crate) ready: Ready,
}

impl Fleets {
    /// Starts the fleet that is measured; it is not ready yet.
    pub(crate) async fn start(arguments: &BenchArguments) -> anyhow::Result<Self> {
        let choices = choices(arguments, arguments.only.clone(), &[]);
        Ok(Self { warm: Fleet::start(&choices).await?, cold: None })
    }

    /// The same for a gateway that knows its callers by these keys.
    pub(crate) async fn start_with_keys(
        arguments: &BenchArguments,
        keys: &Keys,
    ) -> anyhow::Result<Self> {
        let mut choices = choices(arguments, arguments.only.clone(), &[]);
        choices.gateway.push(("GATEWAY_KEYS".to_owned(), keys.entries()));
        Ok(Self { warm: Fleet::start(&choices).await?, cold: None })
    }

    /// Waits until it is ready.
    pub(crate) async fn warm(&self) -> anyhow::Result<Serving> {
        serving(&self.warm).await
    }

    /// Starts the fleet that keeps nothing warm, of those executors that do, if there are any.
    pub(crate) async fn cold(
        &mut self,
        arguments: &BenchArguments,
        warm: &Serving,
    ) -> anyhow::Result<Option<Serving>> {
        let mut names = Vec::new();
        for executor in &warm.ready.executors {
            if warm.client.is_kept_warm(executor.port).await? {
                names.push(executor.name.clone());
            }
        }
        if names.is_empty() {
            return Ok(None);
        }
        say(format_args!("the same without warm starts: {}", names.join(", ")));
        let fleet = Fleet::start(&choices(arguments, names, &[COLD])).await?;
        Ok(Some(serving(self.cold.insert(fleet)).await?))
    }

    /// Ends all. Each time that `hurry` makes a future that comes to its end, the fleet that is
    /// stopping is killed.
    pub(crate) async fn stop(self, mut hurry: impl AsyncFnMut()) -> anyhow::Result<()> {
        let cold = match self.cold {
            Some(cold) => cold.stop(hurry()).await,
            None => Ok(()),
        };
        let warm = self.warm.stop(hurry()).await;
        cold.and(warm)
    }
}

async fn serving(fleet: &Fleet) -> anyhow::Result<Serving> {
    let ready = fleet.ready().await?;
    for failure in &ready.failures {
        say(format_args!("without {}: {}", failure.name, failure.detail));
    }
    Ok(Serving { client: FleetClient::of(fleet)?, ready })
}

/// Free ports, and whatever isolation there is unless more is demanded.
fn choices(
    arguments: &BenchArguments,
    only: Vec<String>,
    executor: &[(&str, &str)],
) -> FleetChoices {
    let variables = |all: &[(&str, &str)]| {
        let all = all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        all.collect::<Vec<(String, String)>>()
    };
    let store = arguments.store.iter().map(|url| ("GATEWAY_STORE_URL".to_owned(), url.clone()));
    FleetChoices {
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ports: PortChoice::Free,
        only,
        min_isolation: settings::variable("EXECUTOR_MIN_ISOLATION")
            .is_none()
            .then_some(Level::Bare),
        gateway: variables(&GATEWAY).into_iter().chain(store).collect(),
        executors: variables(executor),
        verbose: arguments.verbose,
        boot_max: BOOT_MAX,
    }
}
