//! What was measured of the job queue, and how it is told.

use serde::Serialize;

use super::super::statistics::Summary;
use super::STEADY_PER_SECOND;

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bench) struct QueueReport {
    /// What an acknowledged job outlives.
    pub(in crate::bench) durability: String,
    /// How long the disk takes to keep 4 KiB: without it the rest says little.
    pub(in crate::bench) flush: Summary,
    /// From a submission to a worker that has the job, while few are submitted.
    pub(in crate::bench) pickup: Summary,
    /// Jobs acknowledged a second, each submitted alone.
    pub(in crate::bench) enqueued_per_second: f64,
    /// How long each acknowledgement took.
    pub(in crate::bench) acknowledged: Summary,
    /// What the store takes more for each job that waits.
    pub(in crate::bench) bytes_per_job: u64,
    /// Claims of one job, by how many wait.
    pub(in crate::bench) claims: Vec<ClaimCost>,
    /// With a long backlog of one caller, how many of its jobs were started before the job of another
    /// who came along; for each who did, in the order of the numbers.
    pub(in crate::bench) before_a_newcomer: Vec<usize>,
    /// Jobs that were claimed, accepted and completed a second, of those that waited.
    pub(in crate::bench) cycles_per_second: f64,
    /// Jobs that were submitted, claimed, accepted and completed a second, by how many were submitted
    /// at a time.
    pub(in crate::bench) full_cycles: Vec<FullCycle>,
}

/// How many jobs go all the way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bench) struct FullCycle {
    /// How many are submitted at a time.
    pub(in crate::bench) batch: usize,
    /// Jobs a second.
    pub(in crate::bench) per_second: f64,
}

/// What a claim costs.
#[derive(Debug, Serialize)]
pub(in crate::bench) struct ClaimCost {
    /// How many jobs wait.
    pub(in crate::bench) waiting: u64,
    /// How long one takes.
    pub(in crate::bench) time: Summary,
}

/// The report for people.
pub(in crate::bench) fn page(report: &QueueReport) -> String {
    let QueueReport { flush, pickup, acknowledged, .. } = report;
    let head = format!(
        "an acknowledged job outlives: {}; the disk keeps 4 KiB in {:.1} ms (p50), {:.1} (p99)\n\
         acknowledged: {:.0} jobs/s, p50 {:.1} ms, p99 {:.1}\n\
         picked up, at {STEADY_PER_SECOND}/s: p50 {:.1} ms, p99 {:.1}\n",
        report.durability,
        flush.p50_ms,
        flush.p99_ms,
        report.enqueued_per_second,
        acknowledged.p50_ms,
        acknowledged.p99_ms,
        pickup.p50_ms,
        pickup.p99_ms,
    );
    let claims = report.claims.iter().map(|ClaimCost { waiting, time }| {
        let (p50, p99) = (time.p50_ms, time.p99_ms);
        format!("claimed, while {waiting} wait: p50 {p50:.2} ms, p99 {p99:.2}\n")
    });
    let QueueReport { cycles_per_second, bytes_per_job, before_a_newcomer, .. } = report;
    let middle = before_a_newcomer.get(before_a_newcomer.len() / 2).copied().unwrap_or_default();
    let most = before_a_newcomer.last().copied().unwrap_or_default();
    let full_cycles = report.full_cycles.iter().map(|FullCycle { batch, per_second }| {
        format!(
            "submitted {batch} at a time, claimed, accepted and completed: {per_second:.0} jobs/s\n"
        )
    });
    let last = format!(
        "started before the job of a caller who comes along: {middle} of a backlog (median), {most} at most\n\
         of those that wait, claimed, accepted and completed: {cycles_per_second:.0} jobs/s\n\
         a job of 1 KB that waits: {bytes_per_job} bytes of the store\n"
    );
    [head, claims.collect(), full_cycles.collect(), last].concat()
}
