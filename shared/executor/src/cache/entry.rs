//! An entry that is in the cache: opened, held, and looked at before anybody runs it.
//!
//! While its manifest is locked, shared, nobody deletes it: neither this executor nor another one
//! of the same directory.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::draft::{BOUNDS, CHUNK, MANIFEST_BYTES_MAX};
use super::manifest::{Digest, Manifest, hex};
use super::{MANIFEST, PROGRAM, Place};
use crate::tree::{self, Stamp, Survey, WalkBounds};

/// Rights that nobody may have on what runs execute.
const REFUSED: u32 = 0o7022;

/// Rights that nobody may have on a manifest.
const REFUSED_OF_MANIFEST: u32 = 0o7177;

/// Why an entry is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// There is none, or somebody deletes it right now.
    #[error("there is none")]
    Absent,
    /// It was made too long ago.
    #[error("it is too old")]
    Old,
    /// It is not what was put there.
    #[error("{0}")]
    Damaged(String),
    /// It may be sound, but we cannot tell now.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// Its content must be read, which takes longer than may be waited here.
    #[error("its content was not read yet")]
    Unread,
}

impl Unusable {
    fn damaged(why: &str) -> Self {
        Self::Damaged(why.to_owned())
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
        let is_link = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        match error.kind() {
            NotFound | NotADirectory | PermissionDenied => {
                Self::Damaged(format!("a part of it is not what was put there: {error}"))
            }
            _ if is_link => Self::damaged("a part of it is a link"),
            // Too many open files, say: no fault of the entry's.
            _ => Self::Unreadable(error),
        }
    }
}

impl From<Errno> for Unusable {
    fn from(error: Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// An entry that cannot go away while this is held. What is in it may be anything yet.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its manifest, with the lock.
    pub(super) lock: File,
    pub(super) manifest: Manifest,
    /// The digest of the manifest's bytes.
    pub(super) digest: Digest,
    /// When it was made.
    pub(super) made: SystemTime,
    /// When it was used last.
    pub(super) used: SystemTime,
    program: OwnedFd,
}

impl Entry {
    /// Opens the entry `name` and holds it.
    pub(super) fn open(place: &Place, name: &str) -> Result<Self, Unusable> {
        let root = match tree::open_here(place.directory.as_fd(), name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Absent),
            root => File::from(root?),
        };
        let opened = Self::open_root(&root, name);
        // Somebody may have deleted it, and made another, before we had the lock.
        if is_still_there(place, name, &root)? { opened } else { Err(Unusable::Absent) }
    }

    fn open_root(root: &File, name: &str) -> Result<Self, Unusable> {
        let us = sandbox::current_uid();
        if !Stamp::of(root)?.is_sealed(us, REFUSED) {
            return Err(Unusable::damaged("it belongs to another user, or others may write to it"));
        }
        let mut lock = open_manifest(root)?;
        match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) => return Err(Unusable::Absent),
            locked => locked.map_err(io::Error::from)?,
        }
        let stamp = Stamp::of(&lock)?;
        if !stamp.is_file() || !stamp.is_sealed(us, REFUSED_OF_MANIFEST) {
            return Err(Unusable::damaged("its manifest is not ours alone"));
        }
        if stamp.size() > MANIFEST_BYTES_MAX {
            return Err(Unusable::damaged("its manifest is too large"));
        }
        let mut bytes = Vec::new();
        Read::by_ref(&mut lock).take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes)?;
        let manifest = Manifest::parse(&bytes).filter(|it| it.name == name);
        let manifest =
            manifest.ok_or_else(|| Unusable::damaged("its manifest is not what was written"))?;
        let (made, used) = (root.metadata()?.modified()?, lock.metadata()?.modified()?);
        let program = tree::open_here(root.as_fd(), PROGRAM)?;
        let digest = Sha256::digest(&bytes).into();
        Ok(Self { lock, manifest, digest, made, used, program })
    }

    /// What is there now.
    pub(super) fn survey(&self) -> Result<Survey, Unusable> {
        Ok(tree::survey(self.program.as_fd(), SURVEYED)?)
    }

    /// Reads everything that was surveyed: it must be what the manifest says, ours, and writable
    /// by nobody else.
    pub(super) fn read(&self, survey: &Survey) -> Result<(), Unusable> {
        let us = sandbox::current_uid();
        if !survey.values().all(|it| it.is_sealed(us, REFUSED)) {
            return Err(Unusable::damaged("a file is another user's, linked or open to others"));
        }
        let files = survey.iter().filter(|(_, stamp)| stamp.is_file());
        if !files.clone().map(|(path, _)| path).eq(self.manifest.files.keys()) {
            return Err(Unusable::damaged("its files are not those that were put there"));
        }
        for ((path, stamp), digest) in files.zip(self.manifest.files.values()) {
            let file = tree::open_file(self.program.as_fd(), path)?;
            if hex(&digest_of(&file)?) != *digest {
                return Err(Unusable::damaged("a file has another content"));
            }
            if Stamp::of(&file)? != *stamp {
                return Err(Unusable::damaged("a file changes while it is looked at"));
            }
        }
        Ok(())
    }
}

/// Everything that [`BOUNDS`] let in, and the directories above.
pub(super) const SURVEYED: WalkBounds =
    WalkBounds { entries: BOUNDS.entries + 4, depth: BOUNDS.depth + 2, ..BOUNDS };

/// Opens the manifest in an entry's directory, which tells whether it is what it should be only
/// when it is looked at.
pub(super) fn open_manifest(root: &File) -> Result<File, Unusable> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat(root, MANIFEST, flags, Mode::empty())?))
}

/// Whether `root` is what `name` stands for.
pub(super) fn is_still_there(place: &Place, name: &str, root: &File) -> io::Result<bool> {
    match tree::open_here(place.directory.as_fd(), name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        now => Ok(Stamp::of(&File::from(now?))?.is_of_the_same(&Stamp::of(root)?)),
    }
}

fn digest_of(mut file: &File) -> io::Result<Digest> {
    let mut digest = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(digest.finalize().into()),
            Ok(count) => digest.update(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
