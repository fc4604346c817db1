//! Messages that wait to be sent: bounded, and nobody waits to say something.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Longest message, in bytes. What does not fit is a change, which others read from the store.
const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// All that wait together.
const BYTES_MAX: usize = 16 << 20;
/// What a message takes beside its bytes.
const MESSAGE_COST: usize = 64;
/// What is sent at once.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Messages, and whether some were lost.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: Mutex<Messages>,
    something: Notify,
}

#[derive(Debug, Default)]
struct Messages {
    queue: VecDeque<Vec<u8>>,
    cost: usize,
    has_lost: bool,
}

impl Waiting {
    /// Has a message sent, or lost if too many wait.
    pub(super) fn push(&self, message: Vec<u8>) {
        if message.len() > MESSAGE_BYTES_MAX {
            return;
        }
        let mut messages = self.lock();
        let cost = messages.cost + message.len() + MESSAGE_COST;
        if cost > BYTES_MAX {
            messages.has_lost = true;
            return;
        }
        messages.cost = cost;
        messages.queue.push_back(message);
        drop(messages);
        self.something.notify_one();
    }

    /// Waits until there is something to be sent.
    pub(super) async fn something(&self) {
        self.something.notified().await;
    }

    /// What is to be sent next; nothing if nothing waits.
    pub(super) fn take(&self) -> Vec<Vec<u8>> {
        let mut messages = self.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES_MAX
            && let Some(message) = messages.queue.pop_front()
        {
            bytes += message.len();
            messages.cost -= message.len() + MESSAGE_COST;
            batch.push(message);
        }
        batch
    }

    /// What was taken could not be sent: by the time that something can, the rest is old, too.
    pub(super) fn lose(&self) {
        *self.lock() = Messages { has_lost: true, ..Messages::default() };
    }

    /// Whether some were lost since this was last asked.
    pub(super) fn take_lost(&self) -> bool {
        std::mem::take(&mut self.lock().has_lost)
    }

    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(waiting: &Waiting) -> usize {
        std::iter::from_fn(|| Some(waiting.take().len()).filter(|it| *it > 0)).sum()
    }

    #[test]
    fn there_is_a_bound_and_whoever_is_beyond_it_is_noted() {
        let waiting = Waiting::default();
        let fit = BYTES_MAX / (MESSAGE_BYTES_MAX + MESSAGE_COST);
        for _ in 0..fit {
            waiting.push(vec![0; MESSAGE_BYTES_MAX]);
        }
        assert!(!waiting.take_lost());
        waiting.push(vec![0; MESSAGE_BYTES_MAX]);
        assert!(waiting.take_lost());
        assert!(!waiting.take_lost(), "it was told");
        assert_eq!(all(&waiting), fit);
        waiting.push(vec![0; MESSAGE_BYTES_MAX]);
        assert_eq!(all(&waiting), 1, "there is place again");
    }

    #[test]
    fn what_the_store_tells_of_is_not_lost() {
        let waiting = Waiting::default();
        waiting.push(vec![0; MESSAGE_BYTES_MAX + 1]);
        assert_eq!((all(&waiting), waiting.take_lost()), (0, false));
    }

    #[test]
    fn what_could_not_be_sent_is_lost_with_what_waits() {
        let waiting = Waiting::default();
        waiting.push(vec![1]);
        waiting.lose();
        assert_eq!((all(&waiting), waiting.take_lost()), (0, true));
    }
}
