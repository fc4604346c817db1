//! Gateways of one store pass on what is asked of each other's runs: whoever is connected to which, it
//! is the same run.

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::stores::PostgresServer;
use tests::{Server, client, lonely};
use tokio::io::AsyncWriteExt as _;

use crate::checks::eventually;
use crate::languages::start;
use crate::raw;
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

/// What comes over one connection for these requests, each with its own words behind the path.
async fn in_a_row(gateway: &Server, asked: &[(&str, &str, &str)]) -> String {
    let mut connection = raw::connect(gateway).await.unwrap();
    for (index, (method, path, headers)) in asked.iter().enumerate() {
        let end = if index + 1 == asked.len() { "connection: close\r\n" } else { "" };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}{end}\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
    }
    raw::read_to_end(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_passed_on_end_where_they_end() {
    let Some(pair) = Pair::start().await else { return };
    let other = &pair.other;
    let over = json!({"language": "python", "code": "print('x' * 100_000)"});
    let over = begin(&pair.one, "/v1/runs?wait=30", &over).await;
    let last = over["lastSeq"].as_u64().unwrap();
    let goes_on = begin(&pair.one, "/v1/runs", &interactive(ECHO)).await;
    let since = format!("{}&since={last}", place(&over, "events", "ticket"));
    let whole = place(&over, "self", "viewTicket");
    let endless = place(&goes_on, "events", "viewTicket");
    let asked =
        [("GET", &*since, ""), ("HEAD", &endless, ""), ("HEAD", &whole, ""), ("GET", &whole, "")];
    let answers = in_a_row(other, &asked).await;
    let heads: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|it| &it[..3]).collect();
    assert_eq!(heads, ["204", "200", "200", "200"], "{}", &answers[..answers.len().min(3000)]);
    let (empty, rest) = answers.split_once("HTTP/1.1 200").unwrap();
    assert!(empty.ends_with("\r\n\r\n") && !empty.contains("0\r\n\r\n"), "{empty}");
    let body = rest.rsplit("\r\n\r\n").next().unwrap();
    let report: Value = serde_json::from_str(body).unwrap();
    assert_eq!(report["report"]["output"].as_str().unwrap().len(), 100_001);

    // A socket is begun by those only who ask for one.
    let key = "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n";
    let socket = place(&goes_on, "ws", "ticket");
    let asked = in_a_row(other, &[("GET", &socket, key), ("GET", &whole, key)]).await;
    let head = asked.split("\r\n\r\n").next().unwrap();
    assert!(head.starts_with("HTTP/1.1 426") && head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(asked.contains("HTTP/1.1 200"), "what comes next has a place of its own");
    let wants = format!("{key}connection: upgrade\r\nupgrade: websocket\r\n");
    let wrong = in_a_row(other, &[("GET", &format!("{socket}&x=1"), &wants)]).await;
    let (head, body) = wrong.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 422") || head.starts_with("HTTP/1.1 400"), "{head}");
    serde_json::from_str::<Value>(body).unwrap();

    // Nothing is passed on to another path than it came to.
    let name = goes_on["id"].as_str().unwrap();
    for path in [format!("/v1/rooms/%2e%2e/runs/{name}"), format!("/v1/runs/x\\..\\{name}")] {
        let asked = in_a_row(other, &[("GET", &path, &format!("{}: {}\r\n", ANN.0, ANN.1))]).await;
        let status = asked.get(9..12).unwrap_or_default();
        assert!(["400", "404"].contains(&status), "{path}: {asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_that_are_passed_on_are_counted_each_for_themselves() {
    let Some(pair) = Pair::start().await else { return };
    let store = pair.store.url("postgres");
    let start = async |burst: &str| {
        let settings = [
            ("GATEWAY_STORE_URL", store.as_str()),
            ("GATEWAY_KEYS", KEYS),
            ("GATEWAY_RATE_PER_MINUTE", "1"),
            ("GATEWAY_RATE_BURST", burst),
            ("GATEWAY_TRUST_FORWARDED_FOR", if burst == "3" { "false" } else { "true" }),
            ("PYTHON_EXECUTOR_URL", &pair.python.url("")),
        ];
        let builder = lonely(pair.directory.path(), &settings);
        let own = builder.url("");
        builder.set("GATEWAY_SELF_URL", &own).start().await
    };
    let (strict, lax) = (start("3").await, start("100").await);
    let run = begin(&strict, "/v1/runs", &interactive(ECHO)).await;
    let look = async |address: &str| {
        let request = client().get(lax.url(&place(&run, "self", "viewTicket")));
        whole(request.header("x-forwarded-for", address)).await.status
    };
    for address in ["10.0.0.1", "10.0.0.2"] {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(look(address).await);
        }
        assert_eq!(statuses, [200, 200, 200, 429], "{address}");
    }
    // Whoever is no gateway is not believed.
    let request = client().get(strict.url(&place(&run, "self", "viewTicket")));
    let request = request.header("x-passed-on", "1").header("x-forwarded-for", "10.0.0.3");
    assert_eq!(whole(request).await.status, 200);
    let mut last = 0;
    for number in 0..4 {
        let request = client().get(strict.url(&place(&run, "self", "viewTicket")));
        let request = request.header("x-passed-on", "1");
        last = whole(request.header("x-forwarded-for", format!("10.0.1.{number}"))).await.status;
    }
    assert_eq!(last, 429);
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
    assert_eq!(joined.status, 200, "{joined:?}");
    assert_ne!(joined.body["ticket"], run["ticket"], "a guest's is its own");
    let mut viewer = join(&pair.other, &joined.body).await.unwrap();
    viewer.type_in("from a guest\n").await.unwrap();
    viewer.until_printed("got from a guest\n").await.unwrap();
    let ended = format!("{room}/invitations/{}", invited["id"].as_str().unwrap());
    let ended = client().delete(pair.other.url(&ended)).header(ANN.0, ANN.1);
    assert_eq!(whole(ended).await.status, 204);
    assert_eq!(viewer.rest().await.unwrap(), Some(4401), "it ends with the invitation");
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
    assert_eq!(viewer.rest().await.unwrap(), Some(4503), "the gateway is gone");
    whole(client().get(pair.other.url(&place(&run, "self", "ticket")))).await;
    let lost = get_as(&pair.other, &path, ANN).await;
    lost.is_problem(502, "run_out_of_reach").unwrap();
    assert_eq!(lost.header("retry-after"), "2");
    let ticket = run["ticket"].as_str().unwrap();
    assert!(!pair.other.log().contains(ticket), "a ticket is logged:\n{}", pair.other.log());

    // One that ends says so, and one that passes something on does not wait for its end.
    let third = gateway(&pair.python, &pair.store, &pair.directory, true).await;
    let run = begin(&third, "/v1/runs", &interactive(ECHO)).await;
    // It is known to others a moment after it serves.
    let is_known = async || get_as(&pair.other, &own(&run), ANN).await.status == 200;
    eventually("it is known", PATIENCE, is_known).await.unwrap();
    let mut viewer = join(&pair.other, &run).await.unwrap();
    viewer.until_printed("ready").await.unwrap();
    pair.other.signal(Signal::TERM);
    assert_eq!(pair.other.wait(), Some(0), "{}", pair.other.log());
    assert_eq!(viewer.rest().await.unwrap(), Some(4503));
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
