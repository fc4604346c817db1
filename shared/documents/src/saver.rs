//! What of a room is not in the store yet: changes that wait for others to be written with them, and
//! when the whole document is to be written as one.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::limits::Limits;

/// Before something that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is to be written next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// These updates.
    Updates(Vec<Bytes>),
    /// The whole document.
    Snapshot,
}

/// What is not written yet. One thing is written at a time.
#[derive(Debug)]
pub(crate) struct Saver {
    limits: Limits,
    waiting: Vec<Bytes>,
    /// Those that are being written.
    writing: Vec<Bytes>,
    is_writing: bool,
    bytes: usize,
    /// When the first of those that wait came, or when to try again.
    due_at: Option<Instant>,
    /// The first and the last change that the snapshot has not.
    changed: Option<(Instant, Instant)>,
    /// Updates since the last snapshot.
    updates: usize,
    /// No sooner than this.
    not_before: Option<Instant>,
}

impl Saver {
    /// With so many updates behind the snapshot already.
    pub(crate) fn new(limits: Limits, updates: usize, now: Instant) -> Self {
        Self {
            limits,
            waiting: Vec::new(),
            writing: Vec::new(),
            is_writing: false,
            bytes: 0,
            due_at: None,
            changed: (updates > 0).then_some((now, now)),
            updates,
            not_before: None,
        }
    }

    /// Keeps changes.
    pub(crate) fn add(&mut self, updates: Vec<Bytes>, now: Instant) {
        if updates.is_empty() {
            return;
        }
        self.bytes += updates.iter().map(Bytes::len).sum::<usize>();
        self.waiting.extend(updates);
        self.due_at.get_or_insert(now + self.limits.batch_time);
        self.touch(now);
    }

    /// The document has changed in some way.
    pub(crate) fn touch(&mut self, now: Instant) {
        let first = self.changed.map_or(now, |(first, _)| first);
        self.changed = Some((first, now));
    }

    /// When something is to be done.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        if self.is_writing {
            return None;
        }
        let at = [self.due_at, self.snapshot_at()].into_iter().flatten().min()?;
        Some(self.not_before.map_or(at, |it| at.max(it)))
    }

    fn snapshot_at(&self) -> Option<Instant> {
        let (first, last) = self.changed?;
        if self.updates >= self.limits.snapshot_updates {
            return Some(first);
        }
        Some((last + self.limits.quiet_time).min(first + self.limits.busy_time))
    }

    /// What is to be written now, if anything is; the outcome is to be told.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Due> {
        if self.next_at()? > now {
            return None;
        }
        self.is_writing = true;
        if self.due_at.is_some_and(|it| it <= now) {
            self.due_at = None;
            self.writing = std::mem::take(&mut self.waiting);
            return Some(Due::Updates(self.writing.clone()));
        }
        self.changed = None;
        self.updates = 0;
        Some(Due::Snapshot)
    }

    /// The same without waiting for anything: the room ends.
    pub(crate) fn take_rest(&mut self) -> Option<Due> {
        if self.is_writing {
            return None;
        }
        if let Some(updates) = self.take_updates() {
            return Some(updates);
        }
        let is_changed = self.changed.take().is_some();
        self.updates = 0;
        self.is_writing = is_changed;
        is_changed.then_some(Due::Snapshot)
    }

    /// The same of what can be written without its document.
    pub(crate) fn take_updates(&mut self) -> Option<Due> {
        if self.is_writing || self.waiting.is_empty() {
            return None;
        }
        self.is_writing = true;
        self.due_at = None;
        self.writing = std::mem::take(&mut self.waiting);
        Some(Due::Updates(self.writing.clone()))
    }

    /// It is written.
    pub(crate) fn written(&mut self) {
        self.is_writing = false;
        self.not_before = None;
        self.updates += self.writing.len();
        self.bytes -= self.writing.iter().map(Bytes::len).sum::<usize>();
        self.writing.clear();
    }

    /// It is not written, or nobody knows.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.is_writing = false;
        self.not_before = Some(now + AGAIN);
        if self.writing.is_empty() {
            self.touch(now);
            return;
        }
        self.due_at = Some(now);
        let mut waiting = std::mem::take(&mut self.writing);
        waiting.append(&mut self.waiting);
        self.waiting = waiting;
    }

    /// Changes that the store may not have.
    pub(crate) fn unsaved(&self) -> impl Iterator<Item = &Bytes> {
        self.writing.iter().chain(&self.waiting)
    }

    /// Their size.
    pub(crate) fn unsaved_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether everything is written, also as a snapshot.
    pub(crate) fn is_done(&self) -> bool {
        !self.is_writing && self.waiting.is_empty() && self.changed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update() -> Vec<Bytes> {
        vec![Bytes::from_static(b"abc")]
    }

    #[test]
    fn changes_are_written_together_and_then_as_one() {
        let (limits, start) = (Limits::default(), Instant::now());
        let mut saver = Saver::new(limits, 0, start);
        assert_eq!(saver.next_at(), None);
        saver.add(update(), start);
        saver.add(update(), start + Duration::from_millis(20));
        let batch = start + limits.batch_time;
        assert_eq!(saver.next_at(), Some(batch));
        assert_eq!(saver.take(start), None);
        assert_eq!(saver.take(batch), Some(Due::Updates([update(), update()].concat())));
        assert_eq!((saver.next_at(), saver.unsaved_bytes()), (None, 6));
        saver.written();
        assert_eq!(saver.unsaved_bytes(), 0);
        let quiet = start + Duration::from_millis(20) + limits.quiet_time;
        assert_eq!(saver.next_at(), Some(quiet));
        assert_eq!(saver.take(quiet), Some(Due::Snapshot));
        saver.written();
        assert!(saver.is_done());
    }

    #[test]
    fn who_never_pauses_is_written_all_the_same() {
        let (limits, start) = (Limits::default(), Instant::now());
        let mut saver = Saver::new(limits, 0, start);
        let mut now = start;
        while now < start + limits.busy_time {
            saver.add(update(), now);
            now += limits.batch_time;
            assert!(matches!(saver.take(now), Some(Due::Updates(_))));
            saver.written();
            if saver.updates >= limits.snapshot_updates {
                break;
            }
        }
        assert_eq!(saver.take(now), Some(Due::Snapshot));
    }

    #[test]
    fn what_could_not_be_written_comes_first_the_next_time() {
        let (limits, start) = (Limits::default(), Instant::now());
        let mut saver = Saver::new(limits, 0, start);
        saver.add(update(), start);
        let batch = start + limits.batch_time;
        saver.take(batch);
        saver.add(vec![Bytes::from_static(b"later")], batch);
        saver.failed(batch);
        assert_eq!(saver.take(batch), None);
        let again = batch + AGAIN;
        let both = vec![Bytes::from_static(b"abc"), Bytes::from_static(b"later")];
        assert_eq!(saver.take(again), Some(Due::Updates(both)));
        saver.failed(again);
        assert_eq!(saver.unsaved().count(), 2);
        assert!(!saver.is_done());
    }
}
