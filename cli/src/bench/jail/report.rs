//! What the jail costs, as JSON and as a table.

use protocol::Level;
use serde::Serialize;

use super::super::statistics::percentile;
use super::{Measured, rungs};
use crate::table::table;

/// Everything that was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JailReport {
    /// Seconds since 1970.
    pub(super) finished_at: u64,
    /// What was run.
    program: &'static str,
    /// Samples of each.
    rounds: usize,
    /// Processors of this machine.
    processors: usize,
    /// A fork and exec without any jail.
    plain: Option<Microseconds>,
    /// Each level, weakest first.
    levels: Vec<RungReport>,
}

/// One level.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RungReport {
    level: Level,
    /// Mechanisms that it has and the level below has not.
    adds: Vec<String>,
    /// From asking for the program to knowing its end.
    run: Option<Microseconds>,
    /// Median of how much longer it took than the plain one of the same round, in microseconds.
    over_plain_us: Option<f64>,
    /// Making the cell, which goes before the request.
    cell: Option<Microseconds>,
    /// Why it was not measured.
    fault: Option<String>,
}

/// Times in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Microseconds {
    /// Half of them were at most this slow.
    p50: f64,
    /// Nine of ten were.
    p90: f64,
}

impl Microseconds {
    fn of(samples: &[f64]) -> Option<Self> {
        Some(Self { p50: percentile(samples, 50)?, p90: percentile(samples, 90)? })
    }
}

impl RungReport {
    /// Sums a level up beside the plain samples of the same rounds.
    pub(super) fn new(measured: &Measured, plain: &[f64]) -> Self {
        let fault = measured.sampler.as_ref().err().cloned();
        let runs = if fault.is_none() { measured.runs.as_slice() } else { &[] };
        Self {
            level: measured.level,
            adds: measured.adds.clone(),
            run: Microseconds::of(runs),
            over_plain_us: over(runs, plain),
            cell: Microseconds::of(&measured.cells).filter(|_| !runs.is_empty()),
            fault,
        }
    }

    fn row(&self) -> Vec<String> {
        let with = if self.fault.is_none() { self.adds.join(", ") } else { "not here".to_owned() };
        vec![
            self.level.to_string(),
            text(self.run.map(|it| it.p50)),
            text(self.over_plain_us),
            text(self.run.map(|it| it.p90)),
            text(self.cell.map(|it| it.p50)),
            with,
        ]
    }
}

impl JailReport {
    /// Puts all together.
    pub(super) fn new(
        finished_at: u64,
        rounds: usize,
        plain: &[f64],
        levels: Vec<RungReport>,
    ) -> anyhow::Result<Self> {
        let processors = std::thread::available_parallelism()?.get();
        let plain = Microseconds::of(plain);
        Ok(Self { finished_at, program: rungs::PROGRAM, rounds, processors, plain, levels })
    }

    /// The result for people.
    pub(super) fn table(&self) -> String {
        const HEADINGS: [&str; 6] = ["LEVEL", "P50", "OVER PLAIN", "P90", "CELL", "ADDS"];
        let p50 = text(self.plain.map(|it| it.p50));
        let p90 = text(self.plain.map(|it| it.p90));
        let plain = ["plain".to_owned(), p50, text(None), p90, text(None), String::new()];
        let rows = self.levels.iter().map(RungReport::row);
        let rows: Vec<Vec<String>> = std::iter::once(plain.to_vec()).chain(rows).collect();
        let faults = self.levels.iter().filter_map(|it| {
            Some(format!("\n{} was not measured: {}.", it.level, it.fault.as_ref()?))
        });
        format!(
            "{}\nMicroseconds, {} rounds on {} processors: from asking for {} to knowing its end. \
             plain: fork and exec;\nover plain: median of the differences within a round; cell: \
             median of what is made before the request.\n{}",
            table(&HEADINGS, &rows),
            self.rounds,
            self.processors,
            self.program,
            faults.collect::<String>(),
        )
    }
}

/// Median of the differences of neighbours.
fn over(runs: &[f64], plain: &[f64]) -> Option<f64> {
    let differences: Vec<f64> = runs.iter().zip(plain).map(|(run, plain)| run - plain).collect();
    percentile(&differences, 50)
}

/// A number, or a dash for none.
fn text(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |it| format!("{it:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_level_costs_is_told_over_the_plain_runs_beside_it() {
        assert_eq!(over(&[15.0, 26.0, 105.0], &[10.0, 20.0, 100.0]), Some(5.0));
        assert_eq!(over(&[], &[10.0]), None);
    }

    #[test]
    fn a_level_that_is_not_here_has_no_numbers_but_a_reason() {
        let measured = Measured {
            level: Level::Bounded,
            adds: vec!["seccomp".to_owned()],
            runs: vec![15.0],
            cells: vec![15.0],
            sampler: Err("a reason".to_owned()),
        };
        let rung = RungReport::new(&measured, &[10.0]);
        let table = JailReport::new(0, 1, &[10.0], vec![rung]).unwrap().table();
        let row = table.lines().find(|it| it.starts_with("bounded (L5)")).unwrap();
        assert!(row.ends_with("not here") && !row.contains("15"), "{table}");
        assert!(table.contains("bounded (L5) was not measured: a reason."), "{table}");
    }
}
