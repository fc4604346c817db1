//! Somebody who takes part in a run: over a WebSocket, by a client that is not ours.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::{Server, client};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::checks::{same, short};
use crate::target::{Answer, whole};

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a run.
pub(crate) struct Viewer {
    socket: WebSocketStream<TcpStream>,
    /// Every event that came.
    pub(crate) events: Vec<Value>,
    /// How the connection was closed.
    pub(crate) closed: Option<u16>,
}

impl Viewer {
    /// Opens a connection.
    pub(crate) async fn open(server: &Server, path: &str) -> Result<Self> {
        Self::open_with(server, path, &[], None).await
    }

    /// Opens one with further headers, and perhaps with little room for what is not read.
    pub(crate) async fn open_with(
        server: &Server,
        path: &str,
        headers: &[(&'static str, &str)],
        room_bytes: Option<u32>,
    ) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = room_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(([127, 0, 0, 1], server.port()).into()).await?;
        let url = format!("ws://127.0.0.1:{}{path}", server.port());
        let mut request = url.into_client_request()?;
        let mut add = |name: &'static str, value: &str| -> Result<()> {
            request.headers_mut().insert(name, HeaderValue::from_str(value)?);
            Ok(())
        };
        add("sec-websocket-protocol", "other, run.v1.json")?;
        for (name, value) in headers {
            add(name, value)?;
        }
        let (socket, response) = client_async(request, stream).await?;
        let chosen = response.headers().get("sec-websocket-protocol");
        ensure!(chosen.is_some_and(|it| it == "run.v1.json"), "the protocol is {chosen:?}");
        Ok(Self { socket, events: Vec::new(), closed: None })
    }

    /// Says something.
    pub(crate) async fn say(&mut self, what: Value) -> Result<()> {
        self.say_text(what.to_string()).await
    }

    /// Says something as it is.
    pub(crate) async fn say_text(&mut self, what: String) -> Result<()> {
        Ok(self.socket.send(Message::text(what)).await?)
    }

    /// Types something.
    pub(crate) async fn type_in(&mut self, text: &str) -> Result<()> {
        self.say(json!({"t": "stdin", "data": text})).await
    }

    /// What comes next, an event or an answer; none when the connection is over.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next());
            let next =
                next.await.with_context(|| format!("nothing comes after {}", self.seen()))?;
            match next {
                Some(Ok(Message::Text(text))) => {
                    let value: Value = serde_json::from_str(text.as_str())?;
                    if value["seq"].is_u64() {
                        self.events.push(value.clone());
                    }
                    return Ok(Some(value));
                }
                Some(Ok(Message::Close(frame))) => {
                    self.closed = frame.map(|it| it.code.into());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => bail!("{other:?} is no text"),
                // Some close the connection without a word about that.
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }

    /// Waits for a message of a kind.
    pub(crate) async fn until(&mut self, kind: &str) -> Result<Value> {
        loop {
            match self.next().await? {
                Some(value) if value["t"] == kind => return Ok(value),
                Some(_) => {}
                None => bail!("it is closed ({:?}) before `{kind}`: {}", self.closed, self.seen()),
            }
        }
    }

    /// Waits until the program has printed something.
    pub(crate) async fn until_printed(&mut self, text: &str) -> Result<()> {
        while !self.printed("stdout").contains(text) {
            let next = self.next().await?;
            let (closed, seen) = (self.closed, self.seen());
            ensure!(next.is_some(), "it is closed ({closed:?}) before `{text}`: {seen}");
        }
        Ok(())
    }

    /// Everything to the end of the connection, and how that was closed.
    pub(crate) async fn rest(&mut self) -> Result<Option<u16>> {
        while self.next().await?.is_some() {}
        Ok(self.closed)
    }

    /// What was printed so far.
    pub(crate) fn printed(&self, stream: &str) -> String {
        String::from_utf8_lossy(&bytes_of(&self.events, stream)).into_owned()
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.events.last().and_then(|it| it["seq"].as_u64()).unwrap_or_default()
    }

    fn seen(&self) -> String {
        short(&self.events)
    }
}

/// What events say that was printed.
pub(crate) fn bytes_of(events: &[Value], stream: &str) -> Vec<u8> {
    let of_stream = events.iter().filter(|it| it["t"] == stream);
    let bytes = of_stream.map(|it| match (it["data"].as_str(), it["b64"].as_str()) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(text)) => {
            base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
        }
        _ => panic!("{it} has no data, or twice"),
    });
    bytes.collect::<Vec<_>>().concat()
}

/// Starts a run.
pub(crate) async fn begin(server: &Server, body: &Value) -> Result<Value> {
    let answer = post(server, "/v1/runs", body, &[]).await;
    ensure!(answer.status == 201, "{} {}", answer.status, short(&answer.body));
    let id = answer.body["id"].as_str().unwrap_or_default();
    same("the place", &answer.header("location"), &format!("/v1/runs/{id}").as_str())?;
    Ok(answer.body)
}

/// Sends JSON.
pub(crate) async fn post(
    server: &Server,
    path: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = client().post(server.url(path)).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    whole(request.body(body.to_string())).await
}

/// A program that somebody types into.
pub(crate) fn interactive(code: &str) -> Value {
    json!({"language": "python", "code": code, "interactive": true})
}

/// Where something of a run is, for the holder of a ticket.
pub(crate) fn place(run: &Value, link: &str, ticket: &str) -> String {
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    format!("{}?ticket={}", text(&run["links"][link]), text(&run[ticket]))
}

/// Joins a run with all rights.
pub(crate) async fn join(server: &Server, run: &Value) -> Result<Viewer> {
    Viewer::open(server, &place(run, "ws", "ticket")).await
}

/// The run's own report at the end of its connection.
pub(crate) async fn report(viewer: &mut Viewer) -> Result<Value> {
    let exit = viewer.until("exit").await?;
    same("the close code", &viewer.rest().await?, &Some(1000))?;
    Ok(exit["report"].clone())
}

/// Adds what comes of a run after `events`, to its end. Whoever stands still for a second is cut off, and
/// comes back here.
pub(crate) async fn see_the_rest(
    server: &Server,
    path: &str,
    events: &mut Vec<Value>,
) -> Result<()> {
    loop {
        let since = events.last().map_or(0, |it| it["seq"].as_u64().unwrap_or_default());
        let mut viewer = Viewer::open(server, &format!("{path}&since={since}")).await?;
        let closed = viewer.rest().await?;
        ensure!(!viewer.events.is_empty(), "nothing comes after {since}: {closed:?}");
        events.append(&mut viewer.events);
        if closed != Some(4500) {
            same("the close code", &closed, &Some(1000))?;
            let is_over = events.last().is_some_and(|it| it["t"] == "exit");
            ensure!(is_over, "it ends without `exit`");
            return Ok(());
        }
    }
}

/// A path's answer.
pub(crate) async fn get(server: &Server, path: &str) -> Answer {
    crate::target::get(server, path).await
}
