//! The log of a run: its events, numbered from 1, as viewers get them. It is kept whole, so every
//! viewer reads it at its own pace, and from wherever it left off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::{Diagnostic, Problem, RunReport, RunStats, Severity, Stage};
use serde::Serialize;
use serde_json::value::RawValue;

use super::gather::{Origin, Piece, Stream, parts};

/// What was typed is shown to viewers up to so many bytes.
const TYPED_BYTES_MAX: usize = 256 << 10;

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its number.
    pub(crate) seq: u64,
    /// What kind it is of.
    pub(crate) name: &'static str,
    /// The whole event as JSON.
    pub(crate) text: Arc<str>,
    /// Bytes of the log up to its end.
    pub(crate) end: usize,
}

/// What a run has spent so far. Only the last is known: it is no event, and has no place among them.
#[derive(Debug, Clone)]
pub(crate) struct Spent {
    /// How many there were up to this one.
    pub(crate) count: u64,
    /// As JSON.
    pub(crate) text: Arc<str>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It waits for a slot.
    Queued,
    /// It is compiled, or runs.
    Running,
    /// It has ended.
    Over,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) at: Instant,
    /// Its report; none if we failed.
    pub(crate) report: Option<Box<RawValue>>,
    /// Why it has none.
    pub(crate) problem: Option<Box<RawValue>>,
}

/// What goes into a log beside what a program writes.
#[derive(Debug)]
pub(crate) enum Event {
    /// The run waits for a slot.
    Queued,
    /// A phase begins.
    Stage(Stage, Option<usize>),
    /// A compiler found something.
    Diagnostic(Severity, Diagnostic),
    /// Somebody typed.
    Stdin(Vec<u8>, String),
}

/// The events of one run.
#[derive(Debug)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    state: State,
    ended: Option<Ended>,
    spent: Option<Spent>,
    /// What was written so far, for the report: both streams, by case.
    written: BTreeMap<Option<usize>, (Vec<u8>, Vec<u8>)>,
    typed: usize,
}

#[derive(Serialize)]
struct Shape<'a, T: Serialize> {
    seq: u64,
    t: &'a str,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize)]
struct Text<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
}

#[derive(Serialize)]
struct StageOf {
    stage: Stage,
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<usize>,
}

#[derive(Serialize)]
struct Found<'a> {
    severity: Severity,
    #[serde(flatten)]
    diagnostic: &'a Diagnostic,
}

#[derive(Serialize)]
struct Nothing {}

impl<'a> Text<'a> {
    /// Bytes as text, if they are that.
    fn of(bytes: &'a [u8]) -> Self {
        let data = std::str::from_utf8(bytes).ok();
        let b64 = data.is_none().then(|| STANDARD.encode(bytes));
        Self { data, b64, case: None, by: None }
    }
}

impl Log {
    /// A log without an event.
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            state: State::Queued,
            ended: None,
            spent: None,
            written: BTreeMap::new(),
            typed: 0,
        }
    }

    /// Adds an event.
    pub(crate) fn add(&mut self, event: &Event) {
        match event {
            Event::Queued => self.push("queued", Nothing {}),
            Event::Stage(stage, case) => {
                self.state = State::Running;
                self.push("stage", StageOf { stage: *stage, case: *case });
            }
            Event::Diagnostic(severity, diagnostic) => {
                self.push("diagnostic", Found { severity: *severity, diagnostic });
            }
            Event::Stdin(bytes, by) => {
                self.typed += bytes.len();
                if self.typed <= TYPED_BYTES_MAX {
                    self.push("stdin", Text { by: Some(by.as_str()), ..Text::of(bytes) });
                }
            }
        }
    }

    /// Adds what a program wrote.
    pub(crate) fn add_output(&mut self, piece: Piece) {
        let Piece { origin: Origin { stream, case, .. }, bytes } = piece;
        let name = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        for part in parts(&bytes) {
            self.push(name, Text { case, ..Text::of(part) });
        }
        let (stdout, stderr) = self.written.entry(case).or_default();
        match stream {
            Stream::Stdout => stdout.extend(bytes),
            Stream::Stderr => stderr.extend(bytes),
        }
    }

    /// Notes what the run has spent so far.
    pub(crate) fn note_spent(&mut self, stats: RunStats, case: Option<usize>) {
        #[derive(Serialize)]
        struct Message {
            t: &'static str,
            #[serde(flatten)]
            stats: RunStats,
            #[serde(skip_serializing_if = "Option::is_none")]
            case: Option<usize>,
        }
        let text = serde_json::to_string(&Message { t: "stats", stats, case }).unwrap_or_default();
        let count = self.spent.as_ref().map_or(0, |it| it.count) + 1;
        self.spent = Some(Spent { count, text: text.into() });
    }

    /// What the run has spent so far, unless whoever asks has heard as much.
    pub(crate) fn spent_after(&self, count: u64) -> Option<Spent> {
        self.spent.clone().filter(|it| it.count > count && self.ended.is_none())
    }

    /// Ends the log with a report, which gets what was written.
    pub(crate) fn end(&mut self, mut report: RunReport, now: Instant) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (case, (stdout, stderr)) in std::mem::take(&mut self.written) {
            let (output, error) = (text(&stdout), text(&stderr));
            match case.map(|it| report.cases.get_mut(it)) {
                None => (report.output, report.error) = (output, error),
                Some(Some(case)) => (case.output, case.error) = (output, error),
                Some(None) => {}
            }
        }
        let report = raw(&report);
        self.finish(Ended { at: now, report, problem: None });
    }

    /// Ends the log with our own fault.
    pub(crate) fn fail(&mut self, problem: &Problem, now: Instant) {
        self.written.clear();
        self.finish(Ended { at: now, report: None, problem: raw(problem) });
    }

    fn finish(&mut self, ended: Ended) {
        #[derive(Serialize)]
        struct Exit<'a> {
            report: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            problem: Option<&'a RawValue>,
        }
        if self.ended.is_some() {
            return;
        }
        self.state = State::Over;
        let exit = Exit { report: ended.report.as_deref(), problem: ended.problem.as_deref() };
        self.push_exit(&exit);
        self.ended = Some(ended);
    }

    fn push(&mut self, name: &'static str, rest: impl Serialize) {
        let seq = self.last() + 1;
        let text = serde_json::to_string(&Shape { seq, t: name, rest }).unwrap_or_default();
        self.push_text(name, text);
    }

    /// Raw JSON does not go into a flattened object, so this one is put together by hand.
    fn push_exit(&mut self, exit: &impl Serialize) {
        let seq = self.last() + 1;
        let body = serde_json::to_string(exit).unwrap_or_default();
        let rest = body.strip_prefix('{').unwrap_or_default();
        self.push_text("exit", format!("{{\"seq\":{seq},\"t\":\"exit\",{rest}"));
    }

    fn push_text(&mut self, name: &'static str, text: String) {
        let (seq, end) = (self.last() + 1, self.bytes() + text.len());
        self.entries.push(Entry { seq, name, text: text.into(), end });
    }

    /// The event that comes after number `seq`, if there is one.
    pub(crate) fn after(&self, seq: u64) -> Option<Entry> {
        self.entries.get(usize::try_from(seq).ok()?).cloned()
    }

    /// The number of the last event; 0 if there is none.
    pub(crate) fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Bytes of all events.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.last().map_or(0, |it| it.end)
    }

    /// Bytes that it takes, about.
    pub(crate) fn size(&self) -> usize {
        const ENTRY_BYTES: usize = 96;
        let written: usize =
            self.written.values().map(|(one, other)| one.len() + other.len()).sum();
        let report = self.ended.as_ref().and_then(|it| it.report.as_ref());
        let report = report.map_or(0, |it| it.get().len());
        self.bytes() + self.entries.len() * ENTRY_BYTES + written + report
    }

    /// How far the run is.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }
}

fn raw(value: &impl Serialize) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

#[cfg(test)]
mod tests {
    use protocol::Level;
    use serde_json::{Value, json};

    use super::*;

    fn output(stream: Stream, bytes: &[u8]) -> Piece {
        let origin = Origin { stream, case: None, is_text: true };
        Piece { origin, bytes: bytes.to_vec() }
    }

    fn all(log: &Log) -> Vec<Value> {
        let events = (0..log.last()).filter_map(|it| log.after(it));
        events.map(|it| serde_json::from_str(&it.text).unwrap()).collect()
    }

    #[test]
    fn events_are_numbered_and_say_what_they_are() {
        let mut log = Log::new();
        log.add(&Event::Queued);
        log.add(&Event::Stage(Stage::Run, None));
        let file = Some("a.x".to_owned());
        let found = Diagnostic { message: "odd".to_owned(), line: 2, column: 3, code: None, file };
        log.add(&Event::Diagnostic(Severity::Warning, found));
        log.add_output(output(Stream::Stdout, "ä\n".as_bytes()));
        log.add_output(output(Stream::Stderr, &[0xff]));
        log.add(&Event::Stdin(b"x".to_vec(), "ann".to_owned()));
        let expected = [
            json!({"seq": 1, "t": "queued"}),
            json!({"seq": 2, "t": "stage", "stage": "run"}),
            json!({
                "seq": 3, "t": "diagnostic", "severity": "warning", "message": "odd", "line": 2,
                "column": 3, "file": "a.x",
            }),
            json!({"seq": 4, "t": "stdout", "data": "ä\n"}),
            json!({"seq": 5, "t": "stderr", "b64": "/w=="}),
            json!({"seq": 6, "t": "stdin", "data": "x", "by": "ann"}),
        ];
        assert_eq!(all(&log), expected);
        assert_eq!((log.last(), log.state()), (6, State::Running));
        assert!(log.after(6).is_none() && log.after(u64::MAX).is_none());
    }

    #[test]
    fn what_is_spent_is_told_once_and_takes_no_number() {
        let mut log = Log::new();
        assert!(log.spent_after(0).is_none());
        let stats = RunStats {
            execution_time: 0.5,
            cpu_time: 0.25,
            memory_used: 9,
            processes: 1,
            isolation: Level::Separated,
        };
        log.note_spent(stats, None);
        log.note_spent(stats, Some(2));
        let spent = log.spent_after(0).unwrap();
        let expected = json!({
            "t": "stats", "executionTime": 0.5, "cpuTime": 0.25, "memoryUsed": 9, "processes": 1,
            "isolation": "separated", "case": 2,
        });
        assert_eq!(serde_json::from_str::<Value>(&spent.text).unwrap(), expected);
        assert!(log.spent_after(spent.count).is_none());
        assert_eq!((log.last(), log.bytes()), (0, 0));
        log.fail(&Problem::new(502, "executor_lost", "gone", "r"), Instant::now());
        assert!(log.spent_after(0).is_none(), "its report says more");
    }

    #[test]
    fn a_log_ends_once() {
        let mut log = Log::new();
        let problem = Problem::new(502, "executor_lost", "gone", "r");
        log.fail(&problem, Instant::now());
        log.fail(&problem, Instant::now());
        assert_eq!((log.last(), log.state()), (1, State::Over));
        let exit = &all(&log)[0];
        assert_eq!((&exit["t"], &exit["report"]), (&json!("exit"), &json!(null)));
        assert_eq!(exit["problem"]["code"], "executor_lost");
    }

    #[test]
    fn what_is_typed_is_shown_within_bounds() {
        let mut log = Log::new();
        for _ in 0..10 {
            log.add(&Event::Stdin(vec![b'x'; 64 << 10], String::new()));
        }
        assert_eq!(log.last(), 4);
    }
}
