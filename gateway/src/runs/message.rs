//! Pure: what a viewer says on its WebSocket, and what it is answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::TerminalSize;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::inlet::NotTaken;

/// The most that anybody says was typed before: no reader of JSON counts further.
const FROM_MAX: u64 = 1 << 53;
/// Longest name of whoever types, in bytes.
const TYPIST_BYTES_MAX: usize = 64;

/// What a viewer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// The program is to read this.
    Stdin {
        bytes: Vec<u8>,
        /// A name by which what whoever types it says is counted by itself.
        who: Option<String>,
        /// Bytes that were typed before it, by that one or by everybody, if the viewer counts.
        from: Option<u64>,
    },
    /// The program is to read the end of its input.
    Eof,
    /// It is to get a signal, or its terminal another size.
    Control(Control),
    /// To know that we are there.
    Ping,
}

/// What happens to a program beside its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Control {
    Signal(Signal),
    Size(TerminalSize),
}

/// A signal that viewers may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Signal {
    Int,
    Term,
    Kill,
}

#[derive(Deserialize)]
#[serde(tag = "t", rename_all = "snake_case", deny_unknown_fields)]
enum Wire {
    Stdin { data: Option<String>, b64: Option<String>, typist: Option<String>, from: Option<u64> },
    Eof,
    Signal { name: Signal },
    Resize { cols: u16, rows: u16 },
    Ping,
}

/// Reads a message. The error says what would be right.
pub(crate) fn parse(text: &str) -> Result<Said, String> {
    let wire: Wire = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(match wire {
        Wire::Stdin { typist: Some(who), .. } if !(1..=TYPIST_BYTES_MAX).contains(&who.len()) => {
            return Err(format!("`typist` has 1 to {TYPIST_BYTES_MAX} bytes"));
        }
        Wire::Stdin { from: Some(from), .. } if from > FROM_MAX => {
            return Err(format!("`from` is at most {FROM_MAX}"));
        }
        Wire::Stdin { data: Some(text), b64: None, typist, from } => {
            Said::Stdin { bytes: text.into_bytes(), who: typist, from }
        }
        Wire::Stdin { data: None, b64: Some(text), typist, from } => {
            let bytes = STANDARD.decode(text).map_err(|error| format!("`b64`: {error}"))?;
            Said::Stdin { bytes, who: typist, from }
        }
        Wire::Stdin { .. } => return Err("`stdin` takes one of `data` and `b64`".to_owned()),
        Wire::Eof => Said::Eof,
        Wire::Signal { name } => Said::Control(Control::Signal(name)),
        Wire::Resize { cols, rows } => {
            let size = TerminalSize { cols, rows };
            if !size.is_permitted() {
                return Err("`cols` and `rows` are each from 1 to 500".to_owned());
            }
            Said::Control(Control::Size(size))
        }
        Wire::Ping => Said::Ping,
    })
}

/// What a viewer is told of something that it typed.
pub(crate) fn answer(taken: Result<u64, NotTaken>) -> String {
    match taken {
        Ok(bytes) => json!({ "t": "accepted", "bytes": bytes }).to_string(),
        Err(NotTaken::Full(bytes)) => json!({ "t": "stdin_full", "bytes": bytes }).to_string(),
        Err(NotTaken::Gap(bytes)) => {
            let detail = format!("{bytes} bytes were taken so far; go on from there");
            json!({ "t": "error", "code": "gap", "detail": detail, "bytes": bytes }).to_string()
        }
        Err(NotTaken::Closed(_)) => error("stdin_closed", "the program's input has ended"),
    }
}

/// What a viewer is told that may type again.
pub(crate) fn room(bytes: u64) -> String {
    json!({ "t": "stdin_ready", "bytes": bytes }).to_string()
}

/// What a viewer is told that was heard.
pub(crate) fn pong() -> String {
    json!({ "t": "pong" }).to_string()
}

/// What a viewer is told of a message that changes nothing.
pub(crate) fn error(code: &str, detail: &str) -> String {
    json!({ "t": "error", "code": code, "detail": detail }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_understood() {
        let stdin = |bytes: &[u8], who: Option<&str>, from| Said::Stdin {
            bytes: bytes.to_vec(),
            who: who.map(str::to_owned),
            from,
        };
        for (text, said) in [
            (r#"{"t":"stdin","data":"a\n"}"#, stdin(b"a\n", None, None)),
            (r#"{"t":"stdin","b64":"AP8=","from":7}"#, stdin(&[0, 255], None, Some(7))),
            (r#"{"t":"stdin","data":"a","typist":"x","from":0}"#, stdin(b"a", Some("x"), Some(0))),
            (r#"{"t":"eof"}"#, Said::Eof),
            (r#"{"t":"signal","name":"INT"}"#, Said::Control(Control::Signal(Signal::Int))),
            (
                r#"{"t":"resize","cols":80,"rows":24}"#,
                Said::Control(Control::Size(TerminalSize { cols: 80, rows: 24 })),
            ),
            (r#"{"t":"ping"}"#, Said::Ping),
        ] {
            assert_eq!(parse(text), Ok(said), "{text}");
        }
    }

    #[test]
    fn anything_else_is_told_what_is_wrong() {
        for text in [
            "",
            "[]",
            r#"{"t":"nonsense"}"#,
            r#"{"t":"stdin"}"#,
            r#"{"t":"stdin","data":"a","b64":"AA=="}"#,
            r#"{"t":"stdin","b64":"%"}"#,
            r#"{"t":"stdin","data":"a","typist":""}"#,
            r#"{"t":"stdin","data":"a","typist":"x","from":18446744073709551615}"#,
            &format!(r#"{{"t":"stdin","data":"a","typist":"{}"}}"#, "x".repeat(65)),
            r#"{"t":"signal","name":"HUP"}"#,
            r#"{"t":"resize","cols":0,"rows":24}"#,
            r#"{"t":"resize","cols":80,"rows":501}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_control_is_what_executors_read() {
        let json = |it: Control| serde_json::to_string(&it).unwrap();
        assert_eq!(json(Control::Signal(Signal::Term)), r#"{"signal":"TERM"}"#);
        let size = TerminalSize { cols: 80, rows: 24 };
        assert_eq!(json(Control::Size(size)), r#"{"size":{"cols":80,"rows":24}}"#);
    }
}
