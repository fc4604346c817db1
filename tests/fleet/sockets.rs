//! The message queue over web sockets, spoken by a client that others wrote.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::{SinkExt as _, StreamExt as _};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::stores::{PostgresServer, RedisServer};
use tests::{Server, answering, client, lonely};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::faults::gateway;
use crate::languages::start;
use crate::queues::{API, KEYS, OPS, OTHER, Queue, VM, VM_2, served};
use crate::raw;
use crate::target::whole;

const PATH: &str = "/dialects/message-queue/ws";
const PROTOCOL: &str = "flotilla.queue.v1";
const PATIENCE: Duration = Duration::from_mins(1);

/// One side of a socket.
struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(gateway: &Server, key: &str) -> Self {
        let headers = [("authorization", format!("Bearer {key}"))];
        let (socket, _) = Self::ask(gateway, &headers).await.unwrap();
        socket
    }

    /// A socket, and the head of the answer; or the status of a refusal.
    async fn ask(gateway: &Server, headers: &[(&str, String)]) -> Result<(Self, HeaderMap), u16> {
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

    async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// What comes next: a message, or the code of the end.
    async fn next(&mut self) -> Result<Value, u16> {
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
    async fn hears(&mut self, kind: &str) -> Value {
        let next = self.next().await.unwrap_or_else(|code| panic!("closed by {code}, no {kind}"));
        assert_eq!(next["type"], kind, "{next}");
        next
    }

    /// The next message, which is an error of that code.
    async fn is_refused(&mut self, code: &str) -> Value {
        let error = self.hears("error").await;
        assert_eq!(error["code"], code, "{error}");
        assert!(!error["detail"].as_str().unwrap().is_empty(), "{error}");
        error
    }

    async fn ask_for(&mut self, message: &Value, kind: &str) -> Value {
        self.say(message).await;
        self.hears(kind).await
    }

    /// Leaves a task, and tells its name.
    async fn leaves(&mut self, code: &str) -> String {
        let queued = self.ask_for(&json!({"type": "submit", "code": code}), "queued").await;
        queued["task_id"].as_str().unwrap().to_owned()
    }

    async fn takes(&mut self, limit: usize) {
        self.ask_for(&json!({"type": "ready", "limit": limit}), "ok").await;
    }

    /// A task that is pushed next, once it is accepted.
    async fn accepts(&mut self) -> Value {
        let task = self.hears("task").await;
        let message = json!({"type": "accepted", "task_id": task["task_id"]});
        let accepted = self.ask_for(&message, "accepted").await;
        assert!(accepted["seconds"].as_f64().unwrap() > 5.0, "{accepted}");
        task
    }

    /// Tells what came of a task.
    async fn tells(&mut self, task: &Value, output: &str) {
        let recorded = self.ask_for(&told("result", task, output), "recorded").await;
        assert_eq!(recorded["task_id"], task["task_id"]);
    }

    /// Fails if anything was on its way.
    async fn hears_nothing(&mut self) {
        let beat = json!({"type": "heartbeat", "id": "nothing", "vm_info": {}});
        assert_eq!(self.ask_for(&beat, "ok").await["id"], "nothing");
    }

    /// The code that it is closed by.
    async fn end(&mut self) -> u16 {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }
}

fn told(kind: &str, task: &Value, output: &str) -> Value {
    json!({"type": kind, "task_id": task["task_id"], "output": output, "exit_code": 0})
}

#[tokio::test]
async fn tasks_are_pushed_to_machines_and_results_to_front_ends() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = served(&directory, &[]).await;
    let mut front = Socket::open(&gateway, API).await;
    let mut machine = Socket::open(&gateway, VM).await;
    let ready = json!({"type": "ready", "limit": 2, "vm_id": "vm-1", "vm_info": {"cpu": 7}});
    machine.ask_for(&ready, "ok").await;
    let mut names = BTreeMap::new();
    for id in 0..3 {
        // Several at a time: each answer says whose it is.
        let task = json!({"type": "submit", "id": id, "code": format!("print({id})")});
        front.say(&task).await;
    }
    for _ in 0..3 {
        let queued = front.hears("queued").await;
        let name = queued["task_id"].as_str().unwrap().to_owned();
        names.insert(name, format!("ran print({})", queued["id"]));
    }
    let tasks = [machine.hears("task").await, machine.hears("task").await];
    machine.hears_nothing().await;
    for task in &tasks {
        assert_eq!((&task["attempt"], &task["language"]), (&json!(1), &json!("unspecified")));
        let accepted = json!({"type": "accepted", "id": 1, "task_id": task["task_id"]});
        assert_eq!(machine.ask_for(&accepted, "accepted").await["id"], 1);
        machine.tells(task, &format!("ran {}", task["code"].as_str().unwrap())).await;
    }
    machine.takes(5).await;
    let third = machine.accepts().await;
    let output = format!("ran {}", third["code"].as_str().unwrap());
    machine.tells(&third, &output).await;
    // An answer may be lost, and the result come again; another one is refused.
    machine.tells(&third, &output).await;
    machine.say(&told("result", &third, "something else")).await;
    let refused = machine.is_refused("no_lease").await;
    assert_eq!(refused["task_id"], third["task_id"]);
    for _ in 0..3 {
        let result = front.hears("result").await;
        let name = result["task_id"].as_str().unwrap();
        assert_eq!(result["output"], json!(names.remove(name).unwrap()));
        assert_eq!((&result["status"], &result["success"]), (&json!("completed"), &json!(true)));
    }
    let told = Queue::message_queue(&gateway).get(OPS, "/vms").await.body;
    assert_eq!(
        (&told["vms"][0]["id"], &told["vms"][0]["info"]["cpu"]),
        (&json!("vm:vm/vm-1"), &json!(7))
    );
    // Work that comes while a machine waits wakes it.
    let name = front.leaves("print(4)").await;
    let task = machine.accepts().await;
    machine.tells(&task, "4").await;
    assert_eq!(front.hears("result").await["task_id"], json!(name));
    front.0.close(None).await.unwrap();
    assert_eq!(front.end().await, 1000);
}

#[tokio::test]
async fn a_task_that_nobody_accepts_goes_back_unspent() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = served(&directory, &[]).await;
    let mut front = Socket::open(&gateway, API).await;
    let name = front.leaves("print(1)").await;
    let mut slow = Socket::open(&gateway, VM).await;
    slow.takes(3).await;
    let missed = slow.hears("task").await;
    assert_eq!(slow.hears("released").await["task_id"], missed["task_id"]);
    // It does not get the same one again and again, unless it says that it wants to.
    slow.hears_nothing().await;
    let mut gone = Socket::open(&gateway, VM_2).await;
    gone.takes(1).await;
    assert_eq!(gone.hears("task").await["attempt"], 1);
    // Its connection is lost before it has accepted.
    drop(gone);
    slow.takes(1).await;
    let task = slow.accepts().await;
    assert_eq!(task["attempt"], 1, "nothing was spent");
    slow.say(&json!({"type": "accepted", "task_id": missed["task_id"]})).await;
    slow.is_refused("no_lease").await;
    slow.say(&told("result", &missed, "late")).await;
    slow.is_refused("no_lease").await;
    slow.tells(&task, "1").await;
    let result = front.hears("result").await;
    assert_eq!((&result["task_id"], &result["output"]), (&json!(name), &json!("1")));
}

#[tokio::test]
async fn a_socket_that_ends_takes_nothing_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = served(&directory, &[]).await;
    let queue = Queue::message_queue(&gateway);
    let mut front = Socket::open(&gateway, API).await;
    let mine = json!({"type": "submit", "code": "print(1)", "task_id": "mine"});
    assert_eq!(front.ask_for(&mine, "queued").await["task_id"], "mine");
    let others = [front.leaves("print(2)").await, front.leaves("print(3)").await];
    drop(front);
    let mut machine = Socket::open(&gateway, VM).await;
    machine.takes(3).await;
    let tasks = [machine.accepts().await, machine.accepts().await, machine.accepts().await];
    drop(machine);
    // What it has accepted it tells by a request, or over another socket.
    assert_eq!(queue.post(VM, "/results", &told("result", &tasks[0], "1")).await.status, 200);
    let mut front = Socket::open(&gateway, API).await;
    for name in ["mine", &others[0], &others[1]] {
        let subscribe = json!({"type": "subscribe", "id": name, "task_id": name});
        front.say(&subscribe).await;
    }
    let mut machine = Socket::open(&gateway, VM_2).await;
    machine.tells(&tasks[1], "2").await;
    machine.tells(&tasks[2], "3").await;
    let (mut subscribed, mut results) = (0, BTreeMap::new());
    while results.len() < 3 {
        let next = front.next().await.unwrap();
        if next["type"] == "subscribed" {
            assert_eq!(next["id"], next["task_id"]);
            subscribed += 1;
        } else {
            let name = next["task_id"].as_str().unwrap().to_owned();
            results.insert(name, next["output"].clone());
        }
    }
    assert_eq!(subscribed, 3);
    assert_eq!(results["mine"], "1");
    assert_eq!([&results[&others[0]], &results[&others[1]]], ["2", "3"]);
    // The same name is the same task, and its result comes at once.
    assert_eq!(front.ask_for(&mine, "queued").await["task_id"], "mine");
    assert_eq!(front.hears("result").await["output"], "1");
}

#[tokio::test]
async fn nobody_gets_a_socket_or_an_answer_that_is_not_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let origins = [("GATEWAY_CORS_ORIGINS", "https://page.example")];
    let gateway = served(&directory, &origins).await;
    let bearer = |key: &str| ("authorization", format!("Bearer {key}"));
    let status = async |headers: &[(&str, String)]| Socket::ask(&gateway, headers).await.err();
    assert_eq!(status(&[]).await, Some(401));
    assert_eq!(status(&[bearer("nobody-0123456789")]).await, Some(401));
    assert_eq!(status(&[bearer(OPS)]).await, Some(403), "it may neither submit nor work");
    let origin = |it: &str| ("origin", it.to_owned());
    assert_eq!(status(&[bearer(API), origin("https://evil.example")]).await, Some(403));
    assert_eq!(status(&[bearer(API), origin("null")]).await, Some(403));
    assert_eq!(status(&[bearer(API), origin("https://page.example")]).await, None);
    let own = format!("http://127.0.0.1:{}", gateway.port());
    assert_eq!(status(&[bearer(API), origin(&own)]).await, None);
    // A page cannot set headers: its key comes as a protocol, and is not sent back.
    let offer = |key: &str| {
        let key = BASE64_URL_SAFE_NO_PAD.encode(key);
        ("sec-websocket-protocol", format!("{PROTOCOL}, flotilla.key.{key}"))
    };
    let (mut page, head) = Socket::ask(&gateway, &[offer(API)]).await.unwrap();
    assert_eq!(head["sec-websocket-protocol"], PROTOCOL);
    assert_eq!(status(&[offer("nobody-0123456789")]).await, Some(401));
    assert!(!gateway.log().contains(&BASE64_URL_SAFE_NO_PAD.encode(API)));
    let plain = |method| client().request(method, gateway.url(PATH)).header("x-api-key", API);
    let answer = whole(plain(reqwest::Method::GET)).await;
    answer.is_problem(426, "no_handshake").unwrap();
    assert_eq!(answer.header("upgrade"), "websocket");
    let answer = whole(plain(reqwest::Method::GET).header("origin", "https://evil.example")).await;
    answer.is_problem(403, "foreign_origin").unwrap();
    let answer = whole(plain(reqwest::Method::POST)).await;
    answer.is_problem(405, "method_not_allowed").unwrap();

    // Each key is good for its own things, and the socket stays.
    let name = page.leaves("print(1)").await;
    for message in [
        json!({"type": "ready", "limit": 1}),
        json!({"type": "accepted", "task_id": "x"}),
        json!({"type": "result", "task_id": "x"}),
        json!({"type": "heartbeat"}),
    ] {
        page.say(&message).await;
        page.is_refused("forbidden").await;
    }
    let mut other = Socket::open(&gateway, OTHER).await;
    other.say(&json!({"type": "subscribe", "id": 1, "task_id": name})).await;
    assert_eq!(other.is_refused("no_job").await["id"], 1);
    let mut machine = Socket::open(&gateway, VM).await;
    machine.say(&json!({"type": "submit", "code": "1"})).await;
    machine.is_refused("forbidden").await;
    machine.takes(1).await;
    let task = machine.accepts().await;
    let receipt = task["task_id"].as_str().unwrap();
    let (id, _) = receipt.split_once('.').unwrap();
    for (guess, code) in
        [(id.to_owned(), "invalid_request"), (format!("{id}.{}", "0".repeat(32)), "no_lease")]
    {
        machine.say(&json!({"type": "result", "task_id": guess, "output": "forged"})).await;
        machine.is_refused(code).await;
    }
    machine.tells(&task, "1").await;
    assert_eq!(page.hears("result").await["output"], "1");
}

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
    front.is_refused("unknown_language").await;
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

/// A socket without a client.
async fn by_hand(gateway: &Server) -> TcpStream {
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
fn frame(message: &Value) -> Vec<u8> {
    let text = message.to_string();
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126, "{text}");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
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
    gateway.signal(Signal::HUP);
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

#[tokio::test]
async fn the_fleet_runs_what_comes_over_a_socket() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let settings = [
        ("GATEWAY_STORE_URL", store.as_str()),
        ("GATEWAY_KEYS", KEYS),
        ("GATEWAY_MESSAGE_QUEUE", "true"),
        ("GATEWAY_MESSAGE_QUEUE_LANGUAGE", "python"),
    ];
    let gateway = gateway(&[("python", &python)], &settings).await;
    let mut front = Socket::open(&gateway, API).await;
    front.leaves("print(6 * 7)").await;
    let result = front.hears("result").await;
    assert_eq!((&result["output"], &result["exit_code"]), (&json!("42\n"), &json!(0)));
    front.leaves("raise SystemExit(3)").await;
    let result = front.hears("result").await;
    assert_eq!((&result["success"], &result["exit_code"]), (&json!(false), &json!(3)));
}

/// A front-end at one gateway of a store, and a machine at another.
async fn check_two_gateways(url: &str) {
    let directory = tempfile::tempdir().unwrap();
    let settings = [("GATEWAY_STORE_URL", url)];
    let one = served(&directory, &settings).await;
    let other = served(&directory, &settings).await;
    let mut front = Socket::open(&one, API).await;
    let mut machine = Socket::open(&other, VM).await;
    machine.takes(3).await;
    for number in 0..3 {
        let name = front.leaves(&format!("print({number})")).await;
        let task = machine.accepts().await;
        machine.tells(&task, &number.to_string()).await;
        let result = front.hears("result").await;
        assert_eq!(
            (&result["task_id"], &result["output"]),
            (&json!(name), &json!(number.to_string()))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_meet_across_the_gateways_of_a_store() {
    let postgres = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    check_two_gateways(&postgres.url("postgres")).await;
    let redis = tokio::task::spawn_blocking(RedisServer::start).await.unwrap();
    check_two_gateways(&redis.url()).await;
}
