//! Keeps the cache within its bounds of bytes and age. Other executors of the directory do the
//! same at the same time: what is gone already is no error, and what somebody holds stays.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::entry::{SURVEYED, is_still_there, open_manifest};
use super::{Cache, MANIFEST, Place, UNFINISHED};
use crate::tree::{self, Survey};

/// From one sweep to the next, if nothing else asks for one: other executors add entries, too.
pub(super) const PERIOD: Duration = Duration::from_mins(5);

/// The same for a cache that is too full.
pub(super) const FULL_PERIOD: Duration = Duration::from_secs(1);

/// How long what is unfinished may lie around: nobody works at it any more then.
const UNFINISHED_MAX: Duration = Duration::from_hours(1);

/// How files are counted, in bytes: as file systems do it.
const BLOCK: u64 = 4096;

/// What is in a place.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Entries by name, those of other formats too.
    pub(super) entries: BTreeMap<String, Weight>,
    /// What nobody finished or finished deleting.
    pub(super) leftovers: Vec<String>,
}

/// What of an entry decides how long it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) bytes: u64,
    pub(super) made: SystemTime,
    pub(super) used: SystemTime,
}

/// Bounds of a cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheBounds {
    /// All entries together, in bytes, counted in blocks.
    pub(crate) bytes_max: u64,
    /// Oldest entry.
    pub(crate) age_max: Duration,
}

/// Why an entry has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excess {
    Age,
    Bytes,
}

impl Cache {
    /// Deletes an entry, unless somebody holds it.
    pub(super) fn remove(&self, name: &str, reason: &'static str) {
        match delete(&self.kept, name) {
            Ok(true) => {
                let mut ledger = self.ledger();
                ledger.remove(name);
                self.metrics.evicted(reason);
                self.metrics.holds(ledger.bytes());
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "an entry of the compile cache could not be deleted");
            }
        }
    }

    /// Sweeps off the path of whoever is here, if it is time.
    pub(super) fn sweep_if_due(self: &Arc<Self>, now: SystemTime) {
        if self.is_sweep_due(now) {
            let cache = Arc::clone(self);
            drop(tokio::task::spawn_blocking(move || cache.sweep(now)));
        }
    }

    fn is_sweep_due(&self, now: SystemTime) -> bool {
        self.ledger().is_sweep_due(self.rules.bounds.bytes_max, now)
    }

    /// Looks at the whole directory, if it is time, and brings it within its bounds.
    pub(super) fn sweep(&self, now: SystemTime) {
        let Ok(_alone) = self.sweeping.try_lock() else { return };
        if !self.is_sweep_due(now) {
            return;
        }
        let weights = self.ledger().weights().clone();
        let found = match look_around(&self.kept, &weights, now) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the compile cache cannot be listed");
                return;
            }
        };
        self.ledger().replace(&found, now);
        for name in &found.leftovers {
            // It may be a program that is in no cache and runs for long; then it is held.
            if let Err(error) = delete(&self.kept, name) {
                tracing::warn!(%error, "a part of the compile cache could not be deleted");
            }
        }
        let low_mark = low_mark(self.rules.bounds.bytes_max);
        for (name, excess) in choose(&found.entries, self.rules.bounds, now) {
            let bytes = self.ledger().bytes();
            match excess {
                Excess::Age => self.remove(&name, "age"),
                Excess::Bytes if bytes > low_mark => self.remove(&name, "bytes"),
                Excess::Bytes => break,
            }
        }
        self.metrics.holds(self.ledger().bytes());
    }
}

/// Which entries have to go, in this order, and why: those of age, and then the least recently
/// used ones until a tenth is free again. A list longer than needed by those that are held.
fn choose(
    entries: &BTreeMap<String, Weight>,
    bounds: CacheBounds,
    now: SystemTime,
) -> Vec<(String, Excess)> {
    let (old, kept): (Vec<_>, Vec<_>) =
        entries.iter().partition(|(_, it)| age(it.made, now) > bounds.age_max);
    let mut chosen: Vec<_> = old.into_iter().map(|(name, _)| (name.clone(), Excess::Age)).collect();
    let bytes: u64 = kept.iter().map(|(_, it)| it.bytes).sum();
    if bytes > bounds.bytes_max {
        let mut kept = kept;
        kept.sort_by_key(|(_, it)| it.used);
        chosen.extend(kept.into_iter().map(|(name, _)| (name.clone(), Excess::Bytes)));
    }
    chosen
}

/// How full a cache may stay that was too full, in bytes: the next entry must not bring the next
/// sweep.
fn low_mark(bytes_max: u64) -> u64 {
    bytes_max - bytes_max / 10
}

/// How long ago `then` was. What is of the future, by a clock that was set, is as old as can be.
pub(super) fn age(then: SystemTime, now: SystemTime) -> Duration {
    const SKEW: Duration = Duration::from_hours(1);
    match now.duration_since(then) {
        Ok(age) => age,
        Err(ahead) if ahead.duration() <= SKEW => Duration::ZERO,
        Err(_) => Duration::MAX,
    }
}

/// Looks at everything in `place`. What is in `known` is not weighed again.
fn look_around(place: &Place, known: &HashMap<String, u64>, now: SystemTime) -> io::Result<Found> {
    let mut found = Found::default();
    for entry in fs::read_dir(&place.path)? {
        let Ok(name) = entry?.file_name().into_string().map_err(|_foreign: OsString| ()) else {
            continue;
        };
        let Ok(metadata) = fs::symlink_metadata(place.path.join(&name)) else { continue };
        let Ok(made) = metadata.modified() else { continue };
        if name.starts_with(UNFINISHED) {
            if age(made, now) > UNFINISHED_MAX {
                found.leftovers.push(name);
            }
            continue;
        }
        // Entries of every format begin with its number.
        if !name.starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        let manifest = fs::symlink_metadata(place.path.join(&name).join(MANIFEST));
        let used = manifest.and_then(|it| it.modified()).unwrap_or(made);
        let bytes = known.get(&name).copied().or_else(|| weigh(place, &name));
        // What cannot be looked at is none of ours, and goes first.
        let weight = Weight { bytes: bytes.unwrap_or(BLOCK), made, used };
        found.entries.insert(name, weight);
    }
    Ok(found)
}

fn weigh(place: &Place, name: &str) -> Option<u64> {
    let root = tree::open_here(place.directory.as_fd(), name).ok()?;
    Some(weight_of(&tree::survey(root.as_fd(), SURVEYED).ok()?))
}

/// What an entry counts, in bytes.
pub(super) fn weight_of(survey: &Survey) -> u64 {
    survey
        .values()
        .map(|it| if it.is_file() { it.size().div_ceil(BLOCK) * BLOCK } else { BLOCK })
        .sum()
}

/// Deletes an entry, unless somebody holds it or it is gone. Returns whether it did.
fn delete(place: &Place, name: &str) -> io::Result<bool> {
    let root = match tree::open_here(place.directory.as_fd(), name) {
        Ok(root) => File::from(root),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        // No directory, or one of somebody else: nobody can hold that.
        Err(_) => return place.remove(name).map(|()| true),
    };
    let manifest = open_manifest(&root).ok();
    if let Some(manifest) = &manifest {
        match manifest.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(false),
            locked => locked.map_err(io::Error::from)?,
        }
    }
    // Somebody may have deleted it, and made another, before we had the lock.
    if !is_still_there(place, name, &root)? {
        return Ok(false);
    }
    place.remove(name).map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(bytes: u64, made: u64, used: u64) -> Weight {
        let at = |hours| SystemTime::UNIX_EPOCH + Duration::from_hours(hours);
        Weight { bytes, made: at(made), used: at(used) }
    }

    #[track_caller]
    fn check(entries: &[(&str, Weight)], expected: &[(&str, Excess)]) {
        let bounds = CacheBounds { bytes_max: 100, age_max: Duration::from_hours(10) };
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(20);
        let entries = entries.iter().map(|(name, it)| ((*name).to_owned(), *it)).collect();
        let chosen = choose(&entries, bounds, now);
        let chosen: Vec<_> = chosen.iter().map(|(name, why)| (name.as_str(), *why)).collect();
        assert_eq!(chosen, expected);
    }

    #[test]
    fn what_is_old_goes_however_often_it_is_used() {
        check(&[("a", weight(1, 9, 20)), ("b", weight(1, 10, 10))], &[("a", Excess::Age)]);
    }

    #[test]
    fn the_least_recently_used_goes_first_and_only_if_there_is_too_much() {
        let (a, b, c) = (weight(50, 12, 19), weight(30, 13, 17), weight(21, 14, 18));
        check(&[("a", a), ("b", b)], &[]);
        let order = [("b", Excess::Bytes), ("c", Excess::Bytes), ("a", Excess::Bytes)];
        check(&[("a", a), ("b", b), ("c", c)], &order);
    }

    #[test]
    fn what_is_from_the_far_future_is_old() {
        check(&[("a", weight(1, 21, 21)), ("b", weight(1, 99, 20))], &[("b", Excess::Age)]);
    }
}
