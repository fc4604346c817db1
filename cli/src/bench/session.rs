//! One bench from its first run to its report.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail};

use super::bare::{Site, Workshop};
use super::burst::{self, Burst};
use super::client::FleetClient;
use super::fleets::Serving;
use super::memory::{self, ServiceMemory};
use super::pace::{Pace, Share};
use super::programs::Program;
use super::report::{BenchReport, ProgramReport};
use super::{gateway, latency, page, processes, sustained};
use crate::fleet::{Ready, ReadyExecutor};
use crate::output::say;

/// What all measurements need.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    /// The fleet that is measured.
    pub(crate) warm: FleetClient,
    /// The one that keeps nothing warm, if that makes a difference anywhere.
    pub(crate) cold: Option<FleetClient>,
    /// Where bare toolchains work.
    pub(crate) workshop: &'a Workshop,
    /// How much of everything.
    pub(crate) pace: Pace,
    /// Processors of this machine, and clients of sustained runs.
    pub(crate) processors: usize,
    numbers: AtomicU64,
}

/// What is measured, and who runs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// The program.
    pub(crate) program: &'a Program,
    /// Its executor.
    pub(crate) executor: &'a ReadyExecutor,
    /// The same without warm starts, if it has any.
    pub(crate) cold: Option<&'a ReadyExecutor>,
}

impl Subject<'_> {
    /// The processes that should rest between two samples.
    pub(crate) fn roots(&self) -> Vec<u32> {
        std::iter::once(self.executor).chain(self.cold).map(|it| it.pid).collect()
    }
}

impl<'w> Session<'w> {
    pub(crate) fn new(
        warm: &Serving,
        cold: Option<&Serving>,
        workshop: &'w Workshop,
        pace: Pace,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            warm: warm.client.clone(),
            cold: cold.map(|it| it.client.clone()),
            workshop,
            pace,
            processors: std::thread::available_parallelism()?.get(),
            numbers: AtomicU64::new(u64::from(std::process::id()) << 20),
        })
    }

    /// A number that no run has had before.
    pub(crate) fn unique(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Measures all `programs` that the fleet has an executor for.
    pub(crate) async fn measure(
        &self,
        programs: &[Program],
        warm: &Serving,
        cold: Option<&Serving>,
    ) -> anyhow::Result<BenchReport> {
        let load_before = load_average()?;
        let subjects: Vec<Subject<'_>> = programs
            .iter()
            .filter_map(|program| {
                let executor = runner(&warm.ready, program)?;
                let cold = cold.and_then(|it| runner(&it.ready, program));
                Some(Subject { program, executor, cold })
            })
            .collect();
        if subjects.is_empty() {
            bail!("no executor runs any of the programs in executors/*/bench");
        }
        let reports = self.programs(&subjects).await?;
        let bursts = self.bursts(&fastest(&reports, &subjects, ProgramReport::fresh_ms)).await;
        let gateway = match fastest(&reports, &subjects, ProgramReport::quickest_ms).first() {
            Some(subject) => gateway::measure(self, subject).await?,
            None => None,
        };
        Ok(BenchReport {
            finished_at: super::unix_seconds()?,
            seconds: self.pace.total.as_secs(),
            processors: self.processors,
            load_before,
            load_after: load_average()?,
            start_seconds: warm.ready.start_time.as_secs_f64(),
            without_warm_starts: without_warm_starts(warm, cold),
            programs: reports,
            bursts,
            gateway,
            memory: memory_of(&warm.ready).await?,
        })
    }

    /// Every program on all sides, the quick ones first; the answer is in the given order.
    async fn programs(&self, subjects: &[Subject<'_>]) -> anyhow::Result<Vec<ProgramReport>> {
        let began = Instant::now();
        let mut order = Vec::new();
        for (index, subject) in subjects.iter().enumerate() {
            // What does not run at all comes last, and says so then.
            let request = subject.program.request(self.unique());
            let run = self.warm.run(subject.program, &request).await;
            order.push((run.map_or(f64::MAX, |it| it.ms), index));
        }
        order.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut reports = Vec::new();
        for (done, (_, index)) in order.iter().enumerate() {
            let Some(subject) = subjects.get(*index) else { continue };
            let share = self.pace.share(began.elapsed(), subjects.len() - done);
            let report = self.program(subject, share).await;
            say(page::line(&report));
            reports.push((*index, report));
        }
        reports.sort_by_key(|(index, _)| *index);
        Ok(reports.into_iter().map(|(_, report)| report).collect())
    }

    /// Measures one program on all sides.
    async fn program(&self, subject: &Subject<'_>, share: Share) -> ProgramReport {
        let mut report = ProgramReport::new(subject);
        let title = subject.program.title();
        let sites = self.sites(subject.program).await.unwrap_or_else(|error| {
            report.note(format!("{title}: bare: {error:#}"));
            Vec::new()
        });
        if let Some(site) = sites.first() {
            report.ran_bare(subject.program, site.program);
        }
        match latency::measure(self, subject, sites.first(), share.latency).await {
            Ok(latencies) => report.take_latencies(latencies),
            Err(error) => {
                report.note(format!("{title}: {error:#}"));
                return report;
            }
        }
        match sustained::measure(self, subject, &sites, share.slice).await {
            Ok((ours, bare)) => report.take_sustained(ours, bare),
            Err(error) => report.note(format!("{title}: sustained: {error:#}")),
        }
        report
    }

    /// A place for the bare runs of each client.
    async fn sites<'a>(&self, program: &'a Program) -> anyhow::Result<Vec<Site<'a>>> {
        let version = self.warm.version(&program.language).await?;
        let mut sites = Vec::new();
        for worker in 0..self.processors {
            sites.push(self.workshop.site(program, &version, worker).await?);
        }
        Ok(sites)
    }

    /// Bursts of each language's quickest program.
    async fn bursts(&self, fastest: &[Subject<'_>]) -> Vec<Burst> {
        let mut bursts = Vec::new();
        for subject in fastest {
            let title = subject.program.title();
            match burst::measure(self, subject, self.pace.burst(fastest.len())).await {
                Ok(burst) => {
                    say(page::burst_line(&burst));
                    bursts.push(burst);
                }
                Err(error) => say(format_args!("{title}: a burst failed: {error:#}")),
            }
        }
        bursts
    }
}

/// The executor that runs a program.
fn runner<'a>(ready: &'a Ready, program: &Program) -> Option<&'a ReadyExecutor> {
    let runs = |it: &&ReadyExecutor| it.info.languages.iter().any(|it| it.id == program.language);
    ready.executors.iter().find(runs)
}

/// The program of each language that takes the least of `time`, the quickest of all first.
fn fastest<'a>(
    reports: &[ProgramReport],
    subjects: &[Subject<'a>],
    time: fn(&ProgramReport) -> Option<f64>,
) -> Vec<Subject<'a>> {
    let timed = reports.iter().zip(subjects);
    let mut timed: Vec<(f64, &Subject<'a>)> =
        timed.filter_map(|(report, subject)| Some((time(report)?, subject))).collect();
    timed.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let mut fastest: Vec<Subject<'a>> = Vec::new();
    for (_, subject) in timed {
        if !fastest.iter().any(|it| it.program.language == subject.program.language) {
            fastest.push(*subject);
        }
    }
    fastest
}

fn without_warm_starts(warm: &Serving, cold: Option<&Serving>) -> Vec<String> {
    let is_warm =
        |name: &str| cold.is_some_and(|it| it.ready.executors.iter().any(|it| it.name == name));
    let executors = warm.ready.executors.iter().map(|it| it.name.clone());
    executors.filter(|it| !is_warm(it)).collect()
}

/// Each service at rest.
async fn memory_of(ready: &Ready) -> anyhow::Result<Vec<ServiceMemory>> {
    let executors = ready.executors.iter().map(|it| (it.name.as_str(), it.pid));
    let services = std::iter::once(("gateway", ready.gateway_pid)).chain(executors);
    let roots: Vec<u32> = ready.executors.iter().map(|it| it.pid).collect();
    let processes = processes::rest(&roots).await?;
    Ok(services.map(|(name, pid)| memory::of_service(name, pid, &processes)).collect())
}

/// How many processes wanted a processor in the last minute, five and fifteen.
fn load_average() -> anyhow::Result<[f64; 3]> {
    let text = fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    parse_load(&text).context("/proc/loadavg is unlike proc(5)")
}

fn parse_load(text: &str) -> Option<[f64; 3]> {
    let mut words = text.split_whitespace().map(|it| it.parse().ok());
    Some([words.next()??, words.next()??, words.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_three_numbers() {
        assert_eq!(parse_load("0.89 0.70 1.82 2/300 12345\n"), Some([0.89, 0.70, 1.82]));
        assert_eq!(parse_load("0.89 x"), None);
    }
}
