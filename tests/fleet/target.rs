//! Something that runs programs over HTTP: an executor, or a gateway for one of its languages.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tests::{Server, client};

use crate::checks::short;

/// Where programs are sent.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    base: String,
    prefix: &'static str,
    /// Added to every request that has none.
    language: Option<String>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Target {
    /// An executor, as the original contract speaks to it: without a language.
    pub(crate) fn executor(server: &Server) -> Self {
        Self { base: server.url(""), prefix: "", language: None }
    }

    /// An executor of several languages.
    pub(crate) fn executor_for(server: &Server, language: &str) -> Self {
        Self { language: Some(language.to_owned()), ..Self::executor(server) }
    }

    /// A gateway.
    pub(crate) fn gateway(server: &Server, language: &str) -> Self {
        Self { base: server.url(""), prefix: "/v1", language: Some(language.to_owned()) }
    }

    /// The address of a path that both kinds have.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.base, self.prefix)
    }

    /// Sends a request to run a program.
    pub(crate) async fn execute(&self, request: &Value) -> Answer {
        self.post("/execute", &self.complete(request).to_string(), &[]).await
    }

    /// Runs a program, which must be answered with a report.
    pub(crate) async fn run(&self, request: &Value) -> Result<Value> {
        let answer = self.execute(request).await;
        ensure!(answer.status == 200, "{}: {}", answer.status, short(&answer.body));
        Ok(answer.body)
    }

    /// Asks what a front end thinks.
    pub(crate) async fn validate(&self, request: &Value) -> Result<Value> {
        let body = self.complete(request).to_string();
        let answer = self.post("/validate", &body, &[]).await;
        ensure!(answer.status == 200, "{}: {}", answer.status, short(&answer.body));
        Ok(answer.body)
    }

    /// Runs a program and follows its events.
    pub(crate) async fn stream(&self, request: &Value) -> Result<Events> {
        let request = client()
            .post(self.url("/execute"))
            .header("content-type", "application/json")
            .header("accept", "text/event-stream")
            .body(self.complete(request).to_string());
        let response = request.send().await?;
        ensure!(response.status() == 200, "{}", response.text().await?);
        let kind = response.headers()["content-type"].to_str()?.to_owned();
        ensure!(kind.starts_with("text/event-stream"), "the content type is {kind}");
        Ok(Events { response, text: String::new() })
    }

    /// Sends a body as it is.
    pub(crate) async fn post(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = client().post(self.url(path)).body(body.to_owned());
        if headers.iter().all(|(name, _)| *name != "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        whole(request).await
    }

    /// What the executor, or the gateway about the language, says of its runtimes' versions.
    pub(crate) async fn versions(&self) -> Result<Vec<String>> {
        let path = match (&self.language, self.prefix) {
            (Some(language), "/v1") => format!("{}/v1/languages/{language}", self.base),
            _ => format!("{}/info", self.base),
        };
        let info = whole(client().get(path)).await.body;
        let runtimes = info["runtimes"].as_array().into_iter().flatten();
        let told = runtimes.map(|it| it["version"].clone());
        let listed = info["versions"].as_array().cloned().unwrap_or_default();
        Ok(told.chain(listed).map(|it| it.as_str().unwrap_or_default().to_owned()).collect())
    }

    fn complete(&self, request: &Value) -> Value {
        let mut request = request.clone();
        if let (Some(language), Some(object)) = (&self.language, request.as_object_mut()) {
            object.entry("language").or_insert_with(|| json!(language));
        }
        request
    }
}

/// Sends a request and reads its answer; what is not JSON is a string.
pub(crate) async fn whole(request: reqwest::RequestBuilder) -> Answer {
    try_whole(request).await.unwrap()
}

/// The same of a server that may be gone before it has answered.
pub(crate) async fn try_whole(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status, headers, body })
}

/// A path's answer.
pub(crate) async fn get(server: &Server, path: &str) -> Answer {
    whole(client().get(server.url(path))).await
}

impl Answer {
    /// Fails unless it is a problem of this status and code, whole and well-formed.
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Result<()> {
        let told = || format!("{} {}", self.status, short(&self.body));
        ensure!(self.status == status && self.body["code"] == code, "{}", told());
        let kind = self.headers["content-type"].to_str()?;
        ensure!(kind.starts_with("application/problem+json"), "the content type is {kind}");
        for field in ["type", "title", "detail", "requestId"] {
            let text = self.body[field].as_str().unwrap_or_default();
            ensure!(!text.is_empty(), "`{field}` is missing in {}", told());
        }
        ensure!(self.body["status"] == status, "the status is told otherwise: {}", told());
        ensure!(self.body["requestId"] == self.header("x-request-id"), "{}", told());
        Ok(())
    }

    /// Fails unless it refuses exactly these fields.
    pub(crate) fn refuses(&self, pointers: &[&str]) -> Result<()> {
        self.is_problem(422, "invalid_request")?;
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        let mut told: BTreeMap<&str, &str> = BTreeMap::new();
        for error in &errors {
            let detail = error["detail"].as_str().unwrap_or_default();
            told.insert(error["pointer"].as_str().unwrap_or_default(), detail);
        }
        let mut expected = pointers.to_vec();
        expected.sort_unstable();
        let got: Vec<&str> = told.keys().copied().collect();
        ensure!(got == expected, "the wrong fields are {told:?}, not {expected:?}");
        ensure!(told.values().all(|it| !it.is_empty()), "a field is refused without a word");
        Ok(())
    }

    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default()
    }
}

/// The events of a run, as they come.
#[derive(Debug)]
pub(crate) struct Events {
    response: reqwest::Response,
    text: String,
}

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Events {
    /// The next event; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event.starts_with(':') {
                    continue;
                }
                let Some((name, data)) = event.split_once("\ndata: ") else {
                    bail!("no event: {event:?}")
                };
                let name = name.trim_start_matches("event: ").to_owned();
                return Ok(Some(Event { name, data: serde_json::from_str(data)? }));
            }
            let Some(chunk) = self.response.chunk().await? else {
                ensure!(self.text.is_empty(), "the stream breaks off in {:?}", self.text);
                return Ok(None);
            };
            self.text += &String::from_utf8(chunk.to_vec())?;
        }
    }

    /// The next event of this name, those before it left out.
    pub(crate) async fn until(&mut self, name: &str) -> Result<Value> {
        while let Some(event) = self.next().await? {
            if event.name == name {
                return Ok(event.data);
            }
        }
        bail!("the stream ends without `{name}`")
    }

    /// Every event to the end.
    pub(crate) async fn rest(mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(events)
    }
}
