//! `flotilla run FILE`: a file through the fleet as if it ran here: what it prints streams, and
//! it exits as the program did.

mod exit;
mod stream;
mod submission;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use protocol::{Problem, RunEvent, RunReport};
use reqwest::header::ACCEPT;
use reqwest::{Client, Response};

use crate::http;
use crate::output::{self, Stream, say};
pub(crate) use exit::{INTERNAL, USAGE};
use exit::{LIMIT, REFUSED, STREAM_BROKE, UNREACHABLE};
use stream::EventStream;

/// Where the fleet is when nothing says otherwise.
const URL_DEFAULT: &str = "http://127.0.0.1:8000";
/// How long a run may take altogether: waiting, compiling, running.
const RUN_MAX: Duration = Duration::from_mins(10);
/// What a shell says of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
/// What a shell says of a program that wrote to a closed pipe.
const PIPE_CLOSED: u8 = 141;

/// Runs a file through the fleet.
///
/// Standard input is passed on, if it is not a terminal, up to its end; so are the program's
/// output, as it comes, and its exit code. Ctrl-C stops the run.
///
/// Exit codes: the program's own; 128 + N if signal N ended it; 1 if it does not compile. Faults
/// that are not the program's: 120 a wrong option or file, 121 the fleet cannot be reached, 122 the
/// fleet refused, 123 a limit of time, memory or output was hit, 124 the run broke off, 125 a fault
/// of this program. 130 after Ctrl-C.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub(crate) struct RunArguments {
    /// The program.
    file: PathBuf,
    /// Arguments for the program, after `--`.
    #[arg(last = true)]
    args: Vec<String>,
    /// The fleet's address [default: `FLOTILLA_URL`, else `http://127.0.0.1:8000`].
    #[arg(long)]
    url: Option<String>,
    /// The API key [default: `FLOTILLA_KEY`]. Other users may see options; the variable is better.
    #[arg(long)]
    key: Option<String>,
    /// The language, else the file's extension tells.
    #[arg(long)]
    language: Option<String>,
    /// The runtime's version, a prefix or a range such as `>=3.10`.
    #[arg(long)]
    version: Option<String>,
    /// Seconds that the program may run.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// MiB that it may use.
    #[arg(long, value_name = "MB")]
    memory: Option<u64>,
    /// An option for the compiler; may be repeated.
    #[arg(long = "option", value_name = "OPTION", allow_hyphen_values = true)]
    options: Vec<String>,
    /// A variable of the program's environment; may be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    variables: Vec<String>,
}

/// Why there is no exit code of a program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Fault {
    code: u8,
    message: String,
}

impl Fault {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Runs the file and answers with the exit code.
pub(crate) async fn run(arguments: RunArguments) -> u8 {
    let ended = tokio::select! {
        ended = run_through(arguments) => ended,
        _ = tokio::signal::ctrl_c() => return INTERRUPTED,
    };
    ended.unwrap_or_else(|fault| {
        if fault.code != PIPE_CLOSED {
            say(format_args!("flotilla: {fault}"));
        }
        fault.code
    })
}

async fn run_through(arguments: RunArguments) -> Result<u8, Fault> {
    let url = arguments.url.clone().or_else(|| settings::variable("FLOTILLA_URL"));
    let url = url.unwrap_or_else(|| URL_DEFAULT.to_owned());
    let key = arguments.key.clone().or_else(|| settings::variable("FLOTILLA_KEY"));
    let client = http::client(RUN_MAX)
        .map_err(|error| Fault::new(INTERNAL, format!("no HTTP client: {error}")))?;
    let fleet = FleetAddress { client, url: url.trim_end_matches('/').to_owned(), key };
    let body = submission::read(&arguments, &fleet).await?;
    let request = fleet.client.post(format!("{}/v1/execute", fleet.url));
    let request = http::with_json(request.header(ACCEPT, "text/event-stream"), &body);
    let report = follow(fleet.ask(request).await?).await?;
    Ok(conclude(&report))
}

/// A fleet and how to speak with it.
struct FleetAddress {
    client: Client,
    url: String,
    key: Option<String>,
}

impl FleetAddress {
    /// Sends a request, which must be answered 200.
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Response, Fault> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let response = request.send().await.map_err(|error| {
            Fault::new(UNREACHABLE, format!("cannot reach {}: {}", self.url, chain(&error)))
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        Err(Fault::new(
            REFUSED,
            match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) => describe(&problem),
                Err(_) => format!("the fleet answered {status}: {}", http::head(&body)),
            },
        ))
    }
}

/// Passes a run's output on until its report comes.
async fn follow(response: Response) -> Result<RunReport, Fault> {
    let mut events = EventStream::new(response);
    while let Some(event) = events.next().await? {
        match event {
            RunEvent::Stage { .. } | RunEvent::Diagnostic { .. } | RunEvent::Stats { .. } => {}
            RunEvent::Stdout { data, .. } => pass_on(Stream::Stdout, data).await?,
            RunEvent::Stderr { data, .. } => pass_on(Stream::Stderr, data).await?,
            RunEvent::Exit { report } => return Ok(*report),
            RunEvent::Fault { problem } => return Err(Fault::new(REFUSED, describe(&problem))),
        }
    }
    Err(Fault::new(STREAM_BROKE, "the connection ended before the run did"))
}

async fn pass_on(stream: Stream, data: String) -> Result<(), Fault> {
    output::pass_on(stream, data).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Fault::new(PIPE_CLOSED, "the output's reader is gone"),
        _ => Fault::new(INTERNAL, format!("cannot write the program's output: {error}")),
    })
}

/// Says what the program's own output does not, and gives its exit code.
fn conclude(report: &RunReport) -> u8 {
    if report.output_truncated {
        say("flotilla: standard output was cut");
    }
    if report.error_truncated {
        say("flotilla: standard error was cut");
    }
    let code = exit::code(report);
    if matches!(code, LIMIT | STREAM_BROKE) && !report.status.is_pass() {
        let seconds = report.execution_time;
        let status = report.status.as_str().replace('_', " ");
        say(format_args!("flotilla: {status} after {seconds:.1} s"));
    } else if let Some(signal) = &report.signal {
        say(format_args!("flotilla: ended by {signal}"));
    }
    code
}

fn describe(problem: &Problem) -> String {
    let fields = problem.errors.iter().map(|it| format!("{}: {}", it.pointer, it.detail));
    let end = format!("({}, request {})", problem.code, problem.request_id);
    let lines = std::iter::once(problem.detail.clone()).chain(fields).chain([end]);
    lines.collect::<Vec<_>>().join("\n  ")
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |it| it.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use protocol::FieldError;

    use super::*;

    #[test]
    fn a_refusal_lists_every_wrong_field() {
        let errors =
            vec![FieldError::new("/timeout", "too long"), FieldError::new("/x", "unknown")];
        let problem = Problem::new(422, "invalid_request", "2 are wrong", "r1").with_errors(errors);
        let expected =
            "2 are wrong\n  /timeout: too long\n  /x: unknown\n  (invalid_request, request r1)";
        assert_eq!(describe(&problem), expected);
    }
}
