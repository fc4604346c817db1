//! One side of the message queue over a web socket, by a client that others wrote.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::Server;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::queues::API;
use crate::raw;

pub(crate) const PATH: &str = "/dialects/message-queue/ws";
pub(crate) const PROTOCOL: &str = "flotilla.queue.v1";
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// One side of a socket.
pub(crate) struct Socket(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn open(gateway: &Server, key: &str) -> Self {
        let headers = [("authorization", format!("Bearer {key}"))];
        let (socket, _) = Self::ask(gateway, &headers).await.unwrap();
        socket
    }

    /// A socket, and the head of the answer; or the status of a refusal.
    pub(crate) async fn ask(
        gateway: &Server,
        headers: &[(&str, String)],
    ) -> Result<(Self, HeaderMap), u16> {
        let url = gateway.url(PATH).replace("http://", "ws://");
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, answer)) => Ok((Self(socket), answer.headers().clone())),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}\n{}", gateway.log()),
        }
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// What comes next: a message, or the code of the end.
    pub(crate) async fn next(&mut self) -> Result<Value, u16> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
            match next.unwrap_or_else(|_| panic!("nothing comes")) {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or(1005, |it| it.code.into()));
                }
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Err(1006),
            }
        }
    }

    /// The next message, which is of that kind.
    pub(crate) async fn hears(&mut self, kind: &str) -> Value {
        let next = self.next().await.unwrap_or_else(|code| panic!("closed by {code}, no {kind}"));
        assert_eq!(next["type"], kind, "{next}");
        next
    }

    /// The next message, which is an error of that code.
    pub(crate) async fn is_refused(&mut self, code: &str) -> Value {
        let error = self.hears("error").await;
        assert_eq!(error["code"], code, "{error}");
        assert!(!error["detail"].as_str().unwrap().is_empty(), "{error}");
        error
    }

    pub(crate) async fn ask_for(&mut self, message: &Value, kind: &str) -> Value {
        self.say(message).await;
        self.hears(kind).await
    }

    /// Leaves a task, and tells its name.
    pub(crate) async fn leaves(&mut self, code: &str) -> String {
        let queued = self.ask_for(&json!({"type": "submit", "code": code}), "queued").await;
        queued["task_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn takes(&mut self, limit: usize) {
        self.ask_for(&json!({"type": "ready", "limit": limit}), "ok").await;
    }

    /// A task that is pushed next, once it is accepted.
    pub(crate) async fn accepts(&mut self) -> Value {
        let task = self.hears("task").await;
        let message = json!({"type": "accepted", "task_id": task["task_id"]});
        let accepted = self.ask_for(&message, "accepted").await;
        assert!(accepted["seconds"].as_f64().unwrap() > 5.0, "{accepted}");
        task
    }

    /// Tells what came of a task.
    pub(crate) async fn tells(&mut self, task: &Value, output: &str) {
        let recorded = self.ask_for(&told("result", task, output), "recorded").await;
        assert_eq!(recorded["task_id"], task["task_id"]);
    }

    /// Fails if anything was on its way.
    pub(crate) async fn hears_nothing(&mut self) {
        let beat = json!({"type": "heartbeat", "id": "nothing", "vm_info": {}});
        assert_eq!(self.ask_for(&beat, "ok").await["id"], "nothing");
    }

    /// The code that it is closed by.
    pub(crate) async fn end(&mut self) -> u16 {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }
}

pub(crate) fn told(kind: &str, task: &Value, output: &str) -> Value {
    json!({"type": kind, "task_id": task["task_id"], "output": output, "exit_code": 0})
}

/// A socket without a client.
pub(crate) async fn by_hand(gateway: &Server) -> TcpStream {
    let mut connection = raw::connect(gateway).await.unwrap();
    let head = format!(
        "GET {PATH} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {API}\r\n\
         connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let answer = raw::read_until(&mut connection, "\r\n\r\n").await.unwrap();
    // As in RFC 6455, section 1.3.
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    connection
}

/// A message as a client sends it, under a mask of zeros.
pub(crate) fn frame(message: &Value) -> Vec<u8> {
    let text = message.to_string();
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126, "{text}");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}
