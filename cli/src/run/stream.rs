//! Reads a run's events from an event stream (WHATWG HTML, section 9.2.6).

use std::collections::VecDeque;

use protocol::RunEvent;
use reqwest::Response;

use super::Fault;
use super::exit::STREAM_BROKE;

/// An event may be this large, in bytes; a run's are far smaller.
const EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The events of one answer, in order.
pub(super) struct EventStream {
    response: Response,
    parser: Parser,
    waiting: VecDeque<RunEvent>,
}

impl EventStream {
    pub(super) fn new(response: Response) -> Self {
        Self { response, parser: Parser::default(), waiting: VecDeque::new() }
    }

    /// The next event; none at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<RunEvent>, Fault> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let chunk = self.response.chunk().await.map_err(|error| {
                Fault::new(STREAM_BROKE, format!("the run broke off: {}", super::chain(&error)))
            })?;
            let Some(chunk) = chunk else { return Ok(None) };
            for message in self.parser.feed(&chunk)? {
                self.waiting.extend(message.event()?);
            }
        }
    }
}

/// One dispatched message.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    name: Vec<u8>,
    data: Vec<u8>,
}

impl Message {
    /// What it says, if it is of a kind that we know.
    fn event(&self) -> Result<Option<RunEvent>, Fault> {
        const KNOWN: [&[u8]; 5] = [b"stage", b"stdout", b"stderr", b"exit", b"fault"];
        if !KNOWN.contains(&self.name.as_slice()) {
            return Ok(None);
        }
        let parsed = serde_json::from_slice(&self.data);
        parsed.map(Some).map_err(|error| broken(format!("an event does not parse: {error}")))
    }
}

/// Splits bytes, however they are cut, into messages.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    /// Whether the last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    message: Message,
}

impl Parser {
    fn feed(&mut self, chunk: &[u8]) -> Result<Vec<Message>, Fault> {
        let mut messages = Vec::new();
        for &byte in chunk {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => messages.extend(self.end_line()),
                _ => self.line.push(byte),
            }
        }
        if self.line.len() + self.message.data.len() > EVENT_BYTES_MAX {
            return Err(broken("an event is larger than any should be"));
        }
        Ok(messages)
    }

    fn end_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return (!message.data.is_empty()).then_some(message);
        }
        let colon = line.iter().position(|it| *it == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => self.message.name = value.to_vec(),
            b"data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push(b'\n');
                }
                self.message.data.extend_from_slice(value);
            }
            // Comments, ids, and what may yet be invented.
            _ => {}
        }
        None
    }
}

fn broken(message: impl Into<String>) -> Fault {
    Fault::new(STREAM_BROKE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let messages = chunks.iter().flat_map(|it| parser.feed(it).unwrap());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        messages.map(|it| (text(it.name), text(it.data))).collect()
    }

    fn check(stream: &str, expected: &[(&str, &str)]) {
        let expected: Vec<(String, String)> =
            expected.iter().map(|(name, data)| ((*name).into(), (*data).into())).collect();
        assert_eq!(parse(&[stream.as_bytes()]), expected, "whole: {stream:?}");
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(parse(&bytes), expected, "byte by byte: {stream:?}");
        for cut in 0..stream.len() {
            let (head, tail) = stream.as_bytes().split_at(cut);
            assert_eq!(parse(&[head, tail]), expected, "cut at {cut}: {stream:?}");
        }
    }

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let stream = "event: stdout\ndata: {\"é\":1}\n\n: ping\n\nevent:exit\ndata:x\n\n";
        check(stream, &[("stdout", "{\"é\":1}"), ("exit", "x")]);
    }

    #[test]
    fn every_kind_of_line_end_ends_a_line() {
        check("event: a\r\ndata: 1\r\n\r\n", &[("a", "1")]);
        check("event: a\rdata: 1\r\r", &[("a", "1")]);
    }

    #[test]
    fn lines_of_data_are_joined() {
        check("data: 1\ndata: 2\nid: 3\n\n", &[("", "1\n2")]);
    }

    #[test]
    fn a_message_without_data_or_without_end_is_none() {
        check("event: a\n\nevent: b\ndata: 1\n", &[]);
    }

    #[test]
    fn an_unknown_event_is_passed_over_and_a_malformed_one_is_a_fault() {
        let message = |name: &str| Message { name: name.into(), data: b"{}".to_vec() };
        assert_eq!(message("stats").event(), Ok(None));
        assert_eq!(message("stdout").event().unwrap_err().code, STREAM_BROKE);
    }

    #[test]
    fn an_event_is_bounded() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; EVENT_BYTES_MAX + 1];
        assert!(parser.feed(&chunk).is_err());
    }
}
