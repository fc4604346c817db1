//! Runs of rooms, by those who are invited to them. What guests do is in `clients/rooms/guests.mjs`.

use serde_json::{Value, json};
use tests::{Server, ServerBuilder, answering, client, lonely};

use crate::interactive::WAITS;
use crate::languages::start;
use crate::rooms::{Gateways, play};
use crate::target::{Answer, whole};
use crate::viewer::{Viewer, interactive, join, place, post};

const KEYS: &str = "ann:ann-0123456789abcdef running=1,ben:ben-0123456789abcdef";
const ANN: (&str, &str) = ("authorization", "Bearer ann-0123456789abcdef");

/// Makes a room, and an invitation to it.
async fn invitation(server: &Server, role: &str) -> (String, String) {
    let room = post(server, "/v1/rooms", &json!({}), &[ANN]).await.body;
    let room = room["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/rooms/{room}/invitations");
    let made = post(server, &path, &json!({ "role": role, "hours": 1 }), &[ANN]).await;
    assert_eq!(made.status, 201, "{made:?}");
    (room, made.body["invitation"].as_str().unwrap().to_owned())
}

async fn get_as(server: &Server, path: &str, (name, value): (&str, &str)) -> Answer {
    whole(client().get(server.url(path)).header(name, value)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_are_invited_run_programs_together() {
    let Some(python) = start("python", &[]).await else { return };
    let (directory, url) = (tempfile::tempdir().unwrap(), python.url(""));
    let place = directory.path().to_owned();
    let builder = move || -> ServerBuilder {
        let keys = "ann:ann-0123456789abcdef,ben:ben-0123456789abcdef";
        lonely(&place, &[("GATEWAY_KEYS", keys), ("PYTHON_EXECUTOR_URL", &url)])
    };
    let one = Some(builder().start().await);
    let mut gateways = Gateways::alone(Box::new(builder), one);
    play(&mut gateways, &["invited", "strangers", "ended"]).await;
    let log = gateways.one.as_ref().unwrap().log();
    assert!(log.contains("/v1/rooms/{id}/runs"), "requests are logged:\n{log}");
    for secret in ["ticket=", "inv_", "0123456789abcdef", "heard"] {
        assert!(!log.contains(secret), "{secret} is logged:\n{log}");
    }
}

#[tokio::test]
async fn a_guest_runs_as_much_as_the_owners_key_may() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let settings = [("GATEWAY_KEYS", KEYS), ("PYTHON_EXECUTOR_URL", &python.url(""))];
    let server = lonely(directory.path(), &settings).start().await;
    let (room, invitation) = invitation(&server, "runner").await;
    let guest = ("room-invitation", invitation.as_str());
    let path = format!("/v1/rooms/{room}/runs");
    let run = post(&server, &path, &interactive(WAITS), &[guest]).await;
    assert_eq!(run.status, 201, "{run:?}");
    let mut viewer = join(&server, &run.body).await.unwrap();
    viewer.until_printed("ready").await.unwrap();
    for (path, headers) in [(path.as_str(), guest), (&path, ANN), ("/v1/runs", ANN)] {
        let second = post(&server, path, &interactive(WAITS), &[headers]).await;
        second.is_problem(429, "too_many_running").unwrap();
    }
    // It is the owner's run, and no other key's.
    let own = run.body["links"]["self"].as_str().unwrap();
    let told = get_as(&server, own, ANN).await.body;
    assert!(told["ticket"].is_string() && told["ticket"] != run.body["ticket"], "{told}");
    let ben = ("authorization", "Bearer ben-0123456789abcdef");
    get_as(&server, own, ben).await.is_problem(404, "no_run").unwrap();
    viewer.say(json!({"t": "signal", "name": "KILL"})).await.unwrap();
    viewer.rest().await.unwrap();
}

#[tokio::test]
async fn what_a_guest_has_of_a_run_ends_with_its_invitation() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let keys = "ann:ann-0123456789abcdef,ben:ben-0123456789abcdef";
    let settings = [("GATEWAY_KEYS", keys), ("PYTHON_EXECUTOR_URL", &python.url(""))];
    let server = lonely(directory.path(), &settings).start().await;
    let room = post(&server, "/v1/rooms", &json!({}), &[ANN]).await.body;
    let room = format!("/v1/rooms/{}", room["id"].as_str().unwrap());
    let invite = async |role: &str| {
        let (path, body) = (format!("{room}/invitations"), json!({ "role": role }));
        let made = post(&server, &path, &body, &[ANN]).await.body;
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("invitation"), format!("{room}/invitations/{}", text("id")))
    };
    let (one, one_place) = invite("runner").await;
    let (other, _) = invite("viewer").await;
    let runs = format!("{room}/runs");
    let run = post(&server, &runs, &interactive(WAITS), &[("room-invitation", &one)]).await.body;
    let path = format!("{runs}/{}", run["id"].as_str().unwrap());
    let seen = get_as(&server, &path, ("room-invitation", &other)).await.body;
    assert!(seen["ticket"].is_null() && seen["viewTicket"] != run["viewTicket"], "{seen}");
    let mut typist = join(&server, &run).await.unwrap();
    typist.until_printed("ready").await.unwrap();
    let mut looker = Viewer::open(&server, &place(&seen, "ws", "viewTicket")).await.unwrap();
    looker.until_printed("ready").await.unwrap();
    let followed = client().get(server.url(&place(&run, "events", "viewTicket"))).send();
    let followed = followed.await.unwrap();
    assert_eq!(followed.status(), 200);
    let look = async |run: &Value, link: &str, ticket: &str| {
        whole(client().get(server.url(&place(run, link, ticket)))).await
    };
    assert_eq!(look(&run, "self", "ticket").await.status, 200);

    let ended = client().delete(server.url(&one_place)).header(ANN.0, ANN.1);
    assert_eq!(whole(ended).await.status, 204);
    for (link, ticket) in [("self", "ticket"), ("self", "viewTicket"), ("events", "ticket")] {
        look(&run, link, ticket).await.is_problem(401, "wrong_ticket").unwrap();
    }
    assert_eq!(typist.rest().await.unwrap(), Some(4401), "it is shown out");
    followed.text().await.expect("its events end");
    let mut again = join(&server, &run).await.unwrap();
    assert_eq!(again.rest().await.unwrap(), Some(4401), "and may not come back");

    // Those who came otherwise stay.
    assert_eq!(look(&seen, "self", "viewTicket").await.status, 200);
    let own = get_as(&server, &path, ANN).await.body;
    let stopped = whole(client().delete(server.url(&place(&own, "self", "ticket")))).await;
    assert_eq!(stopped.status, 202, "{stopped:?}");
    assert_eq!(looker.rest().await.unwrap(), Some(1000));
}

#[tokio::test]
async fn guests_are_counted_for_their_address_and_runs_for_the_owner_too() {
    let directory = tempfile::tempdir().unwrap();
    let keys = "ann:ann-0123456789abcdef per-minute=18";
    let settings = [
        ("GATEWAY_KEYS", keys),
        ("GATEWAY_RATE_PER_MINUTE", "1"),
        ("GATEWAY_RATE_BURST", "6"),
        ("GATEWAY_TRUST_FORWARDED_FOR", "true"),
    ];
    let server = answering(lonely(directory.path(), &settings)).await;
    let (room, invitation) = invitation(&server, "runner").await;
    let path = format!("/v1/rooms/{room}");
    let look = async |text: &str, address: &str| {
        let request = client().get(server.url(&path)).header("room-invitation", text);
        whole(request.header("x-real-ip", address)).await
    };
    for _ in 0..6 {
        look("inv_0", "10.0.0.1").await.is_problem(401, "invitation_wrong").unwrap();
    }
    look(&invitation, "10.0.0.1").await.is_problem(429, "rate_limited").unwrap();
    assert_eq!(look(&invitation, "10.0.0.2").await.status, 200, "that is somebody else");
    // The owner's three at once are soon used up, from wherever guests come.
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) {
        let address = format!("10.0.1.{}", statuses.len());
        assert!(statuses.len() < 50, "nothing is counted for the owner");
        let headers = [("room-invitation", invitation.as_str()), ("x-real-ip", &address)];
        let run = post(&server, &format!("{path}/runs"), &json!({"code": "1"}), &headers).await;
        statuses.push(run.status);
    }
}

#[tokio::test]
async fn an_invitation_ends_with_its_owners_key() {
    let directory = tempfile::tempdir().unwrap();
    let with = |keys: &'static str| lonely(directory.path(), &[("GATEWAY_KEYS", keys)]);
    let server = answering(with(KEYS)).await;
    let (room, invitation) = invitation(&server, "owner").await;
    let path = format!("/v1/rooms/{room}");
    let guest = ("room-invitation", invitation.as_str());
    assert_eq!(get_as(&server, &path, guest).await.status, 200);
    drop(server);
    for keys in ["ben:ben-0123456789abcdef", "ann:ann-0123456789abcdef role=work"] {
        let server = answering(with(keys)).await;
        get_as(&server, &path, guest).await.is_problem(401, "invitation_wrong").unwrap();
        drop(server);
    }
    let server = answering(with(KEYS)).await;
    assert_eq!(get_as(&server, &path, guest).await.body["role"], "owner", "it is kept");
}

#[tokio::test]
async fn a_snippet_is_kept_as_it_was_told() {
    let directory = tempfile::tempdir().unwrap();
    let settings = [("GATEWAY_KEYS", KEYS), ("GATEWAY_SNIPPETS_MAX", "2")];
    let server = answering(lonely(directory.path(), &settings)).await;
    let share = async |text: String| {
        let request = client().post(server.url("/v1/snippets")).header(ANN.0, ANN.1);
        whole(request.header("content-type", "application/json").body(text)).await
    };
    let text = "{ \"code\": \"print('é')\", \"n\": 12345678901234567890123 }";
    let kept = share(text.to_owned()).await;
    assert_eq!(kept.status, 201, "{kept:?}");
    let path = kept.body["path"].as_str().unwrap().to_owned();
    assert_eq!(kept.header("location"), path);
    assert_eq!(share(text.to_owned()).await.body, kept.body, "the same is the same");
    let look = async |tag: &str| {
        let request = client().get(server.url(&path)).header(ANN.0, ANN.1);
        request.header("if-none-match", tag).send().await.unwrap()
    };
    let found = look("\"other\"").await;
    let tag = found.headers()["etag"].to_str().unwrap().to_owned();
    assert!(found.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    assert_eq!(found.text().await.unwrap(), text);
    assert_eq!(look(&tag).await.status(), 304);
    let nobody = whole(client().get(server.url(&path))).await;
    nobody.is_problem(401, "unauthorized").unwrap();
    for (text, status, code) in [
        ("[1]".to_owned(), 422, "invalid_request"),
        ("{".to_owned(), 400, "not_json"),
        (json!({"code": "x".repeat(256 << 10)}).to_string(), 413, "too_large"),
    ] {
        share(text).await.is_problem(status, code).unwrap();
    }
    let there = async |path: &str| get_as(&server, path, ANN).await;
    let unknown = format!("/v1/snippets/snip_{}", "0".repeat(40));
    for path in [unknown.as_str(), "/v1/snippets/x"] {
        there(path).await.is_problem(404, "no_snippet").unwrap();
    }
    let second: Value = share("{}".to_owned()).await.body;
    assert_eq!(there(second["path"].as_str().unwrap()).await.body, json!({}));
    share("{\"third\": 1}".to_owned()).await.is_problem(503, "too_many_snippets").unwrap();
}
