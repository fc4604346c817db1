//! The one place that writes to the terminal. A reader that went away is no fault: whoever
//! closed the pipe wants no more of it.

use std::fmt::Display;
use std::io;

/// Writes a line to standard error: progress, warnings, faults.
pub(crate) fn say(line: impl Display) {
    write(io::stderr().lock(), format_args!("{}\n", line.to_string().trim_end()));
}

/// Writes text to standard output: results.
pub(crate) fn print(text: impl Display) {
    write(io::stdout().lock(), format_args!("{}\n", text.to_string().trim_end()));
}

fn write(mut stream: impl io::Write, text: std::fmt::Arguments<'_>) {
    if stream.write_fmt(text).and_then(|()| stream.flush()).is_err() {
        // Nobody is left who could be told.
    }
}

/// A stream of the program's own output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Passes a program's output on at once, without holding up whoever waits for a signal.
pub(crate) async fn pass_on(stream: Stream, data: String) -> io::Result<()> {
    let written = tokio::task::spawn_blocking(move || match stream {
        Stream::Stdout => write_through(&mut io::stdout().lock(), &data),
        Stream::Stderr => write_through(&mut io::stderr().lock(), &data),
    });
    written.await.map_err(io::Error::other)?
}

fn write_through(stream: &mut impl io::Write, data: &str) -> io::Result<()> {
    stream.write_all(data.as_bytes())?;
    stream.flush()
}
