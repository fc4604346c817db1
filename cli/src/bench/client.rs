//! Asks a fleet to run a program or to look at it, and takes the time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use protocol::{ExecutorInfo, RunReport, StartFrom, Status, ValidateReport};
use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::programs::Program;
use crate::fleet::Fleet;
use crate::http;

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_mins(2);

/// A client of one fleet.
#[derive(Debug, Clone)]
pub(crate) struct FleetClient {
    client: Client,
    url: String,
    token: String,
}

/// A run that did what it should.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Milliseconds from the request to its whole answer.
    pub(crate) ms: f64,
    /// Whether a warm process served it.
    pub(crate) is_warm: bool,
    /// Whether its compiled program came from the cache.
    pub(crate) is_cached: bool,
}

/// What came of one request among many at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    /// It ran.
    Ran(Sample),
    /// It was told `timeout`, for whatever reason.
    TimedOut,
    /// There was no room for it.
    Refused,
}

/// An answer, whatever it says.
#[derive(Debug)]
struct Answer {
    ms: f64,
    status: StatusCode,
    body: Vec<u8>,
}

impl FleetClient {
    pub(crate) fn of(fleet: &Fleet) -> anyhow::Result<Self> {
        let client = http::local_client()?;
        Ok(Self { client, url: fleet.url.clone(), token: fleet.token.clone() })
    }

    /// Where the gateway is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Runs a program through the gateway; it must do what it should.
    pub(crate) async fn run(&self, program: &Program, request: &Value) -> anyhow::Result<Sample> {
        self.run_at(&format!("{}/v1/execute", self.url), program, request).await
    }

    /// Runs a program at the executor on `port`; it must do what it should.
    pub(crate) async fn run_directly(
        &self,
        port: u16,
        program: &Program,
        request: &Value,
    ) -> anyhow::Result<Sample> {
        self.run_at(&format!("http://127.0.0.1:{port}/execute"), program, request).await
    }

    async fn run_at(
        &self,
        url: &str,
        program: &Program,
        request: &Value,
    ) -> anyhow::Result<Sample> {
        match outcome(program, &self.post(url, request).await?)? {
            Outcome::Ran(sample) => Ok(sample),
            Outcome::TimedOut => bail!("it ended as `{}`", Status::Timeout.as_str()),
            Outcome::Refused => bail!("the fleet has no room for it"),
        }
    }

    /// Runs a program through the gateway while many others are sent.
    pub(crate) async fn attempt(
        &self,
        program: &Program,
        request: &Value,
    ) -> anyhow::Result<Outcome> {
        outcome(program, &self.post(&format!("{}/v1/execute", self.url), request).await?)
    }

    /// Milliseconds that the fleet takes to look at a program, which must be valid.
    pub(crate) async fn validate(&self, request: &Value) -> anyhow::Result<f64> {
        let answer = self.post(&format!("{}/v1/validate", self.url), request).await?;
        let report: ValidateReport = serde_json::from_slice(&answer.body)
            .with_context(|| format!("{}: {}", answer.status, http::head(&answer.body)))?;
        if !report.is_valid {
            bail!("it is not valid: {}", http::head(&answer.body));
        }
        Ok(answer.ms)
    }

    /// The version that the fleet runs when a request names none.
    pub(crate) async fn version(&self, language: &str) -> anyhow::Result<String> {
        let url = format!("{}/v1/languages/{language}", self.url);
        let language: Value = http::get(&self.client, &url, Some(&self.token)).await?;
        let version = language.pointer("/versions/0").and_then(Value::as_str);
        Ok(version.unwrap_or_default().to_owned())
    }

    /// Whether the executor on `port` says that it keeps processes warm.
    pub(crate) async fn is_kept_warm(&self, port: u16) -> anyhow::Result<bool> {
        let url = format!("http://127.0.0.1:{port}/info");
        let info: ExecutorInfo = http::get(&self.client, &url, Some(&self.token)).await?;
        Ok(info.warm.runtimes.iter().any(|it| it.start != StartFrom::Cold))
    }

    async fn post(&self, url: &str, request: &Value) -> anyhow::Result<Answer> {
        let request = http::with_json(self.client.post(url), request);
        let request = request.bearer_auth(&self.token).timeout(REQUEST_MAX).build()?;
        let began = Instant::now();
        let response = self.client.execute(request).await?;
        let status = response.status();
        let body = response.bytes().await?.to_vec();
        Ok(Answer { ms: began.elapsed().as_secs_f64() * 1000.0, status, body })
    }
}

fn outcome(program: &Program, answer: &Answer) -> anyhow::Result<Outcome> {
    let Answer { ms, status, body } = answer;
    if matches!(*status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        return Ok(Outcome::Refused);
    }
    if !status.is_success() {
        bail!("{status}: {}", http::head(body));
    }
    let report: RunReport = serde_json::from_slice(body).with_context(|| http::head(body))?;
    if report.status == Status::Timeout {
        return Ok(Outcome::TimedOut);
    }
    if !report.status.is_pass() || report.output != program.expected() {
        let status = report.status.as_str();
        bail!("{status}, printed {:?} {:?}", report.output, report.error);
    }
    let is_cached = report.compile.is_some_and(|it| it.cached);
    Ok(Outcome::Ran(Sample { ms: *ms, is_warm: report.warm, is_cached }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(code: u16, body: &Value, expected: Option<Outcome>) {
        let program = Program::sample();
        let status = StatusCode::from_u16(code).unwrap();
        let answer = Answer { ms: 2.0, status, body: body.to_string().into_bytes() };
        assert_eq!(outcome(&program, &answer).ok(), expected, "{code} {body}");
    }

    fn report(status: &str, output: &str) -> Value {
        json!({
            "requestId": "1", "status": status, "output": output, "error": "",
            "outputTruncated": false, "errorTruncated": false, "executionTime": 0.1,
            "cpuTime": 0.1, "memoryUsed": 1, "approximate": false, "exitCode": 0, "signal": null,
            "compile": { "status": "success", "output": "", "time": 0.1, "cached": true },
            "timings": { "queue": 0.0, "compile": 0.0, "start": 0.0, "run": 0.0, "total": 0.0 },
            "warm": true, "isolation": "bare", "language": "alpha", "version": "1",
        })
    }

    #[test]
    fn what_came_of_a_request_is_told_apart() {
        let ran = Outcome::Ran(Sample { ms: 2.0, is_warm: true, is_cached: true });
        check(200, &report("success", Program::sample().expected()), Some(ran));
        check(200, &report("success", "something else"), None);
        check(200, &report("runtime_error", Program::sample().expected()), None);
        check(200, &report("timeout", ""), Some(Outcome::TimedOut));
        check(503, &json!({ "code": "busy" }), Some(Outcome::Refused));
        check(429, &json!({ "code": "rate_limited" }), Some(Outcome::Refused));
        check(502, &json!({ "code": "no_executor" }), None);
    }
}
