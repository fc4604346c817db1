//! Room on the disk of a store's file that is kept for those jobs that are there: when there is no
//! other, nothing new is taken, and they come to their end in it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::Fault;
use super::place::{beside, open_private};

/// Bytes that are kept: for results, and for the log that changes go through.
const BYTES: u64 = 16 << 20;
/// With less than this free, the disk is full.
const LOW: u64 = 4 << 20;
/// What is written at once where a disk takes room only by that.
const STEP: usize = 1 << 20;

/// A file that takes room and holds nothing. The one thread that writes to the store looks after it.
#[derive(Debug)]
pub(super) struct Reserve {
    place: PathBuf,
    is_held: AtomicBool,
}

impl Reserve {
    /// That of a store, which an earlier start may have left.
    pub(super) fn of(store: &Path) -> Self {
        let place = beside(store, ".reserve");
        let is_whole = std::fs::metadata(&place).is_ok_and(|it| it.len() == BYTES);
        let reserve = Self { place, is_held: AtomicBool::new(is_whole) };
        if !reserve.has_room() {
            tracing::warn!("the disk of the store has little room left; no jobs are taken");
        }
        reserve
    }

    /// Whether there is room for more. When there is none, what was kept is given up; when there is
    /// again, it is kept again first.
    pub(super) fn has_room(&self) -> bool {
        // A disk that does not tell is found full when it is.
        let directory = self.place.parent().filter(|it| !it.as_os_str().is_empty());
        let Ok(disk) = statvfs(directory.unwrap_or(Path::new("."))) else { return true };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if !self.is_held.load(Ordering::Acquire) {
            return free >= BYTES + 2 * LOW && self.hold();
        }
        if free < LOW {
            self.let_go();
        }
        free >= LOW
    }

    /// Gives up what was kept.
    pub(super) fn let_go(&self) {
        if self.is_held.swap(false, Ordering::AcqRel) {
            match std::fs::remove_file(&self.place) {
                Ok(()) => tracing::warn!("the disk of the store is full; no more jobs are taken"),
                Err(error) => tracing::error!("what was kept for a full disk stays: {error}"),
            }
        }
    }

    fn hold(&self) -> bool {
        if let Err(error) = fill(&self.place) {
            tracing::warn!("no room can be kept on the disk of the store: {error}");
            drop(std::fs::remove_file(&self.place));
            return false;
        }
        self.is_held.store(true, Ordering::Release);
        true
    }

    /// Refuses what would need room that there is not.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.has_room() { Ok(()) } else { Err(Fault::of_no_room()) }
    }
}

/// Has a file take its room.
fn fill(place: &Path) -> io::Result<()> {
    let mut file: File = open_private(place)?;
    file.set_len(0)?;
    match fallocate(&file, FallocateFlags::empty(), 0, BYTES) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            for _ in 0..BYTES.div_ceil(STEP as u64) {
                file.write_all(&vec![0; STEP])?;
            }
            Ok(())
        }
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("jobs.db");
        let reserve = Reserve::of(&store);
        let place = directory.path().join("jobs.db.reserve");
        assert_eq!(std::fs::metadata(&place).unwrap().len(), BYTES);
        reserve.let_go();
        assert!(!place.exists());
        // There is room, so that it is kept again before anything is taken.
        assert!(reserve.check().is_ok() && place.exists());
        // Half of one is none.
        File::options().write(true).open(&place).unwrap().set_len(BYTES / 2).unwrap();
        drop(reserve);
        assert!(Reserve::of(&store).has_room());
        assert_eq!(std::fs::metadata(&place).unwrap().len(), BYTES);
    }
}
