//! What a worker says, right or wrong, said by the test itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Server, answering, client, lonely};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::jobs::{program, submitted};
use crate::languages::start;
use crate::player::{Player, completion};
use crate::target::{get, whole};
use crate::workers::seen;

/// A gateway without executors, and what one of them says of itself.
async fn alone() -> Option<(Server, Value, TempDir)> {
    let executor = start("python", &[]).await?;
    let info = get(&executor, "/info").await.body;
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    Some((gateway, info, directory))
}

#[tokio::test]
async fn what_workers_say_is_held_against_their_leases() {
    let Some((gateway, info, _directory)) = alone().await else { return };
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
async fn a_grant_that_is_lost_with_its_connection_is_offered_again_within_six_seconds() {
    let Some((gateway, info, _directory)) = alone().await else { return };
    let mut player = Player::register(&gateway, &info, "a").await;
    let other = json!({"worker": "other", "incarnation": "o", "isFresh": true, "version": "1",
        "protocol": [1, 1], "info": info});
    assert_eq!(player.call("register", &other).await.status, 200);
    // A machine with more to do than this may be late, but not each time.
    let mut took = Vec::new();
    for number in 1..=3 {
        let id = submitted(&gateway, &program("print(2)")).await;
        let lost = player.poll(1, &[]).await;
        assert_eq!(lost[0]["id"], id.as_str());
        let began = Instant::now();
        let poll = json!({"worker": "other", "incarnation": "o", "poll": number.to_string(),
            "free": 1, "waitMs": 20_000});
        let found = player.call("poll", &poll).await.body;
        assert_eq!(found["jobs"][0]["id"], id.as_str(), "{found}");
        took.push(began.elapsed());
        let job = get(&gateway, &format!("/v1/jobs/{id}")).await.body;
        assert_eq!(job["attempt"], 1, "none was spent");
        if took.iter().any(|it| *it < Duration::from_secs(6)) {
            return;
        }
        assert_eq!(player.complete(&found["jobs"][0], "done").await, "recorded");
    }
    panic!("{took:?}");
}

#[tokio::test]
async fn a_job_wakes_a_worker_that_has_room_for_it() {
    let Some((gateway, info, _directory)) = alone().await else { return };
    let full = Player::register(&gateway, &info, "a").await;
    let other = json!({"worker": "other", "incarnation": "o", "isFresh": true, "version": "1",
        "protocol": [1, 1], "info": info});
    assert_eq!(full.call("register", &other).await.status, 200);
    let mut waiting = full.poll_named("1", 0, &[]);
    waiting["waitMs"] = json!(40_000);
    let mut took = Vec::new();
    let idle = async {
        // It looks once a second by itself. A machine with more to do than this may be late, but not
        // each time.
        for number in 1..=5 {
            let poll = json!({"worker": "other", "incarnation": "o", "poll": number.to_string(),
                "free": 1, "waitMs": 20_000});
            let submits = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                submitted(&gateway, &program("print(1)")).await;
                Instant::now()
            };
            let polls = async { (full.call("poll", &poll).await.body, Instant::now()) };
            let (submitted_at, (found, found_at)) = tokio::join!(submits, polls);
            took.push(found_at.saturating_duration_since(submitted_at));
            assert_eq!(full.complete(&found["jobs"][0], "done").await, "recorded", "{found}");
            if took.iter().any(|it| *it < Duration::from_millis(500)) {
                return;
            }
        }
        panic!("{took:?}");
    };
    tokio::select! {
        answer = full.call("poll", &waiting) => panic!("{}", answer.body),
        () = idle => {}
    }
}

#[tokio::test]
async fn who_is_replaced_is_told_what_came_of_its_results() {
    let Some((gateway, info, _directory)) = alone().await else { return };
    let mut player = Player::register(&gateway, &info, "a").await;
    let id = submitted(&gateway, &program("print(1)")).await;
    let held = player.poll(1, &[]).await;
    assert_eq!(player.beat(&held).await, json!(["held"]));
    // Another process of its name, which leaves it what it has.
    let other = Player::new(&gateway, "b");
    let mut registration = other.registration(&info);
    registration["isFresh"] = json!(false);
    assert_eq!(other.call("register", &registration).await.status, 200);
    let next = submitted(&gateway, &program("print(2)")).await;
    let mut told = completion(&held[0], "right");
    told["poll"] = player.poll_named("9", 1, &[]);
    for state in ["recorded", "duplicate"] {
        let answer = player.call("complete", &told).await;
        assert_eq!((answer.status, &answer.body["results"][0]), (200, &json!(state)));
        assert_eq!(answer.body["work"], Value::Null, "it gets nothing more");
    }
    let job = get(&gateway, &format!("/v1/jobs/{id}")).await.body;
    assert_eq!(job["result"]["output"], "right", "{job}");
    assert_eq!(get(&gateway, &format!("/v1/jobs/{next}")).await.body["state"], "ready");
}

#[tokio::test]
async fn a_job_that_is_called_off_again_and_again_is_told_once() {
    let Some((gateway, info, _directory)) = alone().await else { return };
    let mut player = Player::register(&gateway, &info, "a").await;
    let id = submitted(&gateway, &program("print(1)")).await;
    let held = player.poll(1, &[]).await;
    assert_eq!(player.beat(&held).await, json!(["held"]));
    for _ in 0..9 {
        let delete = client().delete(gateway.url(&format!("/v1/jobs/{id}")));
        assert_eq!(whole(delete).await.status, 202);
    }
    let told = player.call("poll", &player.poll_named("9", 0, &held)).await.body;
    assert_eq!(told["cancel"], json!([id]), "{told}");
}

#[tokio::test]
async fn an_order_is_told_until_the_worker_says_that_it_does_so() {
    let Some((gateway, info, _directory)) = alone().await else { return };
    let player = Player::register(&gateway, &info, "a").await;
    let id = submitted(&gateway, &program("print(1)")).await;
    let polls = async |poll: String, state: &str| {
        let mut poll = player.poll_named(&poll, 1, &[]);
        poll["state"] = json!(state);
        player.call("poll", &poll).await.body
    };
    for (word, before, after) in [("drain", "active", "draining"), ("resume", "draining", "active")]
    {
        let path = format!("/v1/workers/anonymous:played/{word}");
        assert_eq!(whole(client().post(gateway.url(&path))).await.status, 202);
        // Any of these answers may be lost on its way, or come to nothing in the store.
        for poll in ["1", "1", "2"] {
            let told = polls(format!("{word}-{poll}"), before).await;
            assert_eq!((&told["action"], &told["jobs"]), (&json!(word), &json!([])), "{poll}");
        }
        let mut beat = player.beat_of(&[]);
        beat["state"] = json!(before);
        assert_eq!(player.call("beat", &beat).await.body["action"], word);
        let told = polls(format!("{word}-3"), after).await;
        assert_eq!(told["action"], "continue");
        let given = if word == "drain" { Value::Null } else { json!(id) };
        assert_eq!(told["jobs"][0]["id"], given, "{told}");
    }
}

#[tokio::test]
async fn a_job_that_is_over_is_no_longer_among_those_of_its_worker() {
    let Some((gateway, info, _directory)) = alone().await else { return };
    let mut player = Player::register(&gateway, &info, "a").await;
    for word in ["complete", "fail", "release"] {
        let id = submitted(&gateway, &program("print(1)")).await;
        let held = player.poll(1, &[]).await;
        assert_eq!(player.beat(&held).await, json!(["held"]));
        assert_eq!(seen(&gateway, "played").await.unwrap()["jobs"], json!([id]));
        let (lease, token) = (&held[0], &held[0]["token"]);
        let told = match word {
            "complete" => completion(lease, "1"),
            "fail" => json!({"failures": [{"id": id, "token": token, "reason": "ill",
                "isRetryable": false, "mayHaveRun": true}]}),
            _ => json!({ "leases": held }),
        };
        assert_eq!(player.call(word, &told).await.status, 200);
        // A beat that was sent before may come now.
        for late in [false, true] {
            if late {
                assert_eq!(player.beat(&held).await, json!(["lost"]));
            }
            assert_eq!(seen(&gateway, "played").await.unwrap()["jobs"], json!([]), "{word}");
        }
    }
}

#[tokio::test]
async fn results_over_a_slow_line_have_time_by_their_size() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[("GATEWAY_BODY_SECONDS", "1")])).await;
    let slowly = async |name: &str, bytes: usize| {
        let body = format!("{{\"results\": [], \"more\": \"{}\"}}", "x".repeat(bytes));
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
        let head = format!(
            "POST /v1/worker/{name} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        for piece in body.as_bytes().chunks(body.len().div_ceil(3)) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // Whoever is refused may be cut off before the last.
            drop(stream.write_all(piece).await);
        }
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let told = slowly("complete", 4 << 20).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    let told = slowly("beat", 900 << 10).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
}

#[tokio::test]
async fn a_worker_s_words_are_bounded_and_checked() {
    let Some((gateway, info, _directory)) = alone().await else { return };
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
