//! Directories of a fleet on this machine: what it keeps while it lives, and what it finds.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

/// Where a privileged fleet keeps its directories: other uids can pass through it, but not list
/// it. Below a temporary directory they might not get there.
const PRIVILEGED_HOME: &str = "/var/lib/flotilla";
/// How the state directory of one start is called, before some random letters.
const STATE_PREFIX: &str = "flotilla-run-";
/// Held by the `up` that a state directory belongs to. Whoever can take it may remove the
/// directory: its owner was killed.
const LOCK: &str = "lock";

/// The directory of one start; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    directory: TempDir,
    _lock: File,
}

impl StateDirectory {
    /// Makes a fresh one, and removes those whose owners were killed.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let privileged = is_privileged();
        let home = if privileged { privileged_home()? } else { std::env::temp_dir() };
        remove_abandoned(&home);
        let mode = if privileged { 0o711 } else { 0o700 };
        let directory = tempfile::Builder::new()
            .prefix(STATE_PREFIX)
            .permissions(Permissions::from_mode(mode))
            .tempdir_in(&home)
            .with_context(|| format!("cannot make a directory in {}", home.display()))?;
        // The umask may have taken something away.
        fs::set_permissions(directory.path(), Permissions::from_mode(mode))?;
        let lock = take_lock(directory.path()).context("cannot lock the state directory")?;
        Ok(Self { directory, _lock: lock })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Makes a directory in it that its services can be given.
    pub(crate) fn make_below(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path().join(name);
        let mode = if is_privileged() { 0o711 } else { 0o700 };
        fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Removes it, with everything in it.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        let path = self.path().to_owned();
        self.directory.close().with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// Whether this process may act for other uids.
pub(crate) fn is_privileged() -> bool {
    rustix::process::geteuid().is_root()
}

/// The checkout that `program` was built in, or else the one that the current directory is in.
pub(crate) fn checkout(program: &Path) -> Option<PathBuf> {
    let current = std::env::current_dir().ok();
    let mut candidates = program.ancestors().chain(current.iter().flat_map(|it| it.ancestors()));
    candidates
        .find(|it| it.join("executors").is_dir() && it.join("Cargo.toml").is_file())
        .map(Path::to_owned)
}

/// Where executors keep what they made out of their toolchains, across starts where possible.
pub(crate) fn prepared(checkout: Option<&Path>, state: &StateDirectory) -> anyhow::Result<PathBuf> {
    let path = match checkout {
        Some(checkout) if !is_privileged() || is_open_to_all(checkout) => {
            checkout.join(".toolchains/prepared")
        }
        _ if is_privileged() => privileged_home()?.join("prepared"),
        _ => state.path().join("prepared"),
    };
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// Directories of programs that `scripts/install` brought into the checkout, in order.
pub(crate) fn toolchain_directories(checkout: &Path) -> Vec<PathBuf> {
    let Ok(toolchains) = fs::read_dir(checkout.join(".toolchains")) else { return Vec::new() };
    let directories = toolchains.filter_map(|it| Some(it.ok()?.path().join("bin")));
    let mut found: Vec<PathBuf> = directories.filter(|it| it.is_dir()).collect();
    found.sort();
    found
}

fn privileged_home() -> anyhow::Result<PathBuf> {
    let home = PathBuf::from(PRIVILEGED_HOME);
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(&home)
        .with_context(|| format!("cannot make {PRIVILEGED_HOME}"))?;
    Ok(home)
}

/// Whether every uid may pass through each directory up to `path`.
fn is_open_to_all(path: &Path) -> bool {
    path.ancestors().all(|it| fs::metadata(it).is_ok_and(|it| it.mode() & 0o001 != 0))
}

/// The lock appears under its name only when it is held, so nobody can take it from under us.
fn take_lock(directory: &Path) -> io::Result<File> {
    let new = directory.join("lock.new");
    let file = File::create(&new)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    fs::rename(&new, directory.join(LOCK))?;
    Ok(file)
}

/// Removes what an `up` left behind that was killed before it could.
fn remove_abandoned(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else { return };
    for entry in entries.filter_map(Result::ok) {
        let named = entry.file_name().to_string_lossy().starts_with(STATE_PREFIX);
        if named && is_abandoned(&entry) && fs::remove_dir_all(entry.path()).is_err() {
            crate::output::say(format_args!(
                "warning: {} is left over and cannot be removed",
                entry.path().display()
            ));
        }
    }
}

fn is_abandoned(entry: &fs::DirEntry) -> bool {
    let ours = entry
        .metadata()
        .is_ok_and(|it| it.is_dir() && it.uid() == rustix::process::geteuid().as_raw());
    ours && File::open(entry.path().join(LOCK))
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let (held, left) = (home.path().join("flotilla-run-a"), home.path().join("flotilla-run-b"));
        let (strange, unmarked) = (home.path().join("other"), home.path().join("flotilla-run-c"));
        for directory in [&held, &left, &strange, &unmarked] {
            fs::create_dir(directory).unwrap();
        }
        let lock = take_lock(&held).unwrap();
        drop(take_lock(&left).unwrap());
        drop(take_lock(&strange).unwrap());
        remove_abandoned(home.path());
        let exist = [&held, &left, &strange, &unmarked].map(|it| it.exists());
        assert_eq!(exist, [true, false, true, true]);
        drop(lock);
    }

    #[test]
    fn a_private_directory_closes_all_below_it() {
        let home = tempfile::tempdir().unwrap();
        let below = home.path().join("a");
        fs::create_dir(&below).unwrap();
        fs::set_permissions(home.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(!is_open_to_all(&below));
        assert!(is_open_to_all(Path::new("/")));
    }
}
