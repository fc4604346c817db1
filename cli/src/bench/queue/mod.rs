//! What the job queue carries: jobs of a language that only the bench itself plays a worker of, so
//! that nothing is measured but the gateway and its store, on the processors that the load takes, too.

mod client;
pub(super) mod report;

use std::collections::HashMap;
use std::io::{Seek as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use protocol::ExecutorInfo;
use protocol::worker::Work;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use super::statistics::{Summary, rate};
use crate::fleet::random_token;
use crate::output::say;
use client::{Queue, holding, job, poll, results};
use report::{ClaimCost, FullCycle, QueueReport};

/// Callers that submit at the same time.
const CALLERS: usize = 64;
/// Workers, and jobs that each asks for at a time.
const WORKERS: usize = 4;
const JOBS_OF_A_POLL: usize = 50;
/// Jobs of one submission while they go all the way, and how many are on it at most.
const BATCHES: [usize; 2] = [1, 10];
const ON_THE_WAY: usize = 4000;
/// Jobs a second while it is measured how soon one is picked up.
pub(super) const STEADY_PER_SECOND: u64 = 200;
/// Jobs in one submission where only their number matters.
const BATCH: usize = 100;
/// Claims that are timed, for each number of jobs that wait.
const CLAIMS: usize = 200;
/// How many jobs of one caller wait at least when it is counted how many of them go before another
/// caller's, and how often that is done.
const BACKLOG: u64 = 20_000;
const NEWCOMERS: usize = 20;
/// Times that the disk is asked to keep something.
const FLUSHES: usize = 50;

/// How long and how much.
#[derive(Debug)]
pub(crate) struct QueuePace {
    /// How long each measurement takes.
    pub(crate) phase: Duration,
    /// How many jobs wait when claims are timed.
    pub(crate) waiting: Vec<u64>,
}

/// The keys of this bench: that of a caller with many jobs, that of another one, and the workers'.
#[derive(Debug)]
pub(crate) struct Keys {
    caller: String,
    other: String,
    worker: String,
}

impl Keys {
    pub(crate) fn random() -> anyhow::Result<Self> {
        Ok(Self { caller: random_token()?, other: random_token()?, worker: random_token()? })
    }

    /// As a gateway takes them.
    pub(crate) fn entries(&self) -> String {
        let Self { caller, other, worker } = self;
        format!("caller:{caller},other:{other},worker:{worker} role=work")
    }
}

/// Measures the queue of the gateway at `url`. `info` is what any executor says of itself.
pub(crate) async fn measure(
    url: &str,
    keys: Keys,
    info: &ExecutorInfo,
    pace: &QueuePace,
) -> anyhow::Result<QueueReport> {
    let flush = flushes()?;
    let bench = Arc::new(Queue::at(url, keys)?);
    for number in 0..WORKERS {
        bench.register(number, info).await?;
    }
    say("how soon a job is picked up");
    let pickup = pickup(&bench, pace.phase).await?;
    let mut full_cycles = Vec::new();
    for batch in BATCHES {
        say(format_args!("how many jobs go all the way, submitted {batch} at a time"));
        let jobs = full_cycle(&bench, pace.phase, batch).await?;
        full_cycles.push(FullCycle { batch, per_second: rate(jobs, pace.phase.as_secs_f64()) });
    }
    let empty = bench.queue().await?;
    say("how many jobs are acknowledged");
    let (count, time, acknowledged) = submit_alone(&bench, pace.phase).await?;
    let mut claims = Vec::new();
    for waiting in &pace.waiting {
        say(format_args!("what a claim costs while {waiting} wait"));
        claims.push(claim_cost(&bench, *waiting).await?);
    }
    let full = bench.queue().await?;
    let jobs = full.ready().saturating_sub(empty.ready()).max(1);
    say("how long a backlog holds up another caller");
    fill(&bench, BACKLOG).await?;
    let before_a_newcomer = before_a_newcomer(&bench).await?;
    say("how many jobs go through");
    let (cycles, cycles_time) = cycle(&bench, pace.phase).await?;
    Ok(QueueReport {
        durability: full.durability,
        flush,
        pickup,
        enqueued_per_second: rate(count, time.as_secs_f64()),
        acknowledged,
        bytes_per_job: full.bytes.saturating_sub(empty.bytes) / jobs,
        claims,
        before_a_newcomer,
        cycles_per_second: rate(cycles, cycles_time.as_secs_f64()),
        full_cycles,
    })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn flushes() -> anyhow::Result<Summary> {
    let mut file = tempfile::NamedTempFile::new_in(".")?;
    let mut samples = Vec::new();
    for _ in 0..FLUSHES {
        let began = Instant::now();
        file.rewind()?;
        file.write_all(&[0; 4096])?;
        file.as_file().sync_data()?;
        samples.push(ms(began.elapsed()));
    }
    Summary::of(&samples).context("no flush was measured")
}

/// From the moment that a job is submitted to that when a worker has it.
async fn pickup(bench: &Arc<Queue>, phase: Duration) -> anyhow::Result<Summary> {
    let picked: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let mut workers = JoinSet::new();
    for number in 0..2 {
        let (bench, picked) = (Arc::clone(bench), Arc::clone(&picked));
        workers.spawn(async move {
            for turn in 0.. {
                let poll = poll(number, turn, 10, Duration::from_secs(5));
                let work: Work = bench.call("/v1/worker/poll", &poll).await?;
                let now = Instant::now();
                picked.lock().await.extend(work.jobs.iter().map(|it| (it.id.clone(), now)));
                if !work.jobs.is_empty() {
                    bench.accept(number, holding(&work)).await?;
                    bench.complete(results(&work)?, None).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(1000 / STEADY_PER_SECOND));
    let (until, mut submitting) = (Instant::now() + phase, JoinSet::new());
    while Instant::now() < until {
        ticks.tick().await;
        let bench = Arc::clone(bench);
        submitting.spawn(async move {
            let began = Instant::now();
            anyhow::Ok((bench.submit().await?, began))
        });
    }
    let mut submitted = Vec::new();
    while let Some(done) = submitting.join_next().await {
        submitted.push(done??);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    workers.shutdown().await;
    let picked = picked.lock().await;
    let times = submitted.iter().filter_map(|(id, began)| Some(ms(*picked.get(id)? - *began)));
    let times: Vec<f64> = times.collect();
    ensure!(
        times.len() == submitted.len(),
        "{} jobs were not picked up",
        submitted.len() - times.len()
    );
    Summary::of(&times).context("no job was picked up")
}

/// Many callers, each with one job after the other.
async fn submit_alone(
    bench: &Arc<Queue>,
    phase: Duration,
) -> anyhow::Result<(usize, Duration, Summary)> {
    let began = Instant::now();
    let until = began + phase;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let bench = Arc::clone(bench);
        callers.spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < until {
                let began = Instant::now();
                bench.submit().await?;
                times.push(ms(began.elapsed()));
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = callers.join_next().await {
        times.extend(done??);
    }
    let summary = Summary::of(&times).context("no job was acknowledged")?;
    Ok((times.len(), began.elapsed(), summary))
}

/// What a claim of one job costs while so many wait.
async fn claim_cost(bench: &Arc<Queue>, waiting: u64) -> anyhow::Result<ClaimCost> {
    fill(bench, waiting).await?;
    let mut samples = Vec::new();
    for turn in 0..CLAIMS {
        let began = Instant::now();
        let poll = poll(0, turn + 1_000_000, 1, Duration::ZERO);
        let work = bench.complete(Vec::new(), Some(poll)).await?;
        samples.push(ms(began.elapsed()));
        bench.call::<Value>("/v1/worker/release", &json!({ "leases": holding(&work) })).await?;
    }
    Ok(ClaimCost { waiting, time: Summary::of(&samples).context("nothing was claimed")? })
}

/// Has so many jobs wait at least.
async fn fill(bench: &Queue, waiting: u64) -> anyhow::Result<()> {
    let batch = vec![job(); BATCH];
    while bench.queue().await?.ready() < waiting {
        let fill = (0..8).map(|_| bench.submit_batch(&batch));
        futures::future::try_join_all(fill).await?;
    }
    Ok(())
}

/// How many jobs of the backlog are started before that of a caller who comes along, each time.
async fn before_a_newcomer(bench: &Queue) -> anyhow::Result<Vec<usize>> {
    let (mut before, mut turn) = (Vec::new(), 3_000_000);
    for _ in 0..NEWCOMERS {
        let mut ready = Vec::new();
        let newcomer = bench.submit_as_another().await?;
        let mut others = 0;
        loop {
            turn += 1;
            let work = bench.complete(ready, Some(poll(0, turn, 1, Duration::ZERO))).await?;
            bench.accept(0, holding(&work)).await?;
            ready = results(&work)?;
            let started = work.jobs.first().context("nothing is started though much waits")?;
            if started.id == newcomer {
                break;
            }
            others += 1;
        }
        bench.complete(ready, None).await?;
        before.push(others);
    }
    before.sort_unstable();
    Ok(before)
}

/// How many jobs are submitted, claimed, accepted and completed in a phase, all at the same time. None
/// of them waits when this returns.
async fn full_cycle(bench: &Arc<Queue>, phase: Duration, batch: usize) -> anyhow::Result<usize> {
    let until = Instant::now() + phase;
    let room = Arc::new(Semaphore::new(ON_THE_WAY));
    let (mut callers, mut workers) = (JoinSet::new(), JoinSet::new());
    for _ in 0..CALLERS.div_ceil(batch) {
        let (bench, room) = (Arc::clone(bench), Arc::clone(&room));
        callers.spawn(async move {
            let jobs = vec![job(); batch];
            while Instant::now() < until {
                room.acquire_many(u32::try_from(batch)?).await?.forget();
                if batch == 1 {
                    bench.submit().await?;
                } else {
                    bench.submit_batch(&jobs).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    for number in 0..WORKERS {
        let (bench, room) = (Arc::clone(bench), Arc::clone(&room));
        workers.spawn(async move {
            let (mut done, mut ready) = (0, Vec::new());
            for turn in 0.. {
                let turn = turn + 10_000_000 * batch;
                let poll = poll(number, turn, JOBS_OF_A_POLL, Duration::from_millis(500));
                let count = ready.len();
                let work = bench.complete(ready, Some(poll)).await?;
                room.add_permits(count);
                let is_over = Instant::now() >= until;
                done += if is_over { 0 } else { count };
                if !work.jobs.is_empty() {
                    bench.accept(number, holding(&work)).await?;
                } else if is_over {
                    break;
                }
                ready = results(&work)?;
            }
            anyhow::Ok(done)
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    let mut all = 0;
    while let Some(done) = workers.join_next().await {
        all += done??;
    }
    Ok(all)
}

/// How many of the jobs that wait are claimed, accepted and completed in a phase.
async fn cycle(bench: &Arc<Queue>, phase: Duration) -> anyhow::Result<(usize, Duration)> {
    let began = Instant::now();
    let until = began + phase;
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        let bench = Arc::clone(bench);
        workers.spawn(async move {
            let (mut done, mut ready) = (0, Vec::new());
            for turn in 0.. {
                let poll = poll(number, turn + 2_000_000, JOBS_OF_A_POLL, Duration::ZERO);
                let is_over = Instant::now() >= until;
                let count = ready.len();
                let work = bench.complete(ready, Some(poll).filter(|_| !is_over)).await?;
                done += count;
                if work.jobs.is_empty() {
                    break;
                }
                bench.accept(number, holding(&work)).await?;
                ready = results(&work)?;
            }
            anyhow::Ok(done)
        });
    }
    let mut all = 0;
    while let Some(done) = workers.join_next().await {
        all += done??;
    }
    Ok((all, began.elapsed()))
}
