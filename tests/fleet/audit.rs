//! Every use of a key that works or administers is written down, wherever it is let in.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{answering, client, lonely};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::checks::eventually;
use crate::queues::{API, OPS, Queue, VM, served};
use crate::socket::{PATH, Socket};
use crate::target::whole;

/// Whether there is such a line.
fn has_line(file: &Path, key: &str, method: &str, path: &str, status: u64) -> bool {
    let lines = std::fs::read_to_string(file).unwrap();
    let lines = lines.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
    lines.into_iter().any(|it| {
        it["key"] == key && it["method"] == method && it["path"] == path && it["status"] == status
    })
}

#[tokio::test]
async fn what_keys_do_is_written_down_where_anybody_may_look_and_over_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.log");
    let settings =
        [("GATEWAY_AUDIT_FILE", file.to_str().unwrap()), ("GATEWAY_CONSOLE_PUBLIC", "true")];
    let gateway = served(&directory, &settings).await;
    for key in [OPS, API] {
        let look = client().get(gateway.url("/v1/fleet")).header("x-api-key", key);
        assert_eq!(whole(look).await.status, 200);
    }
    assert_eq!(whole(client().get(gateway.url("/v1/fleet"))).await.status, 200, "anybody may");
    assert!(has_line(&file, "ops", "GET", "/v1/fleet", 200));

    let mut front = Socket::open(&gateway, API).await;
    front.leaves("print(1)").await;
    let mut machine = Socket::open(&gateway, VM).await;
    machine.takes(1).await;
    let task = machine.accepts().await;
    machine.tells(&task, "1").await;
    machine.say(&json!({"type": "subscribe", "task_id": "x"})).await;
    machine.is_refused("forbidden").await;
    machine.say(&json!({"type": "nothing"})).await;
    machine.is_refused("invalid_request").await;
    for (kind, status) in
        [("ready", 200), ("accepted", 200), ("result", 200), ("subscribe", 403), ("unknown", 422)]
    {
        assert!(has_line(&file, "vm", kind, PATH, status), "{kind}");
    }
    let lines = std::fs::read_to_string(&file).unwrap();
    assert!(!lines.contains("\"api\"") && !lines.contains("print("), "{lines}");
}

#[tokio::test]
async fn who_enters_a_room_with_a_key_is_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.log");
    let boss = "admin-0123456789a";
    let keys = format!("boss:{boss} role=submit+admin,vm:{VM} role=work");
    let settings = [("GATEWAY_KEYS", &*keys), ("GATEWAY_AUDIT_FILE", file.to_str().unwrap())];
    let gateway = answering(lonely(directory.path(), &settings)).await;
    let room = client().post(gateway.url("/v1/rooms")).header("x-api-key", boss);
    let room = whole(room.header("content-type", "application/json").body("{}")).await.body;
    let path = format!("/collab/{}", room["id"].as_str().unwrap());
    for (name, key, status) in [("boss", boss, 101), ("vm", VM, 4403)] {
        let url = gateway.url(&path).replace("http://", "ws://");
        let mut entering = url.into_client_request().unwrap();
        entering.headers_mut().insert("x-api-key", key.parse().unwrap());
        connect_async(entering).await.unwrap();
        assert!(has_line(&file, name, "GET", &path, status), "{name}");
    }
}

#[tokio::test]
async fn what_a_key_asked_for_is_written_down_though_its_client_left() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.log");
    let gateway = served(&directory, &[("GATEWAY_AUDIT_FILE", file.to_str().unwrap())]).await;
    let task = Queue::message_queue(&gateway).post(API, "/tasks", &json!({"code": "1"})).await;
    let path = format!("/v1/jobs/{}", task.body["task_id"].as_str().unwrap());
    let asks = format!("GET {path}?wait=30s HTTP/1.1\r\nhost: a\r\nx-api-key: {OPS}\r\n\r\n");
    let is_written_down = async || {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
        stream.write_all(asks.as_bytes()).await.unwrap();
        // The job waits for a machine, and whoever waits for the job is gone before.
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(stream);
        has_line(&file, "ops", "GET", &path, 499)
    };
    eventually("it is written down", Duration::from_mins(1), is_written_down).await.unwrap();
}
