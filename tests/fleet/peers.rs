//! Gateways of one store pass on what is asked of each other's runs: whoever is connected to which, it
//! is the same run.

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::stores::PostgresServer;
use tests::{Server, client, lonely};

use crate::checks::eventually;
use crate::languages::start;
use crate::socket::PATIENCE;
use crate::target::{Answer, whole};
use crate::viewer::{Viewer, interactive, join, place, post};

const KEYS: &str = "ann:ann-0123456789abcdef,ben:ben-0123456789abcdef";
const ANN: (&str, &str) = ("authorization", "Bearer ann-0123456789abcdef");
const BEN: (&str, &str) = ("x-api-key", "ben-0123456789abcdef");
/// Says what it reads.
const ECHO: &str = "print('ready')\nwhile True: print('got', input())";

/// Two gateways that know of each other.
struct Pair {
    one: Server,
    other: Server,
    python: Server,
    store: PostgresServer,
    directory: TempDir,
}

impl Pair {
    async fn start() -> Option<Self> {
        let python = start("python", &[]).await?;
        let store = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let one = gateway(&python, &store, &directory, true).await;
        let other = gateway(&python, &store, &directory, true).await;
        Some(Self { one, other, python, store, directory })
    }
}

/// A gateway of the store, which may tell others where it is.
async fn gateway(
    python: &Server,
    store: &PostgresServer,
    directory: &TempDir,
    tells: bool,
) -> Server {
    let store = store.url("postgres");
    let settings = [
        ("GATEWAY_STORE_URL", store.as_str()),
        ("GATEWAY_KEYS", KEYS),
        ("PYTHON_EXECUTOR_URL", &python.url("")),
    ];
    let builder = lonely(directory.path(), &settings);
    let own = builder.url("");
    let builder = if tells { builder.set("GATEWAY_SELF_URL", &own) } else { builder };
    builder.start().await
}

async fn begin(gateway: &Server, path: &str, body: &Value) -> Value {
    let run = post(gateway, path, body, &[ANN]).await;
    assert_eq!(run.status, 201, "{run:?}");
    run.body
}

async fn get_as(gateway: &Server, path: &str, (name, value): (&str, &str)) -> Answer {
    whole(client().get(gateway.url(path)).header(name, value)).await
}

fn own(run: &Value) -> String {
    run["links"]["self"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_joined_at_any_gateway() {
    let Some(pair) = Pair::start().await else { return };
    let (one, other) = (&pair.one, &pair.other);
    let run = begin(one, "/v1/runs", &interactive(ECHO)).await;
    let mut here = join(one, &run).await.unwrap();
    let mut there = join(other, &run).await.unwrap();
    there.type_in("from there\n").await.unwrap();
    here.until_printed("got from there\n").await.unwrap();
    here.type_in("from here\n").await.unwrap();
    there.until_printed("got from here\n").await.unwrap();
    let seen = there.events.clone();
    drop(there);
    here.type_in("meanwhile\n").await.unwrap();
    here.until_printed("got meanwhile\n").await.unwrap();
    let since = format!("{}&since={}", place(&run, "ws", "ticket"), seen.len());
    let mut there = Viewer::open(other, &since).await.unwrap();
    there.until_printed("got meanwhile\n").await.unwrap();
    assert_eq!([seen, there.events.clone()].concat(), here.events, "nothing is lost or doubled");

    let told = get_as(other, &own(&run), ANN).await;
    assert_eq!((told.status, &told.body["viewers"]), (200, &json!(2)), "{told:?}");
    assert_eq!(told.body["ticket"], run["ticket"]);
    assert!(told.headers.contains_key("x-request-id"), "{told:?}");
    get_as(other, &own(&run), BEN).await.is_problem(404, "no_run").unwrap();
    whole(client().get(other.url(&own(&run)))).await.is_problem(401, "unauthorized").unwrap();
    let wrong = format!("{}?ticket=x", own(&run));
    whole(client().delete(other.url(&wrong))).await.is_problem(401, "wrong_ticket").unwrap();
    let stopped = whole(client().delete(other.url(&place(&run, "self", "ticket")))).await;
    assert_eq!(stopped.status, 202, "{stopped:?}");
    assert_eq!(there.rest().await.unwrap(), Some(1000));
    let events = client().get(other.url(&place(&run, "events", "viewTicket")));
    let events = events.header("last-event-id", "1").send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let events = events.text().await.unwrap();
    assert!(events.contains("id: 2\n") && !events.contains("id: 1\n"), "{events}");
    assert!(events.contains("event: exit\n"), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_is_passed_on_is_held_to_the_same() {
    let Some(pair) = Pair::start().await else { return };
    let other = &pair.other;
    let run = begin(&pair.one, "/v1/runs", &interactive(ECHO)).await;
    let path = place(&run, "ws", "ticket");
    let wrong = path.split('?').next().unwrap().to_owned() + "?ticket=x";
    let evil = [("origin", "https://evil.example")];
    let own = [("origin", &*other.url(""))];
    for (path, headers, code) in [(&wrong, &[][..], 4401), (&path, &evil[..], 4403)] {
        let mut viewer = Viewer::open_with(other, path, headers, None).await.unwrap();
        assert_eq!(viewer.rest().await.unwrap(), Some(code), "{path}");
    }
    let mut viewer = Viewer::open_with(other, &path, &own, None).await.unwrap();
    viewer.until_printed("ready").await.unwrap();
    let mut looker = Viewer::open(other, &place(&run, "ws", "viewTicket")).await.unwrap();
    looker.type_in("not mine\n").await.unwrap();
    assert_eq!(looker.until("error").await.unwrap()["code"], "read_only");
    viewer.say_text("x".repeat(600 << 10)).await.unwrap();
    assert_eq!(viewer.rest().await.unwrap(), Some(4413));
    let plain = get_as(other, run["links"]["ws"].as_str().unwrap(), ANN).await;
    plain.is_problem(426, "not_a_websocket").unwrap();

    let flood = json!({"language": "python", "code": "print('x' * 5_000_000)"});
    let run = begin(&pair.one, "/v1/runs", &flood).await;
    let mut viewer = join(other, &run).await.unwrap();
    viewer.until("exit").await.unwrap();
    let mut here = join(&pair.one, &run).await.unwrap();
    here.until("exit").await.unwrap();
    assert!(viewer.printed("stdout").len() > 100_000, "much was printed");
    assert_eq!(viewer.events, here.events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_a_room_is_seen_from_every_gateway() {
    let Some(pair) = Pair::start().await else { return };
    let room = begin(&pair.one, "/v1/rooms", &json!({})).await;
    let room = format!("/v1/rooms/{}", room["id"].as_str().unwrap());
    let wanted = json!({"role": "runner", "hours": 1});
    let invited = begin(&pair.one, &format!("{room}/invitations"), &wanted).await;
    let guest = ("room-invitation", invited["invitation"].as_str().unwrap());
    let run = begin(&pair.one, &format!("{room}/runs"), &interactive(ECHO)).await;
    let path = format!("{room}/runs/{}", run["id"].as_str().unwrap());
    let joined = get_as(&pair.other, &path, guest).await;
    assert_eq!((joined.status, &joined.body["ticket"]), (200, &run["ticket"]), "{joined:?}");
    let mut viewer = join(&pair.other, &joined.body).await.unwrap();
    viewer.type_in("from a guest\n").await.unwrap();
    viewer.until_printed("got from a guest\n").await.unwrap();
    get_as(&pair.other, &path, BEN).await.is_problem(404, "no_room").unwrap();
    let stranger = ("room-invitation", "inv_0");
    get_as(&pair.other, &path, stranger).await.is_problem(401, "invitation_wrong").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_nowhere_is_not_found() {
    let Some(mut pair) = Pair::start().await else { return };
    let run = begin(&pair.one, "/v1/runs", &interactive(ECHO)).await;
    let path = own(&run);
    let again = client().get(pair.other.url(&path)).header(ANN.0, ANN.1);
    let again = whole(again.header("x-passed-on", "1")).await;
    again.is_problem(404, "no_run").unwrap();
    let silent = gateway(&pair.python, &pair.store, &pair.directory, false).await;
    let unknown = begin(&silent, "/v1/runs", &interactive(ECHO)).await;
    get_as(&pair.other, &own(&unknown), ANN).await.is_problem(404, "no_run").unwrap();
    assert_eq!(get_as(&silent, &path, ANN).await.status, 200, "it asks others all the same");

    let mut viewer = join(&pair.other, &run).await.unwrap();
    viewer.until_printed("ready").await.unwrap();
    pair.one.signal(Signal::KILL);
    pair.one.abandon();
    assert_eq!(viewer.rest().await.unwrap(), None, "the connection is cut");
    let lost = get_as(&pair.other, &path, ANN).await;
    lost.is_problem(502, "run_out_of_reach").unwrap();
    assert_eq!(lost.header("retry-after"), "2");

    // One that ends says so, and one that passes something on does not wait for its end.
    let third = gateway(&pair.python, &pair.store, &pair.directory, true).await;
    let run = begin(&third, "/v1/runs", &interactive(ECHO)).await;
    let mut viewer = join(&pair.other, &run).await.unwrap();
    viewer.until_printed("ready").await.unwrap();
    pair.other.signal(Signal::TERM);
    assert_eq!(pair.other.wait(), Some(0), "{}", pair.other.log());
    assert_eq!(viewer.rest().await.unwrap(), None);
    let path = own(&run);
    let mut third = third;
    third.signal(Signal::TERM);
    assert_eq!(third.wait(), Some(0), "{}", third.log());
    let is_gone = async || get_as(&silent, &path, ANN).await.is_problem(404, "no_run").is_ok();
    eventually("it is gone", PATIENCE, is_gone).await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let settings = [("GATEWAY_SELF_URL", "http://user:secret-word@host/path")];
    let mut gateway = lonely(directory.path(), &settings).spawn();
    assert_ne!(gateway.wait(), Some(0));
    let log = gateway.log();
    assert!(log.contains("GATEWAY_SELF_URL: give scheme, host and port alone"), "{log}");
    assert!(!log.contains("secret-word"), "{log}");
}
