//! One executor: where it is, what it last said, what it works on for us, and its circuit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use protocol::{ExecutorHealth, ExecutorInfo, HealthStatus};
use reqwest::header::HOST;
use reqwest::{Client, Method, RequestBuilder};
use telemetry::metrics::Counter;

use super::breaker::{Breaker, Circuit, Fault};
use super::endpoint::Base;
use super::history::{History, Run, Summary, Window};
use crate::routing::Candidate;

/// One executor.
#[derive(Debug)]
pub(crate) struct Member {
    endpoint: usize,
    name: String,
    label: String,
    base: Base,
    in_flight: AtomicUsize,
    circuit_opens: Counter,
    state: Mutex<State>,
    history: Mutex<History>,
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    /// What its last probe found.
    health: Option<ExecutorHealth>,
    info: Option<Arc<ExecutorInfo>>,
    info_at: Option<Instant>,
    /// Why it is not reached, in words.
    trouble: Option<String>,
    latency_ms: Option<f64>,
    shown: HealthStatus,
    since: Timestamp,
}

/// One executor as shown to people and counted in metrics.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// What settings call it.
    pub name: String,
    /// Its name and a number.
    pub label: String,
    /// `fail` means that it takes no runs from us now.
    pub status: HealthStatus,
    /// Why the status is not `pass`.
    pub output: Option<String>,
    /// The state of its circuit.
    pub circuit: Circuit,
    /// How long its last probe took, in milliseconds.
    pub latency_ms: Option<f64>,
    /// When its status last changed.
    pub since: Timestamp,
    /// What it last said of its health.
    pub health: Option<ExecutorHealth>,
    /// What it last said of itself.
    pub info: Option<Arc<ExecutorInfo>>,
    /// Requests of ours that it works on now.
    pub in_flight: usize,
}

impl View {
    /// Whether it takes runs from us now.
    pub(crate) fn is_live(&self) -> bool {
        self.status != HealthStatus::Fail
    }
}

impl Member {
    /// An executor of which nothing is known yet.
    pub(crate) fn new(
        endpoint: usize,
        name: String,
        label: String,
        base: Base,
        circuit_opens: Counter,
    ) -> Self {
        let state = Mutex::new(State {
            breaker: Breaker::default(),
            health: None,
            info: None,
            info_at: None,
            trouble: Some("not probed yet".to_owned()),
            latency_ms: None,
            shown: HealthStatus::Fail,
            since: Timestamp::now(),
        });
        Self {
            endpoint,
            name,
            label,
            base,
            in_flight: AtomicUsize::new(0),
            circuit_opens,
            state,
            history: Mutex::default(),
        }
    }

    /// The index of its endpoint.
    pub(crate) fn endpoint(&self) -> usize {
        self.endpoint
    }

    /// Its name and a number.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Where it is.
    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    /// A request to it; `None` while its name does not resolve.
    pub(crate) fn request(
        &self,
        client: &Client,
        method: Method,
        path: &str,
    ) -> Option<RequestBuilder> {
        match &self.base {
            Base::Named(url) => Some(client.request(method, format!("{url}{path}"))),
            Base::Resolved { url, host } => {
                Some(client.request(method, format!("{url}{path}")).header(HOST, host))
            }
            Base::Unresolved => None,
        }
    }

    /// What `routing` sees.
    pub(crate) fn candidate(&self, now: Instant) -> Candidate {
        let state = self.lock();
        let slots = state.health.as_ref().map_or(1, |it| it.slots);
        Candidate {
            info: state.info.clone(),
            is_live: state.status(now) != HealthStatus::Fail,
            in_flight: self.in_flight.load(Ordering::Relaxed),
            slots,
            waiting: state.health.as_ref().map_or(0, |it| it.waiting),
        }
    }

    /// What people see.
    pub(crate) fn view(&self, now: Instant) -> View {
        let state = self.lock();
        View {
            name: self.name.clone(),
            label: self.label.clone(),
            status: state.status(now),
            output: state.output(now),
            circuit: state.breaker.circuit(now),
            latency_ms: state.latency_ms,
            since: state.since,
            health: state.health.clone(),
            info: state.info.clone(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }

    /// Sends it a request of ours; `None` if its circuit was opened, or its trial taken, meanwhile.
    pub(crate) fn enter(self: &Arc<Self>, now: Instant) -> Option<InFlight> {
        let entered = self.lock().breaker.enter(now);
        entered.then(|| {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            InFlight { member: Arc::clone(self), is_settled: false }
        })
    }

    /// When its information was last read.
    pub(crate) fn info_at(&self) -> Option<Instant> {
        self.lock().info_at
    }

    /// A probe was answered.
    pub(crate) fn reached(&self, health: ExecutorHealth, latency_ms: f64, now: Instant) {
        let mut state = self.lock();
        state.breaker.reached(now);
        state.trouble = None;
        if health.status == HealthStatus::Fail {
            // It may come back as something else, such as another version.
            state.info_at = None;
        }
        state.health = Some(health);
        state.latency_ms = Some(latency_ms);
    }

    /// It said what it is.
    pub(crate) fn informed(&self, info: Arc<ExecutorInfo>, now: Instant) {
        let mut state = self.lock();
        state.info = Some(info);
        state.info_at = Some(now);
    }

    /// A probe was not answered as it should be.
    pub(crate) fn missed(&self, trouble: String, is_gone: bool, now: Instant) {
        let opened = {
            let mut state = self.lock();
            if is_gone {
                state.health = None;
                state.info_at = None;
            }
            state.trouble = Some(trouble);
            state.breaker.failed(Fault::Unreachable, now)
        };
        self.note_opening(opened);
    }

    /// What it did lately.
    pub(crate) fn summary(&self, window: Window, now: Timestamp, has_points: bool) -> Summary {
        self.history().summary(window, seconds(now), has_points)
    }

    /// Notes when its status changed; called once a round.
    pub(crate) fn settle(&self, now: Instant, timestamp: Timestamp) {
        let mut state = self.lock();
        let status = state.status(now);
        self.history().beat(status, seconds(timestamp));
        if status == state.shown {
            return;
        }
        let (before, after) = (state.shown.as_str(), status.as_str());
        let output = state.output(now).unwrap_or_default();
        state.shown = status;
        state.since = timestamp;
        drop(state);
        let label = self.label();
        if status == HealthStatus::Fail {
            tracing::warn!(
                executor = label,
                reason = output,
                "{label} went from {before} to {after}"
            );
        } else {
            tracing::info!(
                executor = label,
                reason = output,
                "{label} went from {before} to {after}"
            );
        }
    }

    /// Whether nothing answers there.
    pub(crate) fn is_gone(&self) -> bool {
        self.lock().health.is_none()
    }

    fn note_opening(&self, opened: bool) {
        if opened {
            self.circuit_opens.inc();
            let label = self.label();
            tracing::warn!(executor = label, "the circuit of {label} opened");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or(0)
}

impl State {
    fn status(&self, now: Instant) -> HealthStatus {
        match (&self.health, &self.info) {
            (Some(health), Some(_)) if self.breaker.allows(now) => health.status,
            _ => HealthStatus::Fail,
        }
    }

    fn output(&self, now: Instant) -> Option<String> {
        if let Some(trouble) = &self.trouble {
            return Some(trouble.clone());
        }
        if !self.breaker.allows(now) {
            return Some("its circuit is open after bad answers".to_owned());
        }
        if self.info.is_none() {
            return Some("it has not said what it runs".to_owned());
        }
        self.health.as_ref().and_then(|it| it.output.clone())
    }
}

/// A request that an executor works on. Dropped without a result, it counts neither way.
#[derive(Debug)]
pub(crate) struct InFlight {
    member: Arc<Member>,
    is_settled: bool,
}

impl InFlight {
    /// The executor.
    pub(crate) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// A run came to its end there.
    pub(crate) fn note(&self, run: &Run, now: Timestamp) {
        self.member.history().note(run, seconds(now));
    }

    /// It answered well, be it a refusal.
    pub(crate) fn answered(&mut self) {
        self.is_settled = true;
        self.member.lock().breaker.answered();
    }

    /// It did not.
    pub(crate) fn failed(&mut self, fault: Fault, now: Instant) {
        self.is_settled = true;
        let opened = self.member.lock().breaker.failed(fault, now);
        self.member.note_opening(opened);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.member.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.is_settled {
            self.member.lock().breaker.abandon(Instant::now());
        }
    }
}
