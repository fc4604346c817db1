//! What the gateway counts. Labels have few values: routes, statuses, languages that executors
//! said, and executors that settings name.

use std::time::Duration;

use queue::{QueueStats, State};
use telemetry::metrics::{Counter, Family, Gauge, Histogram, Registry, render, seconds_histogram};

use crate::fleet::{PerExecutor, View};

type Labels<const N: usize> = [(&'static str, String); N];
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Every metric.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Labels<3>, Counter>,
    request_seconds: Histograms<2>,
    upstream_seconds: Histograms<1>,
    own_seconds: Histogram,
    in_flight: Gauge,
    problems: Family<Labels<1>, Counter>,
    executor_up: Family<Labels<1>, Gauge>,
    executor_in_flight: Family<Labels<1>, Gauge>,
    executor_slots: Family<Labels<1>, Gauge>,
    executor_isolation: Family<Labels<1>, Gauge>,
    circuit_opens: PerExecutor,
    jobs: Family<Labels<3>, Gauge>,
    jobs_oldest_ready_ms: Family<Labels<2>, Gauge>,
}

/// A request that is being served, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Serving(Gauge);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Everything at zero.
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("gateway"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds_histogram),
            upstream_seconds: Family::new_with_constructor(seconds_histogram),
            own_seconds: Histogram::new([
                0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25,
            ]),
            in_flight: Gauge::default(),
            problems: Family::default(),
            executor_up: Family::default(),
            executor_in_flight: Family::default(),
            executor_slots: Family::default(),
            executor_isolation: Family::default(),
            circuit_opens: Family::default(),
            jobs: Family::default(),
            jobs_oldest_ready_ms: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "requests",
            "Requests by route, status and language",
            self.requests.clone(),
        );
        registry.register(
            "request_seconds",
            "Time to the head of the answer, by route and language",
            self.request_seconds.clone(),
        );
        registry.register(
            "upstream_seconds",
            "Time that executors took, by language",
            self.upstream_seconds.clone(),
        );
        registry.register(
            "own_seconds",
            "Time that the gateway itself added to a run, once its body was there",
            self.own_seconds.clone(),
        );
        registry.register("in_flight", "Requests being served", self.in_flight.clone());
        registry.register("problems", "Requests refused or failed, by code", self.problems.clone());
        registry.register(
            "executor_up",
            "1 if the executor takes runs from us now",
            self.executor_up.clone(),
        );
        registry.register(
            "executor_in_flight",
            "Requests of ours that the executor works on",
            self.executor_in_flight.clone(),
        );
        registry.register("executor_slots", "Runs at the same time", self.executor_slots.clone());
        registry.register(
            "executor_isolation_level",
            "Rung of the isolation level in force, 0 to 5",
            self.executor_isolation.clone(),
        );
        registry.register(
            "executor_circuit_opens",
            "How often the executor's circuit opened",
            self.circuit_opens.clone(),
        );
        registry.register("jobs", "Jobs by language and state", self.jobs.clone());
        registry.register(
            "jobs_oldest_ready_ms",
            "How long the oldest ready job has waited, in milliseconds",
            self.jobs_oldest_ready_ms.clone(),
        );
    }

    /// What counts openings of circuits.
    pub(crate) fn circuit_opens(&self) -> PerExecutor {
        self.circuit_opens.clone()
    }

    /// Counts a request as being served.
    pub(crate) fn serving(&self) -> Serving {
        self.in_flight.inc();
        Serving(self.in_flight.clone())
    }

    /// A request was answered, or its answer begun.
    pub(crate) fn answered(&self, route: &str, status: u16, language: &str, took: Duration) {
        let route = || ("route", route.to_owned());
        let language = || ("language", language.to_owned());
        self.requests.get_or_create(&[route(), ("status", status.to_string()), language()]).inc();
        self.request_seconds.get_or_create(&[route(), language()]).observe(took.as_secs_f64());
    }

    /// An executor answered; `own` is what we added.
    pub(crate) fn dispatched(&self, language: &str, upstream: Duration, own: Duration) {
        let labels = [("language", language.to_owned())];
        self.upstream_seconds.get_or_create(&labels).observe(upstream.as_secs_f64());
        self.own_seconds.observe(own.as_secs_f64());
    }

    /// A client was told a problem.
    pub(crate) fn refused(&self, code: &str) {
        self.problems.get_or_create(&[("code", code.to_owned())]).inc();
    }

    /// What waits and what goes on in the store of jobs.
    pub(crate) fn note_jobs(&self, stats: &QueueStats) {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.jobs.clear();
        self.jobs_oldest_ready_ms.clear();
        for of in &stats.lanes {
            let lane = [
                ("language", of.lane.language().to_owned()),
                ("queue", of.lane.queue().to_owned()),
            ];
            for (state, count) in [
                (State::Scheduled, of.scheduled),
                (State::Ready, of.ready),
                (State::Leased, of.leased),
                (State::Dead, of.dead),
            ] {
                let [language, queue] = lane.clone();
                let labels = [language, queue, ("state", state.as_str().to_owned())];
                self.jobs.get_or_create(&labels).set(whole(count));
            }
            let oldest = self.jobs_oldest_ready_ms.get_or_create(&lane);
            oldest.set(whole(of.oldest_ready_ms.unwrap_or(0)));
        }
    }

    /// Everything as OpenMetrics text.
    pub(crate) fn render(&self, executors: &[View]) -> String {
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let families = [
            &self.executor_up,
            &self.executor_in_flight,
            &self.executor_slots,
            &self.executor_isolation,
        ];
        for family in families {
            family.clear();
        }
        for view in executors {
            let labels = [("executor", view.label.clone())];
            let set = |family: &Family<Labels<1>, Gauge>, value: i64| {
                family.get_or_create(&labels).set(value);
            };
            set(&self.executor_up, i64::from(view.is_live()));
            set(&self.executor_in_flight, whole(view.in_flight));
            if let Some(health) = &view.health {
                set(&self.executor_slots, whole(health.slots));
                set(&self.executor_isolation, i64::from(health.isolation.rung()));
            }
        }
        render(&self.registry)
    }
}
