//! The console: how it is served, its own checks, and what it does in a real browser in front of a
//! fleet that runs.

use std::collections::HashSet;

use serde_json::{Value, json};
use tests::{Server, ServerBuilder, client};

use crate::browsers::{conduct, has, node, packages, skip, told};
use crate::faults::gateway;
use crate::language::LANGUAGES;
use crate::languages::start;
use crate::page_programs::programs;

const KEY: &str = "console-0123456789abcdef";
/// What a browser says that it takes.
const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// A path with what is said of the client; status, headers in lower case, and text.
async fn ask(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, Vec<String>, Vec<u8>) {
    let mut request = client().get(server.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let told = answer.headers().iter();
    let told = told.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    (answer.status().as_u16(), told, answer.bytes().await.unwrap().to_vec())
}

fn value<'a>(headers: &'a [String], name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    headers.iter().find_map(|it| it.strip_prefix(&prefix)).unwrap_or_default()
}

#[tokio::test]
async fn the_page_is_served_once_and_never_in_place_of_the_api() {
    let Some(python) = start("python", &[]).await else { return };
    let gateway = gateway(&[("python", &python)], &[]).await;
    let (status, headers, page) = ask(&gateway, "/", &[("accept", HTML)]).await;
    assert_eq!(status, 200);
    let policy = value(&headers, "content-security-policy");
    for part in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(value(&headers, "x-content-type-options"), "nosniff");
    assert_eq!(value(&headers, "referrer-policy"), "no-referrer");
    assert_eq!(value(&headers, "cache-control"), "no-cache");
    let tag = value(&headers, "etag");
    assert!(tag.starts_with('"'), "no strong tag: {tag}");
    let (again, _, nothing) = ask(&gateway, "/", &[("if-none-match", tag)]).await;
    assert_eq!((again, nothing.len()), (304, 0));

    let page = String::from_utf8(page).unwrap();
    let assets: Vec<&str> = page.split('"').filter(|it| it.starts_with("/assets/")).collect();
    assert!(assets.len() >= 3, "the page names few files, so it was not built: {page}");
    for asset in assets {
        let (status, headers, plain) = ask(&gateway, asset, &[]).await;
        assert_eq!(status, 200, "{asset}");
        let kept = value(&headers, "cache-control");
        assert_eq!(kept, "public, max-age=31536000, immutable", "{asset}");
        // Of what a browser takes it gets the smallest, and each is another thing to keep.
        let mut tags = HashSet::from([value(&headers, "etag").to_owned()]);
        for (accepted, expected) in [("gzip, br", "br"), ("gzip, deflate", "gzip")] {
            let asked = [("accept-encoding", accepted)];
            let (_, packed_headers, packed) = ask(&gateway, asset, &asked).await;
            if plain.len() > 2048 {
                assert_eq!(value(&packed_headers, "content-encoding"), expected, "{asset}");
                assert_eq!(value(&packed_headers, "vary"), "accept-encoding", "{asset}");
                assert!(packed.len() * 2 < plain.len(), "{asset} with {accepted}");
                assert!(tags.insert(value(&packed_headers, "etag").to_owned()), "{asset}");
            }
        }
    }

    for place in ["/play", "/jobs/some-id"] {
        let (status, _, found) = ask(&gateway, place, &[("accept", HTML)]).await;
        assert_eq!((status, found == page.as_bytes()), (200, true), "{place}");
        let (status, headers, _) = ask(&gateway, place, &[("accept", "*/*")]).await;
        let kind = value(&headers, "content-type");
        assert_eq!((status, kind), (404, "application/problem+json"), "{place}");
    }
    for path in ["/v1/nothing", "/api/nothing", "/dialects/x", "/assets/no.js", "/health/x"] {
        let (status, headers, _) = ask(&gateway, path, &[("accept", HTML)]).await;
        let kind = value(&headers, "content-type");
        assert_eq!((status, kind), (404, "application/problem+json"), "{path}");
    }
}

#[tokio::test]
async fn the_fleet_is_told_to_machines_and_to_strangers_only_where_that_is_wanted() {
    let Some(python) = start("python", &[]).await else { return };
    let keys = format!("ada:{KEY}");
    let closed = gateway(&[("python", &python)], &[("GATEWAY_KEYS", &keys)]).await;
    let (status, ..) = ask(&closed, "/v1/fleet", &[]).await;
    assert_eq!(status, 401);
    let settings = [("GATEWAY_KEYS", keys.as_str()), ("GATEWAY_CONSOLE_PUBLIC", "true")];
    let open = gateway(&[("python", &python)], &settings).await;
    let (status, ..) = ask(&open, "/v1/languages", &[]).await;
    assert_eq!(status, 401, "only the fleet is public");

    let key = format!("Bearer {KEY}");
    let submission = json!({"language": "python", "code": "print(1)"}).to_string();
    for accept in ["application/json", "text/event-stream"] {
        let run = client().post(open.url("/v1/execute")).body(submission.clone());
        let run = run.header("content-type", "application/json").header("accept", accept);
        let answer = run.header("authorization", &key).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        // The run is over once its answer is.
        answer.bytes().await.unwrap();
    }
    let (status, headers, body) = ask(&open, "/v1/fleet?window=10m&points=true", &[]).await;
    assert_eq!(status, 200);
    assert!(value(&headers, "etag").starts_with('"'));
    let fleet: Value = serde_json::from_slice(&body).unwrap();
    let executor = &fleet["executors"][0];
    assert_eq!(executor["label"], "python-1");
    assert_eq!(executor["history"]["statuses"], json!([{"status": "success", "count": 2}]));
    assert!(executor["history"]["latencyMs"]["p50"].as_f64() > Some(0.0), "{executor}");
    let runs = executor["history"]["points"].as_array().unwrap().iter();
    assert_eq!(runs.filter_map(|it| it["runs"].as_u64()).sum::<u64>(), 2);
    assert_eq!(executor["info"]["version"], fleet["gateway"]["version"]);
    assert!(!executor["info"]["isolation"]["guarantees"].as_array().unwrap().is_empty());
    let text = String::from_utf8(body).unwrap();
    assert!(!text.contains(&python.url("")) && !text.contains("127.0.0.1"), "it tells addresses");

    assert_eq!(executor["info"]["notes"], json!([]), "strangers are told what is an operator's");
    let (status, _, body) = ask(&open, "/v1/fleet?window=1y", &[]).await;
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/window")));
}

#[tokio::test]
async fn the_pages_own_checks_pass() {
    let Some(folder) = packages() else { return };
    for (what, arguments) in [
        ("node_modules/typescript/bin/tsc", &["--noEmit"][..]),
        ("node_modules/vitest/vitest.mjs", &["run"][..]),
    ] {
        let output = node(&folder).arg(what).args(arguments).output().unwrap();
        assert!(output.status.success(), "{what}:\n{}", told(&output));
    }
}

#[tokio::test]
async fn the_console_works_in_a_browser() {
    let Some(folder) = packages() else { return };
    if !has("chromium", "--version") {
        return skip("chromium");
    }
    let Some(python) = start("python", &[]).await else { return };
    let mut fleet = vec![("python", &python)];
    // A second language, where there is one, has a draft of its own.
    let javascript = start("javascript", &[]).await;
    fleet.extend(javascript.as_ref().map(|it| ("javascript", it)));
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let keys = format!("ada:{KEY}");
    let plain = gateway(&fleet, &[("GATEWAY_STORE_URL", &store)]).await;
    let keyed = gateway(&fleet, &[("GATEWAY_KEYS", &keys)]).await;
    let settings = [("GATEWAY_KEYS", keys.as_str()), ("GATEWAY_CONSOLE_PUBLIC", "true")];
    let public = gateway(&fleet, &settings).await;
    let mut command = node(&folder);
    command
        .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .args(["tests/browser/fleet.mjs", "tests/browser/play.mjs", "tests/browser/suite.mjs"])
        .env("FLOTILLA_URL", plain.url(""))
        .env("FLOTILLA_KEYED", keyed.url(""))
        .env("FLOTILLA_PUBLIC", public.url(""))
        .env("FLOTILLA_KEY", KEY)
        .env("FLOTILLA_PROGRAMS", programs().to_string());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}\n{}", told(&output), plain.log());
}

#[tokio::test]
async fn programs_talk_in_a_browser() {
    let Some(folder) = packages() else { return };
    if !has("chromium", "--version") {
        return skip("chromium");
    }
    let names = tests::executors();
    let servers = futures::future::join_all(names.iter().map(|it| start(it, &[]))).await;
    let fleet =
        names.iter().zip(&servers).filter_map(|(name, it)| Some((name.as_str(), it.as_ref()?)));
    let fleet: Vec<_> = fleet.collect();
    if fleet.iter().all(|(name, _)| *name != "python") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let gateway = gateway(&fleet, &[("GATEWAY_STORE_URL", &store)]).await;
    // Where every toolchain must be there, so must every language.
    let is_whole = std::env::var("REQUIRE_RUNTIMES").is_ok();
    let required: Vec<&str> = LANGUAGES.iter().filter(|_| is_whole).map(|it| it.id).collect();
    let mut command = node(&folder);
    command
        .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .args(["tests/browser/languages.mjs", "tests/browser/runs.mjs"])
        .env("FLOTILLA_URL", gateway.url(""))
        .env("FLOTILLA_LANGUAGES", required.join(" "))
        .env("FLOTILLA_PROGRAMS", programs().to_string());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}\n{}", told(&output), gateway.log());
}

#[tokio::test]
async fn an_open_page_lives_through_the_end_of_a_gateway_and_of_an_executor() {
    let Some(folder) = packages() else { return };
    if !has("chromium", "--version") {
        return skip("chromium");
    }
    // Whether there is one at all; this one has a port that somebody else may be given later.
    if start("python", &[]).await.is_none() {
        return;
    }
    let (at, behind) = (tests::lasting_port(), tests::lasting_port());
    let url = format!("http://127.0.0.1:{behind}");
    let executor = || ServerBuilder::new("executor-python").at(behind);
    let front = || {
        let builder = ServerBuilder::new("gateway").at(at).set("PYTHON_EXECUTOR_URL", &url);
        builder.set("GATEWAY_PROBE_SECONDS", "0.2").set("GATEWAY_DRAIN_SECONDS", "5")
    };
    let python = executor().start().await;
    let gateway = front().start().await;
    let mut command = node(&folder);
    command
        .args(["--test-reporter=spec", "tests/browser/ends.mjs"])
        .env("FLOTILLA_URL", gateway.url(""))
        .env("FLOTILLA_PROGRAMS", programs().to_string());
    let (mut gateway, mut python) = (Some(gateway), Some(python));
    conduct(command, async |wish| match wish {
        "end the gateway" => drop(gateway.take()),
        "kill the gateway" => gateway.take().unwrap().abandon(),
        "start the gateway" => gateway = Some(front().start().await),
        "kill the executor" => python.take().unwrap().abandon(),
        "start the executor" => python = Some(executor().start().await),
        other => panic!("nobody can {other}"),
    })
    .await;
}

#[tokio::test]
async fn several_people_are_in_a_room() {
    let Some(folder) = packages() else { return };
    if !has("chromium", "--version") {
        return skip("chromium");
    }
    let Some(python) = start("python", &[]).await else { return };
    let fleet = [("python", &python)];
    let directory = tempfile::tempdir().unwrap();
    let store = |name| format!("sqlite:{}", directory.path().join(name).display());
    let (plain_store, keyed_store) = (store("plain.db"), store("keyed.db"));
    let keys = format!("ada:{KEY}");
    let settings = [("GATEWAY_KEYS", keys.as_str()), ("GATEWAY_STORE_URL", &keyed_store)];
    let keyed = gateway(&fleet, &settings).await;
    let (at, url) = (tests::lasting_port(), python.url(""));
    let front = || {
        let builder = ServerBuilder::new("gateway").at(at).set("PYTHON_EXECUTOR_URL", &url);
        let builder = builder.set("GATEWAY_STORE_URL", &plain_store);
        builder.set("GATEWAY_PROBE_SECONDS", "0.2").set("GATEWAY_DRAIN_SECONDS", "5")
    };
    let plain = front().start().await;
    let mut command = node(&folder);
    command
        .args(["--test-reporter=spec", "tests/browser/rooms.mjs"])
        .env("FLOTILLA_URL", plain.url(""))
        .env("FLOTILLA_KEYED", keyed.url(""))
        .env("FLOTILLA_KEY", KEY)
        .env("FLOTILLA_PROGRAMS", programs().to_string());
    let mut plain = Some(plain);
    conduct(command, async |wish| match wish {
        "end the gateway" => drop(plain.take()),
        "start the gateway" => plain = Some(front().start().await),
        other => panic!("nobody can {other}"),
    })
    .await;
}
