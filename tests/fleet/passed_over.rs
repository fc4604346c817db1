//! Workers of the queues of others among jobs that they cannot run: they find what is behind those, and
//! leave the rest in peace.

use std::time::Duration;

use serde_json::{Value, json};
use tests::client;

use crate::languages::start;
use crate::player::Player;
use crate::queues::{API, OPS, Queue, VM, served};
use crate::socket::Socket;
use crate::target::{get, whole};

#[tokio::test]
async fn a_plain_task_is_found_behind_others_that_are_left_in_peace() {
    let Some(python) = start("python", &[]).await else { return };
    let info = get(&python, "/info").await.body;
    let directory = tempfile::tempdir().unwrap();
    let settings = [
        ("GATEWAY_MESSAGE_QUEUE_LANGUAGE", "python"),
        ("GATEWAY_QUEUE_SERVICE_LANGUAGE", "python"),
    ];
    let gateway = served(&directory, &settings).await;
    // Somebody runs the language, and takes nothing now.
    let told = Player::new(&gateway, "a").registration(&info);
    let register = client().post(gateway.url("/v1/worker/register")).bearer_auth(VM);
    let register = register.header("content-type", "application/json").body(told.to_string());
    assert_eq!(whole(register).await.status, 200);
    let submit = async |body: Value| {
        let post = client().post(gateway.url("/v1/jobs")).bearer_auth(API).body(body.to_string());
        let answer = whole(post.header("content-type", "application/json")).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    };
    let mut with_input = Vec::new();
    for _ in 0..25 {
        let body =
            json!({"language": "python", "code": "input()", "inputData": "1", "priority": 9});
        with_input.push(submit(body).await);
    }
    let attempts = async || {
        let mut count = 0;
        for id in &with_input {
            let path = format!("/v1/jobs/{id}");
            let job = whole(client().get(gateway.url(&path)).bearer_auth(OPS)).await.body;
            assert_eq!((&job["state"], &job["attempt"]), (&json!("ready"), &json!(0)), "{job}");
            count += job["attempts"].as_array().unwrap().len();
        }
        count
    };
    let (one, other) = (Queue::message_queue(&gateway), Queue::queue_service(&gateway));
    let plain = |number: u32| json!({"code": format!("print({number})")});
    assert_eq!(one.post(API, "/tasks", &plain(1)).await.status, 200);
    let mut second = plain(2);
    second["eval_id"] = json!("second");
    assert_eq!(other.post(API, "/tasks", &second).await.status, 200);
    assert_eq!(one.get(VM, "/tasks?limit=1").await.body["tasks"][0]["code"], "print(1)");
    assert_eq!(other.get(VM, "/tasks/next").await.body["eval_id"], "second");
    let found = attempts().await;

    // Behind them there is nothing any more, and whoever asks again and again does not touch them.
    assert_eq!(one.get(VM, "/tasks?limit=1").await.body["tasks"], json!([]));
    let looked = attempts().await;
    assert!(looked >= found, "{looked}, {found}");
    for _ in 0..20 {
        assert_eq!(one.get(VM, "/tasks?limit=1").await.body["tasks"], json!([]));
    }
    assert_eq!(one.get(VM, "/tasks?limit=1&wait=4").await.body["tasks"], json!([]));
    let asked = attempts().await;
    // Two looks fit into those seconds, of one attempt each, and not one a poll.
    assert!(asked <= looked + 3 * with_input.len(), "{found}, {looked}, {asked}");
    // What is left there meanwhile is found at once, also over a socket.
    let mut machine = Socket::open(&gateway, VM).await;
    machine.takes(1).await;
    assert_eq!(one.post(API, "/tasks", &plain(3)).await.status, 200);
    let task = tokio::time::timeout(Duration::from_mins(1), machine.hears("task")).await.unwrap();
    assert_eq!(task["code"], "print(3)");
}
