//! The directories of an executor, and of each run: made before user code runs, and deleted by
//! descriptor after everything of the run is dead.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::SourceFile;

use crate::tree::{self, Owner, WalkBounds};

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
        for shared in ["root", "support"] {
            tree::make_directory(directory.as_fd(), shared, 0o755)?;
        }
        // Whoever does not know what a program was compiled from does not know its name in here.
        tree::make_directory(directory.as_fd(), "cache", 0o711)?;
        Ok(Self { path, parent: parent_fd, name, work: Arc::new(work), _lock: lock })
    }

    /// A directory of it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the directories of one run: for its work, for temporary files, and for what a compile
    /// makes. All belong to `owner`.
    pub(crate) fn directories(&self, owner: Owner) -> io::Result<Directories> {
        let name = random_name()?;
        let run = tree::make_directory(self.work.as_fd(), &name, 0o711)?;
        // From here on, dropping it deletes what is there.
        let on_disk = OnDisk { name, parent: Arc::clone(&self.work) };
        let seen = self.path.join("work").join(&on_disk.name);
        for name in [WORK, TEMPORARY, OUT] {
            let directory = tree::make_directory(run.as_fd(), name, 0o700)?;
            tree::give(directory.as_fd(), owner)?;
        }
        Ok(Directories { root: run, seen, _on_disk: Some(on_disk), owner })
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if let Err(error) = tree::erase(self.parent.as_fd(), &self.name) {
            tracing::warn!(%error, "the state directory could not be deleted");
        }
    }
}

/// What is copied for one run at most.
const TAKEN_IN: WalkBounds = WalkBounds { entries: 4096, depth: 32, bytes: 256 << 20 };

const WORK: &str = "work";
const TEMPORARY: &str = "tmp";
const OUT: &str = "out";

/// The directories of one run. Deleted when dropped; everything of the run must be dead then.
#[derive(Debug)]
pub(crate) struct Directories {
    root: OwnedFd,
    /// Where programs see them.
    seen: PathBuf,
    _on_disk: Option<OnDisk>,
    owner: Owner,
}

/// Directories on the disk of the host. Those in memory go with their cell.
#[derive(Debug)]
struct OnDisk {
    name: String,
    parent: Arc<OwnedFd>,
}

impl Directories {
    /// Those of a file system that belongs to the run alone, whose root is `root`.
    pub(crate) fn in_memory(root: BorrowedFd<'_>, owner: Owner) -> io::Result<Self> {
        let root = root.try_clone_to_owned()?;
        Ok(Self { root, seen: PathBuf::from("/"), _on_disk: None, owner })
    }

    /// Writes the sources into the work directory.
    pub(crate) fn write(&self, files: &[SourceFile]) -> io::Result<()> {
        let work = self.open_work()?;
        for file in files {
            tree::write_file(work.as_fd(), &file.path, &file.content, self.owner)?;
        }
        Ok(())
    }

    /// Copies the files of a directory of ours to where a compile puts its result.
    pub(crate) fn take_in(&self, from: &Path) -> io::Result<()> {
        let out = self.open_out()?;
        let from = tree::open_directory(from)?;
        tree::walk(from.as_fd(), None, TAKEN_IN, &mut |found| {
            let bytes = tree::read_file(&found.file, found.size)?;
            tree::write_file(out.as_fd(), &found.path, &bytes, self.owner)
        })?;
        Ok(())
    }

    /// The work directory, as programs see it.
    pub(crate) fn work_dir(&self) -> PathBuf {
        self.seen.join(WORK)
    }

    /// Where temporary files go, as programs see it.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.seen.join(TEMPORARY)
    }

    /// Where a compile puts its result, as programs see it.
    pub(crate) fn out(&self) -> PathBuf {
        self.seen.join(OUT)
    }

    /// The work directory itself.
    pub(crate) fn open_work(&self) -> io::Result<OwnedFd> {
        tree::open_below(self.root.as_fd(), WORK)
    }

    /// The directory of results itself.
    pub(crate) fn open_out(&self) -> io::Result<OwnedFd> {
        tree::open_below(self.root.as_fd(), OUT)
    }

    /// The user that everything in them belongs to.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        if let Err(error) = tree::erase(self.parent.as_fd(), &self.name) {
            tracing::warn!(%error, "a work directory could not be deleted");
        }
    }
}

/// Deletes directories whose executor is gone: nobody holds their lock.
fn remove_stale(parent: &Path, parent_fd: BorrowedFd<'_>) -> io::Result<()> {
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
    fn directories_are_gone_when_they_are_dropped_and_the_state_too() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::make(parent.path(), "service").unwrap();
        let file = SourceFile { path: "a/b".to_owned(), content: b"x".to_vec() };
        let directories = state.directories(None).unwrap();
        directories.write(&[file]).unwrap();
        assert_eq!(fs::read(directories.work_dir().join("a/b")).unwrap(), b"x");
        drop(directories);
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
