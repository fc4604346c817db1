//! What the bench asks of a gateway's queue: as callers that submit, and as workers.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use protocol::ExecutorInfo;
use protocol::worker::{
    Beat, Beaten, Completed, Completions, HeldLease, JobResult, Poll, Registered, Registration,
    Work,
};
use reqwest::Client;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Keys;
use crate::http;

/// A language that nobody runs but the bench.
const LANGUAGE: &str = "noop";

/// What is needed of `GET /v1/queue`.
#[derive(Debug, Deserialize)]
pub(super) struct QueueState {
    pub(super) durability: String,
    pub(super) bytes: u64,
    languages: Vec<Waiting>,
}

impl QueueState {
    /// Jobs of the bench that wait.
    pub(super) fn ready(&self) -> u64 {
        let own = self.languages.iter().filter(|it| it.language == LANGUAGE);
        own.map(|it| it.ready).sum()
    }
}

/// What waits in a language.
#[derive(Debug, Deserialize)]
struct Waiting {
    language: String,
    ready: u64,
}

/// What is needed of a job that was submitted.
#[derive(Debug, Deserialize)]
struct Submitted {
    id: String,
}

/// A gateway whose queue is measured.
#[derive(Debug)]
pub(super) struct Queue {
    client: Client,
    url: String,
    keys: Keys,
}

impl Queue {
    pub(super) fn at(url: &str, keys: Keys) -> anyhow::Result<Self> {
        Ok(Self { client: http::client(Duration::from_secs(30))?, url: url.to_owned(), keys })
    }

    /// Says something as a worker.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> anyhow::Result<T> {
        self.call_as(&self.keys.worker, path, body).await
    }

    async fn call_as<T: DeserializeOwned>(
        &self,
        key: &str,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> anyhow::Result<T> {
        let request = self.client.post(format!("{}{path}", self.url)).bearer_auth(key);
        let request = request.header("content-type", "application/json");
        let answer = request.body(serde_json::to_vec(body)?).send().await?;
        let status = answer.status();
        let bytes = answer.bytes().await?;
        ensure!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).with_context(|| path.to_owned())
    }

    pub(super) async fn queue(&self) -> anyhow::Result<QueueState> {
        let url = format!("{}/v1/queue", self.url);
        http::get(&self.client, &url, Some(&self.keys.caller)).await
    }

    pub(super) async fn register(&self, number: usize, info: &ExecutorInfo) -> anyhow::Result<()> {
        let mut info = info.clone();
        info.languages.truncate(1);
        for language in &mut info.languages {
            LANGUAGE.clone_into(&mut language.id);
            language.aliases.clear();
        }
        let told = Registration {
            worker: name(number),
            incarnation: name(number),
            is_fresh: true,
            version: String::new(),
            protocol: [protocol::worker::PROTOCOL; 2],
            queues: Vec::new(),
            info,
        };
        self.call::<Registered>("/v1/worker/register", &told).await.map(drop)
    }

    /// Submits one job, and says which it is.
    pub(super) async fn submit(&self) -> anyhow::Result<String> {
        self.submit_as(&self.keys.caller).await
    }

    /// Submits many at once.
    pub(super) async fn submit_batch(&self, jobs: &[Value]) -> anyhow::Result<()> {
        let body = json!({ "jobs": jobs });
        self.call_as::<Value>(&self.keys.caller, "/v1/jobs", &body).await.map(drop)
    }

    /// The same as another caller, who has no other job.
    pub(super) async fn submit_as_another(&self) -> anyhow::Result<String> {
        self.submit_as(&self.keys.other).await
    }

    async fn submit_as(&self, key: &str) -> anyhow::Result<String> {
        let submitted: Submitted = self.call_as(key, "/v1/jobs", &job()).await?;
        Ok(submitted.id)
    }

    pub(super) async fn accept(
        &self,
        number: usize,
        holding: Vec<HeldLease>,
    ) -> anyhow::Result<()> {
        let (worker, incarnation) = (name(number), name(number));
        let beat = Beat { worker, incarnation, holding, ..Beat::default() };
        self.call::<Beaten>("/v1/worker/beat", &beat).await.map(drop)
    }

    /// Tells results, and asks for as many jobs as `poll` wants.
    pub(super) async fn complete(
        &self,
        results: Vec<JobResult>,
        poll: Option<Poll>,
    ) -> anyhow::Result<Work> {
        let told = Completions { results, poll };
        let done: Completed = self.call("/v1/worker/complete", &told).await?;
        Ok(done.work.unwrap_or_default())
    }
}

fn name(number: usize) -> String {
    format!("bench-{number}")
}

pub(super) fn job() -> Value {
    json!({ "language": LANGUAGE, "code": "x".repeat(1000) })
}

pub(super) fn poll(number: usize, turn: usize, free: usize, wait: Duration) -> Poll {
    Poll {
        worker: name(number),
        incarnation: name(number),
        poll: turn.to_string(),
        free,
        wait_ms: u64::try_from(wait.as_millis()).unwrap_or_default(),
        ..Poll::default()
    }
}

pub(super) fn results(work: &Work) -> anyhow::Result<Vec<JobResult>> {
    let report = RawValue::from_string(
        json!({ "status": "success", "output": "x".repeat(1000), "error": "" }).to_string(),
    )?;
    let result = |id: &String, token: &String| JobResult {
        id: id.clone(),
        token: token.clone(),
        run_ms: 1,
        report: report.clone(),
    };
    Ok(work.jobs.iter().map(|it| result(&it.id, &it.token)).collect())
}

pub(super) fn holding(work: &Work) -> Vec<HeldLease> {
    let jobs = work.jobs.iter();
    jobs.map(|it| HeldLease { id: it.id.clone(), token: it.token.clone() }).collect()
}
