//! Health, in the shape of `application/health+json`.

use serde::{Deserialize, Serialize};

use crate::Level;

/// `pass` and `warn` are answered 200, `fail` 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// All is well.
    Pass,
    /// It works, and something deserves a look.
    Warn,
    /// It takes no runs.
    Fail,
}

impl HealthStatus {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// The answer to an executor's `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorHealth {
    /// Whether it takes runs.
    pub status: HealthStatus,
    /// The service's name, such as `executor-python`.
    pub service_id: String,
    /// Why the status is not `pass`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The isolation level in force.
    pub isolation: Level,
    /// Runs at the same time.
    pub slots: usize,
    /// Slots that run nothing now.
    pub slots_free: usize,
    /// Slots taken out of service because a run could not be cleaned up.
    pub slots_quarantined: usize,
    /// Requests that wait for a slot now.
    pub waiting: usize,
}
