//! The executor beside us, as any caller calls it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use protocol::worker::GrantedJob;
use protocol::{ExecutorHealth, ExecutorInfo, Problem, Status};
use reqwest::{Client, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::value::RawValue;
use telemetry::CALLER_HEADER;

use crate::WorkerError;

/// How long it may take to say how it is.
const TIME_MAX: Duration = Duration::from_secs(5);
/// What it calls a run whose supervisor died: unlike with others that it tells as unavailable,
/// something of it may have been run.
const RUN_LOST: &str = "run_lost";

/// What runs programs.
#[derive(Debug)]
pub(crate) struct Executor {
    client: Client,
    base: String,
    token: SecretString,
}

/// What came of running a job.
#[derive(Debug)]
pub(crate) enum Ran {
    /// The program ended, somehow.
    Report(Box<RawValue>),
    /// Nothing was run, and somebody else may do it, or we a little later.
    NotNow,
    /// It came to nothing.
    Failed {
        /// Through what.
        reason: String,
        /// Whether another attempt may help.
        is_retryable: bool,
        /// Whether the program may have run.
        may_have_run: bool,
    },
}

impl Executor {
    pub(crate) fn new(address: SocketAddr, token: SecretString) -> Result<Self, WorkerError> {
        // It is on this machine, and no certificate is needed for that.
        let client = Client::builder().tls_certs_only([]).no_proxy().build();
        let base = format!("http://{}", reachable(address));
        Ok(Self { client: client.map_err(WorkerError::Client)?, base, token })
    }

    /// What it says of itself. None if it says nothing yet.
    pub(crate) async fn info(&self) -> Option<ExecutorInfo> {
        let answer = self.authorized(self.client.get(format!("{}/info", self.base)));
        let answer = answer.timeout(TIME_MAX).send().await.ok()?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    /// Slots that run nothing now; none while it takes no runs.
    pub(crate) async fn free(&self) -> usize {
        let asked = self.client.get(format!("{}/health", self.base)).timeout(TIME_MAX);
        let Ok(answer) = asked.send().await else { return 0 };
        if answer.status() != StatusCode::OK {
            return 0;
        }
        let health = answer.bytes().await.ok();
        let health = health.and_then(|it| serde_json::from_slice::<ExecutorHealth>(&it).ok());
        health.map_or(0, |it| it.slots_free.saturating_sub(it.waiting))
    }

    /// Runs a job. Dropping this stops the program.
    pub(crate) async fn run(&self, job: &GrantedJob) -> Ran {
        let mut request = self.client.post(format!("{}/execute", self.base));
        request = request.header("content-type", "application/json");
        if !job.caller.is_empty() {
            request = request.header(CALLER_HEADER.as_str(), &job.caller);
        }
        let request = self.authorized(request).timeout(Duration::from_millis(job.attempt_ms));
        let lost = || failed("executor_lost", true, true);
        let Ok(answer) = request.body(job.run.get().to_owned()).send().await else { return lost() };
        let status = answer.status();
        let Ok(body) = answer.bytes().await else { return lost() };
        outcome(status, &body)
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match self.token.expose_secret() {
            "" => request,
            token => request.bearer_auth(token),
        }
    }
}

fn outcome(status: StatusCode, body: &[u8]) -> Ran {
    #[derive(serde::Deserialize)]
    struct Peek {
        status: Status,
    }
    match status {
        StatusCode::OK => {
            let report = serde_json::from_slice::<Box<RawValue>>(body);
            let status = serde_json::from_slice::<Peek>(body).map(|it| it.status);
            match (report, status) {
                // We did not cancel it: the executor ends, and could not wait for it.
                (Ok(_), Ok(Status::Cancelled)) => failed("executor_drained", true, true),
                (Ok(report), Ok(_)) => Ran::Report(report),
                _ => failed("bad_executor_answer", true, true),
            }
        }
        // Nothing of it was run, unless it says so.
        StatusCode::SERVICE_UNAVAILABLE if code_of(body) != RUN_LOST => Ran::NotNow,
        _ => {
            let reason = code_of(body);
            // What an executor refuses it has not run, and will refuse again.
            let is_refused = status.is_client_error();
            failed(&reason, !is_refused, !is_refused)
        }
    }
}

/// What an executor calls its problem.
fn code_of(body: &[u8]) -> String {
    let problem = serde_json::from_slice::<Problem>(body);
    problem.map_or_else(|_| "bad_executor_answer".to_owned(), |it| it.code)
}

fn failed(reason: &str, is_retryable: bool, may_have_run: bool) -> Ran {
    Ran::Failed { reason: reason.to_owned(), is_retryable, may_have_run }
}

/// Where to call what listens there.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_own_failure_is_a_report() {
        let report = br#"{"status": "runtime_error", "output": ""}"#;
        assert!(matches!(outcome(StatusCode::OK, report), Ran::Report(_)));
        let cut = br#"{"status": "cancelled"}"#;
        let is_retried = |ran: Ran| matches!(ran, Ran::Failed { is_retryable: true, .. });
        assert!(is_retried(outcome(StatusCode::OK, cut)));
        assert!(is_retried(outcome(StatusCode::OK, b"[]")));
        assert!(is_retried(outcome(StatusCode::INTERNAL_SERVER_ERROR, b"")));
        assert!(!is_retried(outcome(StatusCode::UNPROCESSABLE_ENTITY, b"{}")));
        assert!(matches!(outcome(StatusCode::SERVICE_UNAVAILABLE, b""), Ran::NotNow));
        let lost = Problem::new(503, RUN_LOST, "its supervisor died".to_owned(), "");
        let lost = serde_json::to_vec(&lost).unwrap();
        let lost = outcome(StatusCode::SERVICE_UNAVAILABLE, &lost);
        assert!(matches!(lost, Ran::Failed { is_retryable: true, may_have_run: true, .. }));
    }
}
