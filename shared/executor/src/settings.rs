//! What an operator can set about an executor: the variables `EXECUTOR_<FIELD>`, and `PORT`.

use std::net::IpAddr;
use std::path::PathBuf;

use protocol::{Bounds, Level};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::house_rules;
use crate::pool::USERS;

/// Most that can stand ready.
const DEPTH_MAX: usize = 64;

/// The longest that anything compiled may be kept, in seconds.
const YEAR_SECONDS: u64 = 366 * 24 * 3600;

/// The settings. Every field is a variable `EXECUTOR_<FIELD>` in capitals.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Address to listen on.
    pub(crate) host: IpAddr,
    /// Port to listen on; 0 takes the language's own. `PORT` wins over both.
    pub(crate) port: u16,
    /// What callers must send as `Authorization: Bearer …`; empty lets everybody in, which is
    /// only allowed on loopback.
    #[serde(serialize_with = "secret")]
    pub(crate) token: SecretString,
    /// The isolation level below which the executor refuses to start.
    pub(crate) min_isolation: Level,
    /// Runs at the same time; 0 takes the number of processors, or fewer where memory is short.
    pub(crate) slots: usize,
    /// Requests that may wait for a slot.
    pub(crate) waiting_max: usize,
    /// Longest wait for a slot, in seconds.
    pub(crate) wait_seconds: u64,
    /// How long running programs may go on after SIGTERM, in seconds.
    pub(crate) drain_seconds: u64,
    /// Longest time for a request's body to arrive, in seconds.
    pub(crate) body_seconds: u64,
    /// Where work directories live; empty chooses a place.
    pub(crate) state_dir: PathBuf,
    /// Where what is made once a toolchain is kept; empty keeps it in the state directory.
    pub(crate) prepared_dir: PathBuf,
    /// Directories searched for toolchains before `PATH`, separated by `:`.
    pub(crate) toolchain_path: String,
    /// First user id for slots, when running as root; 0 chooses by chance. Users count their
    /// processes across containers, so executors beside each other should not share any.
    pub(crate) uid_base: u32,
    /// All source text of a submission, in bytes.
    pub(crate) code_bytes_max: usize,
    /// All standard input of a submission, in bytes.
    pub(crate) input_bytes_max: usize,
    /// Wall clock of a run when the client names none, in seconds.
    pub(crate) timeout_default_seconds: f64,
    /// Longest wall clock that a client may ask for, in seconds.
    pub(crate) timeout_max_seconds: f64,
    /// Memory of a run when the client names none, in MiB.
    pub(crate) memory_default_mb: u64,
    /// Largest memory limit that a client may ask for, in MiB.
    pub(crate) memory_max_mb: u64,
    /// Kept of each output stream, in bytes.
    pub(crate) output_bytes_max: usize,
    /// All output together beyond which a run is killed, in bytes.
    pub(crate) output_kill_bytes: u64,
    /// All files that a run may hand back, in bytes.
    pub(crate) output_files_bytes_max: u64,
    /// All files that a run may write, in bytes, where it has a file system in memory.
    pub(crate) files_bytes_max: u64,
    /// Processors that a run may use at a time, where they can be shared out; 0 takes all.
    pub(crate) run_processors: u64,
    /// Size of the compile cache, in bytes.
    pub(crate) cache_bytes_max: u64,
    /// Whether interpreters stand ready before their program is known.
    pub(crate) warm: bool,
    /// How much stands ready at most, in cells; 0 takes two for each slot, or fewer where memory is
    /// short.
    pub(crate) warm_depth: usize,
    /// Age beyond which a compiled program is compiled again, in seconds.
    pub(crate) cache_seconds_max: u64,
    /// Where the compile cache is, if it is to outlive this executor or to be shared with others;
    /// empty keeps it in the state directory.
    pub(crate) cache_dir: PathBuf,
    /// Whether what one caller compiled is kept from the others.
    pub(crate) cache_per_caller: bool,
    /// Modules that programs are not to import, as a rule of the house and no boundary.
    pub(crate) refused_modules: Vec<String>,
    /// From one self-test to the next, in seconds.
    pub(crate) self_test_seconds: u64,
    /// The gateway to ask for jobs; empty asks nobody.
    pub(crate) pull_url: String,
    /// A key of that gateway's with the role `work`; empty where it has no keys.
    #[serde(serialize_with = "secret")]
    pub(crate) pull_key: SecretString,
    /// What the gateway knows this worker as, the same across restarts; empty makes it of the
    /// machine's name and the language's.
    pub(crate) worker_name: String,
    /// The queues whose jobs to ask for; the default one if there is none.
    pub(crate) pull_queues: Vec<String>,
    /// Where results wait for a gateway that cannot be reached; empty keeps them beside the state
    /// directory.
    pub(crate) spool_dir: PathBuf,
    /// What is logged, such as `info` or `executor=debug`.
    pub(crate) log: String,
}

impl Default for Settings {
    fn default() -> Self {
        let bounds = Bounds::default();
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            token: SecretString::default(),
            min_isolation: Level::Separated,
            slots: 0,
            waiting_max: 128,
            wait_seconds: 30,
            drain_seconds: 65,
            body_seconds: 30,
            state_dir: PathBuf::new(),
            prepared_dir: PathBuf::new(),
            toolchain_path: String::new(),
            uid_base: 0,
            code_bytes_max: bounds.code_bytes_max,
            input_bytes_max: bounds.input_bytes_max,
            timeout_default_seconds: bounds.timeout_default_seconds,
            timeout_max_seconds: bounds.timeout_max_seconds,
            memory_default_mb: bounds.memory_default_mb,
            memory_max_mb: bounds.memory_max_mb,
            output_bytes_max: 1024 * 1024,
            output_kill_bytes: 64 * 1024 * 1024,
            output_files_bytes_max: 8 * 1024 * 1024,
            files_bytes_max: 256 * 1024 * 1024,
            run_processors: 0,
            cache_bytes_max: 512 * 1024 * 1024,
            warm: true,
            warm_depth: 0,
            cache_seconds_max: 7 * 24 * 3600,
            cache_dir: PathBuf::new(),
            cache_per_caller: false,
            refused_modules: Vec::new(),
            self_test_seconds: 3600,
            pull_url: String::new(),
            pull_key: SecretString::default(),
            worker_name: String::new(),
            pull_queues: Vec::new(),
            spool_dir: PathBuf::new(),
            log: "info".to_owned(),
        }
    }
}

impl Settings {
    /// Loads the settings, and refuses those that contradict each other.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let mut settings: Self = ::settings::load("EXECUTOR", &["refused_modules", "pull_queues"])?;
        if let Some(port) = ::settings::variable("PORT") {
            settings.port = port
                .parse()
                .map_err(|_error| anyhow::anyhow!("PORT must be a port number, not `{port}`"))?;
        }
        settings.check()?;
        Ok(settings)
    }

    /// What a submission may ask for.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            code_bytes_max: self.code_bytes_max,
            input_bytes_max: self.input_bytes_max,
            timeout_default_seconds: self.timeout_default_seconds,
            timeout_max_seconds: self.timeout_max_seconds,
            memory_default_mb: self.memory_default_mb,
            memory_max_mb: self.memory_max_mb,
            ..Bounds::default()
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        let bounds = self.bounds();
        let seconds = bounds.timeout_default_seconds > 0.0
            && bounds.timeout_default_seconds <= bounds.timeout_max_seconds
            && bounds.timeout_max_seconds <= 3600.0;
        anyhow::ensure!(
            seconds,
            "EXECUTOR_TIMEOUT_DEFAULT_SECONDS must be above 0 and at most \
             EXECUTOR_TIMEOUT_MAX_SECONDS, which may be at most 3600"
        );
        let memory =
            (bounds.memory_min_mb..=bounds.memory_max_mb).contains(&bounds.memory_default_mb);
        anyhow::ensure!(
            memory,
            "EXECUTOR_MEMORY_DEFAULT_MB must be from {} to EXECUTOR_MEMORY_MAX_MB",
            bounds.memory_min_mb
        );
        anyhow::ensure!(
            self.host.is_loopback() || !self.token.expose_secret().is_empty(),
            "EXECUTOR_HOST is {}, which others can reach: set EXECUTOR_TOKEN, or listen on 127.0.0.1",
            self.host
        );
        anyhow::ensure!(
            (1..=86_400).contains(&self.self_test_seconds),
            "EXECUTOR_SELF_TEST_SECONDS must be from 1 to 86400"
        );
        anyhow::ensure!(
            self.uid_base == 0 || USERS.contains(&self.uid_base),
            "EXECUTOR_UID_BASE must be from {} to {}, or 0 for a choice by chance",
            USERS.start(),
            USERS.end()
        );
        anyhow::ensure!(
            self.warm_depth <= DEPTH_MAX,
            "EXECUTOR_WARM_DEPTH may be at most {DEPTH_MAX}"
        );
        anyhow::ensure!(
            (1..=YEAR_SECONDS).contains(&self.cache_seconds_max),
            "EXECUTOR_CACHE_SECONDS_MAX must be from 1 to {YEAR_SECONDS}"
        );
        anyhow::ensure!(
            self.cache_bytes_max > 0,
            "EXECUTOR_CACHE_BYTES_MAX must be above 0; clients refuse the cache by `cache`"
        );
        house_rules::check_refused(&self.refused_modules)
    }
}

/// Defaults are written down to be read again; the token's is empty.
fn secret<S: Serializer>(token: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose_secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_with_each_other() {
        Settings::default().check().unwrap();
    }

    #[test]
    fn a_public_address_needs_a_token() {
        let public = Settings { host: "::".parse().unwrap(), ..Settings::default() };
        assert!(public.check().unwrap_err().to_string().contains("EXECUTOR_TOKEN"));
        let with_token = Settings { token: "secret".to_owned().into(), ..public };
        with_token.check().unwrap();
        assert!(!format!("{with_token:?}").contains("secret\""), "{with_token:?}");
    }
}
