//! Compiled programs by content: the key is a digest of sources, commands and toolchain, and
//! the entries stand where no program can write.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::tree::{self, Found, Owner, WalkBounds};
use crate::workspace::random_name;

/// What one compile may leave.
pub(crate) const RESULT_BOUNDS: WalkBounds =
    WalkBounds { entries: 4096, depth: 32, bytes: 256 * 1024 * 1024 };

/// A digest of everything that a compile's result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(String);

impl Key {
    /// Enough of it for the name of a directory.
    pub(crate) fn short(&self) -> &str {
        self.0.get(..16).unwrap_or(&self.0)
    }

    /// The digest of `parts`, which cannot be confused with another division of the same bytes.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A compiled program, kept for as long as somebody holds it.
#[derive(Debug)]
pub(crate) struct Artifact {
    parent: Arc<OwnedFd>,
    name: String,
    path: PathBuf,
    bytes: u64,
    /// What the compiler said.
    pub(crate) output: String,
}

impl Artifact {
    /// The directory that it is in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Artifact {
    fn drop(&mut self) {
        if let Err(error) = tree::erase(self.parent.as_fd(), &self.name) {
            tracing::warn!(%error, "a cached program could not be deleted");
        }
    }
}

/// The cache. Least recently used entries go when it grows beyond its size.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    parent: Arc<OwnedFd>,
    bytes_max: u64,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Key, (Arc<Artifact>, u64)>,
    bytes: u64,
    clock: u64,
}

impl Cache {
    /// A cache in `directory`, which exists and is empty.
    pub(crate) fn new(directory: PathBuf, bytes_max: u64) -> io::Result<Self> {
        let parent = Arc::new(tree::open_directory(&directory)?);
        Ok(Self { directory, parent, bytes_max, entries: Mutex::default() })
    }

    /// The program for `key`, if there is one.
    pub(crate) fn find(&self, key: &Key) -> Option<Arc<Artifact>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clock += 1;
        let now = entries.clock;
        let (artifact, used) = entries.by_key.get_mut(key)?;
        *used = now;
        Some(Arc::clone(artifact))
    }

    /// Takes over what a compile by `owner` left in the directory `out`.
    pub(crate) fn insert(
        &self,
        key: Key,
        out: BorrowedFd<'_>,
        owner: Owner,
        output: String,
    ) -> io::Result<Arc<Artifact>> {
        let name = random_name()?;
        let path = self.directory.join(&name);
        fs::DirBuilder::new().mode(0o755).create(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let mut artifact =
            Artifact { parent: Arc::clone(&self.parent), name, path, bytes: 0, output };
        let mut bytes = 0;
        let whole = tree::walk(out, owner, RESULT_BOUNDS, &mut |found| {
            bytes += found.size;
            copy(&artifact.path, found)
        })?;
        if !whole {
            return Err(io::Error::other("the compiler left more than a program"));
        }
        artifact.bytes = bytes;
        let artifact = Arc::new(artifact);
        self.remember(key, &artifact);
        Ok(artifact)
    }

    fn remember(&self, key: Key, artifact: &Arc<Artifact>) {
        let mut evicted = Vec::new();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clock += 1;
        let now = entries.clock;
        entries.bytes += artifact.bytes;
        if let Some((old, _)) = entries.by_key.insert(key, (Arc::clone(artifact), now)) {
            entries.bytes = entries.bytes.saturating_sub(old.bytes);
            evicted.push(old);
        }
        while entries.bytes > self.bytes_max {
            let oldest = entries.by_key.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            if let Some((old, _)) = entries.by_key.remove(&oldest) {
                entries.bytes = entries.bytes.saturating_sub(old.bytes);
                evicted.push(old);
            }
        }
        // Deleting is slow, so it waits until others can look again.
        drop(entries);
        drop(evicted);
    }
}

/// Copies one file of a result: ours, writable by nobody else. Any of them may be the program: a
/// linker that may not change modes cannot mark it.
fn copy(target: &Path, found: Found) -> io::Result<()> {
    let path = target.join(&found.path);
    if let Some(parent) = path.parent().filter(|parent| *parent != target) {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    let mut to = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path)?;
    let mut from = found.file;
    io::copy(&mut from, &mut to)?;
    // The mask of this process took bits away.
    to.set_permissions(fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(bytes_max: u64) -> (tempfile::TempDir, Cache) {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().to_owned(), bytes_max).unwrap();
        (directory, cache)
    }

    fn insert(cache: &Cache, key: Key, out: &Path) -> io::Result<Arc<Artifact>> {
        let out = tree::open_directory(out)?;
        cache.insert(key, out.as_fd(), None, "said".to_owned())
    }

    fn result(size: usize) -> tempfile::TempDir {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join("a")).unwrap();
        fs::write(out.path().join("a/main"), vec![b'x'; size]).unwrap();
        out
    }

    #[test]
    fn a_result_is_found_again_by_its_key() {
        let (_keep, cache) = cache(100);
        let key = Key::of([&b"a"[..]]);
        assert!(cache.find(&key).is_none());
        insert(&cache, key.clone(), result(3).path()).unwrap();
        let artifact = cache.find(&key).unwrap();
        assert_eq!(fs::read(artifact.path().join("a/main")).unwrap(), b"xxx");
        assert_eq!(artifact.output, "said");
    }

    #[test]
    fn the_oldest_goes_first_but_not_under_somebody_s_feet() {
        let (keep, cache) = cache(100);
        let keys: Vec<Key> = [b"a", b"b", b"c"].into_iter().map(|it| Key::of([&it[..]])).collect();
        let first = insert(&cache, keys[0].clone(), result(60).path()).unwrap();
        insert(&cache, keys[1].clone(), result(30).path()).unwrap();
        assert!(cache.find(&keys[0]).is_some());
        insert(&cache, keys[2].clone(), result(30).path()).unwrap();
        assert!(cache.find(&keys[1]).is_none());
        insert(&cache, keys[1].clone(), result(90).path()).unwrap();
        assert!(cache.find(&keys[0]).is_none());
        assert!(first.path().join("a/main").exists());
        drop(first);
        assert_eq!(fs::read_dir(keep.path()).unwrap().count(), 1);
    }

    #[test]
    fn keys_depend_on_the_division_of_their_parts() {
        assert_ne!(Key::of([&b"ab"[..], b"c"]), Key::of([&b"a"[..], b"bc"]));
    }

    #[test]
    fn a_link_among_the_results_refuses_them_all() {
        let (_keep, cache) = cache(100);
        let out = result(1);
        std::os::unix::fs::symlink("/etc/passwd", out.path().join("link")).unwrap();
        let inserted = insert(&cache, Key::of([&b"a"[..]]), out.path());
        assert!(inserted.is_err());
    }
}
