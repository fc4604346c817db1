//! Directory trees by descriptor: writing inputs, reading results, and deleting what a program
//! left. No name that a program could have made is ever followed: every step opens one component
//! of a directory that is already open, without following links.

mod survey;

use std::ffi::CString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, mkdirat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;

pub(crate) use survey::{Stamp, Survey, open_file, survey};

/// Entries of a directory that are looked at in one go when it is deleted.
const BATCH: usize = 4096;

/// A user's files, or our own.
pub(crate) type Owner = Option<u32>;

/// Bounds of a walk through what a program left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalkBounds {
    /// Entries that are looked at.
    pub(crate) entries: usize,
    /// Depth below the root.
    pub(crate) depth: usize,
    /// All files together, in bytes.
    pub(crate) bytes: u64,
}

/// A regular file found by a walk.
#[derive(Debug)]
pub(crate) struct Found {
    /// Path below the root.
    pub(crate) path: String,
    /// The open file.
    pub(crate) file: std::fs::File,
    /// Its size, in bytes.
    pub(crate) size: u64,
}

/// Opens a directory that is ours.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, directory_flags(), Mode::empty())?)
}

/// Opens the directory `name` of `parent`, as it is.
pub(crate) fn open_here(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    Ok(openat(parent, name, directory_flags(), Mode::empty())?)
}

/// Opens the directory `name` of `parent`, which belongs to a run that does nothing now, whatever
/// rights the run took away.
pub(crate) fn open_below(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    Ok(open_up(parent, name)?)
}

/// Makes the directory `name` and opens it.
pub(crate) fn make_directory(parent: BorrowedFd<'_>, name: &str, mode: u32) -> io::Result<OwnedFd> {
    mkdirat(parent, name, Mode::from_raw_mode(mode))?;
    let directory = openat(parent, name, directory_flags(), Mode::empty())?;
    // The mask of this process took bits away.
    fchmod(&directory, Mode::from_raw_mode(mode))?;
    Ok(directory)
}

/// Writes a file below `root`, with the directories it needs, all for `owner`. Nothing of the
/// path may exist yet but directories that this function made.
pub(crate) fn write_file(
    root: BorrowedFd<'_>,
    path: &str,
    content: &[u8],
    owner: Owner,
) -> io::Result<()> {
    let mut parts: Vec<&str> = path.split('/').collect();
    let Some(name) = parts.pop() else { return Err(Errno::INVAL.into()) };
    let mut directory = root.try_clone_to_owned()?;
    for part in parts {
        directory = match mkdirat(&directory, part, Mode::RWXU) {
            Ok(()) => {
                let made = openat(&directory, part, directory_flags(), Mode::empty())?;
                give(made.as_fd(), owner)?;
                made
            }
            Err(Errno::EXIST) => openat(&directory, part, directory_flags(), Mode::empty())?,
            Err(error) => return Err(error.into()),
        };
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)?;
    let mut file = std::fs::File::from(file);
    file.write_all(content)?;
    give(file.as_fd(), owner)
}

/// Hands an open file or directory to `owner`.
pub(crate) fn give(what: BorrowedFd<'_>, owner: Owner) -> io::Result<()> {
    let Some(uid) = owner else { return Ok(()) };
    Ok(fchown(what, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?)
}

/// Visits every regular file below `root` that has one name and belongs to `owner`, as far as
/// the bounds reach. Returns whether everything was visited.
pub(crate) fn walk(
    root: BorrowedFd<'_>,
    owner: Owner,
    bounds: WalkBounds,
    visit: &mut dyn FnMut(Found) -> io::Result<()>,
) -> io::Result<bool> {
    let mut left = bounds;
    walk_below(root, "", owner, &mut left, visit)
}

fn walk_below(
    directory: BorrowedFd<'_>,
    prefix: &str,
    owner: Owner,
    left: &mut WalkBounds,
    visit: &mut dyn FnMut(Found) -> io::Result<()>,
) -> io::Result<bool> {
    let mut whole = true;
    for (name, _) in entries(directory, left.entries.saturating_add(1))? {
        if left.entries == 0 {
            return Ok(false);
        }
        left.entries -= 1;
        let Ok(name) = name.into_string() else {
            whole = false;
            continue;
        };
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let Ok(stat) = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if left.depth > 0 => {
                let Ok(below) = open_up(directory, name.as_str()) else { continue };
                left.depth -= 1;
                whole &= walk_below(below.as_fd(), &path, owner, left, visit)?;
                left.depth += 1;
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let Ok(file) = openat(directory, &name, flags, Mode::empty()) else { continue };
                let stat = fstat(&file)?;
                if !is_plain(&stat, owner) {
                    continue;
                }
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                if size > left.bytes {
                    whole = false;
                    continue;
                }
                left.bytes -= size;
                visit(Found { path, file: file.into(), size })?;
            }
            _ => whole = false,
        }
    }
    Ok(whole)
}

/// Whether it is a regular file with one name, of the right owner.
fn is_plain(stat: &Stat, owner: Owner) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_nlink == 1
        && owner.is_none_or(|uid| stat.st_uid == uid)
}

/// Reads at most `bytes_max` of a file.
pub(crate) fn read_file(file: &std::fs::File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes everything below `root`, and itself, ours: readable by all, writable by nobody else.
/// Symbolic links stay as they are, and a file of several names is refused. Everything that could
/// write there must be dead.
pub(crate) fn take_over(root: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("a tree is deeper than it may be"));
    }
    let us = rustix::process::geteuid();
    let group = rustix::process::getegid();
    fchown(root, Some(us), Some(group))?;
    fchmod(root, Mode::from_raw_mode(0o755))?;
    for (name, _) in entries(root, usize::MAX)? {
        let stat = statat(root, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let below = openat(root, &name, directory_flags(), Mode::empty())?;
                take_over(below.as_fd(), depth - 1)?;
            }
            // Its other name may be somebody else's.
            FileType::RegularFile if stat.st_nlink > 1 => {
                return Err(io::Error::other("a file has a second name, and is not taken over"));
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = openat(root, &name, flags, Mode::empty())?;
                fchown(&file, Some(us), Some(group))?;
                let mode = if stat.st_mode & 0o100 == 0 { 0o644 } else { 0o755 };
                fchmod(&file, Mode::from_raw_mode(mode))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Deletes the directory `name` of `parent` with everything below. Directories inside are moved
/// up next to it first, so that neither depth nor the length of a path matters; those that nobody
/// may enter are opened up. Everything that could write there must be dead.
pub(crate) fn erase(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut counter = 0_u64;
    let mut waiting = vec![name.to_owned()];
    while let Some(current) = waiting.pop() {
        let directory = match open_up(parent, current.as_str()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        for (entry, kind) in entries(directory.as_fd(), BATCH)? {
            let is_directory = match kind {
                FileType::Unknown => statat(&directory, &entry, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Directory),
                kind => kind == FileType::Directory,
            };
            if !is_directory {
                unlinkat(&directory, &entry, AtFlags::empty())?;
                continue;
            }
            if unlinkat(&directory, &entry, AtFlags::REMOVEDIR).is_ok() {
                continue;
            }
            // Moving a directory writes to it, so it must be open first.
            open_up(directory.as_fd(), entry.as_c_str())?;
            let aside = format!("{name}.{counter}");
            counter += 1;
            renameat(&directory, &entry, parent, &aside)?;
            waiting.push(aside);
        }
        match unlinkat(parent, &current, AtFlags::REMOVEDIR) {
            // There was more than one batch.
            Err(Errno::NOTEMPTY) => waiting.push(current),
            done => done?,
        }
    }
    Ok(())
}

/// Opens a directory, whatever rights its owner took away.
fn open_up<P: Arg + Copy>(parent: BorrowedFd<'_>, name: P) -> Result<OwnedFd, Errno> {
    let by_path = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = openat(parent, name, by_path, Mode::empty())?;
    match openat(&handle, ".", directory_flags(), Mode::empty()) {
        Ok(directory) => {
            fchmod(&directory, Mode::RWXU).or_else(ignore_foreign)?;
            Ok(directory)
        }
        Err(Errno::ACCESS) => {
            // By the handle, not by the name: whatever stands there by now is left alone.
            let itself = format!("/proc/self/fd/{}", handle.as_raw_fd());
            rustix::fs::chmod(itself, Mode::RWXU)?;
            openat(&handle, ".", directory_flags(), Mode::empty())
        }
        Err(error) => Err(error),
    }
}

/// A directory of another user can be deleted by root as it is.
fn ignore_foreign(error: Errno) -> Result<(), Errno> {
    if error == Errno::PERM { Ok(()) } else { Err(error) }
}

/// At most `max` entries of a directory.
fn entries(directory: BorrowedFd<'_>, max: usize) -> io::Result<Vec<(CString, FileType)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if found.len() < max && name != c"." && name != c".." {
            found.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    fn scratch() -> (tempfile::TempDir, OwnedFd, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("box");
        std::fs::create_dir(&path).unwrap();
        let parent = open_directory(directory.path()).unwrap();
        (directory, parent, path)
    }

    const BOUNDS: WalkBounds = WalkBounds { entries: 100, depth: 4, bytes: 1000 };

    fn walked(path: &Path, bounds: WalkBounds) -> (Vec<String>, bool) {
        let root = open_directory(path).unwrap();
        let mut found = Vec::new();
        let whole = walk(root.as_fd(), None, bounds, &mut |it| {
            found.push(it.path);
            Ok(())
        })
        .unwrap();
        found.sort();
        (found, whole)
    }

    #[test]
    fn files_are_written_with_their_directories() {
        let (_keep, _, path) = scratch();
        let root = open_directory(&path).unwrap();
        write_file(root.as_fd(), "a/b/c.txt", b"x", None).unwrap();
        write_file(root.as_fd(), "a/b/d.txt", b"y", None).unwrap();
        assert_eq!(std::fs::read(path.join("a/b/c.txt")).unwrap(), b"x");
        assert!(write_file(root.as_fd(), "a/b/c.txt", b"z", None).is_err());
    }

    #[test]
    fn a_link_is_not_written_through() {
        let (_keep, _, path) = scratch();
        symlink("/tmp", path.join("a")).unwrap();
        let root = open_directory(&path).unwrap();
        assert!(write_file(root.as_fd(), "a/escaped", b"x", None).is_err());
    }

    #[test]
    fn only_plain_files_are_walked() {
        let (_keep, _, path) = scratch();
        std::fs::write(path.join("plain"), "x").unwrap();
        std::fs::write(path.join("twice"), "x").unwrap();
        std::fs::hard_link(path.join("twice"), path.join("other")).unwrap();
        symlink("/etc/passwd", path.join("link")).unwrap();
        symlink("/etc", path.join("directory")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, path.join("fifo"), FileType::Fifo, Mode::RWXU, 0)
            .unwrap();
        assert_eq!(walked(&path, BOUNDS), (vec!["plain".to_owned()], false));
    }

    #[test]
    fn a_walk_keeps_its_bounds() {
        let (_keep, _, path) = scratch();
        std::fs::create_dir_all(path.join("a/b/c/d/e")).unwrap();
        std::fs::write(path.join("a/b/c/d/e/deep"), "x").unwrap();
        std::fs::write(path.join("large"), vec![0; 2000]).unwrap();
        assert_eq!(walked(&path, BOUNDS), (vec![], false));
        for number in 0..200 {
            std::fs::write(path.join(number.to_string()), "").unwrap();
        }
        assert!(walked(&path, BOUNDS).0.len() <= 100);
    }

    #[test]
    fn a_deep_tree_with_closed_directories_is_erased() {
        let (keep, parent, path) = scratch();
        let mut directory = open_directory(&path).unwrap();
        let name = "d".repeat(200);
        for _ in 0..2600 {
            directory = make_directory(directory.as_fd(), &name, 0o700).unwrap();
        }
        fchmod(&directory, Mode::empty()).unwrap();
        std::fs::create_dir(path.join("closed")).unwrap();
        std::fs::write(path.join("closed/file"), "x").unwrap();
        symlink("/etc", path.join("closed/link")).unwrap();
        let closed = open_directory(&path.join("closed")).unwrap();
        fchmod(&closed, Mode::empty()).unwrap();
        erase(parent.as_fd(), "box").unwrap();
        assert_eq!(std::fs::read_dir(keep.path()).unwrap().count(), 0);
        assert!(Path::new("/etc/hostname").exists());
    }
}
