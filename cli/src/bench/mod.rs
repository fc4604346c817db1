//! `flotilla bench`: the fleet beside the bare toolchains, interleaved, in one run.
//!
//! Every program runs in turns, once through the fleet and once bare, so that whatever else the
//! machine does slows both. A bench judges nothing: it measures and prints.

mod jail;
mod measure;
mod memory;
mod programs;
mod report;
mod statistics;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use clap::Args;
use protocol::Level;

use crate::fleet::{self, Fleet, FleetChoices, PortChoice, Ready};
use crate::output::{print, say};
use crate::up::Interrupts;
pub(crate) use jail::{JAIL_SAMPLER, jail, sample_jail};
use measure::{Measurer, Turns};
use programs::Program;
use report::{BenchReport, ProgramReport, ServiceMemory};

/// Seconds for all programs together, by default and with `--quick`.
const SECONDS_DEFAULT: u64 = 180;
const SECONDS_QUICK: u64 = 30;
/// How long the fleet may take to start: the first time it prepares toolchains.
const BOOT_MAX: Duration = Duration::from_mins(10);
/// Where results are kept in the checkout.
const RESULTS: &str = "bench-results";

/// Measures the fleet beside the bare toolchains, in turns.
///
/// Starts a fleet of its own on free ports. For each program of `executors/*/bench`: latency (p50
/// and p90) and runs per second, one at a time and two at once; what the gateway adds; how long the
/// fleet takes to start; the memory of each service. Compiled programs differ from run to run, so
/// that no compile cache helps; what it does for a repeated program is told apart. Prints a table
/// and writes JSON to `bench-results/`.
///
/// With --jail it measures the jail alone, without a fleet: what each level of isolation that can
/// be had here costs a program that does nothing, over a plain fork and exec.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Seconds for all programs together, about [default: 180, or 30 with --quick].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=7200))]
    seconds: Option<u64>,
    /// A short look with few samples.
    #[arg(long)]
    quick: bool,
    /// Only the programs of these executors, by name or language, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Print the JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Pass the services' logs on to standard error.
    #[arg(long, short)]
    verbose: bool,
    /// Measure what the jail itself costs at each level, in microseconds, and nothing else.
    #[arg(long, conflicts_with_all = ["seconds", "only", "verbose"])]
    pub(crate) jail: bool,
}

/// Measures, prints, and keeps the result.
pub(crate) async fn bench(arguments: BenchArguments) -> anyhow::Result<()> {
    let mut interrupts = Interrupts::listen()?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let checkout =
        fleet::checkout(&program).context("the programs to measure are in a checkout; go there")?;
    let programs = programs::load(&checkout)?;
    let fleet = Fleet::start(&choices(&arguments)).await?;
    let measured = tokio::select! {
        measured = measure(&arguments, &checkout, &fleet, programs) => measured,
        () = interrupts.next() => Err(anyhow::anyhow!("interrupted")),
    };
    let stopped = fleet.stop(interrupts.next()).await;
    let report = measured?;
    stopped?;
    let text = format!("{}\n", serde_json::to_string_pretty(&report)?);
    let file = keep(&checkout, &format!("{}.json", report.finished_at), &text)?;
    if arguments.json {
        print(&text);
    } else {
        print(report.table());
    }
    say(format_args!("written to {}", file.display()));
    Ok(())
}

/// Free ports, no keys, and no rate limit in the way.
fn choices(arguments: &BenchArguments) -> FleetChoices {
    let variable = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let gateway = [
        ("GATEWAY_KEYS", ""),
        ("GATEWAY_KEYS_FILE", ""),
        ("GATEWAY_RATE_PER_MINUTE", "4000000000"),
        ("GATEWAY_RATE_BURST", "4000000000"),
    ];
    FleetChoices {
        host: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        ports: PortChoice::Free,
        only: arguments.only.clone(),
        min_isolation: settings::variable("EXECUTOR_MIN_ISOLATION")
            .is_none()
            .then_some(Level::Bare),
        gateway: gateway.map(variable).to_vec(),
        verbose: arguments.verbose,
        boot_max: BOOT_MAX,
    }
}

async fn measure(
    arguments: &BenchArguments,
    checkout: &Path,
    fleet: &Fleet,
    programs: Vec<Program>,
) -> anyhow::Result<BenchReport> {
    let ready = fleet.ready().await?;
    for failure in &ready.failures {
        say(format_args!("without {}: {}", failure.name, failure.detail));
    }
    let programs: Vec<Program> =
        programs.into_iter().filter(|it| runner(&ready, &it.language).is_some()).collect();
    if programs.is_empty() {
        bail!("no executor runs any of the programs in executors/*/bench");
    }
    let seconds = if arguments.quick { SECONDS_QUICK } else { SECONDS_DEFAULT };
    let seconds = Duration::from_secs(arguments.seconds.unwrap_or(seconds));
    let share = seconds / u32::try_from(programs.len())?;
    let turns = Turns::of(share);
    let measurer = Measurer::new(&fleet.url, &fleet.token, checkout)?;
    let mut reports = Vec::new();
    for program in &programs {
        let measured = measurer.program(program, turns).await;
        let report = ProgramReport::new(program, runner(&ready, &program.language), measured);
        say(report.line());
        reports.push(report);
    }
    let gateway = match fastest(&reports, &programs) {
        Some(program) => {
            let port = runner(&ready, &program.language).map_or(0, |it| it.port);
            measurer.gateway(program, port, turns).await?
        }
        None => None,
    };
    let memory = services(&ready).map(|(name, pid)| {
        Ok(ServiceMemory { service: name.to_owned(), memory: memory::of_tree(pid)? })
    });
    Ok(BenchReport {
        finished_at: unix_seconds()?,
        seconds: seconds.as_secs(),
        processors: std::thread::available_parallelism()?.get(),
        start_seconds: ready.start_time.as_secs_f64(),
        programs: reports,
        gateway,
        memory: memory.collect::<anyhow::Result<_>>()?,
    })
}

/// The executor that runs a language.
fn runner<'a>(ready: &'a Ready, language: &str) -> Option<&'a fleet::ReadyExecutor> {
    ready.executors.iter().find(|it| it.info.languages.iter().any(|it| it.id == language))
}

/// The program on which the gateway's share shows best.
fn fastest<'a>(reports: &[ProgramReport], programs: &'a [Program]) -> Option<&'a Program> {
    let timed = reports.iter().zip(programs);
    let timed = timed.filter_map(|(report, program)| Some((report.quickest_ms()?, program)));
    timed.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, program)| program)
}

fn services(ready: &Ready) -> impl Iterator<Item = (&str, u32)> {
    let executors = ready.executors.iter().map(|it| (it.name.as_str(), it.pid));
    std::iter::once(("gateway", ready.gateway_pid)).chain(executors)
}

fn keep(checkout: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let directory = checkout.join(RESULTS);
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let file = directory.join(name);
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

#[expect(clippy::disallowed_methods, reason = "a command reads the clock once, for its result")]
fn unix_seconds() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.context("the clock is before 1970")?.as_secs())
}
