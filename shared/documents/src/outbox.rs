//! Frames on their way to one client: bounded, so that who does not read keeps nothing of us, and
//! waits for nobody.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::limits::{Close, Limits};

/// What is to be done for a client next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// It is to be sent this.
    Frame(Bytes),
    /// Its connection ends.
    Close(Close),
}

/// Frames for one client.
#[derive(Debug)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    something: Notify,
    frames_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
    end: Option<Close>,
}

impl Outbox {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            waiting: Mutex::default(),
            something: Notify::new(),
            frames_max: limits.outbox_frames,
            bytes_max: limits.outbox_bytes,
        }
    }

    /// Has a frame sent. If too many wait, none of them are, and the client begins anew.
    pub(crate) fn push(&self, frame: Bytes) {
        let mut waiting = self.lock();
        if waiting.end.is_some() {
            return;
        }
        waiting.bytes += frame.len();
        waiting.frames.push_back(frame);
        if waiting.frames.len() > self.frames_max || waiting.bytes > self.bytes_max {
            *waiting = Waiting { end: Some(Close::Resync), ..Waiting::default() };
        }
        drop(waiting);
        self.something.notify_one();
    }

    /// Has the connection closed behind what waits. The first reason counts.
    pub(crate) fn close(&self, close: Close) {
        self.lock().end.get_or_insert(close);
        self.something.notify_one();
    }

    /// Whether it is to be closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Waits for what is to be done next.
    pub(crate) async fn next(&self) -> Out {
        loop {
            if let Some(out) = self.take() {
                return out;
            }
            self.something.notified().await;
        }
    }

    fn take(&self) -> Option<Out> {
        let mut waiting = self.lock();
        if let Some(frame) = waiting.frames.pop_front() {
            waiting.bytes -= frame.len();
            return Some(Out::Frame(frame));
        }
        waiting.end.map(Out::Close)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_not_read_begins_anew() {
        let limits = Limits { outbox_frames: 2, outbox_bytes: 10, ..Limits::default() };
        for frames in [&[1, 1, 1][..], &[5, 6]] {
            let outbox = Outbox::new(&limits);
            for length in frames {
                outbox.push(Bytes::from(vec![0; *length]));
            }
            assert_eq!(outbox.next().await, Out::Close(Close::Resync));
        }
    }

    #[tokio::test]
    async fn what_waits_is_sent_before_the_end() {
        let outbox = Outbox::new(&Limits::default());
        outbox.push(Bytes::from_static(b"a"));
        outbox.close(Close::Draining);
        outbox.close(Close::Deleted);
        outbox.push(Bytes::from_static(b"b"));
        assert_eq!(outbox.next().await, Out::Frame(Bytes::from_static(b"a")));
        assert_eq!(outbox.next().await, Out::Close(Close::Draining));
    }
}
