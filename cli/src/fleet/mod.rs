//! A fleet on this machine: a gateway and its executors, started, watched and stopped together.
//!
//! Theory of operation. Each service is a child process in a process group of its own, kept by
//! one task ([`service`]): it starts the child, waits until it is healthy, restarts it with
//! growing pauses when it dies, and ends it when told to. A service that never became healthy is
//! not restarted. Standard input of a child is a pipe of which it reads nothing; its end tells the
//! child to drain, so that no service outlives us even if we are killed. What the fleet writes is
//! in one directory ([`places`]), removed at the end, or by the next start if we were killed.

mod discovery;
mod environment;
mod log;
mod places;
mod ports;
pub(crate) mod process;
mod service;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use protocol::{ExecutorInfo, HealthStatus, Level};
use reqwest::Client;
use serde::Deserialize;

pub(crate) use places::{checkout, toolchain_directories};
pub(crate) use ports::PortChoice;

use discovery::Candidate;
use environment::Common;
use places::StateDirectory;
use ports::{GATEWAY, PortWish};
use service::{Service, ServiceSpec, ServiceState};

use crate::http;
use crate::output::say;

/// How long the gateway may take to find executors that are healthy already.
const FIND_MAX: Duration = Duration::from_secs(30);
/// Time between two looks whether it has.
const FIND_INTERVAL: Duration = Duration::from_millis(20);

/// What can be chosen about a fleet.
#[derive(Debug)]
pub(crate) struct FleetChoices {
    /// Where the gateway listens; executors are always on loopback.
    pub(crate) host: IpAddr,
    /// How ports are chosen.
    pub(crate) ports: PortChoice,
    /// Names of the executors to start; none stands for all.
    pub(crate) only: Vec<String>,
    /// The weakest isolation to start with; none leaves it to each executor.
    pub(crate) min_isolation: Option<Level>,
    /// Variables for the gateway alone; they win over the user's.
    pub(crate) gateway: Vec<(String, String)>,
    /// The same for every executor.
    pub(crate) executors: Vec<(String, String)>,
    /// Whether the services' logs are passed on to standard error.
    pub(crate) verbose: bool,
    /// How long a service may take to become healthy.
    pub(crate) boot_max: Duration,
}

/// A fleet that was started. It must be stopped; dropped, its services drain unattended.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// The gateway's address for clients on this machine.
    pub(crate) url: String,
    /// What executors demand of whoever calls them.
    pub(crate) token: String,
    client: Client,
    began: Instant,
    gateway: Service,
    executors: Vec<Member>,
    failures: Vec<Failure>,
    state: StateDirectory,
}

/// An executor of this fleet.
#[derive(Debug)]
struct Member {
    service: Service,
    port: u16,
}

/// An executor that does not run.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Its name.
    pub(crate) name: String,
    /// Why, with its last words.
    pub(crate) detail: String,
}

/// What a fleet that is ready consists of.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The gateway's process.
    pub(crate) gateway_pid: u32,
    /// The executors that serve.
    pub(crate) executors: Vec<ReadyExecutor>,
    /// Those that do not.
    pub(crate) failures: Vec<Failure>,
    /// From the first process to the last one's health.
    pub(crate) start_time: Duration,
}

/// An executor that serves.
#[derive(Debug)]
pub(crate) struct ReadyExecutor {
    /// Its name.
    pub(crate) name: String,
    /// Its port on loopback.
    pub(crate) port: u16,
    /// Its process.
    pub(crate) pid: u32,
    /// What it says of itself.
    pub(crate) info: ExecutorInfo,
}

/// What of the gateway's health matters here.
#[derive(Debug, Deserialize)]
struct GatewayHealth {
    executors: Vec<ExecutorLine>,
}

/// An executor as the gateway sees it.
#[derive(Debug, Deserialize)]
struct ExecutorLine {
    status: HealthStatus,
}

impl Fleet {
    /// Starts the services; none of them is ready yet. Nothing is started if a port is taken.
    pub(crate) async fn start(choices: &FleetChoices) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let directory = program.parent().context("this program is nowhere")?;
        let gateway = directory.join(GATEWAY);
        if !gateway.is_file() {
            bail!("there is no {}; build it", gateway.display());
        }
        let (candidates, unfit) = discovery::find(directory).await?;
        let unfit = unfit.into_iter().map(|detail| Failure { name: "executor".into(), detail });
        let candidates = discovery::select(candidates, &choices.only)?;
        if candidates.is_empty() {
            bail!("there is no executor in {}; build them", directory.display());
        }
        let ports = ports::choose(choices.ports, &wishes(choices.host, &candidates))?;
        let state = StateDirectory::make()?;
        let checkout = checkout(&program);
        let common = Common {
            inherited: settings::variables_ending(""),
            token: token(choices.host)?,
            min_isolation: choices.min_isolation,
            prepared: places::prepared(checkout.as_deref(), &state)?,
            toolchains: checkout.as_deref().map(toolchain_directories).unwrap_or_default(),
        };
        let launch = Launch { choices, common, ports, logs: state.make_below("logs")?, state };
        launch.start(gateway, candidates, unfit.collect())
    }

    /// Waits until every service is healthy or has failed, and the gateway has found the healthy
    /// ones. An error leaves the fleet to be stopped.
    pub(crate) async fn ready(&self) -> anyhow::Result<Ready> {
        let mut executors = Vec::new();
        let mut failures = self.failures.clone();
        for Member { service, port } in &self.executors {
            let name = service.name.clone();
            match service.started().await {
                ServiceState::Healthy { pid } => {
                    let url = format!("http://127.0.0.1:{port}/info");
                    let info = http::get(&self.client, &url, Some(&self.token)).await?;
                    executors.push(ReadyExecutor { name, port: *port, pid, info });
                }
                ServiceState::Failed { detail } => failures.push(Failure { name, detail }),
                ServiceState::Starting | ServiceState::Stopped => {}
            }
        }
        if executors.is_empty() {
            let details = failures.iter().map(|it| format!("{}: {}", it.name, it.detail));
            bail!("no executor came up\n{}", details.collect::<Vec<_>>().join("\n"));
        }
        let gateway_pid = match self.gateway.started().await {
            ServiceState::Healthy { pid } => pid,
            ServiceState::Failed { detail } => bail!("the gateway did not come up: {detail}"),
            ServiceState::Starting | ServiceState::Stopped => bail!("the gateway was stopped"),
        };
        self.found(&executors).await?;
        let start_time = self.began.elapsed();
        Ok(Ready { gateway_pid, executors, failures, start_time })
    }

    /// Waits until the gateway is given up.
    pub(crate) async fn broken(&self) {
        self.gateway.ended().await;
    }

    /// Lets the runs finish, the gateway's first, and removes what the fleet has written.
    /// `hurry` kills what is left.
    pub(crate) async fn stop(mut self, hurry: impl Future<Output = ()>) -> anyhow::Result<()> {
        let services: Vec<&Service> = std::iter::once(&self.gateway)
            .chain(self.executors.iter().map(|it| &it.service))
            .collect();
        let drained = async {
            for (index, service) in services.iter().enumerate() {
                service.drain();
                if index == 0 {
                    service.ended().await;
                }
            }
            for service in &services {
                service.ended().await;
            }
        };
        tokio::select! {
            () = drained => {}
            () = hurry => services.iter().for_each(|it| it.kill()),
        }
        self.gateway.gone().await;
        for member in &mut self.executors {
            member.service.gone().await;
        }
        self.state.remove()
    }

    /// The gateway asks its executors now and then; its first runs should not fail for that.
    async fn found(&self, executors: &[ReadyExecutor]) -> anyhow::Result<()> {
        let url = format!("{}/health", self.url);
        let expected = executors.len();
        let asking = async {
            loop {
                if self.count_found(&url).await.is_some_and(|found| found >= expected) {
                    return;
                }
                tokio::time::sleep(FIND_INTERVAL).await;
            }
        };
        let found = tokio::time::timeout(FIND_MAX, asking).await;
        found.with_context(|| format!("the gateway did not find {expected} healthy executors"))
    }

    /// How many executors the gateway would send runs to.
    async fn count_found(&self, url: &str) -> Option<usize> {
        let health: GatewayHealth = http::get(&self.client, url, None).await.ok()?;
        Some(health.executors.iter().filter(|it| it.status != HealthStatus::Fail).count())
    }
}

/// Everything that is known before the first process.
struct Launch<'a> {
    choices: &'a FleetChoices,
    common: Common,
    ports: BTreeMap<String, u16>,
    logs: PathBuf,
    state: StateDirectory,
}

impl Launch<'_> {
    /// Where jobs are kept: across starts on the same port, unless that was left to chance.
    fn store(&self, port: u16) -> PathBuf {
        let across = self.common.prepared.parent();
        match (self.choices.ports, across) {
            (PortChoice::Free, _) | (_, None) => self.state.path().join("jobs.db"),
            (_, Some(across)) => across.join(format!("jobs-{port}.db")),
        }
    }

    fn start(
        self,
        gateway: PathBuf,
        candidates: Vec<Candidate>,
        failures: Vec<Failure>,
    ) -> anyhow::Result<Fleet> {
        let client = http::local_client()?;
        let mut specs = Vec::new();
        let mut ports = self.ports.clone();
        let port = ports.remove(GATEWAY).context("the gateway has no port")?;
        for Candidate { program, description } in candidates {
            let name = description.name;
            let port = *ports.get(&name).with_context(|| format!("{name} has no port"))?;
            let state = self.state.make_below(&name)?;
            let mut environment = environment::of_executor(&self.common, &state, port);
            environment.extend(self.choices.executors.iter().cloned());
            let url = format!("http://127.0.0.1:{port}");
            specs.push((port, self.spec(name, program, environment, format!("{url}/health"))));
        }
        let url = client_url(self.choices.host, port);
        let place = (self.choices.host, port);
        let mut environment =
            environment::of_gateway(&self.common, place, &self.store(port), &ports);
        environment.extend(self.choices.gateway.iter().cloned());
        let health_url = format!("{url}/health/live");
        let gateway = self.spec(GATEWAY.to_owned(), gateway, environment, health_url);
        let began = Instant::now();
        say(format_args!("starting the gateway and {} executors", specs.len()));
        let executors = specs
            .into_iter()
            .map(|(port, spec)| Member { service: Service::start(spec, client.clone()), port });
        Ok(Fleet {
            executors: executors.collect(),
            gateway: Service::start(gateway, client.clone()),
            url,
            token: self.common.token,
            client,
            began,
            failures,
            state: self.state,
        })
    }

    fn spec(
        &self,
        name: String,
        program: PathBuf,
        environment: Vec<(String, String)>,
        health_url: String,
    ) -> ServiceSpec {
        let log = self.logs.join(format!("{name}.log"));
        let (verbose, boot_max) = (self.choices.verbose, self.choices.boot_max);
        ServiceSpec { name, program, environment, health_url, log, verbose, boot_max }
    }
}

fn wishes(host: IpAddr, candidates: &[Candidate]) -> Vec<PortWish> {
    let executors = candidates.iter().map(|it| &it.description);
    std::iter::once(PortWish::gateway(host))
        .chain(executors.map(|it| PortWish::executor(&it.name, it.port)))
        .collect()
}

/// Where clients on this machine reach a server that listens on `host`.
fn client_url(host: IpAddr, port: u16) -> String {
    let host = match host {
        IpAddr::V4(it) if it.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(it) if it.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(it) => it.to_string(),
        IpAddr::V6(it) => format!("[{it}]"),
    };
    format!("http://{host}:{port}")
}

/// The token of this start: the user's, or a fresh one. A fleet that stays on loopback goes without
/// unless told otherwise, so that its executors can be asked by hand as its gateway can.
fn token(host: IpAddr) -> anyhow::Result<String> {
    match settings::variable("EXECUTOR_TOKEN") {
        Some(token) => Ok(token),
        None if host.is_loopback() => Ok(String::new()),
        None => random_token(),
    }
}

/// 256 random bits as hex digits.
pub(crate) fn random_token() -> anyhow::Result<String> {
    let mut random = [0_u8; 32];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .context("the system gives no random bytes")?;
    let digits: Vec<String> = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(digits.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reaches_a_server_that_listens_everywhere() {
        let check = |host: &str, expected| {
            assert_eq!(client_url(host.parse().unwrap(), 8000), expected);
        };
        check("127.0.0.1", "http://127.0.0.1:8000");
        check("0.0.0.0", "http://127.0.0.1:8000");
        check("::", "http://[::1]:8000");
        check("fd00::1", "http://[fd00::1]:8000");
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, other) = (random_token().unwrap(), random_token().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
    }
}
