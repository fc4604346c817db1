//! The right to finish a job.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use subtle::ConstantTimeEq as _;

use crate::{JobId, Lane, State, Timestamp};

/// What proves a lease: 128 random bits, never used twice. Numbers of attempts go down and repeat.
#[derive(Clone, Copy)]
pub struct Token([u8; 16]);

impl Token {
    /// A new one.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As a store keeps it.
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From what a store keeps.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease's token is 32 hexadecimal digits")]
pub struct InvalidToken;

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        if text.len() != 32 || !text.is_ascii() {
            return Err(InvalidToken);
        }
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or(InvalidToken)?;
            *byte = u8::from_str_radix(digits, 16).or(Err(InvalidToken))?;
        }
        Ok(Self(bytes))
    }
}

/// A job and the right to finish it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Which job.
    pub id: JobId,
    /// What proves it.
    pub token: Token,
}

/// A worker's wish for jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who asks.
    pub worker: String,
    /// Which of its wishes it is: the same one again gets the same leases, as long as it has not
    /// shown that it has them.
    pub poll: Option<String>,
    /// Those whose jobs it can run.
    pub lanes: Vec<Lane>,
    /// How many jobs it can run.
    pub most: usize,
    /// How long the leases are, until they are extended. A worker extends a lease before it starts
    /// the job: until then, nothing of it was run, and no attempt is spent.
    pub lease: Duration,
    /// How many jobs a caller may have running at a time.
    pub running_max: u64,
    /// The same for callers that are not like others.
    pub running_max_of: Vec<(String, u64)>,
}

impl Claim {
    /// How many jobs a caller may have running.
    pub(crate) fn running_max_of(&self, caller: &str) -> u64 {
        let own = self.running_max_of.iter().find(|(whose, _)| whose == caller);
        own.map_or(self.running_max, |(_, most)| *most)
    }
}

/// A job that a worker may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The right to finish it.
    pub lease: Lease,
    /// Whose it is.
    pub caller: String,
    /// Where it waited.
    pub lane: Lane,
    /// What to run, as it came.
    pub body: Vec<u8>,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// How long it may take at most.
    pub attempt_max: Duration,
}

/// A lease that a worker has, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The right to finish the job.
    pub lease: Lease,
    /// Whose job it is.
    pub caller: String,
    /// How long ago it was granted.
    pub age: Duration,
}

/// What came of extending a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    /// It goes on.
    Held {
        /// For so long. Never an instant: the worker's clock is its own.
        time: Duration,
        /// Whether the job is not wanted any more.
        cancel: bool,
    },
    /// It has ended.
    Lost,
}

/// A result of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The right to give it.
    pub lease: Lease,
    /// The worker's answer, as it is passed on.
    pub body: Vec<u8>,
    /// Its digest.
    pub digest: [u8; 32],
    /// Whether the program was stopped because the job was not wanted any more.
    pub was_cancelled: bool,
    /// How long the attempt took.
    pub run_time: Duration,
}

/// What came of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    /// It is the job's.
    Recorded,
    /// The same lease gave one before.
    Duplicate {
        /// Whether it was this one.
        is_same: bool,
    },
    /// The lease has ended; nothing changed.
    Stale,
    /// There is no such job.
    Gone,
}

/// A fault of ours that kept a job from being run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The right to tell it.
    pub lease: Lease,
    /// What it was.
    pub reason: String,
    /// Whether another attempt may help.
    pub is_retryable: bool,
    /// Whether the program may have run, as far as that is known.
    pub may_have_run: bool,
}

/// The last attempts of a job that are kept.
pub(crate) const ATTEMPTS_KEPT: u32 = 100;

/// So many attempts of a job are given back because somebody leaves: a worker that always says so is no
/// reason to run a job for ever.
pub(crate) const DRAINS_FREE: u32 = 30;

impl Failure {
    /// Why an attempt ends whose worker was asked to leave, and of one whose executor was.
    pub const DRAINED: [&str; 2] = ["drain", "executor_drained"];

    /// Whether it ended only because somebody was asked to leave: such an attempt is given back.
    pub(crate) fn is_drain(&self) -> bool {
        self.is_retryable && Self::DRAINED.contains(&self.reason.as_str())
    }
}

/// What came of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It is tried again then.
    Retry(Timestamp),
    /// It is final.
    Final(State),
    /// The lease has ended; nothing changed.
    Stale,
}

/// What came of handing back a job that was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It waits again, and no attempt was spent.
    Released,
    /// The lease has ended; nothing changed.
    Stale,
}
