//! The result of a bench, as JSON and as tables.

use protocol::Level;
use serde::Serialize;

use super::measure::{GatewayCost, Measured};
use super::memory::TreeMemory;
use super::programs::Program;
use super::statistics::{Summary, ratio};
use crate::fleet::ReadyExecutor;
use crate::table::table;

/// Everything that was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BenchReport {
    /// Seconds since 1970.
    pub(crate) finished_at: u64,
    /// What all programs together were given.
    pub(crate) seconds: u64,
    /// Processors of this machine.
    pub(crate) processors: usize,
    /// From the first process of the fleet until all were healthy.
    pub(crate) start_seconds: f64,
    /// Each program.
    pub(crate) programs: Vec<ProgramReport>,
    /// What the gateway adds, if any program ran.
    pub(crate) gateway: Option<GatewayCost>,
    /// Each service, after all runs.
    pub(crate) memory: Vec<ServiceMemory>,
}

/// One program, on both sides.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProgramReport {
    language: String,
    name: String,
    version: Option<String>,
    isolation: Option<Level>,
    /// Through the fleet, each source new to it.
    fleet: Option<Summary>,
    /// Through the fleet, a source that it compiled before.
    cached: Option<Summary>,
    /// In a shell.
    bare: Option<Summary>,
    /// Ours over bare, of p50: below 1 we are faster.
    ratio: Option<f64>,
    /// Runs a second, two at once.
    fleet_runs_per_second_together: Option<f64>,
    bare_runs_per_second_together: Option<f64>,
    notes: Vec<String>,
}

/// The memory of one service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceMemory {
    /// Its name.
    pub(crate) service: String,
    /// What it and its processes use.
    #[serde(flatten)]
    pub(crate) memory: TreeMemory,
}

impl ProgramReport {
    /// Sums a program's samples up.
    pub(crate) fn new(
        program: &Program,
        executor: Option<&ReadyExecutor>,
        measured: Measured,
    ) -> Self {
        let info = executor.map(|it| &it.info);
        let runtime = info.and_then(|it| it.runtimes.first());
        let (fleet, bare) = (Summary::of(&measured.fleet), Summary::of(&measured.bare));
        Self {
            language: program.language.clone(),
            name: program.name.clone(),
            version: runtime.map(|it| it.version.clone()),
            isolation: info.map(|it| it.isolation.level),
            ratio: ratio(fleet.as_ref().map(|it| it.p50_ms), bare.as_ref().map(|it| it.p50_ms)),
            fleet,
            cached: Summary::of(&measured.cached),
            bare,
            fleet_runs_per_second_together: measured.fleet_together,
            bare_runs_per_second_together: measured.bare_together,
            notes: measured.notes,
        }
    }

    /// The result in a line, told while the bench goes on.
    pub(crate) fn line(&self) -> String {
        let p50 = |it: &Option<Summary>| text(it.as_ref().map(|it| it.p50_ms), 1);
        let line = format!(
            "{} {}: {} ms, bare {} ms, ratio {}",
            self.language,
            self.name,
            p50(&self.fleet),
            p50(&self.bare),
            text(self.ratio, 2),
        );
        let notes = self.notes.iter().cloned();
        std::iter::once(line).chain(notes).collect::<Vec<_>>().join("\n  ")
    }

    /// The quicker of the two ways through the fleet.
    pub(crate) fn quickest_ms(&self) -> Option<f64> {
        let ways = self.fleet.iter().chain(&self.cached).map(|it| it.p50_ms);
        ways.min_by(f64::total_cmp)
    }

    fn row(&self) -> Vec<String> {
        let field = |summary: &Option<Summary>, read: fn(&Summary) -> f64| {
            text(summary.as_ref().map(read), 1)
        };
        vec![
            self.language.clone(),
            self.name.clone(),
            field(&self.fleet, |it| it.p50_ms),
            field(&self.fleet, |it| it.p90_ms),
            field(&self.bare, |it| it.p50_ms),
            field(&self.bare, |it| it.p90_ms),
            text(self.ratio, 2),
            field(&self.cached, |it| it.p50_ms),
            field(&self.fleet, |it| it.runs_per_second),
            field(&self.bare, |it| it.runs_per_second),
            text(self.fleet_runs_per_second_together, 1),
            text(self.bare_runs_per_second_together, 1),
        ]
    }
}

impl BenchReport {
    /// The result for people.
    pub(crate) fn table(&self) -> String {
        const HEADINGS: [&str; 12] = [
            "LANGUAGE",
            "PROGRAM",
            "P50",
            "P90",
            "BARE P50",
            "BARE P90",
            "RATIO",
            "CACHED P50",
            "RUNS/S",
            "BARE",
            "RUNS/S x2",
            "BARE x2",
        ];
        let rows: Vec<Vec<String>> = self.programs.iter().map(ProgramReport::row).collect();
        let services: Vec<Vec<String>> = self.memory.iter().map(ServiceMemory::row).collect();
        format!(
            "\n{}\nMilliseconds; ratio: ours over bare, below 1 is faster than a shell; x2: two \
             runs at once, on {} processors.\n{}The fleet was healthy after {:.1} s.\n\n{}",
            table(&HEADINGS, &rows),
            self.processors,
            self.gateway.as_ref().map(gateway_line).unwrap_or_default(),
            self.start_seconds,
            table(&["SERVICE", "MEMORY MB", "PROCESSES"], &services),
        )
    }
}

fn gateway_line(cost: &GatewayCost) -> String {
    format!(
        "The gateway adds {:.2} ms ({}: {:.2} ms straight to the executor, {:.2} ms through \
         it).\n",
        cost.added_p50_ms, cost.program, cost.direct.p50_ms, cost.through.p50_ms,
    )
}

impl ServiceMemory {
    #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
    fn row(&self) -> Vec<String> {
        let megabytes = self.memory.bytes as f64 / (1024.0 * 1024.0);
        let processes = self.memory.processes.to_string();
        vec![self.service.clone(), format!("{megabytes:.1}"), processes]
    }
}

/// A number, or a dash for none.
fn text(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| "-".to_owned(), |it| format!("{it:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_a_dash() {
        assert_eq!(text(None, 1), "-");
        assert_eq!(text(Some(1.25), 1), "1.2");
    }
}
