//! The result of a bench, as data.

use protocol::Level;
use serde::Serialize;

use super::burst::Burst;
use super::client::Sample;
use super::gateway::GatewayCost;
use super::latency::Latencies;
use super::memory::ServiceMemory;
use super::programs::Program;
use super::session::Subject;
use super::statistics::{Summary, ratio, share};
use super::sustained::Sustained;

/// Everything that was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BenchReport {
    /// Seconds since 1970.
    pub(crate) finished_at: u64,
    /// What all measurements together were given.
    pub(crate) seconds: u64,
    /// Processors of this machine, and clients of sustained runs.
    pub(crate) processors: usize,
    /// How many processes wanted a processor before, in the last minute, five and fifteen.
    pub(crate) load_before: [f64; 3],
    /// And afterwards.
    pub(crate) load_after: [f64; 3],
    /// From the first process of the fleet until all were healthy.
    pub(crate) start_seconds: f64,
    /// Executors that keep no process warm.
    pub(crate) without_warm_starts: Vec<String>,
    /// Each program.
    pub(crate) programs: Vec<ProgramReport>,
    /// Bursts of each language.
    pub(crate) bursts: Vec<Burst>,
    /// What the gateway adds, if any program ran.
    pub(crate) gateway: Option<GatewayCost>,
    /// Each service, after all runs.
    pub(crate) memory: Vec<ServiceMemory>,
}

/// One program, on all sides. A ratio is ours over bare: below 1 we are faster.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProgramReport {
    pub(super) language: String,
    pub(super) name: String,
    pub(super) version: Option<String>,
    pub(super) isolation: Option<Level>,
    /// Through the fleet, each source new to it.
    pub(super) fleet: Option<Summary>,
    /// How many of these were served by a warm process.
    pub(super) warm_share: Option<f64>,
    /// The same by a fleet that keeps nothing warm.
    pub(super) cold: Option<Summary>,
    /// Through the fleet, a source that it compiled before.
    pub(super) cached: Option<Summary>,
    /// How many of these had their program from the cache.
    pub(super) cached_share: Option<f64>,
    /// In a shell.
    pub(super) bare: Option<Summary>,
    /// The program that ran bare, if it was another.
    pub(super) bare_program: Option<String>,
    /// Of p50.
    pub(super) ratio: Option<f64>,
    pub(super) cold_ratio: Option<f64>,
    pub(super) cached_ratio: Option<f64>,
    /// Only looked at.
    pub(super) validated: Option<Summary>,
    /// As many runs at once as there are processors.
    pub(super) sustained: Option<Sustained>,
    pub(super) bare_sustained: Option<Sustained>,
    /// Of processor time.
    pub(super) cpu_ratio: Option<f64>,
    pub(super) notes: Vec<String>,
}

impl ProgramReport {
    /// Nothing is known yet.
    pub(crate) fn new(subject: &Subject<'_>) -> Self {
        let info = &subject.executor.info;
        Self {
            language: subject.program.language.clone(),
            name: subject.program.name.clone(),
            version: info.runtimes.first().map(|it| it.version.clone()),
            isolation: Some(info.isolation.level),
            ..Self::default()
        }
    }

    /// Says what could not be measured.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Notes what ran bare, if it was another program.
    pub(crate) fn ran_bare(&mut self, program: &Program, bare: &Program) {
        if (&program.language, &program.name) != (&bare.language, &bare.name) {
            let (title, bare) = (program.title(), bare.title());
            self.note(format!(
                "{title}: bare is {bare}, as no toolchain for it is installed here, and none \
                 could be quicker"
            ));
            self.bare_program = Some(bare);
        }
    }

    /// Sums the samples up.
    pub(crate) fn take_latencies(&mut self, latencies: Latencies) {
        let Latencies { fresh, cold, cached, bare, validated, notes } = latencies;
        self.warm_share = share(&fresh, |it| it.is_warm);
        self.cached_share = share(&cached, |it| it.is_cached);
        self.fleet = of_samples(&fresh);
        self.cold = of_samples(&cold);
        self.cached = of_samples(&cached);
        self.bare = Summary::of(&bare);
        self.validated = Summary::of(&validated);
        let p50 = |it: &Option<Summary>| it.as_ref().map(|it| it.p50_ms);
        let over_bare = |it: &Option<Summary>| ratio(p50(it), p50(&self.bare));
        (self.ratio, self.cold_ratio, self.cached_ratio) =
            (over_bare(&self.fleet), over_bare(&self.cold), over_bare(&self.cached));
        let title = format!("{} {}", self.language, self.name);
        self.notes.extend(notes);
        if fresh.iter().any(|it| it.is_cached) {
            self.note(format!("{title}: what should be new came from the cache"));
        }
        if let Some(share) = self.cached_share.filter(|it| *it < 1.0) {
            let percent = 100.0 * share;
            self.note(format!("{title}: {percent:.0}% of the cached runs came from the cache"));
        }
    }

    /// Adds what ran side by side.
    pub(crate) fn take_sustained(&mut self, ours: Option<Sustained>, bare: Option<Sustained>) {
        let cpu = |it: Option<Sustained>| it.map(|it| it.cpu_ms);
        self.cpu_ratio = ratio(cpu(ours), cpu(bare));
        (self.sustained, self.bare_sustained) = (ours, bare);
    }

    /// How long a source that is new takes.
    pub(crate) fn fresh_ms(&self) -> Option<f64> {
        self.fleet.as_ref().map(|it| it.p50_ms)
    }

    /// The quicker of the two ways through the fleet.
    pub(crate) fn quickest_ms(&self) -> Option<f64> {
        let ways = self.fleet.iter().chain(&self.cached).map(|it| it.p50_ms);
        ways.min_by(f64::total_cmp)
    }
}

fn of_samples(samples: &[Sample]) -> Option<Summary> {
    Summary::of(&samples.iter().map(|it| it.ms).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ms: f64, is_warm: bool, is_cached: bool) -> Sample {
        Sample { ms, is_warm, is_cached }
    }

    #[test]
    fn warm_cold_and_cached_are_told_apart() {
        let mut report = ProgramReport::default();
        report.take_latencies(Latencies {
            fresh: vec![sample(5.0, true, false), sample(7.0, false, false)],
            cold: vec![sample(20.0, false, false)],
            cached: vec![sample(2.0, true, true), sample(2.0, true, false)],
            bare: vec![10.0],
            validated: vec![1.0],
            notes: Vec::new(),
        });
        assert_eq!((report.warm_share, report.cached_share), (Some(0.5), Some(0.5)));
        let ratios = [report.ratio, report.cold_ratio, report.cached_ratio];
        assert_eq!(ratios, [Some(0.5), Some(2.0), Some(0.2)]);
        assert_eq!(report.quickest_ms(), Some(2.0));
        assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    }

    #[test]
    fn what_was_to_be_new_and_was_not_is_noted() {
        let mut report = ProgramReport::default();
        let fresh = vec![sample(1.0, false, true)];
        report.take_latencies(Latencies { fresh, ..Latencies::default() });
        assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
        assert_eq!((report.ratio, report.cached_share), (None, None));
    }
}
