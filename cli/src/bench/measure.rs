//! Runs programs, through the fleet and bare, and takes the time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use protocol::RunReport;
use reqwest::Client;
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

use super::programs::Program;
use super::statistics::{Summary, percentile, rate};
use crate::fleet::{self, process};
use crate::http;

/// Fewer samples say nothing; more add nothing.
const SAMPLES_MIN: usize = 5;
const SAMPLES_MAX: usize = 300;
/// Pairs of runs that tell what the gateway adds.
const PAIRS: usize = 200;
/// How long one run may take.
const RUN_MAX: Duration = Duration::from_mins(2);
/// Runs at the same time, where more than one.
const TOGETHER: usize = 2;
/// Slices of time that each side gets when runs go together.
const SLICES: u32 = 2;

/// How long each part of a program's turns may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    latency: Duration,
    slice: Duration,
}

impl Turns {
    /// Divides what a program has: most for latency, the rest for runs that go together.
    pub(crate) fn of(share: Duration) -> Self {
        Self { latency: share * 3 / 5, slice: share * 2 / 5 / (2 * SLICES) }
    }
}

/// What came of one program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    /// Through the fleet, each source new to it.
    pub(crate) fleet: Vec<f64>,
    /// Through the fleet, a source that it compiled before.
    pub(crate) cached: Vec<f64>,
    /// Bare.
    pub(crate) bare: Vec<f64>,
    /// Runs a second through the fleet, two at once.
    pub(crate) fleet_together: Option<f64>,
    /// Runs a second bare, two at once.
    pub(crate) bare_together: Option<f64>,
    /// What could not be measured, and why.
    pub(crate) notes: Vec<String>,
}

/// What the gateway adds to a run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayCost {
    /// The program that was run.
    pub(crate) program: String,
    /// Straight to the executor.
    pub(crate) direct: Summary,
    /// Through the gateway.
    pub(crate) through: Summary,
    /// Median of the differences of neighbours, in milliseconds.
    pub(crate) added_p50_ms: f64,
}

/// A fleet to measure, and a place for bare toolchains.
#[derive(Debug)]
pub(crate) struct Measurer {
    client: Client,
    url: String,
    token: String,
    scratch: TempDir,
    environment: Vec<(String, String)>,
    number: AtomicU64,
}

impl Measurer {
    pub(crate) fn new(url: &str, token: &str, checkout: &Path) -> anyhow::Result<Self> {
        let found = fleet::toolchain_directories(checkout);
        let path = settings::path_directories().into_iter().chain(found);
        let path: Vec<String> = path.map(|it| it.display().to_string()).collect();
        Ok(Self {
            client: http::local_client()?,
            url: url.to_owned(),
            token: token.to_owned(),
            scratch: tempfile::Builder::new().prefix("flotilla-bench-").tempdir()?,
            environment: vec![("PATH".to_owned(), path.join(":"))],
            number: AtomicU64::new(u64::from(std::process::id()) << 20),
        })
    }

    /// Measures one program on both sides in turns.
    pub(crate) async fn program(&self, program: &Program, turns: Turns) -> Measured {
        let mut measured = Measured::default();
        if let Err(error) = self.sequence(program, turns, &mut measured).await {
            measured.notes.push(format!("{error:#}"));
        }
        measured
    }

    async fn sequence(
        &self,
        program: &Program,
        turns: Turns,
        measured: &mut Measured,
    ) -> anyhow::Result<()> {
        let repeated = program.request(self.unique());
        self.through(&repeated, program).await?;
        let site = self.site(program, 0).await?;
        let has_bare = match self.bare(program, &site).await {
            Ok(_) => true,
            Err(error) => {
                measured.notes.push(format!("bare: {error:#}"));
                false
            }
        };
        let began = Instant::now();
        for turn in 0..SAMPLES_MAX {
            if turn >= SAMPLES_MIN && began.elapsed() > turns.latency {
                break;
            }
            let request = program.request(self.unique());
            measured.fleet.push(self.through(&request, program).await?);
            if has_bare {
                measured.bare.push(self.bare(program, &site).await?);
            }
            if program.can_differ() {
                measured.cached.push(self.through(&repeated, program).await?);
            }
        }
        let (mut ours, mut theirs) = (Tally::default(), Tally::default());
        for _ in 0..SLICES {
            ours.add(&self.together(program, turns.slice, Side::Fleet).await?);
            if has_bare {
                theirs.add(&self.together(program, turns.slice, Side::Bare).await?);
            }
        }
        measured.fleet_together = ours.rate();
        measured.bare_together = theirs.rate();
        Ok(())
    }

    /// The same run straight to the executor and through the gateway, in turns that change
    /// places.
    pub(crate) async fn gateway(
        &self,
        program: &Program,
        port: u16,
        turns: Turns,
    ) -> anyhow::Result<Option<GatewayCost>> {
        let request = program.request(self.unique());
        let url = format!("http://127.0.0.1:{port}/execute");
        let (mut direct, mut through, mut added) = (Vec::new(), Vec::new(), Vec::new());
        let began = Instant::now();
        for turn in 0..PAIRS {
            if turn >= SAMPLES_MIN && began.elapsed() > turns.latency {
                break;
            }
            let (one, other);
            if turn % 2 == 0 {
                one = self.post(&url, &request, program).await?;
                other = self.through(&request, program).await?;
            } else {
                other = self.through(&request, program).await?;
                one = self.post(&url, &request, program).await?;
            }
            direct.push(one);
            through.push(other);
            added.push(other - one);
        }
        let cost = Summary::of(&direct).zip(Summary::of(&through)).zip(percentile(&added, 50));
        Ok(cost.map(|((direct, through), added_p50_ms)| GatewayCost {
            program: format!("{} {}", program.language, program.name),
            direct,
            through,
            added_p50_ms,
        }))
    }

    /// As many runs as fit into `slice`, two at a time.
    async fn together(
        &self,
        program: &Program,
        slice: Duration,
        side: Side,
    ) -> anyhow::Result<Tally> {
        let began = Instant::now();
        let workers = (0..TOGETHER).map(|worker| async move {
            let site = self.site(program, worker).await?;
            let mut runs = 0;
            while runs == 0 || began.elapsed() < slice {
                match side {
                    Side::Fleet => self.through(&program.request(self.unique()), program).await?,
                    Side::Bare => self.bare(program, &site).await?,
                };
                runs += 1;
            }
            anyhow::Ok(runs)
        });
        let runs = futures::future::try_join_all(workers).await?.into_iter().sum();
        Ok(Tally { runs, seconds: began.elapsed().as_secs_f64() })
    }

    async fn through(&self, request: &Value, program: &Program) -> anyhow::Result<f64> {
        self.post(&format!("{}/v1/execute", self.url), request, program).await
    }

    /// Milliseconds from the request to its whole answer, which must be the right one.
    async fn post(&self, url: &str, request: &Value, program: &Program) -> anyhow::Result<f64> {
        let request = http::with_json(self.client.post(url), request);
        let request = request.bearer_auth(&self.token).timeout(RUN_MAX).build()?;
        let began = Instant::now();
        let response = self.client.execute(request).await?;
        let status = response.status();
        let body = response.bytes().await?;
        let took = milliseconds(began);
        if !status.is_success() {
            bail!("{status}: {}", http::head(&body));
        }
        let report: RunReport = serde_json::from_slice(&body).with_context(|| http::head(&body))?;
        if !report.status.is_pass() || report.output != program.expected() {
            let status = report.status.as_str();
            bail!("{status}, printed {:?} {:?}", report.output, report.error);
        }
        Ok(took)
    }

    /// Milliseconds from the first command's start to the last one's end.
    async fn bare(&self, program: &Program, site: &Site) -> anyhow::Result<f64> {
        if site.commands.is_empty() {
            bail!("there is no bare toolchain to compare with");
        }
        std::fs::write(program.entry(&site.directory), program.source(self.unique()))?;
        let began = Instant::now();
        let mut printed = Vec::new();
        for words in &site.commands {
            printed = self.output(words, &site.directory).await?;
        }
        let took = milliseconds(began);
        if printed != program.expected().as_bytes() {
            bail!("printed {:?}", http::head(&printed));
        }
        Ok(took)
    }

    /// What a command prints, which must succeed.
    async fn output(&self, words: &[String], directory: &Path) -> anyhow::Result<Vec<u8>> {
        let output = process::output(words, &self.environment, directory, RUN_MAX).await?;
        if !output.status.success() {
            bail!("`{}`: {}: {}", words.join(" "), output.status, http::head(&output.stderr));
        }
        Ok(output.stdout)
    }

    /// Makes a place for a worker's bare runs. A program that is not found stays a placeholder,
    /// and the first run says so.
    async fn site(&self, program: &Program, worker: usize) -> anyhow::Result<Site> {
        let name = format!("{}-{}-{worker}", program.language, program.name);
        let directory = self.scratch.path().join(name);
        std::fs::create_dir_all(&directory)?;
        let mut places = BTreeMap::from([("dir".to_owned(), directory.display().to_string())]);
        // Bare and fleet must run the same version, or the comparison is of two others.
        let version = self.version(&program.language).await?;
        for (name, words) in program.programs() {
            let words: Vec<String> =
                words.iter().map(|word| word.replace("{version}", &version)).collect();
            if let Ok(place) = self.output(&words, &directory).await {
                places.insert(name.clone(), String::from_utf8_lossy(&place).trim().to_owned());
            }
        }
        Ok(Site { commands: program.bare(&places), directory })
    }

    /// The version that the fleet runs when a request names none.
    async fn version(&self, language: &str) -> anyhow::Result<String> {
        let url = format!("{}/v1/languages/{language}", self.url);
        let language: Value = http::get(&self.client, &url, Some(&self.token)).await?;
        let version = language.pointer("/versions/0").and_then(Value::as_str);
        Ok(version.unwrap_or_default().to_owned())
    }

    /// A number that no run has had before.
    fn unique(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }
}

/// Where a program runs bare, and how.
#[derive(Debug)]
struct Site {
    directory: PathBuf,
    commands: Vec<Vec<String>>,
}

/// Who runs a program.
#[derive(Debug, Clone, Copy)]
enum Side {
    Fleet,
    Bare,
}

/// Runs in a time.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    seconds: f64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.seconds += other.seconds;
    }

    fn rate(&self) -> Option<f64> {
        (self.runs > 0).then(|| rate(self.runs, self.seconds))
    }
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}
