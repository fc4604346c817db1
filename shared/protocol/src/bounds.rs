//! What an executor accepts at most; the defaults are the original contract's.

use serde::{Deserialize, Serialize};

/// Upper bounds and defaults of a submission. Every one of them is finite: 0 never means
/// "unlimited".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Bounds {
    /// All source text together, in bytes.
    pub code_bytes_max: usize,
    /// All standard input of one submission together (every case counted), in bytes.
    pub input_bytes_max: usize,
    /// Wall clock of the run phase when the client names none, in seconds.
    pub timeout_default_seconds: f64,
    /// Longest wall clock a client may ask for, in seconds.
    pub timeout_max_seconds: f64,
    /// Memory of a run when the client names none, in MiB.
    pub memory_default_mb: u64,
    /// Smallest memory limit a client may ask for, in MiB.
    pub memory_min_mb: u64,
    /// Largest memory limit a client may ask for, in MiB.
    pub memory_max_mb: u64,
    /// Source files of one submission.
    pub files_max: usize,
    /// Cases of one submission.
    pub cases_max: usize,
    /// Arguments of the program; compiler options and output patterns have the same bound.
    pub args_max: usize,
    /// Arguments, or environment, all together, in bytes.
    pub args_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            code_bytes_max: 50 * 1024,
            input_bytes_max: 16 * 1024 * 1024,
            timeout_default_seconds: 30.0,
            timeout_max_seconds: 60.0,
            memory_default_mb: 128,
            memory_min_mb: 16,
            memory_max_mb: 512,
            files_max: 100,
            cases_max: 100,
            args_max: 64,
            args_bytes_max: 32 * 1024,
        }
    }
}

impl Bounds {
    /// The largest request body, in bytes, that can hold a permitted submission. JSON escapes
    /// most text at less than two bytes a byte; a body that needs more than this is refused.
    pub fn body_bytes_max(&self) -> usize {
        2 * self.input_bytes_max + 8 * self.code_bytes_max + 16 * self.args_bytes_max
    }

    /// The most JSON values, names included, that a permitted submission can have. A parsed
    /// value takes many times the memory of its text, so a body with more is not parsed.
    pub fn values_max(&self) -> usize {
        let of_arguments = self.args_max.saturating_mul(self.cases_max.saturating_add(8));
        16 * (self.files_max + self.cases_max) + of_arguments + 64
    }
}
