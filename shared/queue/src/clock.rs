//! The store's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// Milliseconds since 1970 by the store's clock. On the wire it is a time of RFC 3339.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = jiff::Timestamp::from_millisecond(self.0).map_err(serde::ser::Error::custom)?;
        serializer.collect_str(&time)
    }
}

impl Timestamp {
    /// So much later; the end of time if that is beyond it.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long before `later` this is; nothing if it is not.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

/// What a store's times come from.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    /// The system's time when this was made, and how long ago that is: somebody who sets the
    /// system's clock ends no lease by it.
    Anchored(Timestamp, Instant),
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// One that goes on from the system's time, steadily.
    pub fn steady() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the store's clock")]
        let now = SystemTime::now();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Source::Anchored(Timestamp::default().after(since), Instant::now()))
    }

    /// One that stands still until it is moved on, for tests.
    pub fn set(at: Timestamp) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(at.0))))
    }

    /// Moves one on that stands still. Clones move with it.
    pub fn pass(&self, time: Duration) {
        if let Source::Set(now) = &self.0 {
            let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
            now.fetch_add(millis, Ordering::AcqRel);
        }
    }

    /// The time of one that stands still. Stores whose server has a clock of its own ask that one
    /// otherwise.
    pub(crate) fn fixed(&self) -> Option<Timestamp> {
        match &self.0 {
            Source::Anchored(..) => None,
            Source::Set(now) => Some(Timestamp(now.load(Ordering::Acquire))),
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Anchored(start, since) => start.after(since.elapsed()),
            Source::Set(now) => Timestamp(now.load(Ordering::Acquire)),
        }
    }
}
