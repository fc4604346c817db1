//! What an operator can set: `GATEWAY_<FIELD>`, `PORT`, and `<NAME>_EXECUTOR_URL`.

mod check;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::dialects::Profile;

/// The gateway's settings. Every bound is finite: 0 never means "unlimited".
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Address or name to listen on. Anything beyond loopback needs keys; `::` is dual-stack.
    pub host: String,
    /// Port to listen on; 0 picks a free one. The variable `PORT` wins over `GATEWAY_PORT`.
    pub port: u16,
    /// API keys, as `name:key,name:key`. Behind a key there may be `role=submit+work+admin` (it is
    /// `submit` alone otherwise) and bounds of its own: `per-minute=`, `waiting=`, `running=`.
    #[serde(skip_serializing)]
    pub keys: Option<SecretString>,
    /// A file of API keys, one such entry a line; read again when it changes and on SIGHUP.
    #[serde(skip_serializing)]
    pub keys_file: Option<PathBuf>,
    /// A file that every use of a key is added to that can do more than submit.
    pub audit_file: Option<PathBuf>,
    /// How large that file may grow, in MiB, until it is put aside and a new one begun; one is kept
    /// beside it.
    pub audit_file_mb: u64,
    /// The token that executors expect from us.
    #[serde(skip_serializing)]
    pub executor_token: Option<SecretString>,
    /// Where jobs are kept: `sqlite:PATH`, `postgres://…` or `redis://…`. Without it, none are.
    #[serde(skip_serializing)]
    pub store_url: Option<SecretString>,
    /// Jobs that may wait at a time.
    pub jobs_waiting_max: u64,
    /// The same for one key.
    pub jobs_waiting_per_caller_max: u64,
    /// Jobs that are over and still kept; the oldest go first.
    pub jobs_kept_max: u64,
    /// Seconds from one time that what was kept for long enough is deleted to the next.
    pub jobs_cleanup_seconds: u64,
    /// Jobs of one key that may run at a time.
    pub jobs_running_max: u64,
    /// Queues that jobs may name beside those that live workers ask for.
    pub jobs_queues: Vec<String>,
    /// Queues whose jobs are run at executors that can be reached.
    pub jobs_push_queues: Vec<String>,
    /// Runs of `/v1/runs` that are kept at a time, those that go on among them.
    pub runs_kept_max: usize,
    /// What their logs may take together, in MiB, before new ones are refused.
    pub runs_mb: usize,
    /// Seconds that such a run is kept after its end.
    pub runs_kept_seconds: f64,
    /// What receivers of callbacks check our signatures with. Without it, none are sent.
    #[serde(skip_serializing)]
    pub callback_secret: Option<SecretString>,
    /// Whether callbacks may go to private addresses.
    pub callback_private: bool,
    /// Whether the job API is served: `POST /api/execute` and `GET /api/status/{jobId}`.
    pub job_api: bool,
    /// The language of programs there that name none.
    pub job_api_language: Option<String>,
    /// The limits there, but for those that the following change.
    pub job_api_profile: Profile,
    /// Largest program there, in bytes.
    pub job_api_code_bytes_max: Option<usize>,
    /// What is told of each stream there, in bytes.
    pub job_api_output_bytes_max: Option<usize>,
    /// Seconds that a program may run there.
    pub job_api_timeout_seconds: Option<f64>,
    /// Programs a minute of one address there.
    pub job_api_per_minute: Option<u32>,
    /// Programs that run at a time there.
    pub job_api_running_max: Option<u64>,
    /// Seconds that a result is kept there.
    pub job_api_ttl_seconds: Option<f64>,
    /// Whether the message queue is served, below `/dialects/message-queue`.
    pub message_queue: bool,
    /// The language of tasks there that name none, and of workers that do.
    pub message_queue_language: Option<String>,
    /// Hours that a task there may wait, and its result is kept.
    pub message_queue_task_age_hours: u64,
    /// Whether the queue service is served, below `/dialects/queue-service`.
    pub queue_service: bool,
    /// The language of tasks there whose engine is none of the fleet's languages, and of workers that
    /// name none.
    pub queue_service_language: Option<String>,
    /// Whether anybody may look at the fleet on the console, without a key; it says nothing of programs.
    pub console_public: bool,
    /// Where rooms are kept: `sqlite:PATH` or `postgres://…`. Without it, where jobs are, in a file
    /// or tables of their own.
    #[serde(skip_serializing)]
    pub rooms_url: Option<SecretString>,
    /// Where other gateways of the same PostgreSQL reach this one, as `http://10.0.0.5:8000`, so that
    /// its runs are seen from them, too.
    pub self_url: Option<String>,
    /// Where several gateways tell each other of rooms: `redis://…`. Without it, in the Redis that
    /// keeps jobs, or else in the PostgreSQL that keeps rooms.
    #[serde(skip_serializing)]
    pub rooms_bus_url: Option<SecretString>,
    /// Rooms that are kept.
    pub rooms_max: u64,
    /// The documents of all of them together, in MiB.
    pub rooms_mb: u64,
    /// Clients in one room at this gateway.
    pub room_clients_max: usize,
    /// Days after which a room is deleted that nobody touches.
    pub room_ttl_days: u64,
    /// Snippets that are kept, where rooms are.
    pub snippets_max: u64,
    /// All of them together, in MiB.
    pub snippets_mb: u64,
    /// Days after which a snippet is deleted that nobody looks at.
    pub snippet_ttl_days: u64,
    /// Origins whose pages may call us; `*` is any. Credentials are never allowed.
    pub cors_origins: Vec<String>,
    /// Requests a minute of one key, or of one address where there are no keys.
    pub rate_per_minute: u32,
    /// Requests that may come at once before the rate holds.
    pub rate_burst: u32,
    /// Whether a proxy in front writes `X-Real-IP` or `X-Forwarded-For`, and it is believed.
    pub trust_forwarded_for: bool,
    /// Seconds between two rounds of probes.
    pub probe_seconds: f64,
    /// Seconds that one probe may take.
    pub probe_timeout_seconds: f64,
    /// Seconds that running requests have to finish on SIGTERM.
    pub drain_seconds: u64,
    /// Seconds that a request's body may take to arrive.
    pub body_seconds: f64,
    /// Seconds that a run may take beside its own timeout: queue, compile, transport.
    pub allowance_seconds: f64,
    /// Largest answer of an executor, in MiB.
    pub answer_mb: usize,
    /// All request bodies held at the same time, in MiB.
    pub bodies_mb: usize,
    /// Connections at the same time.
    pub connections_max: usize,
    /// Threads that serve; 0 is one a processor.
    pub workers: usize,
    /// What to log, such as `info` or `gateway=debug,info`.
    pub log: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8000,
            keys: None,
            keys_file: None,
            audit_file: None,
            audit_file_mb: 64,
            executor_token: None,
            store_url: None,
            jobs_waiting_max: 1_000_000,
            jobs_waiting_per_caller_max: 100_000,
            jobs_kept_max: 1_000_000,
            jobs_cleanup_seconds: 60,
            jobs_running_max: 1000,
            jobs_queues: Vec::new(),
            jobs_push_queues: vec![queue::DEFAULT_QUEUE.to_owned()],
            runs_kept_max: 1000,
            runs_mb: 256,
            runs_kept_seconds: 600.0,
            job_api: false,
            job_api_language: None,
            job_api_profile: Profile::Public,
            job_api_code_bytes_max: None,
            job_api_output_bytes_max: None,
            job_api_timeout_seconds: None,
            job_api_per_minute: None,
            job_api_running_max: None,
            job_api_ttl_seconds: None,
            message_queue: false,
            message_queue_language: None,
            message_queue_task_age_hours: 24,
            queue_service: false,
            queue_service_language: None,
            callback_secret: None,
            callback_private: false,
            console_public: false,
            rooms_url: None,
            self_url: None,
            rooms_bus_url: None,
            rooms_max: 10_000,
            rooms_mb: 1024,
            room_clients_max: 32,
            room_ttl_days: 30,
            snippets_max: 10_000,
            snippets_mb: 256,
            snippet_ttl_days: 90,
            cors_origins: Vec::new(),
            rate_per_minute: 600,
            rate_burst: 100,
            trust_forwarded_for: false,
            probe_seconds: 2.0,
            probe_timeout_seconds: 2.0,
            drain_seconds: 70,
            body_seconds: 30.0,
            allowance_seconds: 90.0,
            answer_mb: 64,
            bodies_mb: 512,
            connections_max: 4096,
            workers: 0,
            log: "info".to_owned(),
        }
    }
}

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// A variable or the settings file does not parse.
    #[error(transparent)]
    Load(Box<::settings::SettingsError>),
    /// `PORT` is no port.
    #[error("PORT: `{0}` is not a port; give a number from 1 to 65535")]
    Port(String),
    /// A variable of the message queue of old is no such number.
    #[error("{name}: must be a whole number from 1 to {most}")]
    Old {
        /// The variable.
        name: &'static str,
        /// The highest number.
        most: u64,
    },
    /// A number is outside its range.
    #[error("GATEWAY_{variable}: {problem}")]
    Range {
        /// The variable, without its prefix.
        variable: &'static str,
        /// What would be right.
        problem: &'static str,
    },
}

pub(crate) use check::is_queue;
use check::{CLEANUP_SECONDS_MAX, TASK_AGE_HOURS_MAX};

impl Settings {
    /// Reads the environment and the settings file.
    pub fn load() -> Result<Self, InvalidSettings> {
        let loaded = ::settings::load("GATEWAY");
        let mut settings: Self = loaded.map_err(|it| InvalidSettings::Load(Box::new(it)))?;
        if let Some(port) = ::settings::variable("PORT") {
            let Ok(number) = port.parse() else { return Err(InvalidSettings::Port(port)) };
            settings.port = number;
        }
        if settings.message_queue {
            settings.take_over(::settings::variable)?;
        }
        settings.check()?;
        Ok(settings)
    }

    /// The variables that the message queue had before it was a dialect, where nothing else is set.
    fn take_over(
        &mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(), InvalidSettings> {
        let whole = |name: &'static str, most: u64| match variable(name) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
                _ => Err(InvalidSettings::Old { name, most }),
            },
        };
        let default = Self::default();
        if let Some(hours) = whole("MAX_TASK_AGE_HOURS", TASK_AGE_HOURS_MAX)?
            && self.message_queue_task_age_hours == default.message_queue_task_age_hours
        {
            self.message_queue_task_age_hours = hours;
        }
        if let Some(minutes) = whole("CLEANUP_INTERVAL_MINUTES", CLEANUP_SECONDS_MAX / 60)?
            && self.jobs_cleanup_seconds == default.jobs_cleanup_seconds
        {
            self.jobs_cleanup_seconds = minutes * 60;
        }
        if let (None, Some(path)) = (&self.store_url, variable("DATABASE_PATH")) {
            self.store_url = Some(SecretString::from(format!("sqlite:{path}")));
        }
        Ok(())
    }
}

/// Seconds of a checked setting as a duration.
pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::from_secs(1))
}

/// The fleet as the environment names it: the part of each variable's name before
/// `_EXECUTOR_URL`, and its value, a comma-separated list of base URLs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Executors(pub Vec<(String, String)>);

impl Executors {
    /// Reads every `<NAME>_EXECUTOR_URL`.
    pub fn from_environment() -> Self {
        Self(::settings::variables_ending("_EXECUTOR_URL"))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        assert!(Settings::default().check().is_ok());
    }

    #[test]
    fn zero_is_not_unlimited() {
        let settings = Settings { rate_per_minute: 0, ..Settings::default() };
        let error = settings.check().unwrap_err().to_string();
        assert_eq!(error, "GATEWAY_RATE_PER_MINUTE: must be 1 or more");
        let settings = Settings { body_seconds: f64::NAN, ..Settings::default() };
        assert!(settings.check().is_err());
    }

    #[test]
    fn the_message_queue_goes_by_its_old_variables_where_nothing_else_is_set() {
        let old = |name: &str| {
            let values = [
                ("MAX_TASK_AGE_HOURS", "48"),
                ("CLEANUP_INTERVAL_MINUTES", "5"),
                ("DATABASE_PATH", "/d/queue.db"),
            ];
            Some(values.iter().find(|it| it.0 == name)?.1.to_owned())
        };
        let url = |it: &Settings| it.store_url.as_ref().unwrap().expose_secret().to_owned();
        let mut settings = Settings::default();
        settings.take_over(old).unwrap();
        assert_eq!(settings.message_queue_task_age_hours, 48);
        assert_eq!(
            (settings.jobs_cleanup_seconds, url(&settings)),
            (300, "sqlite:/d/queue.db".to_owned())
        );
        let store_url = Some(SecretString::from("redis://h"));
        let mut settings =
            Settings { message_queue_task_age_hours: 12, store_url, ..Settings::default() };
        settings.take_over(old).unwrap();
        assert_eq!(
            (settings.message_queue_task_age_hours, url(&settings)),
            (12, "redis://h".to_owned())
        );
        let error = settings.take_over(|_| Some("0".to_owned())).unwrap_err().to_string();
        assert_eq!(error, "MAX_TASK_AGE_HOURS: must be a whole number from 1 to 168");
    }

    #[test]
    fn an_origin_that_never_matches_is_refused() {
        for (origin, is_right) in [
            ("*", true),
            ("https://a.example:8080", true),
            ("https://a.example/", false),
            ("a.example", false),
        ] {
            let settings =
                Settings { cors_origins: vec![origin.to_owned()], ..Settings::default() };
            assert_eq!(settings.check().is_ok(), is_right, "{origin}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let keys = Some(SecretString::from("alice:0123456789abcdef"));
        let settings = Settings { keys, ..Settings::default() };
        assert!(!format!("{settings:?}").contains("0123456789abcdef"));
    }
}
