//! What the message queue refuses over web sockets, and what ends one.

use std::time::{Duration, Instant};

use futures::SinkExt as _;
use rustix::process::Signal;
use serde_json::json;
use tests::{answering, lonely};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::queues::{API, Queue, VM, served};
use crate::raw;

use crate::socket::{PATIENCE, Socket, by_hand, frame, told};

#[tokio::test]
async fn what_is_wrong_is_refused_and_what_is_no_message_ends_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = served(&directory, &[]).await;
    let mut front = Socket::open(&gateway, API).await;
    for (message, pointer) in [
        (json!({"type": "submit", "id": "a", "code": 5}), "/code"),
        (json!({"type": "submit", "id": "a", "code": "1", "timeout": 1e9}), "/timeout"),
        (json!({"type": "submit", "id": "a", "code": "1", "task_id": "a b"}), "/task_id"),
        (json!({"type": "submit", "id": "a", "source": "1"}), ""),
        (json!({"type": "publish", "id": "a"}), "/type"),
    ] {
        front.say(&message).await;
        let error = front.is_refused("invalid_request").await;
        assert_eq!((&error["id"], &error["errors"][0]["pointer"]), (&json!("a"), &json!(pointer)));
    }
    front.say(&json!({"type": "submit", "code": "1", "language": "cobol"})).await;
    front.is_refused("no_live_executor").await;
    front.leaves("print(1)").await;
    for _ in 0..20 {
        front.0.send(Message::text("garbage")).await.unwrap();
        front.is_refused("not_json").await;
    }
    assert_eq!(front.end().await, 1008);
    let mut binary = Socket::open(&gateway, API).await;
    binary.0.send(Message::Binary(Bytes::from_static(b"{}"))).await.unwrap();
    assert_eq!(binary.end().await, 1003);
    let mut machine = Socket::open(&gateway, VM).await;
    for (message, pointer) in [
        (json!({"type": "ready", "limit": 101}), "/limit"),
        (json!({"type": "ready", "limit": 1, "vm_id": "a b"}), "/vm_id"),
        (json!({"type": "ready", "limit": 1, "language": "a\u{1f}b"}), "/language"),
        (json!({"type": "heartbeat", "vm_info": {"x": "y".repeat(5000)}}), "/vm_info"),
    ] {
        machine.say(&message).await;
        let error = machine.is_refused("invalid_request").await;
        assert_eq!(error["errors"][0]["pointer"], pointer, "{error}");
    }

    // Only the head of what is far too large has to come.
    let mut large = by_hand(&gateway).await;
    large.write_all(&[0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
    let told = raw::read_to_end(&mut large).await.unwrap();
    assert!(told.contains("larger than it may be"), "{told:?}");
}

#[tokio::test]
async fn a_front_end_that_does_not_read_is_given_up_and_holds_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = served(&directory, &[]).await;
    let queue = Queue::message_queue(&gateway);
    let mut silent = by_hand(&gateway).await;
    let mut front = Socket::open(&gateway, API).await;
    let output = "x".repeat(1 << 20);
    for number in 0..40 {
        let name = format!("t-{number}");
        let task = json!({"type": "submit", "code": "1", "task_id": name});
        front.ask_for(&task, "queued").await;
        let tasks = queue.get(VM, "/tasks").await.body;
        let told = told("result", &tasks["tasks"][0], &output);
        assert_eq!(queue.post(VM, "/results", &told).await.status, 200);
        silent.write_all(&frame(&json!({"type": "subscribe", "task_id": name}))).await.unwrap();
        assert_eq!(front.hears("result").await["task_id"], json!(name));
    }
    let deadline = Instant::now() + PATIENCE;
    while !gateway.log().contains("is not read") {
        assert!(Instant::now() < deadline, "{}", gateway.log());
        drop(silent.write_all(&frame(&json!({"type": "subscribe", "task_id": "t-0"}))).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    front.leaves("2").await;
}

#[tokio::test]
async fn a_socket_waits_for_so_many_results_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = served(&directory, &[]).await;
    let mut front = Socket::open(&gateway, API).await;
    let task = json!({"type": "submit", "code": "1"});
    for _ in 0..10 {
        for _ in 0..100 {
            front.say(&task).await;
        }
        for _ in 0..100 {
            front.hears("queued").await;
        }
    }
    front.say(&task).await;
    assert!(front.is_refused("too_many_waits").await["retry_after"].as_u64().unwrap() > 0);
    let status = Queue::message_queue(&gateway).get(API, "/status").await.body;
    assert_eq!(status["pending_tasks"], 1000, "what is refused is not stored");
    let mut machine = Socket::open(&gateway, VM).await;
    machine.takes(1).await;
    let task_of = machine.accepts().await;
    machine.tells(&task_of, "1").await;
    front.hears("result").await;
    front.ask_for(&task, "queued").await;
}

#[tokio::test]
async fn the_rate_of_a_key_bounds_its_messages() {
    let directory = tempfile::tempdir().unwrap();
    let keys = format!("api:{API} per-minute=12");
    let gateway = served(&directory, &[("GATEWAY_KEYS", keys.as_str())]).await;
    // Two at once, of which the socket itself is one.
    let mut front = Socket::open(&gateway, API).await;
    front.leaves("1").await;
    front.say(&json!({"type": "submit", "id": 7, "code": "2"})).await;
    let error = front.is_refused("rate_limited").await;
    assert_eq!(error["id"], 7);
    assert!((1..=5).contains(&error["retry_after"].as_u64().unwrap()), "{error}");
}

#[tokio::test]
async fn a_key_that_is_withdrawn_ends_its_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    let keys = |vm: &str| format!("api:{API}\n{vm}\n");
    std::fs::write(&file, keys(&format!("vm:{VM} role=work"))).unwrap();
    let path = file.to_string_lossy().into_owned();
    let settings = [("GATEWAY_KEYS_FILE", path.as_str()), ("GATEWAY_MESSAGE_QUEUE", "true")];
    let gateway = answering(lonely(directory.path(), &settings)).await;
    let mut front = Socket::open(&gateway, API).await;
    let mut machine = Socket::open(&gateway, VM).await;
    machine.hears_nothing().await;
    std::fs::write(&file, keys("")).unwrap();
    // The file is looked at every two seconds.
    let beat = json!({"type": "heartbeat"});
    let deadline = Instant::now() + PATIENCE;
    let code = loop {
        assert!(Instant::now() < deadline, "{}", gateway.log());
        machine.say(&beat).await;
        if let Err(code) = machine.next().await {
            break code;
        }
    };
    assert_eq!(code, 1008);
    front.leaves("1").await;
}

#[tokio::test]
async fn a_gateway_that_drains_sends_its_sockets_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = served(&directory, &[]).await;
    let mut front = Socket::open(&gateway, API).await;
    let mut machine = Socket::open(&gateway, VM).await;
    front.leaves("print(1)").await;
    machine.takes(2).await;
    let taken = machine.accepts().await;
    let name = front.leaves("print(2)").await;
    machine.hears("task").await;
    gateway.signal(Signal::TERM);
    assert_eq!((front.end().await, machine.end().await), (1001, 1001));
    drop((front, machine));
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
    let gateway = served(&directory, &[]).await;
    let mut front = Socket::open(&gateway, API).await;
    let mut machine = Socket::open(&gateway, VM).await;
    front.ask_for(&json!({"type": "subscribe", "task_id": name}), "subscribed").await;
    // What it had accepted is still its own, and what it had not is for whoever comes.
    machine.tells(&taken, "1").await;
    machine.takes(1).await;
    let task = machine.accepts().await;
    assert_eq!((&task["code"], &task["attempt"]), (&json!("print(2)"), &json!(1)));
    machine.tells(&task, "2").await;
    assert_eq!(front.hears("result").await["output"], "2");
}
