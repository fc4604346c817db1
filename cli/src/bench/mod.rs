//! `flotilla bench`: the fleet beside the bare toolchains, interleaved, in one run.
//!
//! Every program runs in turns, once through the fleet and once bare, so that whatever else the
//! machine does slows both. A bench judges nothing: it measures and prints.

mod bare;
mod burst;
mod client;
mod fleets;
mod gateway;
mod jail;
mod latency;
mod memory;
mod pace;
mod page;
mod processes;
mod programs;
mod queue;
mod report;
mod session;
mod statistics;
mod sustained;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::Args;

use crate::fleet;
use crate::output::{print, say};
use crate::up::Interrupts;
use bare::Workshop;
use fleets::Fleets;
pub(crate) use jail::{JAIL_SAMPLER, jail, sample_jail};
use pace::Pace;
use programs::Program;
use queue::{Keys, QueuePace};
use report::BenchReport;
use session::Session;

/// Where results are kept in the checkout.
const RESULTS: &str = "bench-results";

/// Measures the fleet beside the bare toolchains, in turns.
///
/// Starts a fleet of its own on free ports and measures each program of `executors/*/bench`:
///
/// * latency (p50 and p90), one run at a time, through the gateway and bare, and how many of the
///   runs were served warm; beside it the same with warm starts switched off (by a second fleet),
///   from the compile cache, and only validated;
/// * runs per second, as many at once as there are processors, and the processor time of a run,
///   what is made ready for it included;
/// * bursts of ten times as many runs as there is room for: p50 and p99, and that none was told
///   `timeout` or refused;
/// * what the gateway adds, how long the fleet takes to start, and the memory of each service and
///   of each process that it keeps warm.
///
/// Compiled programs differ from run to run, so that no cache helps, but where that is measured.
/// The machine need not be quiet: all sides take turns, run by run, and what counts is the ratio.
/// It takes about six minutes, with --quick one and a half. Prints tables and writes JSON to
/// `bench-results/`; progress is told on standard error, and Ctrl-C leaves nothing.
///
/// With --queue it measures the job queue: jobs acknowledged a second, how soon one is picked up, what
/// a claim costs while many wait, how long a backlog of one caller holds up another, and jobs that go
/// through a second.
///
/// With --jail it measures the jail alone, without a fleet: what each level of isolation that can
/// be had here costs a program that does nothing, over a plain fork and exec.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Seconds for all measurements together, about [default: 270, or 40 with --quick]; a few
    /// samples of each kind are taken whatever this is.
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
    /// Measure the job queue, with workers that the bench plays itself, and nothing else.
    #[arg(long, conflicts_with = "jail")]
    queue: bool,
    /// With --queue: where jobs are kept, such as `postgres://…` or `redis://…` [default: a file].
    #[arg(long, value_name = "URL", requires = "queue")]
    store: Option<String>,
    /// With --queue: how many jobs wait when claims are timed; each number in its turn [default:
    /// 10000,1000000, or 1000,10000 with --quick].
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', requires = "queue")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3_000_000))]
    waiting: Vec<u64>,
}

/// Measures, prints, and keeps the result.
pub(crate) async fn bench(arguments: BenchArguments) -> anyhow::Result<()> {
    let mut interrupts = Interrupts::listen()?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let checkout =
        fleet::checkout(&program).context("the programs to measure are in a checkout; go there")?;
    if arguments.queue {
        return bench_queue(&arguments, &checkout, interrupts).await;
    }
    let programs = programs::load(&checkout)?;
    let workshop = Workshop::make(&checkout)?;
    let mut fleets = Fleets::start(&arguments).await?;
    let measured = tokio::select! {
        measured = measure(&arguments, &mut fleets, &workshop, &programs) => measured,
        () = interrupts.next() => Err(anyhow::anyhow!("interrupted")),
    };
    // Told at once: to stop a fleet takes its time.
    let told = measured.and_then(|report| tell(&arguments, &checkout, &report));
    let stopped = fleets.stop(async || interrupts.next().await).await;
    told.and(stopped).and(workshop.clear())
}

/// The same for the job queue.
async fn bench_queue(
    arguments: &BenchArguments,
    checkout: &Path,
    mut interrupts: Interrupts,
) -> anyhow::Result<()> {
    let keys = Keys::random()?;
    let fleets = Fleets::start_with_keys(arguments, &keys).await?;
    let pace = queue_pace(arguments);
    let measured = tokio::select! {
        measured = async {
            let serving = fleets.warm().await?;
            let executor = serving.ready.executors.first().context("no executor runs")?;
            queue::measure(serving.client.url(), keys, &executor.info, &pace).await
        } => measured,
        () = interrupts.next() => Err(anyhow::anyhow!("interrupted")),
    };
    let told = measured.and_then(|report| {
        let text = format!("{}\n", serde_json::to_string_pretty(&report)?);
        let file = keep(checkout, &format!("queue-{}.json", unix_seconds()?), &text)?;
        print(if arguments.json { text } else { queue::report::page(&report) });
        say(format_args!("written to {}", file.display()));
        Ok(())
    });
    told.and(fleets.stop(async || interrupts.next().await).await)
}

fn queue_pace(arguments: &BenchArguments) -> QueuePace {
    let seconds = arguments.seconds.unwrap_or(if arguments.quick { 10 } else { 40 });
    let waiting = match (&*arguments.waiting, arguments.quick) {
        ([], true) => vec![1000, 10_000],
        ([], false) => vec![10_000, 1_000_000],
        (waiting, _) => waiting.to_vec(),
    };
    QueuePace { phase: Duration::from_secs((seconds / 4).max(1)), waiting }
}

fn tell(arguments: &BenchArguments, checkout: &Path, report: &BenchReport) -> anyhow::Result<()> {
    let text = format!("{}\n", serde_json::to_string_pretty(report)?);
    let file = keep(checkout, &format!("{}.json", report.finished_at), &text)?;
    if arguments.json {
        print(&text);
    } else {
        print(page::page(report));
    }
    say(format_args!("written to {}", file.display()));
    Ok(())
}

async fn measure(
    arguments: &BenchArguments,
    fleets: &mut Fleets,
    workshop: &Workshop,
    programs: &[Program],
) -> anyhow::Result<BenchReport> {
    let warm = fleets.warm().await?;
    let cold = fleets.cold(arguments, &warm).await?;
    let pace = Pace::of(arguments.quick, arguments.seconds);
    let session = Session::new(&warm, cold.as_ref(), workshop, pace)?;
    session.measure(programs, &warm, cold.as_ref()).await
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
