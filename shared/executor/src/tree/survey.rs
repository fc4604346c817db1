//! Looks at a tree of ours without touching it: what is there, and a stamp of each thing that
//! changes with whatever happens to it.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags, openat};

use super::{WalkBounds, directory_flags, entries};

/// Everything below a directory by its path, itself under the empty one.
pub(crate) type Survey = BTreeMap<String, Stamp>;

/// What of a file or directory changes when it is written, linked, replaced, or given other
/// rights. The kernel sets the time of the last change; nobody without its privileges can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    mode: u32,
    owner: u32,
    names: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of an open file or directory.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }

    /// Size, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.mode & KIND == DIRECTORY
    }

    pub(crate) fn is_file(&self) -> bool {
        self.mode & KIND == REGULAR
    }

    /// Whether it is a file of one name or a directory, belongs to `owner`, and has none of the
    /// rights in `refused`.
    pub(crate) fn is_sealed(&self, owner: u32, refused: u32) -> bool {
        let is_plain = self.is_directory() || self.is_file() && self.names == 1;
        is_plain && self.owner == owner && self.mode & refused == 0
    }

    /// When it was changed last.
    pub(crate) fn changed(&self) -> SystemTime {
        let (seconds, nanos) = self.changed;
        let since = Duration::new(
            u64::try_from(seconds).unwrap_or_default(),
            u32::try_from(nanos).unwrap_or_default(),
        );
        SystemTime::UNIX_EPOCH + since
    }

    /// Whether both are of the same file or directory, whatever happened to it in between.
    pub(crate) fn is_of_the_same(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            mode: metadata.mode(),
            owner: metadata.uid(),
            names: metadata.nlink(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Surveys the tree below `root`. Other users' rights are left as they are, and no link is
/// followed. A tree beyond the bounds of entries and depth, or with a name that is no text, is an
/// error.
pub(crate) fn survey(root: BorrowedFd<'_>, bounds: WalkBounds) -> io::Result<Survey> {
    let mut survey = Survey::new();
    let itself = File::from(root.try_clone_to_owned()?);
    survey.insert(String::new(), Stamp::of(&itself)?);
    survey_below(root, "", bounds.depth, bounds.entries, &mut survey)?;
    Ok(survey)
}

fn survey_below(
    directory: BorrowedFd<'_>,
    prefix: &str,
    depth: usize,
    entries_max: usize,
    survey: &mut Survey,
) -> io::Result<()> {
    for (name, _) in entries(directory, entries_max.saturating_add(1))? {
        let name = name.into_string().map_err(|_error| io::Error::other("a name is no text"))?;
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let stamp = Stamp::of(&File::from(openat(directory, &name, by_path(), Mode::empty())?))?;
        let is_directory = stamp.is_directory();
        survey.insert(path.clone(), stamp);
        if survey.len() > entries_max {
            return Err(io::Error::other("there is more than may be"));
        }
        if !is_directory {
            continue;
        }
        if depth == 0 {
            return Err(io::Error::other("a directory is deeper than may be"));
        }
        let below = openat(directory, &name, directory_flags(), Mode::empty())?;
        survey_below(below.as_fd(), &path, depth - 1, entries_max, survey)?;
    }
    Ok(())
}

/// Opens the file at `path` below `root`, one component after the other, for reading. Nothing
/// that is opened on the way is a link.
pub(crate) fn open_file(root: BorrowedFd<'_>, path: &str) -> io::Result<File> {
    let (directories, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut directory = root.try_clone_to_owned()?;
    for part in directories.split('/').filter(|it| !it.is_empty()) {
        directory = openat(&directory, part, directory_flags(), Mode::empty())?;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat(&directory, name, flags, Mode::empty())?))
}

fn by_path() -> OFlags {
    OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// The part of a mode that tells what it is the mode of (inode(7)).
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::open_directory;
    use super::*;

    const BOUNDS: WalkBounds = WalkBounds { entries: 10, depth: 2, bytes: 0 };

    fn surveyed(path: &Path) -> io::Result<Survey> {
        survey(open_directory(path)?.as_fd(), BOUNDS)
    }

    /// Lets the clock of the file system go on: it is coarser than ours.
    fn tick(directory: &Path, since: SystemTime) {
        let scratch = File::create(directory.with_extension("scratch")).unwrap();
        while Stamp::of(&scratch).unwrap().changed() <= since {
            scratch.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
    }

    #[test]
    fn whatever_happens_to_a_file_changes_its_stamp() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("tree");
        fs::create_dir(&directory).unwrap();
        let path = directory.join("a");
        fs::write(&path, "x").unwrap();
        let outside = parent.path().join("outside");
        let changes: [&dyn Fn(); 5] = [
            &|| fs::write(&path, "y").unwrap(),
            &|| fs::hard_link(&path, &outside).unwrap(),
            &|| fs::remove_file(&outside).unwrap(),
            &|| File::open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap(),
            &|| fs::write(directory.join("b"), "").unwrap(),
        ];
        for change in changes {
            let before = surveyed(&directory).unwrap();
            assert_eq!(before, surveyed(&directory).unwrap());
            tick(&directory, before.values().map(Stamp::changed).max().unwrap());
            change();
            assert_ne!(before, surveyed(&directory).unwrap());
        }
    }

    #[test]
    fn a_survey_follows_no_link_and_keeps_its_bounds() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", directory.path().join("link")).unwrap();
        let found = surveyed(directory.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["", "link"]);
        assert!(!found["link"].is_directory() && !found["link"].is_sealed(0, 0));
        assert!(
            open_file(open_directory(directory.path()).unwrap().as_fd(), "link/hosts").is_err()
        );
        fs::create_dir_all(directory.path().join("1/2/3")).unwrap();
        assert!(surveyed(directory.path()).is_err());
    }
}
