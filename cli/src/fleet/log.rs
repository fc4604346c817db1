//! What a service says: kept in a bounded file, its end in memory, and passed on if asked.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Child;
use tokio::task::JoinSet;

/// A log file starts again from nothing when it is this large, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longer lines are broken, in bytes.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// How much of the end is kept for messages.
const TAIL_LINES: usize = 20;
/// How long to read on after a service's end: something it started may hold its pipes.
const LINGER: Duration = Duration::from_secs(1);

/// The followed output of one process.
#[derive(Debug)]
pub(crate) struct Log {
    shared: Arc<Mutex<Shared>>,
    readers: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    service: String,
    verbose: bool,
    file: File,
    bytes: u64,
    tail: VecDeque<String>,
}

impl Log {
    /// Follows both outputs of `child` into the file `path`; `verbose` passes lines on as well.
    pub(crate) fn follow(
        child: &mut Child,
        service: &str,
        path: &Path,
        verbose: bool,
    ) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        let (service, tail) = (service.to_owned(), VecDeque::new());
        let shared = Arc::new(Mutex::new(Shared { service, verbose, file, bytes, tail }));
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(read_lines(stdout, Arc::clone(&shared)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(read_lines(stderr, Arc::clone(&shared)));
        }
        Ok(Self { shared, readers })
    }

    /// Reads what is left after the process ended, and answers with its last lines.
    pub(crate) async fn finish(mut self) -> Vec<String> {
        let rest = async { while self.readers.join_next().await.is_some() {} };
        if tokio::time::timeout(LINGER, rest).await.is_err() {
            self.readers.abort_all();
        }
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.tail.iter().cloned().collect()
    }
}

async fn read_lines(stream: impl AsyncRead + Unpin, shared: Arc<Mutex<Shared>>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut stream).take(LINE_BYTES_MAX);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => shared.lock().unwrap_or_else(PoisonError::into_inner).take(&line),
        }
    }
}

impl Shared {
    fn take(&mut self, line: &[u8]) {
        self.bytes += line.len() as u64;
        if self.bytes > FILE_BYTES_MAX {
            self.bytes = line.len() as u64;
            let restarted = self.file.set_len(0).and_then(|()| self.file.rewind());
            self.note_failure(restarted);
        }
        let written = self.file.write_all(line);
        self.note_failure(written);
        let text = readable(&String::from_utf8_lossy(line));
        if self.verbose {
            crate::output::say(format_args!("[{}] {text}", self.service));
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(text);
    }

    fn note_failure(&mut self, written: std::io::Result<()>) {
        if let Err(error) = written {
            self.tail.push_back(format!("(the log file cannot be written: {error})"));
        }
    }
}

/// A structured line as a person would have it; any other line as it is.
fn readable(line: &str) -> String {
    let line = line.trim_end();
    let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(line) else {
        return line.to_owned();
    };
    let (Some(level), Some(message)) = (fields.remove("level"), fields.remove("message")) else {
        return line.to_owned();
    };
    fields.remove("timestamp");
    let rest = fields.iter().map(|(name, value)| format!("{name}={}", plain(value)));
    let words = [plain(&level), plain(&message)].into_iter().chain(rest);
    words.collect::<Vec<_>>().join(" ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structured_line_is_told_plainly() {
        let line = r#"{"timestamp":"t","level":"ERROR","message":"no slot","slots":2}"#;
        assert_eq!(readable(line), "ERROR no slot slots=2");
        for other in ["plain text", "{}", "[1]", r#"{"level":"INFO"}"#] {
            assert_eq!(readable(other), other);
        }
    }
}
