//! A directory that entries are in: ours, not to be listed by anybody else, and perhaps shared
//! with other executors of our user.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, fchmod, openat, renameat, unlinkat};

use super::UNFINISHED;
use crate::tree::{self, Stamp};
use crate::workspace::random_name;

/// The file with what the names of entries are made of beside their keys.
const SALT: &str = "salt";

/// Makes names that nobody can guess who does not read it.
pub(super) type Salt = [u8; 32];

/// An open directory.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) directory: Arc<OwnedFd>,
}

impl Place {
    /// Opens the directory at `path`, which is made if it is missing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o711).create(path)?;
        let path = fs::canonicalize(path)?;
        let directory = tree::open_directory(&path)?;
        let stamp = Stamp::of(&File::from(directory.try_clone()?))?;
        if !stamp.is_sealed(sandbox::current_uid(), 0o022) {
            return Err(io::Error::other("it must belong to our user, and nobody else may write"));
        }
        // Entered by name, never listed.
        fchmod(&directory, Mode::from_raw_mode(0o711))?;
        Ok(Self { path, directory: Arc::new(directory) })
    }

    /// What names in here are made of; whoever comes first makes it.
    pub(super) fn salt(&self) -> io::Result<Salt> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, SALT, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        if !Stamp::of(&file)?.is_sealed(sandbox::current_uid(), 0o177) {
            return Err(io::Error::other("the file `salt` in it must be ours alone"));
        }
        // Held by others for as long as they write 32 bytes.
        file.lock()?;
        let mut salt = Salt::default();
        if file.metadata()?.len() == salt.len() as u64 {
            file.read_exact(&mut salt)?;
        } else {
            rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty())?;
            file.set_len(0)?;
            file.write_all(&salt)?;
        }
        Ok(salt)
    }

    /// Gives what is called `from` the name `to`, which must be free.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.directory, from, &self.directory, to)?)
    }

    /// Deletes what is called `name`: at first under another name, so that nobody finds a half.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let aside = format!("{UNFINISHED}{}", random_name()?);
        self.rename(name, &aside)?;
        self.erase(&aside);
        Ok(())
    }

    /// Deletes what nobody looks for. If that fails, a later sweep tries again.
    pub(super) fn erase(&self, name: &str) {
        let erased = match tree::erase(self.directory.as_fd(), name) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                unlinkat(&self.directory, name, AtFlags::empty()).map_err(Into::into)
            }
            erased => erased,
        };
        match erased {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a part of the compile cache could not be deleted");
            }
            _ => {}
        }
    }
}
