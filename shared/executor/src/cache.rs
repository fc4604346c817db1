//! Compiled programs by content: the key is a digest of sources, commands and toolchain. They are
//! kept in a directory that no program can write, and that several executors may share.
//!
//! An entry is a directory `1-<name>`: in `program/` what runs may read and execute, and beside
//! it a manifest with the digest of every file. It is made under another name and renamed when it
//! is whole, so that of two who make the same one loses and takes the other's. Whoever uses an
//! entry holds a shared lock on its manifest, and whoever deletes one holds the only lock, so
//! nothing is pulled from under a run, of whichever executor.
//!
//! Invariant: nothing is run from here that is not, byte for byte, what a compile of the same key
//! left; anything else is deleted, and compiled again.

mod draft;
mod entry;
mod key;
mod ledger;
mod manifest;
mod place;
mod sweep;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::metrics::CacheMetrics;
use crate::tree::{self, Stamp, Survey};
use entry::{Entry, SURVEYED, Unusable};
use ledger::{Known, Ledger};
use place::{Place, Salt};

pub(crate) use draft::Draft;
pub(crate) use key::{Key, Sharing};
pub(crate) use sweep::CacheBounds;

/// What the names of entries begin with: the number of their format.
const FORMAT: &str = "1-";

/// What the names of everything begin with that is no entry yet, or none any more.
const UNFINISHED: &str = "tmp-";

/// The file of an entry that says what is in it.
const MANIFEST: &str = "manifest";

/// The directory of an entry that runs get.
const PROGRAM: &str = "program";

/// How old the last change of a file must be for its stamp to be believed: the clocks of file
/// systems are coarse, and a second change may bear the time of the first.
const SETTLED: Duration = Duration::from_millis(100);

/// How much later than noted an entry must be used for that to be noted.
const NOTED: Duration = Duration::from_secs(1);

/// Who keeps runs from writing to the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wall {
    /// The jail. What is on the disk is believed by its digests, and read once.
    Jail,
    /// Nobody: files are open to runs here. Only what this process remembers to have put there is
    /// believed, and it is read every time.
    Nobody,
}

/// Where a cache is.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    /// Our own directory, which ends with us.
    pub(crate) private: &'a Path,
    /// The directory that stays, and that others may share.
    pub(crate) shared: Option<&'a Path>,
}

/// How an operator wants the cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) bounds: CacheBounds,
    pub(crate) wall: Wall,
    /// Whether what one caller compiled is kept from the others.
    pub(crate) per_caller: bool,
}

/// A compiled program, there for as long as somebody holds it.
#[derive(Debug)]
pub(crate) struct Artifact {
    path: PathBuf,
    /// What the compiler said.
    pub(crate) output: String,
    /// Where it is deleted from, and its name there, if it is in no cache.
    lent: Option<(Place, String)>,
    /// Nobody deletes it while this is locked.
    _lock: File,
}

impl Artifact {
    /// The directory that it is in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Artifact {
    fn drop(&mut self) {
        if let Some((place, name)) = &self.lent {
            place.erase(name);
        }
    }
}

/// The cache. Least recently used entries go when it grows beyond its size.
#[derive(Debug)]
pub(crate) struct Cache {
    kept: Place,
    private: Place,
    salt: Salt,
    rules: Rules,
    metrics: CacheMetrics,
    ledger: Mutex<Ledger>,
    sweeping: Mutex<()>,
}

/// How much work a look at an entry may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// Looking at stamps.
    Look,
    /// Reading what was not read yet.
    Read,
}

impl Cache {
    /// Opens the cache. Its directories are made if they are missing.
    pub(crate) fn open(
        places: &Places<'_>,
        rules: Rules,
        metrics: CacheMetrics,
    ) -> io::Result<Self> {
        let private = Place::open(places.private)?;
        let kept = places.shared.map_or(Ok(private.clone()), Place::open)?;
        let (salt, ledger, sweeping) = (kept.salt()?, Mutex::default(), Mutex::default());
        Ok(Self { kept, private, salt, rules, metrics, ledger, sweeping })
    }

    /// The directory that entries are in.
    pub(crate) fn path(&self) -> &Path {
        &self.kept.path
    }

    /// Whose programs a request of `caller` gets.
    pub(crate) fn sharing(&self, caller: Option<&str>) -> Sharing {
        if self.rules.per_caller {
            Sharing::Caller(caller.map(str::to_owned))
        } else {
            Sharing::Everybody
        }
    }

    /// The program for `key`, if there is one.
    pub(crate) async fn find(self: &Arc<Self>, key: &Key, now: SystemTime) -> Option<Artifact> {
        let name = self.name(key);
        let found = match self.look(&name, Effort::Look, now) {
            Err(Unusable::Unread) => {
                let (cache, name) = (Arc::clone(self), name.clone());
                blocking(move || Ok(cache.look(&name, Effort::Read, now).ok())).await.ok().flatten()
            }
            looked => looked.ok(),
        };
        self.metrics.looked_up(found.as_ref());
        self.sweep_if_due(now);
        found
    }

    /// Puts a program there for `key`, or nowhere but into the caller's hands if there is none.
    /// `fill` brings its files, and is called again if that fails.
    pub(crate) async fn insert(
        self: &Arc<Self>,
        key: Option<Key>,
        output: String,
        fill: impl Fn(&mut Draft) -> io::Result<()> + Send + 'static,
        now: SystemTime,
    ) -> io::Result<Artifact> {
        let cache = Arc::clone(self);
        let inserted = blocking(move || cache.put(key.as_ref(), &output, &fill, now)).await;
        self.sweep_if_due(now);
        inserted
    }

    fn put(
        &self,
        key: Option<&Key>,
        output: &str,
        fill: &dyn Fn(&mut Draft) -> io::Result<()>,
        now: SystemTime,
    ) -> io::Result<Artifact> {
        if let Some(key) = key {
            match self.keep(key, output, fill, now) {
                Ok(artifact) => return Ok(artifact),
                Err(error) => tracing::warn!(%error, "a compiled program was not cached"),
            }
        }
        let mut draft = Draft::new(&self.private)?;
        fill(&mut draft)?;
        let (lock, _) = draft.seal(&draft.name.clone(), output, now)?;
        Ok(lend(draft, lock, output))
    }

    /// Makes the entry for `key`, or takes the one that somebody else has made meanwhile.
    fn keep(
        &self,
        key: &Key,
        output: &str,
        fill: &dyn Fn(&mut Draft) -> io::Result<()>,
        now: SystemTime,
    ) -> io::Result<Artifact> {
        let name = self.name(key);
        let mut draft = Draft::new(&self.kept)?;
        fill(&mut draft)?;
        let (lock, manifest) = draft.seal(&name, output, now)?;
        let weight = sweep::weight_of(&tree::survey(draft.root(), SURVEYED)?);
        if weight > self.rules.bounds.bytes_max {
            return Ok(lend(draft, lock, output));
        }
        // What stands in the way may be no use, and then it goes; once more is enough.
        for _ in 0..2 {
            match self.kept.rename(&draft.name, &name) {
                Ok(()) => {
                    draft.take();
                    self.remember(&name, weight, &manifest);
                    return Ok(self.artifact(&name, output.to_owned(), lock));
                }
                Err(error) if is_taken(&error) => {
                    if let Ok(artifact) = self.look(&name, Effort::Read, now) {
                        return Ok(artifact);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(lend(draft, lock, output))
    }

    fn remember(&self, name: &str, weight: u64, manifest: &[u8]) {
        let manifest = Sha256::digest(manifest).into();
        let mut ledger = self.ledger();
        ledger.add(name, weight);
        ledger.learn(name, Known { manifest, survey: Survey::new() });
        self.metrics.holds(ledger.bytes());
    }

    /// The entry `name`, if it can be used. One that cannot be is deleted.
    fn look(&self, name: &str, effort: Effort, now: SystemTime) -> Result<Artifact, Unusable> {
        let looked = Entry::open(&self.kept, name).and_then(|entry| {
            self.check(name, &entry, effort, now)?;
            if sweep::age(entry.used, now) > NOTED {
                entry.lock.set_modified(now)?;
            }
            Ok(self.artifact(name, entry.manifest.output, entry.lock))
        });
        match &looked {
            Err(Unusable::Damaged(why)) => {
                tracing::warn!(entry = name, %why, "a cached program is not used, and goes");
                self.remove(name, "damage");
            }
            Err(Unusable::Unreadable(why)) => {
                tracing::warn!(entry = name, %why, "a cached program cannot be read");
            }
            Err(Unusable::Old) => self.remove(name, "age"),
            Err(Unusable::Absent | Unusable::Unread) | Ok(_) => {}
        }
        looked
    }

    /// Whether an entry is what a compile left: by its stamps, if it was read before and nothing
    /// happened to it since, or else by reading it.
    fn check(
        &self,
        name: &str,
        entry: &Entry,
        effort: Effort,
        now: SystemTime,
    ) -> Result<(), Unusable> {
        if sweep::age(entry.made, now) > self.rules.bounds.age_max {
            return Err(Unusable::Old);
        }
        let survey = entry.survey()?;
        let now_known = Known { manifest: entry.digest, survey };
        let known = self.ledger().known(name).cloned();
        if self.rules.wall == Wall::Nobody {
            if known.is_none_or(|it| it.manifest != now_known.manifest) {
                let why = "it is not what this executor put there";
                return Err(Unusable::Damaged(why.to_owned()));
            }
        } else if known.is_some_and(|it| it == now_known) {
            return Ok(());
        }
        if effort == Effort::Look {
            return Err(Unusable::Unread);
        }
        entry.read(&now_known.survey)?;
        let changed = now_known.survey.values().map(Stamp::changed).max();
        if changed.is_some_and(|it| now.duration_since(it).is_ok_and(|age| age > SETTLED)) {
            self.ledger().learn(name, now_known);
        }
        Ok(())
    }

    fn artifact(&self, name: &str, output: String, lock: File) -> Artifact {
        Artifact { path: self.kept.path.join(name).join(PROGRAM), output, lent: None, _lock: lock }
    }

    /// The name of the entry for `key`: who knows the key does not know the name.
    fn name(&self, key: &Key) -> String {
        format!("{FORMAT}{}", Key::of([&self.salt[..], key.as_bytes()]).as_str())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands a program out that is in no cache.
fn lend(mut draft: Draft, lock: File, output: &str) -> Artifact {
    draft.take();
    let path = draft.place.path.join(&draft.name).join(PROGRAM);
    let lent = Some((draft.place.clone(), draft.name.clone()));
    Artifact { path, output: output.to_owned(), lent, _lock: lock }
}

/// Whether a name is taken, by whatever it is.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory)
}

/// Does what waits for the disk where nobody else waits.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests;
