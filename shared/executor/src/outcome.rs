//! What came of a run's cases, put into its report, and the files that it hands back.

use std::time::Duration;

use base64::Engine as _;
use globset::GlobSet;
use protocol::{CaseReport, FieldError, OutputFile, RunReport, Status};

use crate::process::Finished;
use crate::verdict;

/// One standard input and what came of it.
pub(crate) struct CaseOutcome {
    pub(crate) finished: Finished,
    pub(crate) warm: bool,
    pub(crate) status: Status,
    pub(crate) files: Vec<OutputFile>,
}

/// The patterns of the files that a client wants back.
pub(crate) fn patterns(globs: &[String]) -> Result<GlobSet, Vec<FieldError>> {
    let mut patterns = globset::GlobSetBuilder::new();
    let mut errors = Vec::new();
    for (index, pattern) in globs.iter().enumerate() {
        match globset::GlobBuilder::new(pattern).literal_separator(true).build() {
            Ok(glob) => drop(patterns.add(glob)),
            Err(error) => {
                let detail = format!("is no pattern: {}", error.kind());
                errors.push(FieldError::new(format!("/outputFiles/{index}"), detail));
            }
        }
    }
    if errors.is_empty() { Ok(patterns.build().unwrap_or_default()) } else { Err(errors) }
}

/// A file that a run hands back.
pub(crate) fn output_file(path: String, bytes: Vec<u8>) -> OutputFile {
    let size = bytes.len() as u64;
    let (content, encoding) = match String::from_utf8(bytes) {
        Ok(text) => (text, "utf8"),
        Err(error) => (encode(error.as_bytes()), "base64"),
    };
    OutputFile { path, content, encoding: encoding.to_owned(), size }
}

fn encode(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Puts the one outcome of a request without cases into its report.
pub(crate) fn fill(report: &mut RunReport, outcome: &CaseOutcome, base64: bool) {
    let Finished { ended, stdout, stderr, .. } = &outcome.finished;
    report.status = outcome.status;
    report.output_truncated = stdout.truncated;
    report.error_truncated = stderr.truncated;
    report.output_base64 = base64.then(|| encode(&stdout.head));
    report.execution_time = seconds(ended.wall_us);
    report.cpu_time = seconds(ended.cpu_us);
    report.memory_used = ended.memory_bytes;
    report.approximate = !ended.exact;
    (report.exit_code, report.signal) = verdict::exit_fields(ended.exit);
}

/// Adds the outcome of one case; the first that is no pass decides the whole.
pub(crate) fn add_case(report: &mut RunReport, name: String, outcome: &CaseOutcome) {
    let Finished { ended, stdout, stderr, .. } = &outcome.finished;
    let (exit_code, signal) = verdict::exit_fields(ended.exit);
    if report.cases.is_empty() || report.status.is_pass() {
        report.status = outcome.status;
        (report.exit_code, report.signal) = (exit_code, signal.clone());
    }
    report.execution_time += seconds(ended.wall_us);
    report.cpu_time += seconds(ended.cpu_us);
    report.memory_used = report.memory_used.max(ended.memory_bytes);
    report.approximate |= !ended.exact;
    report.cases.push(CaseReport {
        name,
        status: outcome.status,
        output: String::new(),
        error: String::new(),
        output_truncated: stdout.truncated,
        error_truncated: stderr.truncated,
        execution_time: seconds(ended.wall_us),
        cpu_time: seconds(ended.cpu_us),
        memory_used: ended.memory_bytes,
        exit_code,
        signal,
    });
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

/// A time in milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
