//! Callbacks: whom to tell that jobs are final, and whose turn it is to be told.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use crate::{JobId, Timestamp};

/// Callbacks that are looked at in one go.
pub(crate) const LOOK_MAX: usize = 500;
/// How long a job is kept at least behind the time when its callback is due again: a gateway may be
/// away meanwhile.
pub(crate) const KEPT: Duration = Duration::from_mins(10);

/// A wish for callbacks that are due.
#[derive(Debug, Clone)]
pub struct DueCallbacks {
    /// How many at most.
    pub limit: usize,
    /// For how long each is not due again, so that two senders do not meet.
    pub time: Duration,
    /// How many of one caller may be on their way.
    pub of_caller_max: usize,
    /// How many of whom are on their way already.
    pub sending: HashMap<String, usize>,
}

/// Somebody to be told that a job is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Which callback.
    pub number: i64,
    /// Which job.
    pub id: JobId,
    /// Whose job it is.
    pub caller: String,
    /// Whom to tell.
    pub url: String,
    /// How often that was tried.
    pub attempt: u32,
}

/// A callback that was not taken yet, or is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenCallback {
    /// Which callback.
    pub number: i64,
    /// Which job.
    pub job_id: JobId,
    /// Whom to tell.
    pub url: String,
    /// How often that was tried.
    pub attempt: u32,
    /// When it is tried again; never if it is given up.
    pub due_at: Option<Timestamp>,
    /// Why it was not taken.
    pub reason: Option<String>,
}

/// What came of a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallbackOutcome {
    /// It was taken.
    Delivered,
    /// It is to be tried again.
    Again {
        /// So much later.
        after: Duration,
        /// Why it was not taken.
        reason: String,
    },
    /// It is given up.
    Dead(String),
}

impl DueCallbacks {
    /// Of those that are due, those that go out now, and those that come behind the others.
    pub(crate) fn choose(&self, due: Vec<Callback>) -> (Vec<Callback>, Vec<Callback>) {
        let mut sending = self.sending.clone();
        let (mut taken, mut passed) = (Vec::new(), Vec::new());
        for callback in due {
            if taken.len() >= self.limit {
                break;
            }
            let of_caller = sending.entry(callback.caller.clone()).or_default();
            if *of_caller < self.of_caller_max {
                *of_caller += 1;
                taken.push(callback);
            } else {
                passed.push(callback);
            }
        }
        (taken, passed)
    }
}
