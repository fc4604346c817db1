//! Who may take part in runs, what becomes of those who may not, and of runs whose servers end.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Server, client};

use crate::checks::same;
use crate::connections::{is_gone, is_there, slots_are_free, word};
use crate::faults::gateway;
use crate::interactive::WAITS;
use crate::languages::start;
use crate::target::whole;
use crate::viewer::{Viewer, begin, get, interactive, join, place, post, report};

/// What cannot be run is refused, and what is not there is not found.
pub(crate) async fn refusals(server: &Server) -> Result<()> {
    let typed = interactive("1");
    post(server, "/v1/execute", &typed, &[]).await.refuses(&["/interactive"])?;
    let with = |field: &str, value: Value| {
        let mut body = interactive("1");
        body[field] = value;
        body
    };
    let cases = with("cases", json!([{}]));
    post(server, "/v1/runs", &cases, &[]).await.refuses(&["/cases"])?;
    let size = with("tty", json!({"cols": 501, "rows": 0}));
    post(server, "/v1/runs", &size, &[]).await.refuses(&["/tty/cols", "/tty/rows"])?;
    let options = with("compilerOptions", json!(["--nonsense"]));
    post(server, "/v1/runs", &options, &[]).await.refuses(&["/compilerOptions/0"])?;
    let unknown = post(server, "/v1/runs", &with("language", json!("cobol")), &[]).await;
    unknown.is_problem(404, "unknown_language")?;
    get(server, "/v1/runs/run_x").await.is_problem(404, "no_run")?;
    get(server, "/v1/runs/run_x/events").await.is_problem(404, "no_run")?;
    let run = begin(server, &json!({"language": "python", "code": "1"})).await?;
    let id = run["id"].as_str().unwrap_or_default();
    get(server, &format!("/v1/runs/{id}?ticket=x")).await.is_problem(401, "wrong_ticket")?;
    get(server, &format!("/v1/runs/{id}/ws")).await.is_problem(426, "not_a_websocket")
}

/// Each reason for a close has its code.
pub(crate) async fn close_codes(server: &Server) -> Result<()> {
    let run = begin(server, &interactive(WAITS)).await?;
    let path = place(&run, "ws", "ticket");
    let wrong = path.split('?').next().unwrap_or_default().to_owned() + "?ticket=x";
    let evil = [("origin", "https://evil.example")];
    let own = format!("http://127.0.0.1:{}", server.port());
    for (path, headers, code) in [
        (wrong.as_str(), &[][..], 4401),
        (path.as_str(), &evil[..], 4403),
        ("/v1/runs/run_x/ws?ticket=x", &[][..], 4404),
    ] {
        let mut viewer = Viewer::open_with(server, path, headers, None).await?;
        same("the close code", &viewer.rest().await?, &Some(code))?;
        ensure!(viewer.events.is_empty(), "events were sent before {code}");
    }
    let mut viewer = Viewer::open_with(server, &path, &[("origin", &own)], None).await?;
    viewer.until_printed("ready").await?;
    viewer.say_text("nonsense".to_owned()).await?;
    same("nonsense", &viewer.until("error").await?["code"], &json!("bad_message"))?;
    // It may be cut off before it has said all of it.
    viewer.say_text(" ".repeat(600 << 10)).await.unwrap_or_default();
    same("the close code", &viewer.rest().await?, &Some(4413))?;
    let mut last = Viewer::open(server, &path).await?;
    last.say(json!({"t": "signal", "name": "KILL"})).await?;
    report(&mut last).await.map(drop)
}

#[tokio::test]
async fn runs_are_their_callers_alone() {
    let Some(python) = start("python", &[]).await else { return };
    let keys = [("GATEWAY_KEYS", "alice:alice-0123456789,bob:bob-0123456789ab")];
    let server = gateway(&[("python", &python)], &keys).await;
    let (alice, bob) = ("Bearer alice-0123456789", "Bearer bob-0123456789ab");
    let run = post(&server, "/v1/runs", &interactive(WAITS), &[("authorization", alice)]).await;
    assert_eq!(run.status, 201, "{run:?}");
    let run = run.body;
    let own = run["links"]["self"].as_str().unwrap().to_owned();
    let get_as = |path: String, key: &'static str| {
        whole(client().get(server.url(&path)).header("authorization", key))
    };
    for path in [own.clone(), format!("{own}/events")] {
        get_as(path.clone(), bob).await.is_problem(404, "no_run").unwrap();
        get(&server, &path).await.is_problem(401, "unauthorized").unwrap();
    }
    let stop = client().delete(server.url(&own)).header("authorization", bob);
    whole(stop).await.is_problem(404, "no_run").unwrap();
    assert_eq!(get_as(own.clone(), alice).await.body["ticket"], run["ticket"]);
    let socket = format!("{own}/ws");
    for (headers, code) in [(&[][..], 4401), (&[("authorization", bob)][..], 4404)] {
        let mut viewer = Viewer::open_with(&server, &socket, headers, None).await.unwrap();
        assert_eq!(viewer.rest().await.unwrap(), Some(code));
    }
    let headers = [("authorization", alice)];
    let mut viewer = Viewer::open_with(&server, &socket, &headers, None).await.unwrap();
    viewer.until_printed("ready").await.unwrap();
    let ticket = get(&server, &place(&run, "self", "ticket")).await;
    assert_eq!((ticket.status, &ticket.body["state"]), (200, &json!("running")));
    let other = json!({"language": "python", "code": "1"});
    let other = post(&server, "/v1/runs", &other, &[("authorization", bob)]).await.body;
    let crossed = format!("{own}?ticket={}", other["ticket"].as_str().unwrap());
    get(&server, &crossed).await.is_problem(401, "wrong_ticket").unwrap();
    let stopped = whole(client().delete(server.url(&place(&run, "self", "ticket")))).await;
    assert_eq!(stopped.status, 202);
    assert_eq!(report(&mut viewer).await.unwrap()["status"], "cancelled");
    drop(server);
}

#[tokio::test]
async fn a_run_ends_with_whoever_has_it() {
    let Some(python) = start("python", &[]).await else { return };
    let word = word("orphan");
    let body = || {
        let mut body = interactive(WAITS);
        body["args"] = json!([word]);
        body
    };
    let first = gateway(&[("python", &python)], &[]).await;
    let run = begin(&first, &body()).await.unwrap();
    let mut viewer = join(&first, &run).await.unwrap();
    viewer.until_printed("ready").await.unwrap();
    is_there(&word).await.unwrap();
    first.abandon();
    is_gone(&word).await.unwrap();
    slots_are_free(&python).await.unwrap();
    // One that drains tells its viewers, and stops what waits for people.
    let second = gateway(&[("python", &python)], &[]).await;
    let run = begin(&second, &body()).await.unwrap();
    let mut viewer = join(&second, &run).await.unwrap();
    viewer.until_printed("ready").await.unwrap();
    second.signal(rustix::process::Signal::TERM);
    assert_eq!(viewer.rest().await.unwrap(), Some(4503));
    is_gone(&word).await.unwrap();
    drop(second);
    // An executor that is killed is told as the end of its runs.
    let third = gateway(&[("python", &python)], &[]).await;
    let run = begin(&third, &body()).await.unwrap();
    let mut viewer = join(&third, &run).await.unwrap();
    viewer.until_printed("ready").await.unwrap();
    python.abandon();
    let exit = viewer.until("exit").await.unwrap();
    assert_eq!(
        (&exit["report"], &exit["problem"]["code"]),
        (&json!(null), &json!("executor_lost"))
    );
    assert_eq!(viewer.rest().await.unwrap(), Some(1000));
    is_gone(&word).await.unwrap();
    drop(third);
}
