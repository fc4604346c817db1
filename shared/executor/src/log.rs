//! The log of a run: events as they happen, and the report that they fold up to.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::{Level, RunEvent, RunReport, RunStats};
use sandbox::Usage;
use tokio::sync::mpsc;

use crate::process::{Sink, Stream};
use crate::text::{Cutter, Decoder, Exact};

/// Events that may wait for a reader.
const EVENTS_MAX: usize = 64;

/// How long a reader may leave its events lying before the run counts as unwanted.
const STALL_MAX: Duration = Duration::from_secs(10);

/// The writing end of a run's log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    events: mpsc::Sender<RunEvent>,
}

impl Log {
    /// A log and its reading end.
    pub(crate) fn new() -> (Self, mpsc::Receiver<RunEvent>) {
        let (events, reader) = mpsc::channel(EVENTS_MAX);
        (Self { events }, reader)
    }

    /// Adds an event. Returns whether anybody still reads.
    pub(crate) async fn add(&self, event: RunEvent) -> bool {
        self.events.send_timeout(event, STALL_MAX).await.is_ok()
    }

    /// A sink that adds what a process writes, as text.
    pub(crate) fn sink(&self, case: Option<usize>) -> LogSink {
        LogSink { log: Some(self.clone()), form: Form::Text(Decoder::default()), case }
    }

    /// A sink that adds what a process writes without a change: as text where it is text.
    pub(crate) fn exact_sink(&self, case: Option<usize>) -> LogSink {
        LogSink { log: Some(self.clone()), form: Form::Exact(Cutter::default()), case }
    }

    /// Adds what a process has spent so far that is isolated so well.
    pub(crate) fn gauge(&self, case: Option<usize>, isolation: Level) -> Gauge {
        Gauge { log: self.clone(), case, isolation }
    }

    /// A sink that adds nothing.
    pub(crate) fn no_sink() -> LogSink {
        LogSink { log: None, form: Form::Text(Decoder::default()), case: None }
    }
}

/// Adds what a process has spent so far to a log.
#[derive(Debug)]
pub(crate) struct Gauge {
    log: Log,
    case: Option<usize>,
    isolation: Level,
}

impl Gauge {
    /// Nobody waits for it: without room, it is left out, and the next one says more.
    pub(crate) fn show(&self, usage: Usage) {
        let seconds = |micros| Duration::from_micros(micros).as_secs_f64();
        let stats = RunStats {
            execution_time: seconds(usage.wall_us),
            cpu_time: seconds(usage.cpu_us),
            memory_used: usage.memory_bytes,
            processes: usage.processes,
            isolation: self.isolation,
        };
        let event = RunEvent::Stats { stats, case: self.case };
        self.log.events.try_send(event).unwrap_or_default();
    }
}

/// Adds what a process writes to a log.
#[derive(Debug)]
pub(crate) struct LogSink {
    log: Option<Log>,
    form: Form,
    case: Option<usize>,
}

/// How bytes become events.
#[derive(Debug)]
enum Form {
    Text(Decoder),
    Exact(Cutter),
}

impl LogSink {
    async fn add(&mut self, stream: Stream, data: Option<Exact>) -> bool {
        let (Some(log), Some(data)) = (self.log.as_ref(), data) else { return true };
        let case = self.case;
        let (data, b64) = match data {
            Exact::Text(text) => (text, None),
            Exact::Bytes(bytes) => (String::new(), Some(STANDARD.encode(bytes))),
        };
        let event = match stream {
            Stream::Stdout => RunEvent::Stdout { data, b64, case },
            Stream::Stderr => RunEvent::Stderr { data, b64, case },
        };
        let is_read = log.add(event).await;
        if !is_read {
            // Nobody waits a second time for a reader that has left.
            self.log = None;
        }
        is_read
    }
}

impl Sink for LogSink {
    async fn take(&mut self, stream: Stream, bytes: &[u8]) -> bool {
        if self.log.is_none() {
            return true;
        }
        let data = match &mut self.form {
            Form::Text(decoder) => text(decoder.push(bytes)),
            Form::Exact(cutter) => cutter.push(bytes),
        };
        self.add(stream, data).await
    }

    async fn finish(mut self, stream: Stream, truncated: bool) {
        // A character that only our own cut broke is left out.
        let rest = match &mut self.form {
            _ if truncated => None,
            Form::Text(decoder) => text(decoder.finish()),
            Form::Exact(cutter) => cutter.finish(),
        };
        self.add(stream, rest).await;
    }
}

fn text(text: String) -> Option<Exact> {
    (!text.is_empty()).then_some(Exact::Text(text))
}

/// Folds the log of a run up into its report. None if the run ended in a fault of ours, which
/// is then told.
pub(crate) async fn fold(
    mut events: mpsc::Receiver<RunEvent>,
) -> Result<RunReport, Option<Box<protocol::Problem>>> {
    let mut whole = (String::new(), String::new());
    let mut cases: Vec<(String, String)> = Vec::new();
    while let Some(event) = events.recv().await {
        match event {
            RunEvent::Stage { .. } | RunEvent::Diagnostic { .. } | RunEvent::Stats { .. } => {}
            RunEvent::Stdout { data, case, .. } => place(&mut whole, &mut cases, case).0 += &data,
            RunEvent::Stderr { data, case, .. } => place(&mut whole, &mut cases, case).1 += &data,
            RunEvent::Fault { problem } => return Err(Some(problem)),
            RunEvent::Exit { mut report } => {
                (report.output, report.error) = whole;
                for (report, (output, error)) in report.cases.iter_mut().zip(cases) {
                    (report.output, report.error) = (output, error);
                }
                return Ok(*report);
            }
        }
    }
    Err(None)
}

fn place<'a>(
    whole: &'a mut (String, String),
    cases: &'a mut Vec<(String, String)>,
    case: Option<usize>,
) -> &'a mut (String, String) {
    let Some(index) = case else { return whole };
    if cases.len() <= index {
        cases.resize_with(index + 1, Default::default);
    }
    cases.get_mut(index).unwrap_or(whole)
}
