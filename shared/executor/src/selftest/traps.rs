//! What hostile programs are after, set up by this server, and the look at what they got.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::verdict::{CLEAN_UP, FILES, NETWORK, PROCESS_SECRETS, SIGNALS};
use crate::workspace::random_name;

/// A signal that does nothing to whoever does not ask for it.
const HARMLESS: Signal = Signal::URG;

/// How long a signal that was sent may take until it is noticed.
const SIGNAL_PATIENCE: Duration = Duration::from_millis(20);

/// Connections to the listener that are looked at.
const CONNECTIONS_MAX: usize = 128;

/// What the names of our own settings begin with.
const OWN_VARIABLES: &str = "EXECUTOR_";

/// The traps for one hostile program.
#[derive(Debug)]
pub(super) struct Traps {
    /// What the program signs its connections and its processes with.
    word: String,
    /// A file that only the guarantee of files protects: its mode lets everybody read it.
    file: PathBuf,
    in_file: String,
    /// A file without a name, which only this process holds open.
    held: File,
    in_held: String,
    listener: TcpListener,
    signals: tokio::signal::unix::Signal,
}

impl Traps {
    /// Sets them. `directory` is one where only this server can make files.
    pub(super) fn set(directory: &Path) -> io::Result<Self> {
        let (in_file, in_held) = (random_name()?, random_name()?);
        let held_path = directory.join(random_name()?);
        let held = plant(&held_path, &in_held)?;
        fs::remove_file(&held_path)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let signals = signal(SignalKind::from_raw(HARMLESS.as_raw()))?;
        let file = directory.join(random_name()?);
        // From here on, dropping the traps removes it.
        let traps = Self { word: random_name()?, file, in_file, held, in_held, listener, signals };
        drop(plant(&traps.file, &traps.in_file)?);
        Ok(traps)
    }

    /// What the program would have to find out, and here is told.
    pub(super) fn facts(&self) -> io::Result<BTreeMap<&'static str, String>> {
        let port = self.listener.local_addr()?.port();
        Ok(BTreeMap::from([
            ("SECRET_FILE", self.file.to_string_lossy().into_owned()),
            ("SERVER_PID", std::process::id().to_string()),
            ("SERVER_DESCRIPTOR", self.held.as_raw_fd().to_string()),
            ("LISTENER_PORT", port.to_string()),
        ]))
    }

    /// What the program signs its doings with.
    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// What got through, now that the run is over.
    pub(super) async fn sprung(mut self, output: &str) -> BTreeSet<&'static str> {
        let patience = tokio::time::timeout(SIGNAL_PATIENCE, self.signals.recv());
        let was_signalled = patience.await.is_ok();
        let word = self.word.clone();
        let survivors = tokio::task::spawn_blocking(move || is_alive(word.as_bytes())).await;
        let spied = output.contains(&self.in_held) || output.contains(OWN_VARIABLES);
        let sprung = [
            (FILES, output.contains(&self.in_file)),
            (PROCESS_SECRETS, spied),
            (NETWORK, was_called(&self.listener, self.word.as_bytes())),
            (SIGNALS, was_signalled),
            (CLEAN_UP, survivors.unwrap_or(false)),
        ];
        sprung.into_iter().filter(|(_, it)| *it).map(|(name, _)| name).collect()
    }
}

impl Drop for Traps {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.file) {
            tracing::warn!(%error, "the file of a self-test could not be removed");
        }
    }
}

/// A new file that everybody may read.
fn plant(path: &Path, content: &str) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    file.write_all(content.as_bytes())?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

/// Whether somebody connected and said `word`. Others may look for open ports, and prove nothing.
fn was_called(listener: &TcpListener, word: &[u8]) -> bool {
    let calls = std::iter::from_fn(|| listener.accept().ok()).take(CONNECTIONS_MAX);
    calls.map(|(caller, _)| caller).any(|mut caller| {
        let mut heard = [0; 64];
        let count = caller.set_nonblocking(true).and_then(|()| caller.read(&mut heard));
        count.is_ok_and(|count| heard.get(..count).is_some_and(|heard| heard == word))
    })
}

/// Whether a process lives that was started with `word` among its arguments, or forked by one.
fn is_alive(word: &[u8]) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|entry| {
        let is_process = entry.file_name().to_string_lossy().bytes().all(|it| it.is_ascii_digit());
        is_process
            && fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| line.windows(word.len()).any(|it| it == word))
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn traps_notice_what_gets_through_and_leave_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let set = || Traps::set(directory.path()).unwrap();
        let traps = set();
        assert_eq!(traps.sprung("").await, BTreeSet::new());

        let traps = set();
        let output = fs::read_to_string(&traps.file).unwrap();
        assert_eq!(traps.sprung(&output).await, BTreeSet::from([FILES]));

        let traps = set();
        let held = format!("/proc/self/fd/{}", traps.facts().unwrap()["SERVER_DESCRIPTOR"]);
        let output = fs::read_to_string(held).unwrap();
        assert_eq!(traps.sprung(&output).await, BTreeSet::from([PROCESS_SECRETS]));
        assert_eq!(set().sprung("EXECUTOR_TOKEN=x").await, BTreeSet::from([PROCESS_SECRETS]));

        let traps = set();
        let mut told = signal(SignalKind::from_raw(HARMLESS.as_raw())).unwrap();
        rustix::process::kill_process(rustix::process::getpid(), HARMLESS).unwrap();
        // However slow the machine is: who asks is told at the same time.
        told.recv().await;
        assert_eq!(traps.sprung("").await, BTreeSet::from([SIGNALS]));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn only_who_knows_the_word_is_heard() {
        let directory = tempfile::tempdir().unwrap();
        for (said, expected) in [("", false), ("hello", false), ("word", true)] {
            let traps = Traps::set(directory.path()).unwrap();
            let mut caller = TcpStream::connect(traps.listener.local_addr().unwrap()).unwrap();
            let said = if said == "word" { traps.word().to_owned() } else { said.to_owned() };
            caller.write_all(said.as_bytes()).unwrap();
            assert_eq!(traps.sprung("").await.contains(NETWORK), expected, "{said}");
        }
    }

    #[test]
    fn who_is_alive_is_found_by_a_word_of_its_arguments() {
        let own = std::env::args().next().unwrap();
        assert!(is_alive(own.as_bytes()));
        assert!(!is_alive(random_name().unwrap().as_bytes()));
    }
}
