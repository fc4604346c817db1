//! How well a run is isolated: the level, and each guarantee with the mechanism behind it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The rungs of the ladder, weakest first. A level is in force when every mechanism that it
/// needs was proven at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// L0: clean environment and resource limits only.
    Bare,
    /// L1: a system-call filter; no network.
    Filtered,
    /// L2: and an allow-list of files.
    Confined,
    /// L3: and no influence on any other process.
    Separated,
    /// L4: and its own namespaces.
    Namespaced,
    /// L5: and hard totals by cgroup.
    Bounded,
}

impl Level {
    /// Every level, weakest first.
    pub const ALL: [Self; 6] = [
        Self::Bare,
        Self::Filtered,
        Self::Confined,
        Self::Separated,
        Self::Namespaced,
        Self::Bounded,
    ];

    /// The word on the wire and in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Filtered => "filtered",
            Self::Confined => "confined",
            Self::Separated => "separated",
            Self::Namespaced => "namespaced",
            Self::Bounded => "bounded",
        }
    }

    /// The rung's number, 0 to 5.
    pub fn rung(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (L{})", self.as_str(), self.rung())
    }
}

/// A word that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no isolation level; use bare, filtered, confined, separated, namespaced or bounded"
)]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == word)
            .ok_or_else(|| UnknownLevel(word.to_owned()))
    }
}

/// How strongly a guarantee holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// The kernel refuses.
    Enforced,
    /// We look, and kill what oversteps; it may overshoot.
    Watched,
    /// Nobody does anything.
    None,
}

/// One thing that a run cannot do, and what stops it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guarantee {
    /// What is guarded, such as `network` or `memory_total`.
    pub name: String,
    /// How strongly.
    pub strength: Strength,
    /// By what.
    pub mechanism: String,
}

/// The limits that every run has, whatever it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitsInForce {
    /// Processes and threads of one run.
    pub processes: u64,
    /// Open descriptors of one process.
    pub open_files: u64,
    /// Size of one file, in bytes.
    pub file_bytes: u64,
    /// Kept of each output stream, in bytes.
    pub output_bytes: u64,
    /// Drained of all output together before the run is killed, in bytes.
    pub output_kill_bytes: u64,
}

/// What an executor says about its isolation. It holds no kernel version, path or uid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolationReport {
    /// The strongest level whose every mechanism was proven.
    pub level: Level,
    /// The level below which this executor refuses to start.
    pub minimum: Level,
    /// Each guarantee.
    pub guarantees: Vec<Guarantee>,
    /// What the host would have to grant for more.
    pub raise: Vec<String>,
    /// Limits that hold for every run.
    pub limits: LimitsInForce,
    /// What is seen around the executor, such as `container`, `virtual machine` or `gvisor`: the
    /// walls that stand beside ours. Best effort; empty if nothing is seen.
    #[serde(default)]
    pub outer: Vec<String>,
    /// The last self-test that came to an end; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_test: Option<SelfTestReport>,
}

/// How the hostile programs of a self-test fared, which ran as every run does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfTestReport {
    /// Whether every promise held. While it did not, no runs are taken.
    pub passed: bool,
    /// When it ended, in RFC 3339.
    pub time: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// Each attempt of each hostile program.
    pub results: Vec<SelfTestResult>,
}

/// How one attempt of one hostile program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfTestResult {
    /// What was attempted, which is what a guarantee is called, and by whom.
    pub name: String,
    /// Whether the guarantee is `enforced` here. What is not is attempted and told all the same.
    pub promised: bool,
    /// Whether the attempt was made and led nowhere.
    pub passed: bool,
    /// What came of it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
