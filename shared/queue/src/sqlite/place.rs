//! The files of a store: nobody else may look into them, and one process at a time has them.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::StoreError;

/// How often a lock that another process has is looked at.
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// Opens a file that nobody else may look into, or makes it.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// The place of a file that goes with another one.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut place = path.as_os_str().to_owned();
    place.push(ending);
    PathBuf::from(place)
}

pub(super) fn told(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

/// Keeps other processes from the file: two that write back its log would harm it, and neither
/// would hear of the other's jobs.
pub(super) fn lock(path: &Path, patience: Duration) -> Result<File, StoreError> {
    let until = Instant::now() + patience;
    let place = beside(path, ".lock");
    let file = open_private(&place).map_err(|it| told(&place, &it))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Taken(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(told(&place, &error)),
        }
        #[expect(clippy::disallowed_methods, reason = "it is opened on a thread for such work")]
        std::thread::sleep(LOCK_LOOK);
    }
}
