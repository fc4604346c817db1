//! The one place of this crate that starts processes.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

/// Starts `program` as a service: its standard input is a pipe that it watches, so that it
/// drains when we are gone, however we ended; what it says comes back on pipes. It is in a
/// process group of its own: a Ctrl-C on the terminal reaches us alone, and we pass it on.
pub(crate) fn start_service(
    program: &Path,
    environment: &[(String, String)],
) -> std::io::Result<Child> {
    command(program.as_os_str())
        .arg("--drain-on-stdin-eof")
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Runs a command to its end, without input, and with `environment` added to ours.
pub(crate) async fn output(
    words: &[String],
    environment: &[(String, String)],
    directory: &Path,
    timeout: Duration,
) -> anyhow::Result<Output> {
    let Some((program, arguments)) = words.split_first() else { bail!("an empty command") };
    let running = command(OsStr::new(program))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(timeout, running).await;
    ended
        .with_context(|| format!("`{program}` did not end within {} s", timeout.as_secs()))?
        .with_context(|| format!("cannot start `{program}`"))
}

/// A command for a process that has no runtime of threads.
#[expect(
    clippy::disallowed_methods,
    reason = "what the bench of the jail compares is started here"
)]
pub(crate) fn without_runtime(program: &Path) -> std::process::Command {
    std::process::Command::new(program)
}

#[expect(
    clippy::disallowed_methods,
    reason = "services and bare toolchains are started here, and nothing else is"
)]
fn command(program: &OsStr) -> Command {
    Command::new(program)
}
