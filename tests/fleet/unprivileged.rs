//! Gateway and worker as they run where nobody has a privilege: as an ordinary user without a
//! capability, below the filter of a container. What holds for root holds for them.

use std::os::unix::fs::chown;
use std::path::Path;

use futures::SinkExt as _;
use rustix::process::Signal;
use serde_json::json;
use tests::{Server, ServerBuilder, answering, binary, client, lonely};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::checks::eventually;
use crate::jobs::{ended, program, started, submitted};
use crate::queues::{API, KEYS, VM};
use crate::rooms::{Gateways, bears_what_is_greedy};
use crate::socket::{PATIENCE, Socket};
use crate::target::{get, whole};
use crate::viewer::{begin, interactive, join};
use crate::workers::registered;

/// A user that is in no list.
const USER: u32 = 69_999;
/// Programs of the system's own are within everybody's reach.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// What a client of a room sends that wrote `hi` into the text `t`.
const TYPED: [u8; 15] = [0, 2, 12, 1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0];

/// Has a server run as the user, if this is root; otherwise the tests' own has no more rights.
fn ordinary(builder: ServerBuilder) -> ServerBuilder {
    if !rustix::process::geteuid().is_root() {
        return builder;
    }
    let container = binary("container");
    builder.wrapped(&[&container.to_string_lossy(), "--user", &USER.to_string(), "--"])
}

/// A directory of the user's own.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    if rustix::process::geteuid().is_root() {
        chown(directory.path(), Some(USER), Some(USER)).unwrap();
    }
    directory
}

async fn gateway(directory: &Path, port: Option<u16>, settings: &[(&str, &str)]) -> Server {
    let builder = ordinary(lonely(directory, settings));
    answering(port.into_iter().fold(builder, ServerBuilder::at)).await
}

/// A worker of `gateway`.
async fn worker(gateway: &Server, directory: &Path) -> Server {
    let builder = ServerBuilder::new("executor-python")
        .set("PATH", SYSTEM_PATH)
        .set("EXECUTOR_SLOTS", "2")
        .set("EXECUTOR_PULL_URL", &gateway.url(""))
        .set("EXECUTOR_WORKER_NAME", "w")
        .set("EXECUTOR_SPOOL_DIR", &directory.join("spool").to_string_lossy());
    let worker = ordinary(builder).start().await;
    registered(gateway, "w").await.unwrap();
    worker
}

/// Whether a server has no more rights than its user.
fn assert_ordinary(server: &Server) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|it| it.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    assert_ne!(field("Uid:"), "0");
    assert_eq!(field("CapEff:").trim_start_matches('0'), "", "{status}");
}

#[tokio::test]
async fn jobs_outlive_whoever_is_killed() {
    let directory = directory();
    let first = gateway(directory.path(), None, &[]).await;
    let port = first.port();
    let first_worker = worker(&first, directory.path()).await;
    assert_ordinary(&first);
    assert_ordinary(&first_worker);
    let info = get(&first_worker, "/info").await.body;
    println!("isolation: {}", info["isolation"]["level"]);

    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(submitted(&first, &program(&format!("print({number})"))).await);
    }
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(ended(&first, id).await["result"]["output"], format!("{number}\n"));
    }
    let unwanted = submitted(&first, &program("import time\ntime.sleep(60)")).await;
    started(&first, &unwanted).await;
    whole(client().delete(first.url(&format!("/v1/jobs/{unwanted}")))).await;
    assert_eq!(ended(&first, &unwanted).await["state"], "cancelled");

    let slow = program("import time\ntime.sleep(3)\nprint('done')");
    let id = submitted(&first, &slow).await;
    started(&first, &id).await;
    first.signal(Signal::KILL);
    first.abandon();
    let second = gateway(directory.path(), Some(port), &[]).await;
    let job = ended(&second, &id).await;
    assert_eq!((&job["state"], &job["result"]["output"]), (&json!("succeeded"), &json!("done\n")));

    registered(&second, "w").await.unwrap();
    let id = submitted(&second, &slow).await;
    started(&second, &id).await;
    first_worker.signal(Signal::KILL);
    first_worker.abandon();
    let mut heir = worker(&second, directory.path()).await;
    let job = ended(&second, &id).await;
    assert_eq!((&job["state"], &job["result"]["output"]), (&json!("succeeded"), &json!("done\n")));
    heir.signal(Signal::TERM);
    assert_eq!(heir.wait(), Some(0), "{}", heir.log());
    assert_eq!(heir.left_behind(), Vec::<String>::new());
}

#[tokio::test]
async fn runs_that_people_type_to_and_rooms_are_served() {
    let directory = directory();
    let alone = ServerBuilder::new("executor-python").set("PATH", SYSTEM_PATH);
    let python = ordinary(alone).start().await;
    let url = python.url("");
    let settings = [("PYTHON_EXECUTOR_URL", url.as_str())];
    let first = ordinary(lonely(directory.path(), &settings)).start().await;
    assert_ordinary(&first);

    for tty in [false, true] {
        let mut body = interactive("print('got', input())");
        if tty {
            body["tty"] = json!({"cols": 80, "rows": 24});
        }
        let run = begin(&first, &body).await.unwrap();
        let mut viewer = join(&first, &run).await.unwrap();
        viewer.type_in("it\n").await.unwrap();
        viewer.until_printed("got it").await.unwrap();
        viewer.until("exit").await.unwrap();
    }

    let asked = client().post(first.url("/v1/rooms")).body("{}");
    let room = whole(asked.header("content-type", "application/json")).await.body;
    let path = format!("/v1/rooms/{}", room["id"].as_str().unwrap());
    let place = first.url(&path.replace("/v1/rooms", "/collab")).replace("http://", "ws://");
    let (mut member, _) = connect_async(place).await.unwrap();
    member.send(Message::binary(TYPED.to_vec())).await.unwrap();
    let is_kept = async || get(&first, &path).await.body["bytes"].as_u64() > Some(0);
    eventually("what was written is kept", PATIENCE, is_kept).await.unwrap();
    first.signal(Signal::KILL);
    let port = first.port();
    first.abandon();
    let second = gateway(directory.path(), Some(port), &settings).await;
    let kept = get(&second, &path).await.body;
    assert!(kept["bytes"].as_u64() > Some(0), "{kept}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_library_of_rooms_does_not_bear_is_the_matter_of_one_room() {
    let directory = directory();
    let place = directory.path().to_owned();
    let builder = Box::new(move || ordinary(lonely(&place, &[])));
    let one = answering(builder()).await;
    assert_ordinary(&one);
    bears_what_is_greedy(Gateways::alone(builder, Some(one))).await;
}

#[tokio::test]
async fn the_message_queue_is_served_over_its_socket() {
    let directory = directory();
    let settings = [("GATEWAY_KEYS", KEYS), ("GATEWAY_MESSAGE_QUEUE", "true")];
    let gateway = gateway(directory.path(), None, &settings).await;
    assert_ordinary(&gateway);
    let mut front = Socket::open(&gateway, API).await;
    let name = front.leaves("print(1)").await;
    let mut machine = Socket::open(&gateway, VM).await;
    machine.takes(1).await;
    let task = machine.accepts().await;
    machine.tells(&task, "ran").await;
    let result = front.hears("result").await;
    assert_eq!((&result["task_id"], &result["output"]), (&json!(name), &json!("ran")));
}
