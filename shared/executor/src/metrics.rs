//! What an executor counts.

use protocol::{RunReport, Status};
use telemetry::metrics::{Counter, Family, Gauge, Histogram, Registry, render, seconds_histogram};

use crate::pool::Stock;
use crate::slots::Slots;

/// The metrics of an executor.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    runs: Family<Labels<2>, Counter>,
    phases: Family<Labels<3>, Histogram, fn() -> Histogram>,
    rejections: Family<Labels<1>, Counter>,
    starts: Family<Labels<2>, Counter>,
    ready: Family<Labels<1>, Gauge>,
    shortcuts: Family<Labels<1>, Counter>,
    slots: Family<Labels<1>, Gauge>,
    waiting: Gauge,
    restarts: Gauge,
    /// What the compile cache counts.
    pub(crate) cache: CacheMetrics,
}

/// What a compile cache counts. Every clone counts the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct CacheMetrics {
    lookups: Family<Labels<1>, Counter>,
    evictions: Family<Labels<1>, Counter>,
    bytes: Gauge,
}

/// Names and values of a metric's labels.
type Labels<const N: usize> = [(&'static str, String); N];

impl Metrics {
    /// The metrics of an executor at an isolation level.
    pub(crate) fn new(level: protocol::Level) -> Self {
        let mut registry = Registry::with_prefix("executor");
        let phases: Family<Labels<3>, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(seconds_histogram);
        let metrics = Self {
            runs: Family::default(),
            phases,
            rejections: Family::default(),
            starts: Family::default(),
            ready: Family::default(),
            shortcuts: Family::default(),
            slots: Family::default(),
            waiting: Gauge::default(),
            restarts: Gauge::default(),
            cache: CacheMetrics::default(),
            registry: Registry::default(),
        };
        let isolation: Gauge = Gauge::default();
        isolation.set(i64::from(level.rung()));
        registry.register("runs", "Runs by language and how they ended", metrics.runs.clone());
        registry.register(
            "phase_seconds",
            "Time of each phase of a run: queue, compile, start, run",
            metrics.phases.clone(),
        );
        registry.register("rejections", "Requests that got no run", metrics.rejections.clone());
        registry.register(
            "starts",
            "Runs by language and what they started from: warm or cold",
            metrics.starts.clone(),
        );
        registry.register(
            "ready",
            "What stands ready for the next runs: cells, and interpreters that wait",
            metrics.ready.clone(),
        );
        registry.register(
            "shortcuts",
            "Compiles that began with a shortcut, by what came of it",
            metrics.shortcuts.clone(),
        );
        registry.register("slots", "Slots by state", metrics.slots.clone());
        registry.register("waiting", "Requests that wait for a slot", metrics.waiting.clone());
        registry.register(
            "spawner_restarts",
            "How often the spawner had to be started again",
            metrics.restarts.clone(),
        );
        metrics.cache.register(&mut registry);
        registry.register("isolation_level", "The rung of isolation in force, 0 to 5", isolation);
        Self { registry, ..metrics }
    }

    /// Counts a run that has a report.
    pub(crate) fn finished(&self, report: &RunReport) {
        let language = report.language.clone();
        let status = report.status.as_str().to_owned();
        let labels = [("language", language.clone()), ("status", status.clone())];
        self.runs.get_or_create(&labels).inc();
        let timings = &report.timings;
        let mut phases = vec![("queue", timings.queue)];
        if report.compile.is_some() {
            phases.push(("compile", timings.compile));
        }
        if report.status != Status::CompileError {
            phases.extend([("start", timings.start), ("run", timings.run)]);
            let from = if report.warm { "warm" } else { "cold" };
            let labels = [("language", language.clone()), ("from", from.to_owned())];
            self.starts.get_or_create(&labels).inc();
        }
        for (phase, millis) in phases {
            let labels = [
                ("language", language.clone()),
                ("status", status.clone()),
                ("phase", phase.to_owned()),
            ];
            self.phases.get_or_create(&labels).observe(millis / 1000.0);
        }
    }

    /// Counts a request that got no run.
    pub(crate) fn rejected(&self, reason: &str) {
        self.rejections.get_or_create(&[("reason", reason.to_owned())]).inc();
    }

    /// Counts a compile that began with a shortcut.
    pub(crate) fn shortcut(&self, is_good: bool) {
        let outcome = if is_good { "taken" } else { "in_vain" };
        self.shortcuts.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// All metrics as text.
    pub(crate) fn render(&self, slots: &Slots, stock: Stock, restarts: u64) -> String {
        let busy = slots.count()
            - slots.free().min(slots.count())
            - slots.quarantined().min(slots.count());
        for (state, count) in
            [("free", slots.free()), ("busy", busy), ("quarantined", slots.quarantined())]
        {
            let labels = [("state", state.to_owned())];
            self.slots.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for (what, count) in [("cells", stock.cells), ("interpreters", stock.warm)] {
            let labels = [("what", what.to_owned())];
            self.ready.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.waiting.set(i64::try_from(slots.waiting()).unwrap_or(i64::MAX));
        self.restarts.set(i64::try_from(restarts).unwrap_or(i64::MAX));
        render(&self.registry)
    }
}

impl CacheMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "cache_lookups",
            "Looks for a compiled program, by whether it was there",
            self.lookups.clone(),
        );
        registry.register(
            "cache_evictions",
            "Compiled programs that were deleted, by why: age, bytes or damage",
            self.evictions.clone(),
        );
        registry.register(
            "cache_bytes",
            "What compiled programs take on the disk, as far as this executor knows",
            self.bytes.clone(),
        );
    }

    /// Counts a look for a program.
    pub(crate) fn looked_up<T>(&self, found: Option<&T>) {
        let result = if found.is_some() { "hit" } else { "miss" };
        self.lookups.get_or_create(&[("result", result.to_owned())]).inc();
    }

    /// Counts a program that was deleted.
    pub(crate) fn evicted(&self, reason: &'static str) {
        self.evictions.get_or_create(&[("reason", reason.to_owned())]).inc();
    }

    /// Notes what all programs take together.
    pub(crate) fn holds(&self, bytes: u64) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
