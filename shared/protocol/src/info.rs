//! What an executor says of itself on `GET /info`.

use serde::{Deserialize, Serialize};

use crate::{Bounds, IsolationReport, Syntax};

/// The answer to `GET /info`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorInfo {
    /// The version of its program; empty of one that does not tell it.
    #[serde(default)]
    pub version: String,
    /// The executor's main language.
    pub language: String,
    /// Other names of the main language.
    pub aliases: Vec<String>,
    /// Every language it runs, the main one first.
    pub languages: Vec<LanguageInfo>,
    /// Every runtime that passed its samples, the default one first.
    pub runtimes: Vec<RuntimeInfo>,
    /// What a submission may ask for.
    pub limits: Bounds,
    /// Runs at the same time.
    pub slots: usize,
    /// Slots that run nothing now.
    pub slots_free: usize,
    /// Requests that wait for a slot now.
    pub waiting: usize,
    /// What it can do beyond the basics, such as `cases` or `stream`.
    pub features: Vec<String>,
    /// How well runs are isolated.
    pub isolation: IsolationReport,
    /// What stands ready before its program is known.
    #[serde(default)]
    pub warm: WarmInfo,
    /// How the samples went at boot.
    pub samples: SamplesReport,
    /// What an operator should know, such as a toolchain that had to be copied.
    pub notes: Vec<String>,
}

/// What stands ready for the next runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmInfo {
    /// Most that stands ready.
    pub depth: usize,
    /// Cells that are ready now, without an interpreter in them.
    pub cells: usize,
    /// Interpreters that wait now.
    pub waiting: usize,
    /// How programs of each runtime start.
    pub runtimes: Vec<RuntimeWarmth>,
}

/// How programs of a runtime start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeWarmth {
    /// The runtime's version.
    pub version: String,
    /// From what.
    pub start: StartFrom,
    /// Why not from anything warmer, if there is a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a program starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StartFrom {
    /// Forked from an interpreter that has read what most programs need.
    Zygote,
    /// An interpreter that was started before the program was known, and waits.
    Process,
    /// An execution.
    Cold,
}

/// A language that an executor runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LanguageInfo {
    /// Its name in requests.
    pub id: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// The file that `code` is written to.
    pub entry: String,
    /// A program to start from.
    pub example: String,
    /// Further ones, which the executor ran when it started.
    #[serde(default)]
    pub examples: Vec<ProgramExample>,
    /// How its sources look, for editors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syntax: Option<Syntax>,
}

/// A program to start from that may be more than one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramExample {
    /// What it shows.
    pub name: String,
    /// Its files, the entry first.
    pub files: Vec<ExampleFile>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its standard input.
    pub input_data: String,
}

/// A file of an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExampleFile {
    /// Relative path.
    pub path: String,
    /// Its text.
    pub content: String,
}

/// A toolchain that was found, and passed its samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeInfo {
    /// Its version, such as `3.11.2`.
    pub version: String,
    /// Whether it is the one that runs when the request names no version.
    pub default: bool,
}

/// How an executor's own samples went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SamplesReport {
    /// How many printed what they must.
    pub passed: usize,
    /// How many did not.
    pub failed: usize,
    /// How long all took, in milliseconds.
    pub time_ms: f64,
    /// Each of them.
    pub results: Vec<SampleResult>,
}

/// How one sample went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SampleResult {
    /// The sample's name and the runtime's version.
    pub name: String,
    /// Whether it printed what it must.
    pub passed: bool,
    /// What it did instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
