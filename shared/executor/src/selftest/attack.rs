//! One hostile program, sent the way of every run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Bounds, RunReport, RunRequest, Status};
use serde_json::json;
use tokio::sync::watch;

use super::traps::Traps;
use super::verdict::{MEMORY, Seen};
use crate::core::{Core, Wanted};
use crate::log::{self, Log};
use crate::run::{self, Order};
use crate::slots::Slot;

/// Longest time for one case of a hostile program, in seconds. Each takes a fraction of it.
const TIMEOUT_SECONDS: f64 = 20.0;

/// How far beyond what the kernel refuses a program tries to go, in MiB.
const BEYOND_MB: u64 = 64;

/// One hostile program and one runtime.
pub(super) struct Attack<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) runtime: usize,
    /// Its file's name and its text.
    pub(super) hostile: &'a (&'static str, &'static str),
    /// Turns true when the test is to end.
    pub(super) stop: &'a watch::Receiver<bool>,
}

impl Attack<'_> {
    /// Lets it loose and looks at what came of it. The error says why it could not be done.
    pub(super) async fn make(&self) -> Result<Seen, String> {
        let slot = self.slot().await?;
        let trouble = |error: std::io::Error| format!("its traps could not be set: {error}");
        let traps = Traps::set(&self.core.state.join("")).map_err(trouble)?;
        let order = self.order(&traps).map_err(|error| format!("it was not admitted: {error}"))?;
        let report = self.run(order, slot).await?;
        let mut seen = Seen { language: report.language.clone(), ..Seen::default() };
        let mut output = String::new();
        for case in &report.cases {
            output.push_str(&case.output);
            let kept = case.status == Status::Success && case.name == MEMORY;
            seen.got_through.extend(kept.then_some(MEMORY));
        }
        let tried = output.lines().filter_map(|line| line.strip_prefix("tried "));
        seen.tried.extend(tried.map(str::to_owned));
        if !has_run_out(&report) {
            seen.tried.remove(MEMORY);
        }
        seen.got_through.append(&mut traps.sprung(&output).await);
        Ok(seen)
    }

    /// A slot like everybody's.
    async fn slot(&self) -> Result<Slot, String> {
        let mut stop = self.stop.clone();
        tokio::select! {
            slot = self.core.slots.take() => slot.map_err(|error| error.to_string()),
            () = until_stopped(&mut stop) => Err("it was stopped".to_owned()),
        }
    }

    fn order(&self, traps: &Traps) -> anyhow::Result<Order> {
        let (path, text) = *self.hostile;
        let bounds = &self.core.bounds;
        // The program is ours, however short an operator wants those of clients.
        let bounds =
            Bounds { code_bytes_max: bounds.code_bytes_max.max(text.len()), ..bounds.clone() };
        let wanted = json!({
            "files": [{ "path": path, "content": text }],
            "env": traps.facts()?,
            "timeout": bounds.timeout_max_seconds.min(TIMEOUT_SECONDS),
            "cases": [
                { "name": "reach", "args": ["reach", traps.word()] },
                { "name": MEMORY, "args": [MEMORY, self.overrun_mb().to_string()] },
            ],
        });
        let mut request = RunRequest::parse(wanted.to_string().as_bytes(), &bounds)?;
        let mut admitted = self.core.admit(Wanted {
            language: None,
            version: None,
            sources: std::mem::take(&mut request.sources),
            options: &[],
            output_files: &[],
        })?;
        admitted.runtime = self.runtime;
        Ok(Order {
            request_id: format!("self-test-{path}"),
            request,
            admitted,
            arrived: Instant::now(),
            queued: Duration::ZERO,
            sharing: self.core.cache.sharing(None),
            live: None,
        })
    }

    /// How much a program tries to keep: more than the kernel would let it, or, where the kernel
    /// does not look, more than the watch does.
    fn overrun_mb(&self) -> u64 {
        let limit = self.core.bounds.memory_default_mb;
        let extra = self.core.spec.memory.data_extra_mb;
        if self.core.mechanisms.data_limit { limit + extra + BEYOND_MB } else { 2 * limit }
    }

    async fn run(&self, order: Order, slot: Slot) -> Result<RunReport, String> {
        let path = self.hostile.0;
        let (log, events) = Log::new();
        let running = run::run(Arc::clone(self.core), order, slot, log, self.stop.clone());
        let ((), folded) = tokio::join!(running, log::fold(events));
        let report = folded.map_err(|problem| {
            let code = problem.map_or_else(|| "lost".to_owned(), |it| it.code);
            format!("it could not be run ({code})")
        })?;
        for case in &report.cases {
            let status = case.status.as_str();
            tracing::debug!(path, case = %case.name, status, stderr = %case.error, "let loose");
        }
        if report.cases.is_empty() {
            let status = report.status.as_str();
            tracing::error!(path, status, stderr = %report.error, "a hostile program did not start");
            return Err(format!("it did not start ({status})"));
        }
        Ok(report)
    }
}

/// Whether the memory case ended by what was to end it, or not at all.
fn has_run_out(report: &RunReport) -> bool {
    const ENDS: &[Status] = &[Status::MemoryLimit, Status::RuntimeError, Status::Success];
    report.cases.iter().any(|case| case.name == MEMORY && ENDS.contains(&case.status))
}

async fn until_stopped(stop: &mut watch::Receiver<bool>) {
    // Without anybody who could stop it, it goes on.
    if stop.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}
