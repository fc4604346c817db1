//! `flotilla bench --jail`: what the jail itself costs a program that does nothing.
//!
//! A cell is made ahead, as an executor makes it, and its time is told apart. Then the clock runs
//! from asking for the program to knowing how it ended and what it wrote. Every round takes one
//! sample of a plain fork and exec and one of each level, so that whatever else the machine does
//! slows all of them. A spawner reaps whatever its process starts, so each level is a process of
//! its own ([`sampler`]), which takes a sample when it is told to.

mod report;
mod rungs;
mod sampler;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, bail};
use protocol::Level;
use sandbox::Probe;

use super::BenchArguments;
use crate::fleet::{self, process};
use crate::output::{print, say};
use crate::scratch;
use report::{JailReport, RungReport};
pub(crate) use sampler::{JAIL_SAMPLER, sample_jail};
use sampler::{Sampler, microseconds, pause};

/// Samples of each level, by default and with `--quick`.
const ROUNDS: usize = 400;
const ROUNDS_QUICK: usize = 100;
/// Rounds before those that count.
const ROUNDS_WARM_UP: usize = 10;

/// One level, and what was measured of it.
#[derive(Debug)]
struct Measured {
    level: Level,
    /// Mechanisms that it has and the level below has not, by name.
    adds: Vec<String>,
    /// Asking for the program to knowing its end, in microseconds.
    runs: Vec<f64>,
    /// Making the cell.
    cells: Vec<f64>,
    /// Who takes the samples, as long as that goes well.
    sampler: Result<Sampler, String>,
}

/// Measures each level, prints, and keeps the result where it can. Call it while there is one
/// thread.
pub(crate) fn jail(arguments: &BenchArguments) -> anyhow::Result<()> {
    let (scratch, _) = scratch::near(&scratch::state_directory())?;
    let probe = sandbox::probe(scratch.path()).context("this host cannot be probed")?;
    let mut levels = Level::ALL.map(|level| Measured::begin(level, &probe, scratch.path()));
    let rounds = if arguments.quick { ROUNDS_QUICK } else { ROUNDS };
    let mut plain = Vec::new();
    for round in 0..ROUNDS_WARM_UP + rounds {
        let counts = round >= ROUNDS_WARM_UP;
        let sample = plain_sample()?;
        plain.extend(counts.then_some(sample));
        for level in &mut levels {
            level.take(counts);
        }
    }
    let reports = levels.iter().map(|it| RungReport::new(it, &plain)).collect();
    tell(arguments, &JailReport::new(super::unix_seconds()?, rounds, &plain, reports)?)
}

impl Measured {
    /// Has nothing yet, but somebody who takes samples, if the level can be had here.
    fn begin(level: Level, probe: &Probe, scratch: &Path) -> Self {
        let sampler = rungs::mechanisms(probe, level).and_then(|mechanisms| {
            let task = rungs::task(level, mechanisms, scratch);
            task.and_then(|it| Sampler::start(&it)).map_err(|it| format!("{it:#}"))
        });
        let adds = rungs::adds(probe, level);
        Self { level, adds, runs: Vec::new(), cells: Vec::new(), sampler }
    }

    /// Takes one sample. Whoever failed once is not asked again.
    fn take(&mut self, counts: bool) {
        let Ok(sampler) = &mut self.sampler else { return };
        match sampler.sample() {
            Ok(sample) if counts => {
                self.runs.push(sample.run_us);
                self.cells.push(sample.cell_us);
            }
            Ok(_) => {}
            Err(error) => self.sampler = Err(format!("{error:#}")),
        }
    }
}

/// The same program as a shell starts it, with pipes for its streams.
fn plain_sample() -> anyhow::Result<f64> {
    let mut command = process::without_runtime(rungs::PROGRAM.as_ref());
    command.env_clear().envs(rungs::ENVIRONMENT.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    pause();
    let began = Instant::now();
    let output = command.spawn().and_then(std::process::Child::wait_with_output);
    let took = microseconds(began);
    let output = output.with_context(|| format!("cannot start {}", rungs::PROGRAM))?;
    if !output.status.success() {
        bail!("{}: {}", rungs::PROGRAM, output.status);
    }
    Ok(took)
}

fn tell(arguments: &BenchArguments, report: &JailReport) -> anyhow::Result<()> {
    let text = format!("{}\n", serde_json::to_string_pretty(report)?);
    if arguments.json {
        print(&text);
    } else {
        print(report.table());
    }
    let checkout = std::env::current_exe().ok().and_then(|it| fleet::checkout(&it));
    let name = format!("{}-jail.json", report.finished_at);
    // Whoever may not write there is told all the same.
    let kept: Option<PathBuf> = checkout.and_then(|it| super::keep(&it, &name, &text).ok());
    if let Some(file) = kept {
        say(format_args!("written to {}", file.display()));
    }
    Ok(())
}
