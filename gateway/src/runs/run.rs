//! One run, as everybody has it at hand: its log, who looks at it, what was typed, and whether it is
//! to stop.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use documents::{InvitationId, RoomId};
use jiff::Timestamp;
use protocol::Interactive;
use secrecy::SecretString;
use tokio::sync::{mpsc, watch};

use super::inlet::Inlet;
use super::log::{Entry, Event, Log, Spent};
use super::message::Control;
use super::ticket::Tickets;

/// Signals and sizes that may wait to be passed on.
const CONTROLS_MAX: usize = 32;

/// Viewers of one run.
const VIEWERS_MAX: usize = 100;

/// What a run is begun with.
#[derive(Debug)]
pub(crate) struct NewRun {
    /// What executors know its caller as.
    pub(crate) caller: Option<String>,
    /// The caller's own key for it, with a digest of what was submitted.
    pub(crate) idempotency: Option<(String, [u8; 32])>,
    /// The room that it is a run of, if it is one's.
    pub(crate) room: Option<RoomId>,
    /// The language's own name.
    pub(crate) language: String,
    pub(crate) interactive: Option<Interactive>,
}

/// Secrets of one run: for people, and for its executor.
#[derive(Debug)]
pub(crate) struct Secrets {
    pub(crate) tickets: Tickets,
    pub(crate) key: SecretString,
}

/// A run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) new: NewRun,
    pub(crate) secrets: Secrets,
    pub(crate) created_at: Timestamp,
    /// What was typed.
    pub(crate) inlet: Inlet,
    controls: mpsc::Sender<Control>,
    log: Mutex<Log>,
    last: watch::Sender<u64>,
    viewers: Mutex<Viewers>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Viewers {
    count: usize,
    /// When the last one left.
    since: Instant,
}

/// Somebody who looks at a run, until this is dropped.
#[derive(Debug)]
pub(crate) struct Viewer(std::sync::Arc<Run>);

impl Run {
    /// A run that waits, and what is to be passed on to it.
    pub(crate) fn new(
        id: String,
        new: NewRun,
        secrets: Secrets,
        now: Instant,
    ) -> (Self, mpsc::Receiver<Control>) {
        let (controls, coming) = mpsc::channel(CONTROLS_MAX);
        let has_terminal = new.interactive.is_some_and(|it| it.terminal.is_some());
        let run = Self {
            id,
            new,
            secrets,
            created_at: Timestamp::now(),
            inlet: Inlet::new(has_terminal),
            controls,
            log: Mutex::new(Log::new()),
            last: watch::Sender::new(0),
            viewers: Mutex::new(Viewers { count: 0, since: now }),
            stop: watch::Sender::new(false),
        };
        run.add(&Event::Queued);
        (run, coming)
    }

    /// The tickets of its caller, or of whoever came by an invitation to its room.
    pub(crate) fn tickets(&self, invitation: Option<&InvitationId>) -> Tickets {
        let own = &self.secrets.tickets;
        invitation.map_or_else(|| own.clone(), |it| own.of_guest(it))
    }

    /// Adds an event.
    pub(crate) fn add(&self, event: &Event) {
        self.write(|log| log.add(event));
    }

    /// Changes the log, and tells everybody who waits for that.
    pub(crate) fn write(&self, change: impl FnOnce(&mut Log)) {
        let mut log = self.lock_log();
        change(&mut log);
        let last = log.last();
        drop(log);
        self.last.send_replace(last);
    }

    /// Looks at the log.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.lock_log())
    }

    /// The event after number `seq`, if there is one yet.
    pub(crate) fn after(&self, seq: u64) -> Option<Entry> {
        self.read(|log| log.after(seq))
    }

    /// What it has spent so far, unless whoever asks has heard as much.
    pub(crate) fn spent_after(&self, count: u64) -> Option<Spent> {
        self.read(|log| log.spent_after(count))
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.read(|log| log.ended().is_some())
    }

    /// Learns of new events.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Waits until it has ended.
    pub(crate) async fn over(&self) {
        let mut changes = self.changes();
        while !self.is_over() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Passes something on to the program. False if too much waits already.
    pub(crate) fn control(&self, control: Control) -> bool {
        self.controls.try_send(control).is_ok()
    }

    /// Has it stopped.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether it is to stop.
    pub(crate) fn stops(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// How many look at it.
    pub(crate) fn viewers(&self) -> usize {
        self.lock_viewers().count
    }

    /// One more who looks at it; none if there are too many.
    pub(crate) fn attach(self: &std::sync::Arc<Self>) -> Option<Viewer> {
        let mut viewers = self.lock_viewers();
        if viewers.count >= VIEWERS_MAX {
            return None;
        }
        viewers.count += 1;
        drop(viewers);
        Some(Viewer(std::sync::Arc::clone(self)))
    }

    /// Whether nobody has looked at it for longer than it may go on so.
    pub(crate) fn is_abandoned(&self, now: Instant) -> bool {
        let Some(interactive) = self.new.interactive else { return false };
        let viewers = self.lock_viewers();
        let alone = now.saturating_duration_since(viewers.since);
        viewers.count == 0 && alone >= interactive.detach_timeout
    }

    /// How long ago it ended; none if it has not.
    pub(crate) fn ended_for(&self, now: Instant) -> Option<Duration> {
        self.read(|log| log.ended().map(|it| now.saturating_duration_since(it.at)))
    }

    fn lock_log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_viewers(&self) -> MutexGuard<'_, Viewers> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut viewers = self.0.lock_viewers();
        viewers.count -= 1;
        viewers.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn run(detach_seconds: u64) -> Arc<Run> {
        let detach_timeout = Duration::from_secs(detach_seconds);
        let interactive = Some(Interactive { terminal: None, detach_timeout });
        let language = "alpha".to_owned();
        let new = NewRun { caller: None, idempotency: None, room: None, language, interactive };
        let secret = SecretString::from;
        let tickets = Tickets { full: secret("all"), view: secret("look") };
        let secrets = Secrets { tickets, key: secret("key") };
        Arc::new(Run::new("run_1".to_owned(), new, secrets, Instant::now()).0)
    }

    #[test]
    fn nobody_may_look_for_so_long_and_no_longer() {
        let run = run(60);
        let now = Instant::now();
        assert!(!run.is_abandoned(now));
        assert!(run.is_abandoned(now + Duration::from_mins(2)));
        let viewer = run.attach().unwrap();
        assert!(!run.is_abandoned(now + Duration::from_mins(2)));
        drop(viewer);
        assert!(run.is_abandoned(Instant::now() + Duration::from_mins(1)));
    }

    #[test]
    fn viewers_have_a_bound() {
        let run = run(1);
        let viewers: Vec<Viewer> = (0..VIEWERS_MAX).filter_map(|_| run.attach()).collect();
        assert_eq!((viewers.len(), run.viewers()), (VIEWERS_MAX, VIEWERS_MAX));
        assert!(run.attach().is_none());
    }
}
