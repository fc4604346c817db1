//! Where an executor keeps its files, and what that place is like.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statfs, statvfs};
use serde::Serialize;

/// File systems that are memory: tmpfs and ramfs (statfs(2)).
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// A directory, or where it would be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The directory.
    pub path: PathBuf,
    /// Room that an ordinary user has there, in bytes.
    pub free_bytes: u64,
    /// Whether files there take memory.
    pub in_memory: bool,
    /// Whether programs may be run from there.
    pub executable: bool,
}

/// Where executors keep work directories unless they are told otherwise. Other users cannot pass
/// through root's temporary directories everywhere, hence the two.
pub fn state_directory() -> PathBuf {
    let user = rustix::process::geteuid();
    if user.is_root() {
        return PathBuf::from("/var/lib/flotilla");
    }
    std::env::temp_dir().join(format!("flotilla-{}", user.as_raw()))
}

/// Looks at `path`, or at the nearest directory above it that exists.
pub fn place(path: &Path) -> io::Result<Place> {
    let existing = path.ancestors().find(|it| it.is_dir()).unwrap_or(Path::new("/"));
    let space = statvfs(existing)?;
    let kind = statfs(existing)?.f_type;
    Ok(Place {
        path: path.to_owned(),
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        in_memory: u64::try_from(kind).is_ok_and(|it| IN_MEMORY.contains(&it)),
        executable: !space.f_flag.contains(StatVfsMountFlags::NOEXEC),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_like_the_one_above_it() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("not/yet");
        let (here, there) = (place(directory.path()).unwrap(), place(&below).unwrap());
        assert_eq!(there.path, below);
        assert_eq!((there.in_memory, there.executable), (here.in_memory, here.executable));
    }

    #[test]
    fn a_file_system_in_memory_is_told_from_others() {
        assert!(place(Path::new("/dev/shm")).unwrap().in_memory);
        assert!(!place(Path::new("/proc")).unwrap().in_memory);
    }
}
