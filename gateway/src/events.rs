//! Passes an executor's events on as they come, whole ones only, and ends every stream with an
//! event that says how it ended: `exit`, or `fault`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures::stream::{Stream, unfold};
use protocol::RunEvent;
use reqwest::Response;

use crate::dispatch::{DispatchError, fault, note, transport};
use crate::error::ApiError;
use crate::fleet::{InFlight, Member};
use crate::glance::Glance;

/// The content type of events.
pub(crate) const EVENTS_TYPE: &str = "text/event-stream";

/// The head of an answer that streams events: nothing on its way is to hold them back.
pub(crate) fn response() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.content_type(EVENTS_TYPE);
    response.insert_header((CACHE_CONTROL, "no-cache, no-transform"));
    response.insert_header(("x-accel-buffering", "no"));
    response
}

/// What a stream may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Size of one event, in bytes.
    pub bytes_max: usize,
    /// What the client is told that it waited for, in seconds.
    pub deadline_seconds: u64,
}

/// An open stream of events. Dropped, it hangs up on the executor, which stops the run.
#[derive(Debug)]
pub(crate) struct Relay {
    upstream: Response,
    in_flight: InFlight,
    splitter: Splitter,
    limits: Limits,
    request_id: String,
    sent: Instant,
    is_over: bool,
}

impl Relay {
    /// Relays what `upstream` sends from here on in answer to a request: its id, and when it was sent.
    pub(crate) fn new(
        upstream: Response,
        in_flight: InFlight,
        limits: Limits,
        (request_id, sent): (String, Instant),
    ) -> Self {
        let splitter = Splitter::new(limits.bytes_max);
        Self { upstream, in_flight, splitter, limits, request_id, sent, is_over: false }
    }

    /// The executor.
    pub(crate) fn member(&self) -> Arc<Member> {
        Arc::clone(self.in_flight.member())
    }

    /// The next whole events; none behind the last one. May be dropped and called again.
    pub(crate) async fn batch(&mut self) -> Option<Bytes> {
        Box::pin(self.next()).await
    }

    /// Whole events, as they come.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
        unfold(self, |mut relay| async move {
            let next = Box::pin(relay.next()).await?;
            Some((Ok(next), relay))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        while !self.is_over {
            let deadline = Duration::from_secs(self.limits.deadline_seconds);
            let error = match self.upstream.chunk().await {
                Ok(Some(chunk)) => match self.splitter.push(&chunk) {
                    Ok(events) if events.is_empty() => continue,
                    Ok(events) => {
                        if self.splitter.has_ended
                            && let Some(glance) = Glance::of_events(&events)
                        {
                            glance.note(&self.in_flight, self.sent.elapsed());
                        }
                        return Some(events);
                    }
                    Err(EventTooLong) => DispatchError::BadAnswer("one of its events is too long"),
                },
                Ok(None) => DispatchError::Lost,
                Err(error) => transport(&error, deadline),
            };
            self.is_over = true;
            if self.splitter.has_ended {
                self.in_flight.answered();
                return None;
            }
            note(&self.in_flight, &error);
            self.in_flight.failed(fault(&error), Instant::now());
            return Some(fault_event(error, &self.request_id));
        }
        None
    }
}

/// The last event of a stream that broke.
fn fault_event(error: DispatchError, request_id: &str) -> Bytes {
    let problem = Box::new(ApiError::from(error).problem(request_id));
    let event = RunEvent::Fault { problem };
    let data = serde_json::to_string(&event).unwrap_or_default();
    Bytes::from(format!("event: {}\ndata: {data}\n\n", event.name()))
}

/// An event is longer than an answer may be.
#[derive(Debug, PartialEq, Eq)]
struct EventTooLong;

/// Cuts a stream after whole events, so that what follows a broken one is still understood.
#[derive(Debug)]
struct Splitter {
    pending: BytesMut,
    bytes_max: usize,
    has_ended: bool,
}

impl Splitter {
    fn new(bytes_max: usize) -> Self {
        Self { pending: BytesMut::new(), bytes_max, has_ended: false }
    }

    /// Takes bytes in, and gives out every event that is whole now.
    fn push(&mut self, chunk: &[u8]) -> Result<Bytes, EventTooLong> {
        // An end may lie across two chunks.
        let from = self.pending.len().saturating_sub(1);
        self.pending.extend_from_slice(chunk);
        let fresh = self.pending.get(from..).unwrap_or_default();
        let end = fresh.windows(2).rposition(|pair| pair == b"\n\n").map(|at| from + at + 2);
        let is_comment = self.pending.starts_with(b":") && self.pending.ends_with(b"\n");
        let end = end.or_else(|| is_comment.then_some(self.pending.len())).unwrap_or(0);
        let events = self.pending.split_to(end).freeze();
        if self.pending.len() > self.bytes_max {
            return Err(EventTooLong);
        }
        self.has_ended |= events.split(|byte| *byte == b'\n').any(is_last_event);
        Ok(events)
    }
}

/// Whether a line names an event that ends the stream. Data never starts a line so.
fn is_last_event(line: &[u8]) -> bool {
    let name = line.strip_prefix(b"event:").map(<[u8]>::trim_ascii);
    matches!(name, Some(b"exit" | b"fault"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(chunks: &[&str], passed: &[&str], has_ended: bool) {
        let mut splitter = Splitter::new(64);
        for (chunk, passed) in chunks.iter().zip(passed) {
            assert_eq!(splitter.push(chunk.as_bytes()).unwrap(), passed.as_bytes());
        }
        assert_eq!(splitter.has_ended, has_ended);
    }

    #[test]
    fn only_whole_events_pass() {
        check(&["event: a\nda", "ta: 1\n", "\nev"], &["", "", "event: a\ndata: 1\n\n"], false);
        check(&["data: 1\n\ndata: 2\n\ndat"], &["data: 1\n\ndata: 2\n\n"], false);
    }

    #[test]
    fn a_comment_passes_at_once() {
        check(&[": alive\n", "data: 1\n\n"], &[": alive\n", "data: 1\n\n"], false);
    }

    #[test]
    fn the_last_event_is_recognised() {
        check(&["event: exit\ndata: {}\n\n"], &["event: exit\ndata: {}\n\n"], true);
        check(&["event: fault\ndata: {}\n\n"], &["event: fault\ndata: {}\n\n"], true);
        check(&["event: exit\ndata: {}\n"], &[""], false);
        let quoted = "data: \"event: exit\"\n\n";
        check(&[quoted], &[quoted], false);
    }

    #[test]
    fn an_endless_event_is_not_buffered() {
        let mut splitter = Splitter::new(64);
        assert_eq!(splitter.push(&[b'x'; 65]), Err(EventTooLong));
    }
}
