//! The directories of an executor, and of each run: made before user code runs, and deleted by
//! descriptor after everything of the run is dead.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::SourceFile;

use crate::tree::{self, Owner};

/// Where an executor keeps what lives as long as it does. Deleted when dropped, and by the next
/// executor if this one is killed.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    parent: OwnedFd,
    name: String,
    work: Arc<OwnedFd>,
    /// Held for as long as the directory is in use.
    _lock: File,
}

impl StateDir {
    /// Makes a fresh directory below `parent`, and deletes those that dead executors left there.
    pub(crate) fn make(parent: &Path, service: &str) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o711).create(parent)?;
        let parent_fd = tree::open_directory(parent)?;
        remove_stale(parent, parent_fd.as_fd())?;
        let name = format!("{service}-{}", random_name()?);
        let directory = tree::make_directory(parent_fd.as_fd(), &name, 0o711)?;
        let path = parent.join(&name);
        let lock = File::create(path.join("lock"))?;
        lock.try_lock().map_err(io::Error::from)?;
        fs::set_permissions(path.join("lock"), fs::Permissions::from_mode(0o600))?;
        // Entered by name, never listed: the names of runs are secrets of their own.
        let work = tree::make_directory(directory.as_fd(), "work", 0o711)?;
        for shared in ["cache", "mirror", "support"] {
            tree::make_directory(directory.as_fd(), shared, 0o755)?;
        }
        Ok(Self { path, parent: parent_fd, name, work: Arc::new(work), _lock: lock })
    }

    /// A directory of it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the directories of one run: its work directory with `files`, its directory for
    /// temporary files, and, for a compile, one for the result. All belong to `owner`.
    pub(crate) fn workspace(&self, files: &[SourceFile], owner: Owner) -> io::Result<Workspace> {
        let name = random_name()?;
        let run = tree::make_directory(self.work.as_fd(), &name, 0o711)?;
        let path = self.path.join("work").join(&name);
        let workspace = Workspace { path, name, parent: Arc::clone(&self.work), owner };
        // From here on, dropping it deletes what is there.
        let boxed = tree::make_directory(run.as_fd(), BOX, 0o700)?;
        for file in files {
            tree::write_file(boxed.as_fd(), &file.path, &file.content, owner)?;
        }
        tree::give(boxed.as_fd(), owner)?;
        for name in [TEMPORARY, OUT] {
            let directory = tree::make_directory(run.as_fd(), name, 0o700)?;
            tree::give(directory.as_fd(), owner)?;
        }
        Ok(workspace)
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if let Err(error) = tree::erase(self.parent.as_fd(), &self.name) {
            tracing::warn!(%error, "the state directory could not be deleted");
        }
    }
}

const BOX: &str = "box";
const TEMPORARY: &str = "tmp";
const OUT: &str = "out";

/// The directories of one run. Deleted when dropped; everything of the run must be dead then.
#[derive(Debug)]
pub(crate) struct Workspace {
    path: PathBuf,
    name: String,
    parent: Arc<OwnedFd>,
    owner: Owner,
}

impl Workspace {
    /// The work directory.
    pub(crate) fn work_dir(&self) -> PathBuf {
        self.path.join(BOX)
    }

    /// Where temporary files go.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path.join(TEMPORARY)
    }

    /// Where a compile puts its result.
    pub(crate) fn out(&self) -> PathBuf {
        self.path.join(OUT)
    }

    /// The user that everything in it belongs to.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = tree::erase(self.parent.as_fd(), &self.name) {
            tracing::warn!(%error, "a work directory could not be deleted");
        }
    }
}

/// Deletes directories whose executor is gone: nobody holds their lock.
fn remove_stale(parent: &Path, parent_fd: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    for entry in fs::read_dir(parent)?.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(lock) = File::open(entry.path().join("lock")) else { continue };
        match lock.try_lock() {
            Ok(()) => tree::erase(parent_fd, &name)?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

/// 128 random bits as hex digits.
pub(crate) fn random_name() -> io::Result<String> {
    let mut random = [0; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_is_gone_when_it_is_dropped_and_the_state_too() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::make(parent.path(), "service").unwrap();
        let file = SourceFile { path: "a/b".to_owned(), content: b"x".to_vec() };
        let workspace = state.workspace(&[file], None).unwrap();
        assert_eq!(fs::read(workspace.work_dir().join("a/b")).unwrap(), b"x");
        drop(workspace);
        assert_eq!(fs::read_dir(state.join("work")).unwrap().count(), 0);
        drop(state);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_executor_left_is_deleted_by_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let killed = parent.path().join("service-0");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join("lock"), "").unwrap();
        let other = parent.path().join("somebody-elses");
        fs::create_dir(&other).unwrap();
        let alive = StateDir::make(parent.path(), "service").unwrap();
        let _second = StateDir::make(parent.path(), "service").unwrap();
        assert!(!killed.exists());
        assert!(other.exists());
        assert!(alive.join("work").exists());
    }
}
