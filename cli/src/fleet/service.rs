//! One service of the fleet, kept alive until it is told to drain.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::log::Log;
use super::process;
use crate::output::say;

/// Time between two looks at a service that starts.
const HEALTH_INTERVAL: Duration = Duration::from_millis(20);
/// Time for one such look.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a service may drain before it is killed: longer than the longest run.
const DRAIN_MAX: Duration = Duration::from_secs(90);
/// A service that lived this long is not failing again and again.
const STEADY: Duration = Duration::from_mins(1);
/// Restarts in a row before a service is given up.
const RESTARTS_MAX: u32 = 5;

/// What is needed to start a service.
#[derive(Debug)]
pub(crate) struct ServiceSpec {
    /// Its name.
    pub(crate) name: String,
    /// Its program.
    pub(crate) program: PathBuf,
    /// All variables that it gets.
    pub(crate) environment: Vec<(String, String)>,
    /// What is answered 200 when it is healthy.
    pub(crate) health_url: String,
    /// Where its log goes.
    pub(crate) log: PathBuf,
    /// Whether its log is passed on as well.
    pub(crate) verbose: bool,
    /// How long it may take to become healthy.
    pub(crate) boot_max: Duration,
}

/// What a service is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Serve,
    Drain,
    Kill,
}

/// How a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServiceState {
    /// Not healthy yet, or not again.
    Starting,
    /// It serves.
    Healthy {
        /// Its process.
        pid: u32,
    },
    /// It was given up.
    Failed {
        /// Why, with its last words.
        detail: String,
    },
    /// It did as it was told.
    Stopped,
}

/// A service and the task that keeps it.
#[derive(Debug)]
pub(crate) struct Service {
    /// Its name.
    pub(crate) name: String,
    order: watch::Sender<Order>,
    state: watch::Receiver<ServiceState>,
    keeper: JoinHandle<()>,
}

impl Service {
    /// Starts a service, which is then [`ServiceState::Starting`].
    pub(crate) fn start(spec: ServiceSpec, client: Client) -> Self {
        let name = spec.name.clone();
        let (order, orders) = watch::channel(Order::Serve);
        let (states, state) = watch::channel(ServiceState::Starting);
        let keeper = tokio::spawn(Keeper { spec, client, orders, states }.keep());
        Self { name, order, state, keeper }
    }

    /// Waits until the service is healthy, or is no more.
    pub(crate) async fn started(&self) -> ServiceState {
        let mut state = self.state.clone();
        let settled = state.wait_for(|it| *it != ServiceState::Starting).await;
        settled.map_or(ServiceState::Stopped, |it| it.clone())
    }

    /// Waits until the service is no more.
    pub(crate) async fn ended(&self) -> ServiceState {
        let is_end =
            |it: &ServiceState| matches!(it, ServiceState::Failed { .. } | ServiceState::Stopped);
        let mut state = self.state.clone();
        let ended = state.wait_for(is_end).await;
        ended.map_or(ServiceState::Stopped, |it| it.clone())
    }

    /// Tells the service to finish its runs and end.
    pub(crate) fn drain(&self) {
        self.order.send_replace(Order::Drain);
    }

    /// Ends the service now.
    pub(crate) fn kill(&self) {
        self.order.send_replace(Order::Kill);
    }

    /// Waits until a service that was told to end is gone.
    pub(crate) async fn gone(&mut self) {
        if let Err(error) = (&mut self.keeper).await {
            say(format_args!("{}: {error}", self.name));
        }
    }
}

struct Keeper {
    spec: ServiceSpec,
    client: Client,
    orders: watch::Receiver<Order>,
    states: watch::Sender<ServiceState>,
}

/// How one life of a service ended.
enum Life {
    /// As it was told to.
    Drained,
    /// Before it was healthy.
    Stillborn(String),
    /// Of itself.
    Died(String),
}

impl Keeper {
    async fn keep(mut self) {
        let mut restarts = 0;
        let end = loop {
            let began = Instant::now();
            let (detail, first) = match self.live().await {
                Life::Drained => break ServiceState::Stopped,
                Life::Stillborn(detail) => (detail, restarts == 0),
                Life::Died(detail) => (detail, false),
            };
            if began.elapsed() > STEADY {
                restarts = 0;
            }
            let pause = restart_pause(restarts).filter(|_| !first);
            let Some(pause) = pause else {
                // Whoever waits for the start tells why there was none.
                let why = if first { "did not come up" } else { &detail };
                say(format_args!("{}: given up: {why}", self.spec.name));
                break ServiceState::Failed { detail };
            };
            restarts += 1;
            self.states.send_replace(ServiceState::Starting);
            let seconds = pause.as_secs();
            say(format_args!("{}: {detail}\n  starting again in {seconds} s", self.spec.name));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = until_told(&mut self.orders, Order::Drain) => break ServiceState::Stopped,
            }
        };
        self.states.send_replace(end);
    }

    async fn live(&mut self) -> Life {
        let began = Instant::now();
        let started = process::start_service(&self.spec.program, &self.spec.environment).and_then(
            |mut child| {
                let spec = &self.spec;
                let log = Log::follow(&mut child, &spec.name, &spec.log, spec.verbose)?;
                Ok((child, log))
            },
        );
        let (mut child, log) = match started {
            Ok(started) => started,
            Err(error) => return Life::Stillborn(format!("cannot start: {error}")),
        };
        // Waiting for a child closes its standard input, whose end would tell it to drain.
        let _held = child.stdin.take();
        tokio::select! {
            healthy = healthy(&self.spec, &self.client) => if let Err(detail) = healthy {
                end(&mut child, None).await;
                return Life::Stillborn(with_tail(detail, log).await);
            },
            status = child.wait() => return Life::Stillborn(with_tail(exited(status), log).await),
            () = until_told(&mut self.orders, Order::Drain) => {
                end(&mut child, Some(&mut self.orders)).await;
                return Life::Drained;
            }
        }
        let pid = child.id().unwrap_or_default();
        self.states.send_replace(ServiceState::Healthy { pid });
        let seconds = began.elapsed().as_secs_f64();
        say(format_args!("{}: healthy after {seconds:.1} s", self.spec.name));
        tokio::select! {
            status = child.wait() => Life::Died(with_tail(exited(status), log).await),
            () = until_told(&mut self.orders, Order::Drain) => {
                end(&mut child, Some(&mut self.orders)).await;
                Life::Drained
            }
        }
    }
}

/// Asks until the service is healthy, or has had its time.
async fn healthy(spec: &ServiceSpec, client: &Client) -> Result<(), String> {
    let asking = async {
        loop {
            let question = client.get(&spec.health_url).timeout(HEALTH_TIMEOUT);
            if question.send().await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(HEALTH_INTERVAL).await;
        }
    };
    let asked = tokio::time::timeout(spec.boot_max, asking).await;
    asked.map_err(|_elapsed| format!("not healthy in {} s", spec.boot_max.as_secs()))
}

/// The pause before the next restart; none after too many.
fn restart_pause(restarts: u32) -> Option<Duration> {
    (restarts < RESTARTS_MAX).then(|| Duration::from_secs(1 << restarts))
}

/// Asks a process to end, and kills it when its time is over or we are told to. Only the process
/// itself is killed: what it has started notices, and cleans up after it.
async fn end(child: &mut Child, orders: Option<&mut watch::Receiver<Order>>) {
    let pid = child.id().and_then(|it| Pid::from_raw(i32::try_from(it).ok()?));
    if pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_err()) {
        // It has ended on its own; `wait` below tells.
    }
    let killed = async {
        match orders {
            Some(orders) => until_told(orders, Order::Kill).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = child.wait() => return,
        () = killed => {}
        () = tokio::time::sleep(DRAIN_MAX) => {}
    }
    if let Err(error) = child.kill().await {
        say(format_args!("a service cannot be killed: {error}"));
    }
}

/// Waits for an order at least as strong as `order`. If nobody is left to give one, it is given.
async fn until_told(orders: &mut watch::Receiver<Order>, order: Order) {
    let told = |it: &Order| *it == order || *it == Order::Kill;
    if orders.wait_for(told).await.is_err() {
        // The fleet is gone, and with it every reason to go on.
    }
}

fn exited(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| format!("lost: {error}"), |it| format!("ended with {it}"))
}

async fn with_tail(detail: String, log: Log) -> String {
    let mut detail = detail;
    for line in log.finish().await {
        detail.push_str("\n    ");
        detail.push_str(&line);
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_service_is_given_up() {
        let pauses: Vec<u64> = (0..10).map_while(restart_pause).map(|it| it.as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16]);
    }
}
