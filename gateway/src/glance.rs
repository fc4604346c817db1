//! What the gateway reads itself of the reports that it passes on: how a run ended, and where its time
//! went. A report that says neither is passed on all the same.

use std::time::Duration;

use jiff::Timestamp;
use protocol::{Status, Timings};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::fleet::InFlight;
use crate::fleet::history::Run;

/// A look at a report.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct Glance {
    #[serde(default)]
    status: Option<Status>,
    #[serde(default)]
    timings: Option<Timings>,
}

impl Glance {
    /// Looks at a document; none if it is no JSON object.
    pub(crate) fn of(document: &[u8]) -> Option<Self> {
        if !document.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        serde_json::from_slice(document).ok().or_else(|| {
            let is_json = serde_json::from_slice::<IgnoredAny>(document).is_ok();
            is_json.then(Self::default)
        })
    }

    /// Looks for the report in events, of which it is the last.
    pub(crate) fn of_events(events: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Exit {
            report: Glance,
        }
        let mut lines = events.split(|byte| *byte == b'\n');
        let is_exit = |line: &&[u8]| {
            line.strip_prefix(b"event:").is_some_and(|it| it.trim_ascii() == b"exit")
        };
        lines.find(is_exit)?;
        let data = lines.next()?.strip_prefix(b"data:")?;
        serde_json::from_slice::<Exit>(data).ok().map(|it| it.report)
    }

    /// Adds the run to the history of the executor that ran it, if it was one.
    pub(crate) fn note(&self, in_flight: &InFlight, took: Duration) {
        let Some(status) = self.status else { return };
        let timings = self.timings.unwrap_or_default();
        let run = Run {
            status,
            total_ms: took.as_secs_f64() * 1000.0,
            queue_ms: timings.queue,
            program_ms: timings.run,
        };
        in_flight.note(&run, Timestamp::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_report_does_not_say_is_not_known() {
        let glance = |text: &str| Glance::of(text.as_bytes());
        assert_eq!(glance(r#"{"output": "x"}"#), Some(Glance::default()));
        assert_eq!(glance(r#" {"status": "of tomorrow"}"#), Some(Glance::default()));
        assert_eq!(glance(r#"{"status": "timeout"}"#).unwrap().status, Some(Status::Timeout));
        for wrong in ["", "[]", "1", "{", r#"{"status": "#] {
            assert_eq!(glance(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_report_of_a_stream_is_in_its_last_event() {
        let events = "event: stdout\ndata: {}\n\nevent: exit\n\
                      data: {\"type\":\"exit\",\"report\":{\"status\":\"success\"}}\n\n";
        let glance = Glance::of_events(events.as_bytes()).unwrap();
        assert_eq!(glance.status, Some(Status::Success));
        assert_eq!(Glance::of_events(b"event: fault\ndata: {}\n\n"), None);
        assert_eq!(Glance::of_events(b"event: exit\n"), None);
    }
}
