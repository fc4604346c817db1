//! Who may come in, how often, and from which pages.

use std::time::Duration;

use serde_json::json;
use tests::{Server, ServerBuilder, client};

use crate::checks::eventually;
use crate::faults::gateway;
use crate::language::language;
use crate::languages::start;
use crate::target::{Answer, Target, get, whole};

const PATIENCE: Duration = Duration::from_secs(30);

/// Asks for the languages with one header.
async fn languages(gateway: &Server, name: &'static str, value: &str) -> Answer {
    whole(client().get(gateway.url("/v1/languages")).header(name, value)).await
}

#[tokio::test]
async fn keys_come_from_a_file_and_are_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    std::fs::write(&file, "# ours\none:0123456789abcdef\ntwo:fedcba9876543210\n").unwrap();
    let Some(python) = start("python", &[]).await else { return };
    let path = file.to_string_lossy().into_owned();
    let gateway = gateway(&[("python", &python)], &[("GATEWAY_KEYS_FILE", &path)]).await;
    let missing = Target::gateway(&gateway, "python").execute(&json!({"code": "1"})).await;
    missing.is_problem(401, "unauthorized").unwrap();
    assert!(missing.header("www-authenticate").starts_with("Bearer"), "{missing:?}");
    for wrong in
        ["Bearer 0123456789abcdee", "Bearer ", "Basic 0123456789abcdef", "0123456789abcdef"]
    {
        languages(&gateway, "authorization", wrong).await.is_problem(401, "unauthorized").unwrap();
    }
    for right in ["Bearer 0123456789abcdef", "bearer fedcba9876543210"] {
        assert_eq!(languages(&gateway, "authorization", right).await.status, 200, "{right}");
    }
    assert_eq!(languages(&gateway, "x-api-key", "fedcba9876543210").await.status, 200);
    for open in ["/health", "/health/live", "/health/ready", "/openapi.json", "/docs"] {
        assert_eq!(get(&gateway, open).await.status, 200, "{open}");
    }
    for closed in ["/metrics", "/v1/languages", "/api/microservices/health"] {
        get(&gateway, closed).await.is_problem(401, "unauthorized").unwrap();
    }
    std::fs::write(&file, "three:00112233445566778899\n").unwrap();
    let is_new = async || {
        languages(&gateway, "x-api-key", "00112233445566778899").await.status == 200
            && languages(&gateway, "x-api-key", "0123456789abcdef").await.status == 401
    };
    eventually("the new key counts, the old one does not", PATIENCE, is_new).await.unwrap();
    assert!(!gateway.log().contains("00112233445566778899"), "a key is in the log");
    drop(gateway);
}

#[tokio::test]
async fn a_rate_is_told_and_kept() {
    let Some(python) = start("python", &[]).await else { return };
    let settings = [("GATEWAY_RATE_PER_MINUTE", "6"), ("GATEWAY_RATE_BURST", "3")];
    let gateway = gateway(&[("python", &python)], &settings).await;
    for left in [2, 1, 0] {
        let answer = get(&gateway, "/v1/languages").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-remaining"), left.to_string());
        assert!(!answer.header("ratelimit-limit").is_empty(), "{answer:?}");
        assert!(!answer.header("ratelimit-reset").is_empty(), "{answer:?}");
    }
    let refused = get(&gateway, "/v1/languages").await;
    refused.is_problem(429, "rate_limited").unwrap();
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=10).contains(&seconds), "Retry-After is {seconds}");
    assert_eq!(get(&gateway, "/health").await.status, 200, "health is not limited");
    drop(gateway);
}

#[tokio::test]
async fn pages_of_other_origins_may_call_if_settings_say_so() {
    let Some(python) = start("python", &[]).await else { return };
    let settings = [("GATEWAY_CORS_ORIGINS", "https://one.example,https://two.example")];
    let open = gateway(&[("python", &python)], &settings).await;
    let allowed = "access-control-allow-origin";
    let one = languages(&open, "origin", "https://one.example").await;
    assert_eq!((one.status, one.header(allowed)), (200, "https://one.example"));
    assert!(one.header("vary").to_lowercase().contains("origin"), "{one:?}");
    let preflight = |origin: &'static str| {
        let request = client().request(reqwest::Method::OPTIONS, open.url("/v1/execute"));
        whole(request.header("origin", origin).header("access-control-request-method", "POST"))
    };
    let granted = preflight("https://two.example").await;
    assert_eq!((granted.status, granted.header(allowed)), (204, "https://two.example"));
    assert!(granted.header("access-control-allow-methods").contains("POST"));
    assert!(granted.header("access-control-allow-headers").contains("content-type"));
    for refused in ["https://three.example", "https://one.example.evil", "null"] {
        assert_eq!(preflight(refused).await.header(allowed), "", "{refused}");
        assert_eq!(languages(&open, "origin", refused).await.header(allowed), "", "{refused}");
    }
    let closed = gateway(&[("python", &python)], &[]).await;
    assert_eq!(languages(&closed, "origin", "https://one.example").await.header(allowed), "");
    drop((open, closed));
}

#[tokio::test]
async fn the_fleets_token_is_asked_for_and_sent() {
    let Some(python) = start("python", &[("EXECUTOR_TOKEN", "of-the-fleet")]).await else { return };
    let ok = language("python").tool(&["nothing"]);
    let direct = Target::executor(&python);
    let missing = direct.execute(&ok).await;
    missing.is_problem(401, "unauthorized").unwrap();
    assert!(missing.header("www-authenticate").starts_with("Bearer"), "{missing:?}");
    get(&python, "/info").await.is_problem(401, "unauthorized").unwrap();
    assert_eq!(get(&python, "/health").await.status, 200);
    let settings = [("GATEWAY_EXECUTOR_TOKEN", "of-the-fleet")];
    let right = gateway(&[("python", &python)], &settings).await;
    let report = Target::gateway(&right, "python").run(&ok).await.unwrap();
    assert_eq!(report["output"], "ok\n");
    let wrong = ServerBuilder::new("gateway")
        .set("PYTHON_EXECUTOR_URL", &python.url(""))
        .set("GATEWAY_EXECUTOR_TOKEN", "of-another")
        .spawn();
    let live = async || {
        client().get(wrong.url("/health/live")).send().await.is_ok_and(|it| it.status() == 200)
    };
    eventually("it lives", PATIENCE, live).await.unwrap();
    let refused = Target::gateway(&wrong, "python").execute(&ok).await;
    assert!([502, 503].contains(&refused.status), "{refused:?}");
    assert!(!refused.body.to_string().contains("of-another"), "the token is told");
    drop((right, wrong));
}

#[tokio::test]
async fn nothing_listens_beyond_loopback_without_a_key() {
    for (name, host, wanted) in [
        ("gateway", "GATEWAY_HOST", "GATEWAY_KEYS"),
        ("executor-python", "EXECUTOR_HOST", "EXECUTOR_TOKEN"),
    ] {
        for address in ["0.0.0.0", "::"] {
            let ended = ServerBuilder::new(name).set(host, address).try_start().await;
            let log = ended.map(drop).unwrap_err();
            assert!(log.contains(wanted), "{name} on {address}: {log}");
        }
    }
}
