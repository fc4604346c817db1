//! Lays a toolchain out again where the users of slots can reach it: by hard links, so that it
//! costs no space, or by copies where links are refused. The private directory above the
//! original stays as closed as it was.
//!
//! What is laid out stays from start to start for as long as the original does not change: a large
//! one has tens of thousands of files.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::cache::Key;
use crate::prepare::{COMPLETE, is_finished};
use crate::tree;

/// A toolchain that is laid out again, and is not deleted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Where it is.
    pub(crate) path: PathBuf,
    _in_use: File,
}

/// Lays out `parts` of `root` below `parent` as something that begins with `name`, unless they are
/// there as they are now, and deletes what they were before if nobody uses it.
pub(crate) fn lay_out(
    root: &Path,
    parent: &Path,
    name: &str,
    parts: &[String],
) -> io::Result<Mirror> {
    let mut state = Vec::new();
    for part in parts {
        note_state(&root.join(part), &mut state)?;
    }
    let place = [root.as_os_str().as_bytes(), parent.as_os_str().as_bytes()];
    let key = Key::of(place.into_iter().chain([&state[..]]));
    let prefix = format!("{name}-mirror-");
    let own = format!("{prefix}{}", key.short());
    let (path, lock) = (parent.join(&own), lock_file(parent, &own)?);
    loop {
        // Whoever deletes what is old waits for the end of this.
        lock.lock_shared()?;
        if is_finished(&path)? {
            break;
        }
        lock.unlock()?;
        lock.lock()?;
        if !is_finished(&path)? {
            lay_out_all(root, parent, &own, parts)?;
        }
        lock.unlock()?;
    }
    delete_old(parent, &prefix, &own)?;
    Ok(Mirror { path, _in_use: lock })
}

fn lock_file(parent: &Path, name: &str) -> io::Result<File> {
    File::options().create(true).append(true).open(parent.join(format!("{name}.lock")))
}

fn lay_out_all(root: &Path, parent: &Path, name: &str, parts: &[String]) -> io::Result<()> {
    tree::erase(tree::open_directory(parent)?.as_fd(), name)?;
    let target = parent.join(name);
    make_directory(&target)?;
    for part in parts {
        let (from, to) = (root.join(part), target.join(part));
        if let Some(parent) = to.parent() {
            make_directory(parent)?;
        }
        if from.exists() {
            lay_out_one(&from, &to)?;
        }
    }
    fs::write(target.join(COMPLETE), "")
}

/// Deletes what begins with `prefix`, is not `own`, and is in nobody's use.
fn delete_old(parent: &Path, prefix: &str, own: &str) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|it| it.starts_with(prefix) && *it != own) else {
            continue;
        };
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let lock = lock_file(parent, name)?;
        if lock.try_lock().is_ok() {
            tree::erase(tree::open_directory(parent)?.as_fd(), name)?;
        }
    }
    Ok(())
}

/// Adds what tells a file, or everything below a directory, from what it was before.
fn note_state(from: &Path, state: &mut Vec<u8>) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(from) else { return Ok(()) };
    state.extend(from.as_os_str().as_bytes());
    state.push(0);
    for number in [
        metadata.ino(),
        metadata.mode().into(),
        metadata.size(),
        metadata.mtime().cast_unsigned(),
        metadata.mtime_nsec().cast_unsigned(),
    ] {
        state.extend(number.to_le_bytes());
    }
    if metadata.is_symlink() {
        return match fs::read_link(from)? {
            link if link.is_relative() => Ok(()),
            _ => fs::metadata(from).map_or(Ok(()), |_| note_state(&from.canonicalize()?, state)),
        };
    }
    if metadata.is_dir() {
        let entries: io::Result<Vec<_>> = fs::read_dir(from)?.map(|it| Ok(it?.path())).collect();
        let mut entries = entries?;
        entries.sort();
        for entry in entries {
            note_state(&entry, state)?;
        }
    }
    Ok(())
}

fn lay_out_one(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_symlink() {
        return match fs::read_link(from)? {
            link if link.is_relative() => accept_existing(symlink(link, to)),
            _ => fs::metadata(from).map_or(Ok(()), |_| lay_out_one(&from.canonicalize()?, to)),
        };
    }
    if metadata.is_dir() {
        make_directory(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            lay_out_one(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if !metadata.is_file() {
        return Ok(());
    }
    let readable = metadata.mode() & 0o004 != 0;
    let linked = if readable { fs::hard_link(from, to) } else { Err(io::ErrorKind::Other.into()) };
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            fs::copy(from, to)?;
            fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o755 | 0o444))
        }
        linked => accept_existing(linked),
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn accept_existing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ground {
        from: tempfile::TempDir,
        to: tempfile::TempDir,
    }

    impl Ground {
        fn new() -> Self {
            let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::create_dir_all(from.path().join("bin")).unwrap();
            fs::write(from.path().join("bin/tool"), "x").unwrap();
            symlink("tool", from.path().join("bin/alias")).unwrap();
            fs::write(from.path().join("bin/secret"), "y").unwrap();
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(from.path().join("bin/secret"), mode).unwrap();
            Self { from, to }
        }

        fn lay_out(&self) -> Mirror {
            let parts = ["bin".to_owned(), "absent".to_owned()];
            lay_out(self.from.path(), self.to.path(), "tool-1", &parts).unwrap()
        }

        fn directories(&self) -> usize {
            let entries = fs::read_dir(self.to.path()).unwrap().flatten();
            entries.filter(|it| it.path().is_dir()).count()
        }
    }

    #[test]
    fn a_tree_is_laid_out_with_its_links_and_twice_is_once() {
        let ground = Ground::new();
        let first = ground.lay_out();
        assert_eq!(fs::read_to_string(first.path.join("bin/alias")).unwrap(), "x");
        let secret = |root: &Path| fs::metadata(root.join("bin/secret")).unwrap().mode() & 0o777;
        assert_eq!((secret(&first.path), secret(ground.from.path())), (0o744, 0o700));
        let made = fs::metadata(&first.path).unwrap().ino();
        let second = ground.lay_out();
        assert_eq!(fs::metadata(second.path).unwrap().ino(), made);
    }

    #[test]
    fn what_changed_is_laid_out_anew_and_what_nobody_uses_goes() {
        let ground = Ground::new();
        let first = ground.lay_out();
        fs::write(ground.from.path().join("bin/more"), "z").unwrap();
        let second = ground.lay_out();
        assert_eq!(fs::read_to_string(second.path.join("bin/more")).unwrap(), "z");
        assert!(!first.path.join("bin/more").exists() && first.path.join("bin/tool").exists());
        drop(first);
        ground.lay_out();
        assert_eq!(ground.directories(), 1);
    }

    #[test]
    fn what_was_not_finished_is_made_again() {
        let ground = Ground::new();
        let path = ground.lay_out().path;
        fs::remove_file(path.join(COMPLETE)).unwrap();
        fs::remove_file(path.join("bin/tool")).unwrap();
        assert!(ground.lay_out().path.join("bin/tool").exists());
    }
}
