//! Receivers of callbacks that are down, slow or point elsewhere: each is tried again, none is followed,
//! and nobody else's callback waits for them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{answering, client, lonely};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::checks::eventually;
use crate::faults::gateway;
use crate::jobs::{program, submit, submitted};
use crate::languages::start;
use crate::player::Player;
use crate::queues::{API, KEYS, OTHER};
use crate::target::{get, whole};

const PATIENCE: Duration = Duration::from_mins(1);

/// A listener, and the URL that is at it.
async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    (listener, url)
}

/// Takes every callback, and remembers what it says.
async fn remember_all(listener: TcpListener, told: Arc<Mutex<Vec<String>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (mut text, mut bytes) = (String::new(), [0; 4096]);
        while !text.contains("\"state\"") {
            let Ok(count @ 1..) = stream.read(&mut bytes).await else { break };
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        told.lock().unwrap().push(text);
        let ok = b"HTTP/1.1 204 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        drop(stream.write_all(ok).await);
    }
}

/// Answers everybody with this.
async fn answer_all(listener: TcpListener, answer: String) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let answer = answer.clone();
        drop(tokio::spawn(async move {
            // All of a callback is one packet here.
            drop(stream.read(&mut [0; 4096]).await);
            drop(stream.write_all(answer.as_bytes()).await);
        }));
    }
}

#[tokio::test]
async fn receivers_that_are_down_slow_or_point_elsewhere_are_tried_again() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let settings = [
        ("GATEWAY_STORE_URL", store.as_str()),
        ("GATEWAY_CALLBACK_SECRET", "0123456789abcdef"),
        ("GATEWAY_CALLBACK_PRIVATE", "true"),
    ];
    let gateway = gateway(&[("python", &python)], &settings).await;
    let (gone, down) = listener().await;
    drop(gone);
    let (inner, secret) = listener().await;
    let (pointing, elsewhere) = listener().await;
    let redirect = format!(
        "HTTP/1.1 307 X\r\nlocation: {secret}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let pointing = tokio::spawn(answer_all(pointing, redirect));
    // It takes connections, as its system does that for it, and says nothing.
    let (_silent, slow) = listener().await;
    for url in [&down, &elsewhere, &slow] {
        let mut body = program("1");
        body["callbackUrl"] = json!(url);
        submitted(&gateway, &body).await;
    }
    let open = async |url: &str| -> Value {
        let list = get(&gateway, "/v1/callbacks").await.body;
        let mut open = list["callbacks"].as_array().unwrap().iter();
        open.find(|it| it["url"] == url).cloned().unwrap_or_default()
    };
    let is_tried = async |url: &str, reason: &str| {
        let callback = open(url).await;
        let told = callback["reason"].as_str().unwrap_or_default().to_owned();
        told.contains(reason) && !callback["dueAt"].is_null()
    };
    eventually("down", PATIENCE, async || is_tried(&down, "error sending").await).await.unwrap();
    let points = async || is_tried(&elsewhere, "it answered 307").await;
    eventually("pointing elsewhere", PATIENCE, points).await.unwrap();
    // The slow one holds up nobody: while it is waited for, another's is delivered.
    let (taking, good) = listener().await;
    let ok = "HTTP/1.1 204 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let taking = tokio::spawn(answer_all(taking, ok.to_owned()));
    let mut body = program("1");
    body["callbackUrl"] = json!(good);
    submitted(&gateway, &body).await;
    let is_taken = async || {
        let jobs = get(&gateway, "/v1/jobs?state=succeeded").await.body;
        jobs["jobs"].as_array().unwrap().len() == 4 && open(&good).await.is_null()
    };
    eventually("the other's is delivered", PATIENCE, is_taken).await.unwrap();
    assert!(open(&slow).await["reason"].is_null(), "the slow one was given up before the other's");
    eventually("the slow one is told of", PATIENCE, async || {
        open(&slow).await["reason"].as_str().is_some_and(|it| !it.is_empty())
    })
    .await
    .unwrap();
    let asked = tokio::time::timeout(Duration::from_millis(100), inner.accept()).await;
    assert!(asked.is_err(), "a redirect was followed");
    pointing.abort();
    taking.abort();
}

const SENDS: [(&str, &str); 2] =
    [("GATEWAY_CALLBACK_SECRET", "0123456789abcdef"), ("GATEWAY_CALLBACK_PRIVATE", "true")];

#[tokio::test]
async fn a_job_that_goes_on_again_tells_nothing_until_it_ends() {
    let Some(python) = start("python", &[]).await else { return };
    let info = get(&python, "/info").await.body;
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &SENDS)).await;
    let mut player = Player::register(&gateway, &info, "a").await;
    let (gone, down) = listener().await;
    let address = gone.local_addr().unwrap();
    drop(gone);
    let mut body = program("1");
    body["callbackUrl"] = json!(down);
    let id = submitted(&gateway, &body).await;
    let held = player.poll(1, &[]).await;
    let failure = json!({"id": id, "token": held[0]["token"], "reason": "ill",
        "isRetryable": false, "mayHaveRun": true});
    assert_eq!(player.call("fail", &json!({ "failures": [failure] })).await.status, 200);
    let open = async || get(&gateway, "/v1/callbacks").await.body["callbacks"].clone();
    eventually("it is tried", PATIENCE, async || !open().await[0]["reason"].is_null())
        .await
        .unwrap();

    let redrive = client().post(gateway.url(&format!("/v1/jobs/{id}/redrive")));
    assert_eq!(whole(redrive).await.status, 202);
    let held = player.poll(1, &[]).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let receiver = TcpListener::bind(address).await.unwrap();
    let receiver = tokio::spawn(remember_all(receiver, Arc::clone(&told)));
    let is_over = async || {
        assert_eq!(player.beat(&held).await, json!(["held"]));
        open().await == json!([])
    };
    eventually("what was to be told is over", PATIENCE, is_over).await.unwrap();
    assert_eq!(*told.lock().unwrap(), Vec::<String>::new(), "the job goes on");
    assert_eq!(player.complete(&held[0], "1").await, "recorded");
    eventually("it is told", PATIENCE, async || !told.lock().unwrap().is_empty()).await.unwrap();
    let told = told.lock().unwrap().join("\n");
    assert!(told.contains("\"state\":\"succeeded\""), "{told}");
    receiver.abort();
}

#[tokio::test]
async fn slow_receivers_of_one_caller_hold_up_no_other_s() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let settings = [SENDS[0], SENDS[1], ("GATEWAY_STORE_URL", &store), ("GATEWAY_KEYS", KEYS)];
    let gateway = gateway(&[("python", &python)], &settings).await;
    // Jobs that are cancelled before their time are over at once.
    let over = async |key: &str, url: &str| {
        let mut body = program("1");
        body["callbackUrl"] = json!(url);
        body["runAt"] = json!((jiff::Timestamp::now() + Duration::from_hours(1)).to_string());
        let job = submit(&gateway, &body, &[("x-api-key", key)]).await.body;
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        let cancel = client().delete(gateway.url(&path)).header("x-api-key", key);
        assert_eq!(whole(cancel).await.status, 202);
    };
    let open = async |key: &str| {
        let list = client().get(gateway.url("/v1/callbacks")).header("x-api-key", key);
        whole(list).await.body["callbacks"].as_array().unwrap().clone()
    };
    // It takes connections, as its system does that for it, and says nothing.
    let (_silent, slow) = listener().await;
    futures::future::join_all((0..24).map(|_| over(API, &slow))).await;
    let is_begun = async || open(API).await.iter().any(|it| it["attempt"] == 1);
    eventually("slow ones are on their way", PATIENCE, is_begun).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (receiver, good) = listener().await;
    let receiver = tokio::spawn(remember_all(receiver, Arc::clone(&told)));
    over(OTHER, &good).await;
    eventually("it is told", PATIENCE, async || !told.lock().unwrap().is_empty()).await.unwrap();
    let slow = open(API).await;
    assert_eq!(slow.len(), 24);
    assert!(slow.iter().all(|it| it["reason"].is_null()), "one was waited for: {slow:?}");
    receiver.abort();
}
