//! Lays a toolchain out again where the users of slots can reach it: by hard links, so that it
//! costs no space, or by copies where links are refused. The private directory above the
//! original stays as closed as it was.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

/// Lays out `parts` of `root` below `target`, unless they are there already.
pub(crate) fn lay_out(root: &Path, target: &Path, parts: &[String]) -> io::Result<()> {
    let done = target.join(".complete");
    if done.exists() {
        return Ok(());
    }
    make_directory(target)?;
    for part in parts {
        let (from, to) = (root.join(part), target.join(part));
        if let Some(parent) = to.parent() {
            make_directory(parent)?;
        }
        if from.exists() {
            lay_out_one(&from, &to)?;
        }
    }
    fs::write(done, "")
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

    #[test]
    fn a_tree_is_laid_out_with_its_links_and_twice_is_once() {
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        fs::create_dir_all(from.path().join("bin")).unwrap();
        fs::write(from.path().join("bin/tool"), "x").unwrap();
        symlink("tool", from.path().join("bin/alias")).unwrap();
        fs::write(from.path().join("bin/secret"), "y").unwrap();
        fs::set_permissions(from.path().join("bin/secret"), fs::Permissions::from_mode(0o700))
            .unwrap();
        let target = to.path().join("1");
        for _ in 0..2 {
            lay_out(from.path(), &target, &["bin".to_owned(), "absent".to_owned()]).unwrap();
        }
        assert_eq!(fs::read_to_string(target.join("bin/alias")).unwrap(), "x");
        assert_eq!(fs::metadata(target.join("bin/secret")).unwrap().mode() & 0o777, 0o744);
        let original = fs::metadata(from.path().join("bin/secret")).unwrap();
        assert_eq!(original.mode() & 0o777, 0o700);
    }
}
