//! A gateway on a free port, and executors that speak HTTP by hand, so that they can break it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::app::{self, Gateway};
use gateway::{Executors, Settings};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// What an executor answers when all is well.
pub(crate) const REPORT: &str = r#"{"status":"success",  "output":"x"}"#;
/// The first event of a stream.
pub(crate) const STDOUT_EVENT: &str =
    "event: stdout\ndata: {\"type\":\"stdout\",\"data\":\"x\"}\n\n";
/// The last event of a stream.
pub(crate) const EXIT_EVENT: &str = "event: exit\ndata: {\"type\":\"exit\",\"report\":{}}\n\n";

/// What an executor does with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Answers a report.
    Answer,
    /// Answers nothing, ever.
    Hang,
    /// Closes the connection.
    HangUp,
    /// Answers what is no HTTP.
    NotHttp,
    /// Answers a page.
    Html,
    /// Says JSON and is not.
    BrokenJson,
    /// Answers half of what it announces.
    HalfAnswer,
    /// Answers without end.
    Endless,
    /// Sends the gateway elsewhere.
    Redirect,
    /// Does not know the gateway.
    RefuseToken,
    /// Has no slot.
    Overloaded,
    /// Streams to whoever did not ask.
    UnaskedEvents,
    /// Streams one event, and the last one when told to go on.
    Stream,
    /// Streams one event and a half, and is gone.
    DieMidStream,
}

/// An executor made up for a test.
#[derive(Debug)]
pub(crate) struct Executor {
    shared: Arc<ExecutorState>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct ExecutorState {
    language: &'static str,
    act: Mutex<Act>,
    last_request: Mutex<String>,
    asked: Notify,
    hung_up: Notify,
    go_on: Notify,
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Executor {
    pub(crate) async fn start(language: &'static str, act: Act) -> Self {
        Self::start_on(language, act, 0).await
    }

    pub(crate) async fn start_on(language: &'static str, act: Act, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(ExecutorState {
            language,
            act: Mutex::new(act),
            last_request: Mutex::default(),
            asked: Notify::new(),
            hung_up: Notify::new(),
            go_on: Notify::new(),
        });
        let state = Arc::clone(&shared);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(Arc::clone(&state).serve(stream));
            }
        });
        Self { shared, address, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn act(&self, act: Act) {
        *self.shared.act.lock().unwrap() = act;
    }

    /// The last run or validation that it was sent, headers in lower case.
    pub(crate) fn last_request(&self) -> String {
        self.shared.last_request.lock().unwrap().clone()
    }

    pub(crate) fn go_on(&self) {
        self.shared.go_on.notify_one();
    }

    pub(crate) async fn until_asked(&self) {
        let asked = tokio::time::timeout(PATIENCE, self.shared.asked.notified()).await;
        asked.expect("the executor is asked");
    }

    pub(crate) async fn until_hung_up(&self) {
        let hung_up = tokio::time::timeout(PATIENCE, self.shared.hung_up.notified()).await;
        hung_up.expect("the gateway hangs up");
    }

    /// Ends it, and with it all its connections.
    pub(crate) async fn stop(mut self) {
        self.serving.abort();
        assert!((&mut self.serving).await.unwrap_err().is_cancelled());
    }
}

impl ExecutorState {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let Some(request) = read_request(&mut stream).await else { return };
        let path = request.split(' ').nth(1).unwrap().to_owned();
        match path.as_str() {
            "/health" => {
                respond(&mut stream, "200 OK", "application/health+json", &self.health()).await;
            }
            "/info" => respond(&mut stream, "200 OK", "application/json", &self.info()).await,
            _ => {
                *self.last_request.lock().unwrap() = request;
                self.asked.notify_one();
                let act = *self.act.lock().unwrap();
                self.perform(act, &mut stream).await;
            }
        }
    }

    fn health(&self) -> String {
        json!({
            "status": "pass", "serviceId": format!("executor-{}", self.language),
            "isolation": "separated", "slots": 2, "slotsFree": 2, "slotsQuarantined": 0,
            "waiting": 0,
        })
        .to_string()
    }

    fn info(&self) -> String {
        let alias = format!("{}-alias", self.language);
        json!({
            "language": self.language, "aliases": [alias],
            "languages": [{"id": self.language, "aliases": [alias], "entry": "main.x", "example": "print"}],
            "runtimes": [{"version": "1.2.3", "default": true}], "limits": {},
            "slots": 2, "slotsFree": 2, "waiting": 0, "features": [],
            "isolation": {
                "level": "separated", "minimum": "separated", "guarantees": [], "raise": [],
                "limits": {"processes": 1, "openFiles": 1, "fileBytes": 1, "outputBytes": 1, "outputKillBytes": 1},
            },
            "samples": {"passed": 0, "failed": 0, "timeMs": 0.0, "results": []}, "notes": [],
        })
        .to_string()
    }

    async fn perform(&self, act: Act, stream: &mut TcpStream) {
        let json = "application/json";
        match act {
            Act::Answer => respond(stream, "200 OK", json, REPORT).await,
            Act::Hang => self.wait_for_hang_up(stream).await,
            Act::HangUp => {}
            Act::NotHttp => write(stream, "nonsense\r\n\r\n").await,
            Act::Html => respond(stream, "200 OK", "text/html", "<p>").await,
            Act::BrokenJson => respond(stream, "200 OK", json, "{\"status\": ").await,
            Act::HalfAnswer => {
                let head =
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99";
                write(stream, &format!("{head}\r\n\r\n{{")).await;
            }
            Act::Endless => self.endless(stream).await,
            Act::Redirect => {
                write(
                    stream,
                    "HTTP/1.1 302 Found\r\nlocation: /health\r\ncontent-length: 0\r\n\r\n",
                )
                .await;
            }
            Act::RefuseToken => {
                respond(stream, "401 Unauthorized", "application/problem+json", "{}").await;
            }
            Act::Overloaded => {
                let problem = json!({
                    "type": "about:blank#full", "status": 503, "title": "full", "code": "full",
                    "detail": "no slot", "requestId": "r",
                });
                let status = "503 Service Unavailable\r\nretry-after: 7";
                respond(stream, status, "application/problem+json", &problem.to_string()).await;
            }
            Act::UnaskedEvents => respond(stream, "200 OK", "text/event-stream", EXIT_EVENT).await,
            Act::Stream => {
                self.begin_stream(stream).await;
                tokio::select! {
                    () = self.go_on.notified() => {
                        chunk(stream, EXIT_EVENT).await;
                        write(stream, "0\r\n\r\n").await;
                    }
                    () = self.wait_for_hang_up(stream) => {}
                }
            }
            Act::DieMidStream => {
                self.begin_stream(stream).await;
                chunk(stream, "event: stdout\ndata: {\"ty").await;
            }
        }
    }

    async fn begin_stream(&self, stream: &mut TcpStream) {
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
        write(stream, &format!("{head}\r\n\r\n")).await;
        chunk(stream, STDOUT_EVENT).await;
    }

    async fn endless(&self, stream: &mut TcpStream) {
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked";
        write(stream, &format!("{head}\r\n\r\n")).await;
        let block = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        while stream.write_all(block.as_bytes()).await.is_ok() {}
    }

    async fn wait_for_hang_up(&self, stream: &TcpStream) {
        loop {
            stream.readable().await.unwrap();
            match stream.try_read(&mut [0; 64]) {
                Ok(read) if read > 0 => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.hung_up.notify_one();
    }
}

/// A whole request, its head in lower case except for its first line; `None` at the end.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text.into_owned());
        }
    }
}

async fn respond(stream: &mut TcpStream, status: &str, content_type: &str, body: &str) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}");
    write(stream, &format!("{head}\r\nconnection: close\r\n\r\n{body}")).await;
}

async fn chunk(stream: &mut TcpStream, text: &str) {
    write(stream, &format!("{:x}\r\n{text}\r\n", text.len())).await;
}

/// A gateway that has hung up is no failure of the executor's.
async fn write(stream: &mut TcpStream, text: &str) {
    drop(stream.write_all(text.as_bytes()).await);
}

pub(crate) async fn json_of(answer: reqwest::Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
}

/// What comes, up to the first `end`.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(end) {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await.unwrap();
            assert!(read > 0, "the connection was closed after: {text}");
            text.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the gateway answers");
    text
}

/// Settings for tests: a free port, and quick probes.
pub(crate) fn settings() -> Settings {
    Settings {
        port: 0,
        workers: 2,
        probe_seconds: 0.05,
        rate_per_minute: 1_000_000,
        rate_burst: 1_000_000,
        drain_seconds: 20,
        ..Settings::default()
    }
}

/// A small submission.
pub(crate) fn submission() -> String {
    json!({"language": "alpha", "code": "x"}).to_string()
}

/// A gateway that serves until it is dropped.
#[derive(Debug)]
pub(crate) struct TestGateway {
    address: SocketAddr,
    client: Client,
    handle: actix_web::dev::ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

impl TestGateway {
    pub(crate) async fn start(settings: Settings, executors: &[(&str, &str)]) -> Self {
        let executors =
            executors.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned())).collect();
        Self::run(app::build(settings, &Executors(executors)).await.unwrap())
    }

    pub(crate) fn run(gateway: Gateway) -> Self {
        let address = gateway.address();
        let handle = gateway.handle();
        let serving = actix_web::rt::spawn(gateway.run());
        let client = Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only([]).build();
        Self { address, client: client.unwrap(), handle, serving }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub(crate) async fn health(&self) -> Value {
        json_of(self.get("/health").send().await.unwrap()).await
    }

    /// Waits until that many executors are live.
    pub(crate) async fn until_live(&self, count: usize) {
        let live = async {
            loop {
                let health = self.health().await;
                let executors = health["executors"].as_array().unwrap();
                if executors.iter().filter(|it| it["status"] != "fail").count() == count {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, live).await.expect("the executors are as they should be");
    }

    /// Drains it; ready when it has ended.
    pub(crate) fn stop(mut self) -> impl Future<Output = ()> {
        drop(self.handle.stop(true));
        let idle = actix_web::rt::spawn(async { Ok(()) });
        let serving = std::mem::replace(&mut self.serving, idle);
        async move {
            serving.await.unwrap().unwrap();
            drop(self);
        }
    }
}
