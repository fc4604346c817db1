//! What a run answers: the events of its log, and the report that they fold up to.

use serde::{Deserialize, Serialize};

use crate::validation::{Diagnostic, Severity};

/// How a run ended. Taken from the kernel's word, never from the program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The program exited with 0.
    Success,
    /// It exited with another code or died of a signal.
    RuntimeError,
    /// The compiler refused it.
    CompileError,
    /// It used more wall-clock or processor time than it may.
    Timeout,
    /// It died of the memory limit.
    MemoryLimit,
    /// It wrote more than may be drained.
    OutputLimit,
    /// The client went away or asked for it to stop.
    Cancelled,
    /// It exited with 0 and printed what was expected.
    Accepted,
    /// It exited with 0 and printed something else than expected.
    WrongAnswer,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::RuntimeError => "runtime_error",
            Self::CompileError => "compile_error",
            Self::Timeout => "timeout",
            Self::MemoryLimit => "memory_limit",
            Self::OutputLimit => "output_limit",
            Self::Cancelled => "cancelled",
            Self::Accepted => "accepted",
            Self::WrongAnswer => "wrong_answer",
        }
    }

    /// Whether the program did what was asked of it.
    pub fn is_pass(self) -> bool {
        matches!(self, Self::Success | Self::Accepted)
    }
}

/// A phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The compiler works.
    Compile,
    /// The program works.
    Run,
}

/// One entry of a run's log. The synchronous answer is this log folded up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunEvent {
    /// A phase begins.
    Stage {
        /// Which one.
        stage: Stage,
        /// Index of the case it belongs to, if the submission has cases.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        case: Option<usize>,
    },
    /// Whole UTF-8 characters of standard output.
    Stdout {
        /// The text.
        data: String,
        /// Bytes instead that are no text, as base64, in a run that somebody takes part in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        b64: Option<String>,
        /// Index of the case it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        case: Option<usize>,
    },
    /// Whole UTF-8 characters of standard error, or the compiler's diagnostics.
    Stderr {
        /// The text.
        data: String,
        /// Bytes instead that are no text, as base64, in a run that somebody takes part in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        b64: Option<String>,
        /// Index of the case it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        case: Option<usize>,
    },
    /// What the compiler or a front end before it found, at its place.
    Diagnostic {
        /// How bad it is.
        severity: Severity,
        /// What was found.
        #[serde(flatten)]
        diagnostic: Diagnostic,
    },
    /// What the process has spent so far, in a run that somebody takes part in.
    Stats {
        /// What it spent.
        #[serde(flatten)]
        stats: RunStats,
        /// Index of the case it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        case: Option<usize>,
    },
    /// The run ended: the report, with `output` and `error` left empty, as they went before.
    Exit {
        /// The report.
        report: Box<RunReport>,
    },
    /// We failed: the run has no report.
    Fault {
        /// What the synchronous answer would have been.
        problem: Box<crate::Problem>,
    },
}

impl RunEvent {
    /// The event's name on an event stream.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stage { .. } => "stage",
            Self::Stdout { .. } => "stdout",
            Self::Stderr { .. } => "stderr",
            Self::Diagnostic { .. } => "diagnostic",
            Self::Stats { .. } => "stats",
            Self::Exit { .. } => "exit",
            Self::Fault { .. } => "fault",
        }
    }
}

/// What a run has spent so far, by the names that its report will have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStats {
    /// Wall clock, in seconds.
    pub execution_time: f64,
    /// Processor time of the whole tree, in seconds.
    pub cpu_time: f64,
    /// Peak memory of the whole tree, in bytes.
    pub memory_used: u64,
    /// Processes that there are now.
    pub processes: u64,
    /// The isolation level in force.
    pub isolation: crate::Level,
}

/// What one process tree spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Wall clock, in seconds.
    pub wall_time: f64,
    /// Processor time of the whole tree, in seconds.
    pub cpu_time: f64,
    /// Peak memory of the whole tree, in bytes.
    pub memory_bytes: u64,
}

/// The answer to `POST /execute`. Field names are the original contract's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// The request's id.
    pub request_id: String,
    /// How the run ended; with cases, the first status that is not a pass.
    pub status: Status,
    /// Standard output; empty when there are cases.
    pub output: String,
    /// Standard error, or the compiler's diagnostics; empty when there are cases.
    pub error: String,
    /// The exact bytes of standard output, if the request set `outputBase64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_base64: Option<String>,
    /// Whether `output` is only the head of what was written.
    pub output_truncated: bool,
    /// Whether `error` is only the head of what was written.
    pub error_truncated: bool,
    /// Wall clock of the run phase, in seconds; with cases, their sum.
    pub execution_time: f64,
    /// Processor time of the run phase's whole tree, in seconds; with cases, their sum.
    pub cpu_time: f64,
    /// Peak memory of the whole tree, in bytes; with cases, the largest.
    pub memory_used: u64,
    /// Whether `memoryUsed` and `cpuTime` were sampled and may be a little low.
    pub approximate: bool,
    /// What the program exited with; null if a signal ended it or it never ran.
    pub exit_code: Option<i32>,
    /// The signal that ended it, such as `SIGSEGV`.
    pub signal: Option<String>,
    /// The compile phase, or null where there is none.
    pub compile: Option<CompileReport>,
    /// One entry a case of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<CaseReport>,
    /// Files of the work directory that the request asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<OutputFile>,
    /// Where the time went.
    pub timings: Timings,
    /// Whether a warm process served the run.
    pub warm: bool,
    /// The isolation level in force.
    pub isolation: crate::Level,
    /// The language that ran.
    pub language: String,
    /// The version of the runtime that ran.
    pub version: String,
}

/// The compile phase of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompileReport {
    /// How it ended.
    pub status: CompileStatus,
    /// What the compiler said, warnings included.
    pub output: String,
    /// Wall clock, in seconds.
    pub time: f64,
    /// Whether the result came from the compile cache.
    pub cached: bool,
}

/// How a compile phase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompileStatus {
    /// There is a program to run.
    Success,
    /// The compiler refused the sources.
    Error,
    /// It took longer than it may.
    Timeout,
    /// It used more memory than it may.
    MemoryLimit,
}

/// One case of a run: one standard input and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseReport {
    /// The request's name for it, or its number from 1.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub error: String,
    /// Whether `output` is only the head.
    pub output_truncated: bool,
    /// Whether `error` is only the head.
    pub error_truncated: bool,
    /// Wall clock, in seconds.
    pub execution_time: f64,
    /// Processor time of the whole tree, in seconds.
    pub cpu_time: f64,
    /// Peak memory of the whole tree, in bytes.
    pub memory_used: u64,
    /// What it exited with.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<String>,
}

/// A file that a run left in its work directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputFile {
    /// Path below the work directory.
    pub path: String,
    /// The content in `encoding`.
    pub content: String,
    /// `utf8` or `base64`.
    pub encoding: String,
    /// Size of the file, in bytes.
    pub size: u64,
}

/// Where the time of a request went, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// Waiting for a slot.
    pub queue: f64,
    /// The compile phase.
    pub compile: f64,
    /// From the launch to the program's first instruction.
    pub start: f64,
    /// The run phase.
    pub run: f64,
    /// The whole request at the executor.
    pub total: f64,
}
