//! The message queue over web sockets: who gets what, whatever ends meanwhile.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tests::client;
use tests::stores::{PostgresServer, RedisServer};

use crate::faults::gateway;
use crate::languages::start;
use crate::queues::{API, KEYS, OPS, OTHER, Queue, VM, VM_2, served};
use crate::target::whole;

use crate::socket::{PATH, PROTOCOL, Socket, told};

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
    let mut tasks = Vec::new();
    for _ in 0..3 {
        machine.takes(1).await;
        tasks.push(machine.accepts().await);
    }
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
