//! What a worker says, right or wrong, said by the test itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{answering, client, lonely};

use crate::jobs::{program, submitted};
use crate::languages::start;
use crate::player::Player;
use crate::target::{get, whole};

#[tokio::test]
async fn what_workers_say_is_held_against_their_leases() {
    let Some(executor) = start("python", &[]).await else { return };
    let info = get(&executor, "/info").await.body;
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    let mut player = Player::register(&gateway, &info, "a").await;
    let id = submitted(&gateway, &program("print(1)")).await;

    // A poll that comes again, as its answer was lost, gives the same.
    let given = player.poll(1, &[]).await;
    assert_eq!(given[0]["id"], id.as_str());
    assert_eq!(player.poll_again(1, &[]).await, given);
    // What an earlier poll gave and nobody has is given at once, by another token.
    let again = player.poll(1, &[]).await;
    assert_eq!(again[0]["id"], id.as_str());
    assert_ne!(again[0]["token"], given[0]["token"]);
    assert_eq!(player.beat(&given).await, json!(["lost"]));
    assert_eq!(player.beat(&again).await, json!(["held"]));
    // Forged, late, repeated and changed results.
    let forged = json!({"id": id, "token": "0".repeat(32)});
    assert_eq!(player.complete(&forged, "forged").await, "stale");
    assert_eq!(player.complete(&given[0], "late").await, "stale");
    assert_eq!(player.complete(&json!({"id": "x", "token": "y"}), "").await, "invalid");
    assert_eq!(player.complete(&again[0], "right").await, "recorded");
    assert_eq!(player.complete(&again[0], "right").await, "duplicate");
    assert_eq!(player.complete(&again[0], "changed").await, "conflict");
    let job = get(&gateway, &format!("/v1/jobs/{id}")).await.body;
    assert_eq!((&job["result"]["output"], &job["attempt"]), (&json!("right"), &json!(1)));

    // A grant that is lost with its connection is somebody's again within seconds.
    let id = submitted(&gateway, &program("print(2)")).await;
    let lost = player.poll(1, &[]).await;
    assert_eq!(lost[0]["id"], id.as_str());
    let began = Instant::now();
    let other = json!({"worker": "other", "incarnation": "o", "isFresh": true, "version": "1",
        "protocol": [1, 1], "info": info});
    assert_eq!(player.call("register", &other).await.status, 200);
    let poll =
        json!({"worker": "other", "incarnation": "o", "poll": "1", "free": 1, "waitMs": 20_000});
    let found = player.call("poll", &poll).await.body;
    assert_eq!(found["jobs"][0]["id"], id.as_str(), "{found}");
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(get(&gateway, &format!("/v1/jobs/{id}")).await.body["attempt"], 1, "none was spent");

    // Another start of a worker takes its name over, and its jobs are free.
    let id = submitted(&gateway, &program("print(3)")).await;
    let held = player.poll(1, &[]).await;
    assert_eq!(player.beat(&held).await, json!(["held"]));
    let mut next = Player::register(&gateway, &info, "b").await;
    let answer = player.call("poll", &json!({"worker": "played", "incarnation": "a"})).await;
    answer.is_problem(409, "worker_replaced").unwrap();
    assert_eq!(next.poll(1, &[]).await[0]["id"], id.as_str());
    let unknown = player.call("poll", &json!({"worker": "nobody", "incarnation": "a"})).await;
    unknown.is_problem(404, "unknown_worker").unwrap();
}

#[tokio::test]
async fn a_worker_s_words_are_bounded_and_checked() {
    let Some(executor) = start("python", &[]).await else { return };
    let info = get(&executor, "/info").await.body;
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    let player = Player::new(&gateway, "a");
    let told = |name: &str, protocol: Value| {
        json!({"worker": name, "incarnation": "a", "isFresh": true, "version": "1",
            "protocol": protocol, "info": info})
    };
    for name in ["", "a b", "../x", "a:b", &"x".repeat(101)] {
        let answer = player.call("register", &told(name, json!([1, 1]))).await;
        answer.is_problem(422, "invalid_request").unwrap();
    }
    let newer = player.call("register", &told("w", json!([2, 3]))).await;
    newer.is_problem(426, "protocol_version").unwrap();
    for body in ["", "5", "{\"worker\": 5}"] {
        let request = client().post(gateway.url("/v1/worker/poll")).body(body.to_owned());
        let answer = whole(request.header("content-type", "application/json")).await;
        assert!([400, 422].contains(&answer.status), "{body}: {}", answer.status);
    }
    let many = vec![json!({"id": "x", "token": "y"}); 1001];
    let answer = player.call("release", &json!({ "leases": many })).await;
    answer.is_problem(422, "invalid_request").unwrap();
    let large = json!({"worker": "x".repeat(2 << 20)});
    player.call("poll", &large).await.is_problem(413, "too_large").unwrap();
}
