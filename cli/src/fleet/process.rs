//! The one place of this crate that starts processes.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};
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

/// Runs a command to its end, without input, and with `environment` added to ours. It is in
/// a process group of its own, which is killed if nobody waits for it any longer: a compiler's
/// driver would leave the compiler behind.
pub(crate) async fn output(
    words: &[String],
    environment: &[(String, String)],
    directory: &Path,
    timeout: Duration,
) -> anyhow::Result<Output> {
    let Some((program, arguments)) = words.split_first() else { bail!("an empty command") };
    let child = command(OsStr::new(program))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start `{program}`"))?;
    let group = Group(child.id().and_then(|it| Pid::from_raw(i32::try_from(it).ok()?)));
    let ended = tokio::time::timeout(timeout, child.wait_with_output()).await;
    let output = ended
        .with_context(|| format!("`{program}` did not end within {} s", timeout.as_secs()))?
        .with_context(|| format!("cannot wait for `{program}`"))?;
    group.leave();
    Ok(output)
}

/// A command's process group, killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    /// Lets it be: its leader was waited for, so its number may be another's.
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.0.is_some_and(|group| kill_process_group(group, Signal::KILL).is_err()) {
            // Its last process has ended.
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_nobody_waits_for_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let words = ["sh", "-c", "sleep 600 & echo $! > pid; wait"].map(str::to_owned);
        let running = output(&words, &[], directory.path(), Duration::from_mins(1));
        let pid = directory.path().join("pid");
        let started = async {
            while !std::fs::read_to_string(&pid).is_ok_and(|it| it.ends_with('\n')) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = running => panic!("it ended: {ended:?}"),
            () = started => {}
        }
        let below = std::fs::read_to_string(&pid).unwrap();
        let stat = format!("/proc/{}/stat", below.trim());
        let lives = || std::fs::read_to_string(&stat).is_ok_and(|it| !it.contains(") Z "));
        while lives() {
            tokio::task::yield_now().await;
        }
    }
}
