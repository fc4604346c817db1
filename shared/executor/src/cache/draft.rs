//! An entry that is being made: a directory under a name that nobody looks for, until it is whole
//! and gets its own. Whatever produced the program, its files come in here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags, fchmod, mkdirat, openat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::manifest::{Manifest, hex};
use super::{MANIFEST, PROGRAM, Place, UNFINISHED};
use crate::tree::{self, Owner, WalkBounds};
use crate::workspace::random_name;

/// What one compile may leave.
pub(super) const BOUNDS: WalkBounds =
    WalkBounds { entries: 4096, depth: 32, bytes: 256 * 1024 * 1024 };

/// Largest manifest, in bytes: digests and paths of that many files, and what a compiler says.
pub(super) const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Read at a time, in bytes.
pub(super) const CHUNK: usize = 128 * 1024;

/// A compiled program that is not in the cache yet. Deleted when dropped, unless it went there.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(super) place: Place,
    pub(super) name: String,
    root: OwnedFd,
    program: OwnedFd,
    files: BTreeMap<String, String>,
    left: WalkBounds,
    is_taken: bool,
}

impl Draft {
    /// An empty one in `place`.
    pub(super) fn new(place: &Place) -> io::Result<Self> {
        let name = format!("{UNFINISHED}{}", random_name()?);
        let root = tree::make_directory(place.directory.as_fd(), &name, 0o711)?;
        let program = tree::make_directory(root.as_fd(), PROGRAM, 0o755)?;
        let (files, left, place) = (BTreeMap::new(), BOUNDS, place.clone());
        Ok(Self { place, name, root, program, files, left, is_taken: false })
    }

    /// Adds a file. `path` is relative and goes down only; nothing is there yet.
    pub(crate) fn add(&mut self, path: &str, content: &mut dyn Read) -> io::Result<()> {
        let parts: Vec<&str> = path.split('/').collect();
        let is_plain =
            |it: &&str| !it.is_empty() && *it != "." && *it != ".." && !it.contains('\0');
        if !parts.iter().all(is_plain) || parts.len() > BOUNDS.depth + 1 {
            return Err(io::Error::other("a compiled file has a path that leads elsewhere"));
        }
        let Some((name, directories)) = parts.split_last() else { return Err(too_much()) };
        self.left.entries = self.left.entries.checked_sub(1).ok_or_else(too_much)?;
        let mut directory = self.program.try_clone()?;
        for part in directories {
            directory = self.enter(directory.as_fd(), part)?;
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&directory, *name, flags, Mode::RUSR | Mode::WUSR)?);
        let digest = self.copy(content, &mut file)?;
        // Any of them may be the program: a linker that may not change modes cannot mark it.
        fchmod(&file, Mode::from_raw_mode(0o555))?;
        self.files.insert(path.to_owned(), digest);
        Ok(())
    }

    /// Adds everything that a compile by `owner` left in the directory `out`. Its compiler must be
    /// dead.
    pub(crate) fn add_tree(&mut self, out: BorrowedFd<'_>, owner: Owner) -> io::Result<()> {
        let whole = tree::walk(out, owner, BOUNDS, &mut |mut found| {
            self.add(&found.path, &mut found.file)
        })?;
        if whole { Ok(()) } else { Err(too_much()) }
    }

    /// Closes it as the entry `name`, last used `now`: what comes back is the lock on it, held,
    /// and the content of its manifest.
    pub(super) fn seal(
        &mut self,
        name: &str,
        output: &str,
        now: SystemTime,
    ) -> io::Result<(File, Vec<u8>)> {
        let files = std::mem::take(&mut self.files);
        let manifest = Manifest { name: name.to_owned(), output: output.to_owned(), files };
        let bytes = manifest.write()?;
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(too_much());
        }
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.root, MANIFEST, flags, Mode::RUSR | Mode::WUSR)?);
        // Nothing is flushed to the disk: what a crash of the machine tears does not have its
        // digest, and is compiled again.
        file.write_all(&bytes)?;
        file.try_lock_shared().map_err(io::Error::from)?;
        file.set_modified(now)?;
        File::from(self.root.try_clone()?).set_modified(now)?;
        Ok((file, bytes))
    }

    /// Its directory.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Leaves it where it is.
    pub(super) fn take(&mut self) {
        self.is_taken = true;
    }

    fn enter(&mut self, directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
        match mkdirat(directory, name, Mode::RWXU) {
            Ok(()) => {
                self.left.entries = self.left.entries.checked_sub(1).ok_or_else(too_much)?;
                let made = tree::open_here(directory, name)?;
                // The mask of this process took bits away.
                fchmod(&made, Mode::from_raw_mode(0o755))?;
                Ok(made)
            }
            Err(Errno::EXIST) => tree::open_here(directory, name),
            Err(error) => Err(error.into()),
        }
    }

    /// Copies a file's content, and returns its digest.
    fn copy(&mut self, from: &mut dyn Read, to: &mut File) -> io::Result<String> {
        let mut digest = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = match from.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            let Some(read) = chunk.get(..count).filter(|it| !it.is_empty()) else { break };
            self.left.bytes = self.left.bytes.checked_sub(count as u64).ok_or_else(too_much)?;
            digest.update(read);
            to.write_all(read)?;
        }
        Ok(hex(&digest.finalize().into()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_taken {
            self.place.erase(&self.name);
        }
    }
}

fn too_much() -> io::Error {
    io::Error::other("the compiler left more than a program")
}
