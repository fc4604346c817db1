//! What cannot work is refused at the start.

use secrecy::ExposeSecret as _;

use super::{InvalidSettings, Settings};
use crate::dialects::Limits;
use crate::peers::is_base_url;

/// Hours that a task of the message queue waits, and its result is kept, at most.
pub(super) const TASK_AGE_HOURS_MAX: u64 = 168;
/// Seconds between two clean-ups at most.
pub(super) const CLEANUP_SECONDS_MAX: u64 = 86_400;

/// A variable without its prefix, whether its value is right, and what would be.
type Row = (&'static str, bool, &'static str);

impl Settings {
    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<(), InvalidSettings> {
        let job_api = Limits::of(self);
        let seconds = "must be more than 0 and at most 3600 seconds";
        let seconds_rows = [
            ("PROBE_SECONDS", self.probe_seconds),
            ("PROBE_TIMEOUT_SECONDS", self.probe_timeout_seconds),
            ("BODY_SECONDS", self.body_seconds),
            ("ALLOWANCE_SECONDS", self.allowance_seconds),
            ("JOB_API_TIMEOUT_SECONDS", job_api.timeout_seconds),
            ("JOB_API_TTL_SECONDS", job_api.ttl_seconds),
            ("RUNS_KEPT_SECONDS", self.runs_kept_seconds),
        ]
        .map(|(variable, value)| (variable, value > 0.0 && value <= 3600.0, seconds));
        let whole_rows = [
            ("CORS_ORIGINS", self.cors_origins.iter().all(|it| is_origin(it)), ORIGINS),
            ("DRAIN_SECONDS", self.drain_seconds <= 3600, "may be at most 3600"),
            ("RATE_PER_MINUTE", self.rate_per_minute > 0, "must be 1 or more"),
            ("RATE_BURST", self.rate_burst > 0, "must be 1 or more"),
            ("ANSWER_MB", (1..=4096).contains(&self.answer_mb), "must be from 1 to 4096"),
            ("BODIES_MB", (1..=65_536).contains(&self.bodies_mb), "must be from 1 to 65536"),
            (
                "RUNS_KEPT_MAX",
                (1..=100_000).contains(&self.runs_kept_max),
                "must be from 1 to 100000",
            ),
            ("RUNS_MB", (1..=65_536).contains(&self.runs_mb), "must be from 1 to 65536"),
            ("CONNECTIONS_MAX", self.connections_max > 0, "must be 1 or more"),
            (
                "AUDIT_FILE_MB",
                (1..=65_536).contains(&self.audit_file_mb),
                "must be from 1 to 65536",
            ),
            ("WORKERS", self.workers <= 1024, "may be at most 1024"),
        ];
        let rows = seconds_rows
            .into_iter()
            .chain(whole_rows)
            .chain(self.job_rows())
            .chain(job_api_rows(&job_api))
            .chain(self.room_rows());
        for (variable, is_right, problem) in rows {
            if !is_right {
                return Err(InvalidSettings::Range { variable, problem });
            }
        }
        Ok(())
    }

    fn job_rows(&self) -> [Row; 9] {
        [
            ("JOBS_WAITING_MAX", self.jobs_waiting_max > 0, "must be 1 or more"),
            (
                "JOBS_WAITING_PER_CALLER_MAX",
                self.jobs_waiting_per_caller_max > 0,
                "must be 1 or more",
            ),
            (
                "CALLBACK_SECRET",
                self.callback_secret.as_ref().is_none_or(|it| it.expose_secret().len() >= 16),
                "must have 16 bytes or more",
            ),
            (
                "MESSAGE_QUEUE_TASK_AGE_HOURS",
                (1..=TASK_AGE_HOURS_MAX).contains(&self.message_queue_task_age_hours),
                "must be from 1 to 168",
            ),
            (
                "JOBS_CLEANUP_SECONDS",
                (1..=CLEANUP_SECONDS_MAX).contains(&self.jobs_cleanup_seconds),
                "must be from 1 to 86400",
            ),
            ("JOBS_KEPT_MAX", self.jobs_kept_max > 0, "must be 1 or more"),
            ("JOBS_RUNNING_MAX", self.jobs_running_max > 0, "must be 1 or more"),
            ("JOBS_QUEUES", self.jobs_queues.iter().all(|it| is_queue(it)), QUEUES),
            ("JOBS_PUSH_QUEUES", self.jobs_push_queues.iter().all(|it| is_queue(it)), QUEUES),
        ]
    }

    fn room_rows(&self) -> [Row; 8] {
        [
            (
                "SELF_URL",
                self.self_url.as_deref().is_none_or(is_base_url),
                "give scheme, host and port alone, as `http://10.0.0.5:8000`",
            ),
            ("ROOMS_MAX", self.rooms_max > 0, "must be 1 or more"),
            ("ROOMS_MB", (1..=1 << 20).contains(&self.rooms_mb), "must be from 1 to 1048576"),
            (
                "ROOM_CLIENTS_MAX",
                (1..=1000).contains(&self.room_clients_max),
                "must be from 1 to 1000",
            ),
            ("ROOM_TTL_DAYS", (1..=3650).contains(&self.room_ttl_days), "must be from 1 to 3650"),
            ("SNIPPETS_MAX", self.snippets_max > 0, "must be 1 or more"),
            ("SNIPPETS_MB", (1..=1 << 20).contains(&self.snippets_mb), "must be from 1 to 1048576"),
            (
                "SNIPPET_TTL_DAYS",
                (1..=3650).contains(&self.snippet_ttl_days),
                "must be from 1 to 3650",
            ),
        ]
    }
}

fn job_api_rows(limits: &Limits) -> [Row; 4] {
    let bytes = |it: usize| (1..=16 << 20).contains(&it);
    [
        ("JOB_API_CODE_BYTES_MAX", bytes(limits.code_bytes), "must be from 1 to 16777216"),
        ("JOB_API_OUTPUT_BYTES_MAX", bytes(limits.output_bytes), "must be from 1 to 16777216"),
        ("JOB_API_PER_MINUTE", limits.per_minute > 0, "must be 1 or more"),
        ("JOB_API_RUNNING_MAX", limits.running > 0, "must be 1 or more"),
    ]
}

const QUEUES: &str = "give each a name of 1 to 64 letters, digits, `-`, `_` and `.`";

/// Whether a text may be the name of a queue.
pub(crate) fn is_queue(text: &str) -> bool {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    (1..=64).contains(&text.len()) && text.chars().all(is_plain)
}

const ORIGINS: &str = "write each as `https://host` or `https://host:port`, or `*` for any";

/// Whether a browser could send it as an origin: a path, even `/`, would never match.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text == "*" || host.is_some_and(|it| !it.is_empty() && !it.contains(['/', '?', '#', ' ']))
}
