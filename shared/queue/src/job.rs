//! What a job is, and what can be told of it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::{Lane, Timestamp};

/// The name of a job: a UUID of version 7 (RFC 9562). It sorts by time, and shows no counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// A new one.
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }

    /// That of a job which is found again by something that its caller knows: a digest of it, as a
    /// UUID of version 8. It does not sort by time.
    pub fn of_digest(digest: [u8; 16]) -> Self {
        Self(uuid::Builder::from_custom_bytes(digest).into_uuid())
    }

    /// As a store keeps it.
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// From what a store keeps.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Which of two jobs that are ready goes first: 9 before 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Priority(u8);

impl Priority {
    /// The highest.
    pub const MAX: u8 = 9;

    /// The priority `level`, if there is such a one.
    pub fn new(level: u8) -> Option<Self> {
        (level <= Self::MAX).then_some(Self(level))
    }

    /// As a number.
    pub fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$what:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$what])* $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name, on the wire and in stores.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|it| it.as_str() == text).ok_or(())
            }
        }
    };
}

words! {
    /// Where a job is on its way. The last four are final: nothing leaves them, but that dead jobs
    /// can be made ready again by hand.
    State {
        /// It waits for its time.
        Scheduled = "scheduled",
        /// It waits for a worker.
        Ready = "ready",
        /// A worker has it.
        Leased = "leased",
        /// It has a result, whatever its program did.
        Succeeded = "succeeded",
        /// It was not wanted any more.
        Cancelled = "cancelled",
        /// It could not be started in time.
        Expired = "expired",
        /// It cannot be run.
        Dead = "dead",
    }
}

impl State {
    /// Final states that few jobs are in, beside those that succeeded: stores find those by an index.
    pub(crate) fn is_rare(self) -> bool {
        matches!(self, Self::Cancelled | Self::Expired | Self::Dead)
    }

    /// In a state that waits, up to so many jobs are few: stores list those by what they have of that
    /// state, and more by going through all jobs, among which they are soon found.
    pub(crate) const FEW: u64 = 2_000;

    /// Whether it stays so.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Cancelled | Self::Expired | Self::Dead)
    }
}

words! {
    /// What becomes of a job whose worker is gone.
    Delivery {
        /// It is run again.
        AtLeastOnce = "at_least_once",
        /// It is dead: its program may have done what it must not do twice.
        AtMostOnce = "at_most_once",
    }
}

/// What a caller knows a submission by, so that it can be repeated without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The caller's own word for it.
    pub key: String,
    /// Digest of everything else that was submitted.
    pub digest: [u8; 32],
}

/// A job to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its name.
    pub id: JobId,
    /// Whose it is; empty for everybody without a key.
    pub caller: String,
    /// How many of its caller's may wait, where the store's own bound is not meant.
    pub waiting_max: Option<u64>,
    /// Which workers can run it.
    pub lane: Lane,
    /// What they are told, as it came.
    pub body: Vec<u8>,
    /// Which goes first.
    pub priority: Priority,
    /// Not to be run before then.
    pub run_at: Option<Timestamp>,
    /// How long after it may be run it has to be started.
    pub start_within: Option<Duration>,
    /// What it is recognized by when it comes again.
    pub idempotency: Option<IdempotencyKey>,
    /// What becomes of it when its worker is gone.
    pub delivery: Delivery,
    /// How often it is tried, 1 or more.
    pub attempts_max: u32,
    /// How long one attempt may take at most.
    pub attempt_max: Duration,
    /// How long it is kept once it is final.
    pub ttl: Duration,
    /// Where to tell that it is final.
    pub callback_url: Option<String>,
}

/// What is told of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// Whose it is.
    #[serde(skip)]
    pub caller: String,
    /// Which workers can run it.
    #[serde(flatten)]
    pub lane: Lane,
    /// Where it is.
    pub state: State,
    /// Why it is dead, or why the last attempt came to nothing.
    pub reason: Option<String>,
    /// Which goes first.
    pub priority: Priority,
    /// How often it was started.
    pub attempt: u32,
    /// How often it is started at most.
    pub attempts_max: u32,
    /// Whether it is wanted no more, and its worker does not know yet.
    pub cancel_requested: bool,
    /// When it came.
    pub created_at: Timestamp,
    /// When it may be run, where it is scheduled.
    pub run_at: Option<Timestamp>,
    /// When it was started last.
    pub started_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
    /// How many jobs are to be started before it, where it is ready: exact below
    /// [`Job::COUNTED_MAX`], and beyond it at most as many as told.
    pub position: Option<u64>,
    /// Counts its changes, from [`Job::FIRST_VERSION`].
    pub version: u64,
}

impl Job {
    /// What nothing has happened to yet.
    pub const FIRST_VERSION: u64 = 1;
    /// Beyond so many, a store need not count those that are before a job, and may tell how many of
    /// its lane are ready instead.
    pub const COUNTED_MAX: u64 = 200;
}

/// The result of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResult {
    /// The answer of its worker, as it came.
    pub body: Vec<u8>,
}

/// One try of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Which lease of the job it was, from 1.
    pub number: u32,
    /// Who had it.
    pub worker: String,
    /// When it was granted.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub reason: Option<String>,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of one caller.
    pub caller: Option<String>,
    /// Those in one state.
    pub state: Option<State>,
    /// Those of one language, whatever their queue.
    pub language: Option<String>,
    /// Those of one queue, whatever their language.
    pub queue: Option<String>,
    /// Those that came at this time or later.
    pub since: Option<Timestamp>,
    /// Those that came before this time.
    pub before: Option<Timestamp>,
}

/// Some of the jobs that a filter lets through, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Where to go on, if there are more.
    pub next: Option<i64>,
}

/// How many jobs there are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; State::ALL.len()]);

impl Counts {
    /// Of states by name with numbers, in any order; other names are not counted.
    pub(crate) fn of<'a>(counted: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let mut counts = Self::default();
        for (state, jobs) in counted {
            let place = State::ALL.iter().position(|it| it.as_str() == state);
            if let Some(count) = place.and_then(|it| counts.0.get_mut(it)) {
                *count += jobs;
            }
        }
        counts
    }

    /// Each state with its number.
    pub fn iter(&self) -> impl Iterator<Item = (State, u64)> {
        State::ALL.iter().copied().zip(self.0)
    }
}

/// A field for each state.
impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// What waits and what goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueStats {
    /// What the store takes, in bytes: of its file, of the database's tables, or of the server's
    /// memory.
    pub bytes: u64,
    /// By language and queue.
    pub lanes: Vec<LaneStats>,
}

/// The same for one lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneStats {
    /// Which.
    #[serde(flatten)]
    pub lane: Lane,
    /// Jobs that wait for their time.
    pub scheduled: u64,
    /// Jobs that wait for a worker.
    pub ready: u64,
    /// Jobs that a worker has.
    pub leased: u64,
    /// Dead jobs that are kept.
    pub dead: u64,
    /// How long the oldest ready job has waited, in milliseconds.
    pub oldest_ready_ms: Option<u64>,
    /// How long an attempt took lately, in milliseconds.
    pub average_run_ms: Option<u64>,
}
