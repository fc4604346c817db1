//! How a room ends: whoever is there is told why, and what is not written yet is written.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{AGAIN, End, Task, done};
use crate::bus::Word;
use crate::limits::Close;
use crate::order::Order;
use crate::saver::{Due, Saver};

/// How long the last words of a room may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(10);

impl Task {
    pub(super) async fn end(mut self, end: End) {
        match end {
            End::Idle => {}
            End::Failed(close) => {
                self.room.close_all(close);
                // Its store may be well. Whoever told of these changes need not come again.
                if close == Close::Resync {
                    self.in_time(async |it| it.write_updates().await).await;
                }
            }
            End::Drain => {
                self.in_time(async |it| it.last_words().await).await;
                self.room.close_all(Close::Draining);
            }
        }
        self.say(Word::ServerLeft);
        if matches!(end, End::Failed(Close::StoreFull)) {
            self.rest().await;
        }
        // Whoever came meanwhile comes again.
        self.orders.close();
    }

    /// Has those wait who come back at once: what they bring would be refused again. Nothing else is
    /// done for them meanwhile.
    async fn rest(&mut self) {
        let until = Instant::now() + self.means.limits.full_time;
        while let Ok(Some(order)) = timeout_at(until, self.orders.recv()).await {
            if matches!(order, Order::Drain | Order::Delete) {
                return;
            }
        }
    }

    /// Does something that may not take long.
    async fn in_time(&mut self, act: impl AsyncFnOnce(&mut Self)) {
        if timeout(LAST_WORDS, act(self)).await.is_err() {
            tracing::error!(room.id = %self.id, "a room's last changes could not be written");
        }
    }

    /// Writes the changes that wait for it, and no snapshot: it takes no document.
    async fn write_updates(&mut self) {
        self.spread();
        self.write_all(Saver::take_updates).await;
    }

    /// Writes what is next, again and again, until nothing is.
    async fn write_all(&mut self, next: fn(&mut Saver) -> Option<Due>) {
        loop {
            if self.writing.is_some() {
                let outcome = done(&mut self.writing).await;
                let has_failed = outcome.is_err();
                if self.note_written(outcome).is_err() {
                    return;
                }
                if has_failed {
                    sleep(AGAIN).await;
                }
            }
            let Some(due) = next(&mut self.saver) else { return };
            // There is no snapshot of a document that broke.
            if due == Due::Snapshot && self.find_document().await.is_err() {
                return;
            }
            self.write(due);
        }
    }

    /// Does what is ordered already, and writes everything.
    async fn last_words(&mut self) {
        self.orders.close();
        // First what is known: an order may take longer than there is time.
        self.write_updates().await;
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Join { reply, .. } | Order::NoteRun { reply, .. } => {
                    reply.send(Err(Close::Draining)).unwrap_or_default();
                }
                order => {
                    if self.act(order).await.is_some() {
                        break;
                    }
                }
            }
        }
        self.spread();
        self.write_all(Saver::take_rest).await;
    }
}
