//! The real gateway in front of small executors that misbehave in every way they can.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what a test expects and does not find is its failure"
)]

mod support;

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use gateway::Settings;
use support::{Act, Executor, PATIENCE, TestGateway, json_of, settings, submission};

const KEY: &str = "0123456789abcdef";

async fn check_problem(answer: reqwest::Response, status: StatusCode, code: &str) -> Value {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body = json_of(answer).await;
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["status"], status.as_u16());
    assert_eq!(body["requestId"], id);
    body
}

/// One executor that acts so, and a gateway that has seen it live.
async fn fleet(act: Act) -> (Executor, TestGateway) {
    let executor = Executor::start("alpha", act).await;
    let gateway = TestGateway::start(settings(), &[("ALPHA", &executor.url())]).await;
    gateway.until_live(1).await;
    (executor, gateway)
}

#[actix_web::test]
async fn a_run_passes_both_ways_unchanged() {
    let (executor, gateway) = fleet(Act::Answer).await;
    let body = "{ \"language\": \"alpha-alias\",  \"code\": \"x\" }";
    let request = gateway.post("/v1/execute").header("x-request-id", "my-id").body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(answer.headers()["x-request-id"], "my-id");
    assert_eq!(answer.text().await.unwrap(), support::REPORT);
    let seen = executor.last_request();
    assert!(seen.starts_with("POST /execute "), "{seen}");
    assert!(seen.ends_with(body), "{seen}");
    for header in ["x-request-id: my-id", "traceparent: 00-", "x-deadline-ms: "] {
        assert!(seen.contains(header), "{header} in {seen}");
    }
    let answer = gateway.post("/v1/validate").body(submission()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(executor.last_request().starts_with("POST /validate "));
}

#[actix_web::test]
async fn the_shared_token_goes_to_executors_and_the_callers_key_does_not() {
    let executor = Executor::start("alpha", Act::Answer).await;
    let settings = Settings {
        keys: Some(SecretString::from(format!("alice:{KEY}"))),
        executor_token: Some(SecretString::from("fleet-token")),
        ..settings()
    };
    let gateway = TestGateway::start(settings, &[("ALPHA", &executor.url())]).await;
    gateway.until_live(1).await;
    let request = gateway.post("/v1/execute").bearer_auth(KEY).body(submission());
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    let seen = executor.last_request();
    assert!(seen.contains("authorization: Bearer fleet-token") && !seen.contains(KEY), "{seen}");
}

#[actix_web::test]
async fn what_is_wrong_with_a_body_is_told() {
    let (_executor, gateway) = fleet(Act::Answer).await;
    let send = |body: String| gateway.post("/v1/execute").body(body).send();
    let answer = send("{".to_owned()).await.unwrap();
    check_problem(answer, StatusCode::BAD_REQUEST, "not_json").await;
    let wrong = json!({"code": "", "timeout": 0, "nonsense": 1}).to_string();
    let answer = send(wrong).await.unwrap();
    let body = check_problem(answer, StatusCode::UNPROCESSABLE_ENTITY, "invalid_request").await;
    let pointers: Vec<&str> = body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/language", "/code", "/timeout", "/nonsense"]);
    let code = "x".repeat(60_000);
    let answer = send(json!({"language": "alpha", "code": code}).to_string()).await.unwrap();
    check_problem(answer, StatusCode::PAYLOAD_TOO_LARGE, "too_large").await;
    let huge = json!({"language": "alpha", "code": "x", "inputData": "x".repeat(40 << 20)});
    let answer = send(huge.to_string()).await.unwrap();
    check_problem(answer, StatusCode::PAYLOAD_TOO_LARGE, "too_large").await;
    let answer = send(json!({"language": "nope", "code": "x"}).to_string()).await.unwrap();
    let body = check_problem(answer, StatusCode::NOT_FOUND, "unknown_language").await;
    assert!(body["detail"].as_str().unwrap().contains("alpha"));
    let request = gateway.post("/v1/execute").header(CONTENT_TYPE, "text/plain");
    let answer = request.body(submission()).send().await.unwrap();
    check_problem(answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type").await;
}

#[actix_web::test]
async fn a_wrong_path_or_method_is_a_problem_too() {
    let gateway = TestGateway::start(settings(), &[]).await;
    for path in ["/nothing", "/v1/nothing", "/v1", "/api/microservices/x", "/health/x"] {
        let answer = gateway.get(path).send().await.unwrap();
        check_problem(answer, StatusCode::NOT_FOUND, "not_found").await;
    }
    for (method, path, allowed) in [
        (Method::GET, "/v1/execute", "POST"),
        (Method::DELETE, "/v1/languages", "GET, HEAD"),
        (Method::POST, "/health", "GET, HEAD"),
    ] {
        let answer = gateway.request(method, path).send().await.unwrap();
        assert_eq!(answer.headers()["allow"], allowed);
        check_problem(answer, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed").await;
    }
}

#[actix_web::test]
async fn only_a_known_key_comes_in() {
    let keys = Some(SecretString::from(format!("alice:{KEY}")));
    let gateway = TestGateway::start(Settings { keys, ..settings() }, &[]).await;
    for path in ["/v1/languages", "/v1/nothing", "/metrics", "/api/microservices/health"] {
        let answer = gateway.get(path).send().await.unwrap();
        assert!(answer.headers().contains_key("www-authenticate"));
        check_problem(answer, StatusCode::UNAUTHORIZED, "unauthorized").await;
        let answer = gateway.get(path).bearer_auth("wrong-0123456789").send().await.unwrap();
        check_problem(answer, StatusCode::UNAUTHORIZED, "unauthorized").await;
    }
    let answer = gateway.get("/v1/languages").header("x-api-key", KEY).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    for path in ["/", "/docs", "/docs.js", "/docs.css", "/openapi.json", "/health/live"] {
        let answer = gateway.get(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
}

#[actix_web::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let settings = Settings { rate_per_minute: 1, rate_burst: 2, ..settings() };
    let gateway = TestGateway::start(settings, &[]).await;
    for remaining in ["1", "0"] {
        let answer = gateway.get("/v1/languages").send().await.unwrap();
        assert_eq!(answer.headers()["ratelimit-limit"], "2");
        assert_eq!(answer.headers()["ratelimit-remaining"], remaining);
        assert!(answer.headers().contains_key("ratelimit-reset"));
    }
    let answer = gateway.get("/v1/languages").send().await.unwrap();
    assert_eq!(answer.headers()["ratelimit-remaining"], "0");
    assert!(answer.headers().contains_key("retry-after"));
    check_problem(answer, StatusCode::TOO_MANY_REQUESTS, "rate_limited").await;
    assert_eq!(gateway.get("/health/live").send().await.unwrap().status(), StatusCode::OK);
}

#[actix_web::test]
async fn a_page_of_an_allowed_origin_may_call() {
    let cors_origins = vec!["https://a.example".to_owned()];
    let gateway = TestGateway::start(Settings { cors_origins, ..settings() }, &[]).await;
    let preflight = |origin: &'static str| {
        gateway
            .request(Method::OPTIONS, "/v1/execute")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .send()
    };
    let answer = preflight("https://a.example").await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://a.example");
    assert!(!answer.headers().contains_key("access-control-allow-credentials"));
    let answer = preflight("https://evil.example").await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[actix_web::test]
async fn a_slow_body_is_not_waited_for() {
    let gateway = TestGateway::start(Settings { body_seconds: 0.2, ..settings() }, &[]).await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let head = "POST /v1/execute HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = support::read_until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
}

#[actix_web::test]
async fn an_executor_that_hangs_is_given_up() {
    let executor = Executor::start("alpha", Act::Hang).await;
    let settings = Settings { allowance_seconds: 0.2, ..settings() };
    let gateway = TestGateway::start(settings, &[("ALPHA", &executor.url())]).await;
    gateway.until_live(1).await;
    let body = json!({"language": "alpha", "code": "x", "timeout": 0.1}).to_string();
    let answer = gateway.post("/v1/execute").body(body).send().await.unwrap();
    check_problem(answer, StatusCode::GATEWAY_TIMEOUT, "executor_timeout").await;
    executor.until_hung_up().await;
}

#[actix_web::test]
async fn garbage_is_never_passed_on() {
    for act in [Act::Html, Act::BrokenJson, Act::Redirect, Act::RefuseToken, Act::UnaskedEvents] {
        let (_executor, gateway) = fleet(act).await;
        let answer = gateway.post("/v1/execute").body(submission()).send().await.unwrap();
        check_problem(answer, StatusCode::BAD_GATEWAY, "bad_executor_answer").await;
    }
    for act in [Act::NotHttp, Act::HangUp, Act::HalfAnswer] {
        let (_executor, gateway) = fleet(act).await;
        let answer = gateway.post("/v1/execute").body(submission()).send().await.unwrap();
        check_problem(answer, StatusCode::BAD_GATEWAY, "executor_lost").await;
    }
}

#[actix_web::test]
async fn an_answer_beyond_its_bound_is_not_passed_on() {
    let executor = Executor::start("alpha", Act::Endless).await;
    let settings = Settings { answer_mb: 1, ..settings() };
    let gateway = TestGateway::start(settings, &[("ALPHA", &executor.url())]).await;
    gateway.until_live(1).await;
    let answer = gateway.post("/v1/execute").body(submission()).send().await.unwrap();
    check_problem(answer, StatusCode::BAD_GATEWAY, "bad_executor_answer").await;
}

#[actix_web::test]
async fn an_executors_own_refusal_passes_and_opens_no_circuit() {
    let (_executor, gateway) = fleet(Act::Overloaded).await;
    for _ in 0..5 {
        let answer = gateway.post("/v1/execute").body(submission()).send().await.unwrap();
        assert_eq!(answer.headers()["retry-after"], "7");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(json_of(answer).await["code"], "full");
    }
    assert_eq!(gateway.health().await["executors"][0]["circuit"], "closed");
}

#[actix_web::test]
async fn bad_answers_open_the_circuit_and_good_ones_close_it() {
    let (executor, gateway) = fleet(Act::Html).await;
    for _ in 0..3 {
        let answer = gateway.post("/v1/execute").body(submission()).send().await.unwrap();
        check_problem(answer, StatusCode::BAD_GATEWAY, "bad_executor_answer").await;
    }
    let answer = gateway.post("/v1/execute").body(submission()).send().await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
    check_problem(answer, StatusCode::SERVICE_UNAVAILABLE, "no_live_executor").await;
    executor.act(Act::Answer);
    gateway.until_live(1).await;
    let answer = gateway.post("/v1/execute").body(submission()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[actix_web::test]
async fn an_executor_that_went_away_comes_back_by_itself() {
    let (executor, gateway) = fleet(Act::Answer).await;
    let port = executor.port();
    executor.stop().await;
    gateway.until_live(0).await;
    assert_eq!(
        gateway.get("/health").send().await.unwrap().status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    let answer = gateway.post("/v1/execute").body(submission()).send().await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
    check_problem(answer, StatusCode::SERVICE_UNAVAILABLE, "no_live_executor").await;
    let languages = json_of(gateway.get("/v1/languages/alpha").send().await.unwrap()).await;
    assert_eq!(languages["available"], false);
    let executor = Executor::start_on("alpha", Act::Answer, port).await;
    gateway.until_live(1).await;
    let answer = gateway.post("/v1/execute").body(submission()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    drop(executor);
}

#[actix_web::test]
async fn a_language_that_only_settings_name_is_not_unknown() {
    let gateway = TestGateway::start(settings(), &[("BETA", "http://127.0.0.1:1")]).await;
    let body = json!({"language": "beta", "code": "x"}).to_string();
    let answer = gateway.post("/v1/execute").body(body).send().await.unwrap();
    check_problem(answer, StatusCode::SERVICE_UNAVAILABLE, "no_live_executor").await;
    let answer = gateway.get("/v1/languages/beta").send().await.unwrap();
    check_problem(answer, StatusCode::SERVICE_UNAVAILABLE, "no_live_executor").await;
    let answer = gateway.get("/v1/languages/gamma").send().await.unwrap();
    check_problem(answer, StatusCode::NOT_FOUND, "unknown_language").await;
}

#[actix_web::test]
async fn a_request_that_was_not_sent_is_tried_at_another_executor() {
    let one = Executor::start("alpha", Act::Answer).await;
    let other = Executor::start("alpha", Act::Answer).await;
    let urls = format!("{},{}", one.url(), other.url());
    // No probe comes between, so the gateway learns from the requests alone.
    let settings = Settings { probe_seconds: 600.0, ..settings() };
    let gateway = TestGateway::start(settings, &[("ALPHA", &urls)]).await;
    gateway.until_live(2).await;
    one.stop().await;
    for _ in 0..8 {
        let answer = gateway.post("/v1/execute").body(submission()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

#[actix_web::test]
async fn events_pass_as_they_come() {
    let (executor, gateway) = fleet(Act::Stream).await;
    let request = gateway.post("/v1/execute").header(ACCEPT, "text/event-stream");
    let mut answer = request.body(submission()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[CONTENT_TYPE], "text/event-stream");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    let first = answer.chunk().await.unwrap().unwrap();
    assert_eq!(first, support::STDOUT_EVENT.as_bytes());
    executor.go_on();
    let rest = answer.text().await.unwrap();
    assert_eq!(rest, support::EXIT_EVENT);
}

#[actix_web::test]
async fn a_stream_that_breaks_ends_with_a_fault() {
    let (_executor, gateway) = fleet(Act::DieMidStream).await;
    let request = gateway.post("/v1/execute").header(ACCEPT, "text/event-stream");
    let answer = request.body(submission()).send().await.unwrap().text().await.unwrap();
    let rest = answer.strip_prefix(support::STDOUT_EVENT).expect("whole events only");
    let data = rest.strip_prefix("event: fault\ndata: ").expect("then the fault").trim();
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!(event["problem"]["code"], "executor_lost");
}

#[actix_web::test]
async fn a_client_that_hangs_up_stops_its_run() {
    for (act, accept) in [(Act::Hang, "application/json"), (Act::Stream, "text/event-stream")] {
        let (executor, gateway) = fleet(act).await;
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        let body = submission();
        let request = format!(
            "POST /v1/execute HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        executor.until_asked().await;
        if accept == "text/event-stream" {
            let mut head = [0; 16];
            stream.read_exact(&mut head).await.unwrap();
        }
        drop(stream);
        executor.until_hung_up().await;
    }
}

#[actix_web::test]
async fn a_drain_lets_a_running_request_finish() {
    let (executor, gateway) = fleet(Act::Stream).await;
    let request = gateway.post("/v1/execute").header(ACCEPT, "text/event-stream");
    let mut answer = request.body(submission()).send().await.unwrap();
    answer.chunk().await.unwrap().unwrap();
    let stopping = gateway.stop();
    executor.go_on();
    assert_eq!(answer.text().await.unwrap(), support::EXIT_EVENT);
    tokio::time::timeout(PATIENCE, stopping).await.expect("it ends once all have finished");
}

#[actix_web::test]
async fn the_fleet_is_shown_in_every_form() {
    let (_executor, gateway) = fleet(Act::Answer).await;
    let answer = gateway.get("/health").send().await.unwrap();
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/health+json");
    let health = json_of(answer).await;
    let line = &health["executors"][0];
    assert_eq!((&health["status"], &line["name"]), (&json!("pass"), &json!("alpha")));
    assert_eq!((&line["isolation"], &line["slots"]), (&json!("separated"), &json!(2)));
    assert!(line["latencyMs"].is_number() && line["since"].as_str().unwrap().ends_with('Z'));
    let json = async |path: &str| json_of(gateway.get(path).send().await.unwrap()).await;
    let languages = json("/v1/languages").await;
    assert_eq!(languages["languages"][0]["id"], "alpha");
    assert_eq!(json("/v1/languages/alpha-alias").await["executors"], 1);
    let services = json("/api/microservices/health").await;
    assert_eq!(services["services"]["alpha"]["status"], "healthy");
    assert_eq!(services["services"]["alpha"]["isolation"], "separated");
    let info = json("/api/microservices/info/alpha-alias").await;
    assert_eq!((&info["service"], &info["language"]), (&json!("alpha"), &json!("alpha")));
    let metrics = gateway.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("gateway_executor_up{executor=\"alpha-1\"} 1"), "{metrics}");
    assert!(metrics.contains("gateway_executor_isolation_level{executor=\"alpha-1\"} 3"));
    let head = gateway.request(Method::HEAD, "/health").send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
}

#[actix_web::test]
async fn every_described_path_is_there_and_the_other_way_round() {
    let gateway = TestGateway::start(settings(), &[]).await;
    let answer = gateway.get("/openapi.json").send().await.unwrap();
    let description = json_of(answer).await;
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 62);
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{language}", "x");
            let answer = gateway.request(method, &path).send().await.unwrap();
            let body = json_of(answer).await;
            assert!(body["code"] != "not_found" && body["code"] != "method_not_allowed", "{path}");
        }
    }
}

#[actix_web::test]
async fn keys_are_read_again_when_their_file_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    std::fs::write(&path, format!("alice:{KEY}\n")).unwrap();
    let settings = Settings { keys_file: Some(path.clone()), ..settings() };
    let gateway = TestGateway::start(settings, &[]).await;
    let status = async |key: &str| {
        let request = gateway.get("/v1/languages").header(AUTHORIZATION, format!("Bearer {key}"));
        request.send().await.unwrap().status()
    };
    assert_eq!(status(KEY).await, StatusCode::OK);
    std::fs::write(&path, "bob:fedcba9876543210\n").unwrap();
    let changed = async {
        while status("fedcba9876543210").await != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, changed).await.expect("the new key is taken");
    assert_eq!(status(KEY).await, StatusCode::UNAUTHORIZED);
}

#[actix_web::test]
async fn what_cannot_work_is_refused_at_the_start() {
    let start = async |settings: Settings, url: &str| {
        let executors = gateway::Executors(vec![("ALPHA".to_owned(), url.to_owned())]);
        let built = gateway::app::build(settings, &executors).await;
        built.map(|_| ()).unwrap_err().to_string()
    };
    let public = Settings { host: "0.0.0.0".to_owned(), ..settings() };
    let error = start(public, "http://127.0.0.1:1").await;
    assert!(error.contains("GATEWAY_KEYS"), "{error}");
    let error = start(settings(), "127.0.0.1:1").await;
    assert!(error.contains("ALPHA_EXECUTOR_URL"), "{error}");
    let taken = TestGateway::start(settings(), &[]).await;
    let port = taken.address().port();
    let error = start(Settings { port, ..settings() }, "http://127.0.0.1:1").await;
    assert!(error.contains(&port.to_string()) && error.contains("GATEWAY_PORT"), "{error}");
}

#[actix_web::test]
async fn a_public_address_with_keys_serves_both_families() {
    let keys = Some(SecretString::from(format!("alice:{KEY}")));
    let settings = Settings { host: "::".to_owned(), keys, ..settings() };
    let Ok(built) = gateway::app::build(settings, &gateway::Executors::default()).await else {
        return; // A machine without IPv6 has nothing to show here.
    };
    let port = built.address().port();
    let gateway = TestGateway::run(built);
    for host in ["127.0.0.1", "[::1]"] {
        let url = format!("http://{host}:{port}/health/live");
        let answer = gateway.client().get(url).timeout(Duration::from_secs(10)).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK, "{host}");
    }
}
