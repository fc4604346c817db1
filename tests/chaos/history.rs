//! What happened: every call of a client with its answer, and everything that was done to the fleet.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A job as a client wanted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Whose it is.
    pub(crate) caller: &'static str,
    /// What its program says; the idempotency key has it as well.
    pub(crate) number: usize,
    /// Whether it may be started at most once.
    pub(crate) at_most_once: bool,
}

/// One try of a job. Times are the store's, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) worker: String,
    pub(crate) started: i64,
    pub(crate) ended: Option<i64>,
    pub(crate) reason: Option<String>,
}

/// A job as a gateway showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) version: u64,
    pub(crate) attempts_max: usize,
    /// Status and output.
    pub(crate) result: Option<(String, String)>,
    pub(crate) attempts: Vec<Attempt>,
}

/// What a call came to, or what was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A job was acknowledged.
    Acknowledged(Wanted, String),
    /// Somebody wanted a job no more.
    Cancel(String),
    /// A job was shown.
    Seen(View),
    /// A job was asked for, and there is none of this name.
    Missing(String),
    /// A call was answered with an error that no retry cures.
    Refused { call: String, answer: String },
    /// Something was done to the fleet.
    Done(String),
    /// The same, and whoever has jobs under a name that ends so may have lost them.
    Hit(String, String),
}

/// When that was, by the test's clock, from the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    pub(crate) what: What,
}

/// All of it, and how everything was once it was over.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// When it began, by the clock that stores go by, in milliseconds.
    pub(crate) began: i64,
    pub(crate) events: Vec<Event>,
    /// Every job that the store lists, as each gateway shows it.
    pub(crate) last: Vec<View>,
    /// How many jobs wait or run, by what the store counts, and how many are dead.
    pub(crate) counted: (u64, u64),
    /// How many jobs a caller may have running.
    pub(crate) caps: Vec<(&'static str, usize)>,
}

/// Writes it down.
#[derive(Debug)]
pub(crate) struct Recorder {
    began: Instant,
    /// The same, in milliseconds by the wall clock.
    pub(crate) began_ms: i64,
    events: Mutex<Vec<Event>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let began_ms = jiff::Timestamp::now().as_millisecond();
        Self { began: Instant::now(), began_ms, events: Mutex::default() }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Something began then, and has ended now.
    pub(crate) fn note(&self, began: Duration, what: What) {
        let event = Event { began, ended: self.now(), what };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// Something was done to the fleet.
    pub(crate) fn did(&self, what: impl fmt::Display) {
        self.note(self.now(), What::Done(what.to_string()));
    }

    /// Something was done to the fleet by which somebody may lose jobs, whose name ends so.
    pub(crate) fn hit(&self, what: impl fmt::Display, whom: String) {
        self.note(self.now(), What::Hit(what.to_string(), whom));
    }

    /// Everything so far, as it ended.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl View {
    /// From a gateway's answer.
    pub(crate) fn read(job: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let attempt = |it: &Value| Attempt {
            worker: text(&it["worker"]).unwrap(),
            started: time(&it["startedAt"]).unwrap(),
            ended: time(&it["endedAt"]),
            reason: text(&it["reason"]),
        };
        let result = &job["result"];
        Self {
            id: text(&job["id"]).unwrap(),
            state: text(&job["state"]).unwrap(),
            reason: text(&job["reason"]),
            version: job["version"].as_u64().unwrap(),
            attempts_max: usize::try_from(job["attemptsMax"].as_u64().unwrap()).unwrap(),
            result: text(&result["status"]).zip(text(&result["output"])),
            attempts: job["attempts"].as_array().unwrap().iter().map(attempt).collect(),
        }
    }

    /// Whether it stays so.
    pub(crate) fn is_final(&self) -> bool {
        !["scheduled", "ready", "leased"].contains(&self.state.as_str())
    }
}

impl Attempt {
    /// Whether a program may have been started in it.
    pub(crate) fn may_have_run(&self) -> bool {
        !matches!(self.reason.as_deref(), Some("not accepted" | "released"))
    }

    /// Whether it counts against the bound of its job: what is given back does not.
    pub(crate) fn is_spent(&self) -> bool {
        self.may_have_run()
            && !matches!(self.reason.as_deref(), Some("abandoned" | "drain" | "executor_drained"))
    }
}

impl What {
    /// The job that it is about.
    pub(crate) fn job(&self) -> Option<&str> {
        match self {
            Self::Acknowledged(_, id) | Self::Cancel(id) | Self::Missing(id) => Some(id),
            Self::Seen(view) => Some(&view.id),
            Self::Refused { .. } | Self::Done(_) | Self::Hit(..) => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (began, ended) = (self.began.as_secs_f64(), self.ended.as_secs_f64());
        write!(formatter, "{began:9.3} to {ended:9.3}  {:?}", self.what)
    }
}

/// A time of RFC 3339.
fn time(value: &Value) -> Option<i64> {
    let time: jiff::Timestamp = value.as_str()?.parse().unwrap();
    Some(time.as_millisecond())
}
