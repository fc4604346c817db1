//! How a room ends: whoever is there is told why, and what is not written yet is written.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{End, Task, done};
use crate::bus::Word;
use crate::limits::Close;
use crate::order::Order;

/// How long the last words of a room may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(10);

impl Task {
    pub(super) async fn end(mut self, end: End) {
        match end {
            End::Idle => {}
            End::Failed(close) => self.room.close_all(close),
            End::Drain => {
                if timeout(LAST_WORDS, self.last_words()).await.is_err() {
                    tracing::error!(room.id = %self.id, "a room's last changes could not be written");
                }
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

    /// Does what is ordered already, and writes everything.
    async fn last_words(&mut self) {
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Join { reply, .. } | Order::NoteRun { reply, .. } => {
                    reply.send(Err(Close::Draining)).unwrap_or_default();
                }
                order => {
                    self.act(order).await;
                }
            }
        }
        self.spread();
        loop {
            if self.writing.is_some() {
                let outcome = done(&mut self.writing).await;
                if self.note_written(outcome).is_err() {
                    return;
                }
            }
            match self.saver.take_rest() {
                Some(due) => self.write(due),
                None => return,
            }
        }
    }
}
