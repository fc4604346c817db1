//! What workers and the gateway say to each other. A worker only calls out: it asks for jobs, says
//! again and again that it has them, and tells what came of them.
//!
//! Fields that one side does not know are passed over, so that an older one goes on working. What
//! proves a lease is its token; the name of a worker proves nothing.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ExecutorInfo;

/// The version of this protocol.
pub const PROTOCOL: u32 = 1;

/// What a worker says of itself: `POST /v1/worker/register`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// Its name, the same across restarts.
    pub worker: String,
    /// Which start of it this is: random, and new each time.
    pub incarnation: String,
    /// Whether it has just started, and so runs none of the jobs that it had before.
    pub is_fresh: bool,
    /// The version of its program.
    pub version: String,
    /// The oldest and the newest version of this protocol that it speaks.
    pub protocol: [u32; 2],
    /// The queues whose jobs it runs; the default one if there is none.
    #[serde(default)]
    pub queues: Vec<String>,
    /// What it runs.
    pub info: ExecutorInfo,
}

/// What a worker is told when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// The version of this protocol that is spoken.
    pub protocol: u32,
    /// How often it says which jobs it has, in milliseconds.
    pub beat_ms: u64,
    /// How long a lease lasts when it was accepted, and each time that it is said again, in
    /// milliseconds.
    pub lease_ms: u64,
    /// How long it may have a poll wait, in milliseconds.
    pub wait_ms: u64,
    /// How many jobs it may ask for at a time.
    pub jobs_max: usize,
}

/// The right to finish a job, on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldLease {
    /// The job.
    pub id: String,
    /// What proves it.
    pub token: String,
}

/// A wish for jobs: `POST /v1/worker/poll`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Poll {
    /// Who asks.
    pub worker: String,
    /// Which start of it.
    pub incarnation: String,
    /// Which of its wishes this is: the same again is answered with the same jobs.
    pub poll: String,
    /// How many jobs it can start now; none if it only wants to hear of its own.
    pub free: usize,
    /// How long there may be no answer, in milliseconds.
    pub wait_ms: u64,
    /// Everything that it has. What it was given by an earlier poll and does not have is given to
    /// somebody else.
    pub holding: Vec<HeldLease>,
    /// How the worker is.
    pub state: WorkerState,
    /// How its machine is.
    pub host: Option<HostReport>,
}

/// The answer to a poll, and to a completion that asks for more.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Work {
    /// Jobs to run, each held for a short while until the worker says that it has it.
    pub jobs: Vec<GrantedJob>,
    /// Those of its jobs that are not wanted any more.
    pub cancel: Vec<String>,
    /// What it is to do beside.
    pub action: Action,
}

/// A job to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantedJob {
    /// Which.
    pub id: String,
    /// What proves that it may be finished.
    pub token: String,
    /// What it is written in.
    pub language: String,
    /// Whose it is, in a word that tells nothing else; empty for everybody without a key.
    pub caller: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How long it may take at most, in milliseconds.
    pub attempt_ms: u64,
    /// What is run: the body of `POST /execute`.
    pub run: Box<RawValue>,
}

impl GrantedJob {
    /// The right to finish it.
    #[must_use]
    pub fn lease(&self) -> HeldLease {
        HeldLease { id: self.id.clone(), token: self.token.clone() }
    }
}

/// What a worker is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Take no more jobs until it is told to resume.
    Drain,
    /// Take jobs again.
    Resume,
    /// Go on. So does whoever does not know the word.
    #[default]
    #[serde(other)]
    Continue,
}

/// How a worker is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It takes jobs.
    #[default]
    Active,
    /// It takes no more.
    Draining,
}

/// Everything that a worker has, said again: `POST /v1/worker/beat`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Beat {
    /// Who says it.
    pub worker: String,
    /// Which start of it.
    pub incarnation: String,
    /// What it has.
    pub holding: Vec<HeldLease>,
    /// How the worker is.
    pub state: WorkerState,
    /// How its machine is.
    pub host: Option<HostReport>,
}

/// The answer to a beat: what of each lease, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Beaten {
    /// What of each.
    pub leases: Vec<LeaseState>,
    /// What the worker is to do beside.
    pub action: Action,
}

/// What of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// It goes on.
    Held,
    /// It goes on, and its job is not wanted any more.
    Cancel,
    /// It has ended.
    Lost,
}

/// Results: `POST /v1/worker/complete`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Completions {
    /// The results.
    pub results: Vec<JobResult>,
    /// What the worker wants next. It is answered at once, with or without jobs.
    pub poll: Option<Poll>,
}

/// The result of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobResult {
    /// The job.
    pub id: String,
    /// What proves that it may be finished.
    pub token: String,
    /// How long the attempt took, in milliseconds.
    pub run_ms: u64,
    /// The answer of the executor.
    pub report: Box<RawValue>,
}

impl JobResult {
    /// The right to give it.
    #[must_use]
    pub fn lease(&self) -> HeldLease {
        HeldLease { id: self.id.clone(), token: self.token.clone() }
    }
}

/// The answer to results: what of each, in their order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Completed {
    /// What of each.
    pub results: Vec<ResultState>,
    /// What the worker asked for.
    pub work: Option<Work>,
}

/// What came of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultState {
    /// It is the job's.
    Recorded,
    /// It came before.
    Duplicate,
    /// The same lease gave another one before.
    Conflict,
    /// The lease had ended; nothing changed.
    Stale,
    /// There is no such job.
    Gone,
    /// The lease or the result is none.
    Invalid,
}

/// Jobs that came to nothing: `POST /v1/worker/fail`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Failures {
    /// Each of them.
    pub failures: Vec<JobFailure>,
}

/// A job that came to nothing through a fault that is not its program's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobFailure {
    /// The right to tell it.
    #[serde(flatten)]
    pub lease: HeldLease,
    /// What it was, in a word or a few.
    pub reason: String,
    /// Whether another attempt may help.
    pub is_retryable: bool,
    /// Whether the program may have run.
    pub may_have_run: bool,
}

/// Jobs that were not started: `POST /v1/worker/release`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Releases {
    /// Their leases.
    pub leases: Vec<HeldLease>,
}

/// What became of failures and releases, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ended {
    /// Whether each lease was the job's until now.
    pub ended: Vec<bool>,
}

/// The end of a worker: `POST /v1/worker/leave`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Leave {
    /// Who leaves.
    pub worker: String,
    /// Which start of it.
    pub incarnation: String,
}

/// How the machine of a worker is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostReport {
    /// Its name.
    pub hostname: String,
    /// Its kernel.
    pub kernel: String,
    /// Processors that the worker may use.
    pub processors: usize,
    /// How busy all of them were since the last report, from 0 to 1.
    pub cpu: f64,
    /// All memory, in bytes.
    pub memory_bytes: u64,
    /// What is left of it, in bytes.
    pub memory_free_bytes: u64,
    /// The disk that work directories are on, in bytes.
    pub disk_bytes: u64,
    /// What is left of it, in bytes.
    pub disk_free_bytes: u64,
}
