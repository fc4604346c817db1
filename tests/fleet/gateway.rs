//! One door to the fleet: routing, what it says of itself, and languages that come and go.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Server, ServerBuilder, client};

use crate::checks::{Checks, eventually, same, short};
use crate::faults::gateway;
use crate::language::language;
use crate::languages::start;
use crate::target::{Answer, Target, get, whole};
use crate::{contract, endings, output, programs, validation};

const PATIENCE: Duration = Duration::from_secs(30);

/// Every path that the gateway must document.
const PATHS: [&str; 58] = [
    "/v1/execute",
    "/v1/validate",
    "/v1/runs",
    "/v1/runs/{id}",
    "/v1/runs/{id}/events",
    "/v1/runs/{id}/ws",
    "/v1/jobs",
    "/v1/jobs/{id}",
    "/v1/jobs/{id}/events",
    "/v1/jobs/{id}/redrive",
    "/v1/queue",
    "/v1/callbacks",
    "/v1/rooms",
    "/v1/rooms/{id}",
    "/v1/rooms/{id}/languages",
    "/v1/rooms/{id}/tickets",
    "/v1/rooms/{id}/invitations",
    "/v1/rooms/{id}/invitations/{invitationId}",
    "/v1/rooms/{id}/runs",
    "/v1/rooms/{id}/runs/{runId}",
    "/v1/snippets",
    "/v1/snippets/{id}",
    "/collab/{roomId}",
    "/v1/worker/register",
    "/v1/worker/poll",
    "/v1/worker/beat",
    "/v1/worker/complete",
    "/v1/worker/fail",
    "/v1/worker/release",
    "/v1/worker/leave",
    "/v1/workers",
    "/v1/workers/{id}/drain",
    "/v1/workers/{id}/resume",
    "/api/execute",
    "/api/status/{jobId}",
    "/dialects/message-queue/tasks",
    "/dialects/message-queue/results",
    "/dialects/message-queue/results/{id}",
    "/dialects/message-queue/heartbeat",
    "/dialects/message-queue/vms",
    "/dialects/message-queue/status",
    "/dialects/message-queue/health",
    "/dialects/queue-service/tasks",
    "/dialects/queue-service/tasks/next",
    "/dialects/queue-service/tasks/{eval_id}",
    "/dialects/queue-service/tasks/{eval_id}/complete",
    "/dialects/queue-service/tasks/{eval_id}/fail",
    "/dialects/queue-service/status",
    "/dialects/queue-service/health",
    "/v1/fleet",
    "/v1/languages",
    "/v1/languages/{language}",
    "/health",
    "/health/live",
    "/health/ready",
    "/api/microservices/health",
    "/api/microservices/info/{language}",
    "/metrics",
];

#[tokio::test]
async fn a_gateway_is_its_executors_and_one_door() {
    let slots = [("EXECUTOR_SLOTS", "2")];
    let (Some(python), Some(cpp)) = (start("python", &slots).await, start("cpp", &slots).await)
    else {
        return;
    };
    let gateway = gateway(&[("python", &python), ("cpp", &cpp)], &[]).await;
    let through = ["python", "cpp"].map(|id| (language(id), Target::gateway(&gateway, id)));
    let mut checks = Checks::default();
    for (language, target) in &through {
        checks.extend(contract::checks(language, target));
        checks.extend(programs::checks(language, target));
        checks.extend(output::checks(language, target));
        checks.extend(endings::checks(language, target));
        checks.extend(validation::checks(language, target));
    }
    checks.add("a language is found by its name or an alias, in any case", aliases(&gateway));
    checks.add("the languages are those of live executors", languages(&gateway));
    checks.add("health is that of every executor", health(&gateway));
    checks.add("the original paths of the fleet answer", microservices(&gateway));
    checks.add("metrics end as OpenMetrics do", metrics([&gateway, &python, &cpp]));
    checks.add("every path is documented", openapi(&gateway));
    checks.add("the page loads nothing from elsewhere", page(&gateway));
    checks.add("an executor says what it is", info(&python));
    checks.make("gateway", 4).await;
    drop(gateway);
}

async fn aliases(gateway: &Server) -> Result<()> {
    for (name, id) in [
        ("python", "python"),
        ("py", "python"),
        ("PYTHON", "python"),
        ("c++", "cpp"),
        ("Cpp", "cpp"),
    ] {
        let request = language(id).tool_with(&["nothing"], json!({"language": name}));
        let report = Target::gateway(gateway, id).run(&request).await?;
        same("the language", &report["language"], &json!(id))?;
    }
    let without = Target::gateway(gateway, "python");
    let body = json!({"code": "print(1)"}).to_string();
    without.post("/execute", &body, &[]).await.refuses(&["/language"])
}

async fn languages(gateway: &Server) -> Result<()> {
    let list = get(gateway, "/v1/languages").await;
    let listed = list.body["languages"].as_array().cloned().unwrap_or_default();
    let ids: Vec<&str> = listed.iter().filter_map(|it| it["id"].as_str()).collect();
    same("the languages", &ids, &vec!["cpp", "python"])?;
    for language in &listed {
        ensure!(language["available"] == true && language["slots"] == 2, "{language}");
        ensure!(language["versions"][0].is_string() && language["entry"].is_string(), "{language}");
        ensure!(language["syntax"]["keywords"][0].is_string(), "how it looks is not told");
        ensure!(language["examples"][0]["files"][0]["path"].is_string(), "it has no examples");
        let example = json!({"language": language["id"], "code": language["example"]});
        let report = Target::gateway(gateway, "").run(&example).await?;
        ensure!(report["status"] == "success", "the example fails: {}", short(&report));
    }
    let one = get(gateway, "/v1/languages/c%2B%2B").await;
    same("the language of an alias", &one.body["id"], &json!("cpp"))?;
    get(gateway, "/v1/languages/cobol").await.is_problem(404, "unknown_language")
}

async fn health(gateway: &Server) -> Result<()> {
    let health = get(gateway, "/health").await;
    same("the status", &health.body["status"], &json!("pass"))?;
    let kind = health.header("content-type");
    ensure!(kind.starts_with("application/health+json"), "the content type is {kind}");
    let executors = health.body["executors"].as_array().cloned().unwrap_or_default();
    same("the executors", &executors.len(), &2)?;
    for line in &executors {
        ensure!(line["status"] == "pass" && line["slots"] == 2, "{line}");
        ensure!(line["latencyMs"].is_f64() && line["since"].is_string(), "{line}");
        ensure!(line["isolation"].is_string(), "{line}");
    }
    for path in ["/health/live", "/health/ready"] {
        same(path, &get(gateway, path).await.status, &200)?;
    }
    Ok(())
}

async fn microservices(gateway: &Server) -> Result<()> {
    let health = get(gateway, "/api/microservices/health").await.body;
    same("the status", &health["status"], &json!("healthy"))?;
    ensure!(health["timestamp"].is_string(), "{health}");
    for name in ["python", "cpp"] {
        let service = &health["services"][name];
        ensure!(service["status"] == "healthy" && service["responseTime"].is_f64(), "{health}");
        let info = get(gateway, &format!("/api/microservices/info/{name}")).await.body;
        ensure!(info["language"] == name && info["status"] == "healthy", "{}", short(&info));
    }
    let unknown = get(gateway, "/api/microservices/info/cobol").await;
    unknown.is_problem(404, "unknown_language")
}

async fn metrics(servers: [&Server; 3]) -> Result<()> {
    for server in servers {
        let answer = get(server, "/metrics").await;
        let kind = answer.header("content-type");
        ensure!(kind.starts_with("application/openmetrics-text"), "the content type is {kind}");
        let text = answer.body.as_str().unwrap_or_default().to_owned();
        ensure!(text.ends_with("# EOF\n"), "the end is {:?}", text.get(text.len() - 20..));
        ensure!(text.contains("# TYPE "), "nothing is measured: {text}");
    }
    Ok(())
}

async fn openapi(gateway: &Server) -> Result<()> {
    let document = get(gateway, "/openapi.json").await.body;
    ensure!(document["openapi"].as_str().is_some_and(|it| it.starts_with("3.")), "no OpenAPI");
    for path in PATHS {
        let operations = &document["paths"][path];
        ensure!(operations.is_object(), "`{path}` is not documented");
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let answers = &operation["responses"];
            let is_told =
                ["101", "200", "201", "202", "204"].iter().any(|it| answers[it].is_object());
            ensure!(is_told, "{method} {path} has no answer");
        }
    }
    Ok(())
}

async fn page(gateway: &Server) -> Result<()> {
    for path in ["/docs", "/"] {
        let answer = get(gateway, path).await;
        same(path, &answer.status, &200)?;
        let text = answer.body.as_str().unwrap_or_default().to_owned();
        ensure!(text.contains("<html") && !text.contains("//cdn"), "it is no page: {text}");
        let policy = answer.header("content-security-policy");
        ensure!(policy.contains("default-src 'none'"), "the policy is {policy:?}");
        for part in text.split(['"', '\'']).filter(|it| it.contains("://")) {
            ensure!(part.starts_with("http://127.0.0.1"), "it names {part}");
        }
        for asset in text.split("src=\"").skip(1).filter_map(|it| it.split('"').next()) {
            let asset = format!("/{}", asset.trim_start_matches('/'));
            same(&asset, &get(gateway, &asset).await.status, &200)?;
        }
    }
    Ok(())
}

async fn info(executor: &Server) -> Result<()> {
    let info = get(executor, "/info").await.body;
    same("the language", &info["language"], &json!("python"))?;
    same("the samples that failed", &info["samples"]["failed"], &json!(0))?;
    ensure!(info["samples"]["passed"].as_u64() > Some(0), "no sample ran");
    same("the slots", &info["slots"], &json!(2))?;
    let guarantees = info["isolation"]["guarantees"].as_array().cloned().unwrap_or_default();
    ensure!(!guarantees.is_empty(), "no guarantee is told");
    for guarantee in guarantees {
        let strength = guarantee["strength"].as_str().unwrap_or_default();
        ensure!(["enforced", "watched", "none"].contains(&strength), "{guarantee}");
        ensure!(guarantee["mechanism"].is_string() && guarantee["name"].is_string(), "{guarantee}");
    }
    let head = whole(client().head(executor.url("/health"))).await;
    same("HEAD /health", &head.status, &200)
}

#[tokio::test]
async fn a_language_that_is_gone_is_missed_alone_and_comes_back() {
    let (Some(python), Some(mut cpp)) = (start("python", &[]).await, start("cpp", &[]).await)
    else {
        return;
    };
    let gateway = gateway(&[("python", &python), ("cpp", &cpp)], &[]).await;
    let targets = ["python", "cpp"].map(|id| Target::gateway(&gateway, id));
    let requests = ["python", "cpp"].map(|id| language(id).tool(&["nothing"]));
    let works = async |index: usize| {
        targets[index].run(&requests[index]).await.is_ok_and(|it| it["output"] == "ok\n")
    };
    assert!(works(0).await && works(1).await);
    cpp.signal(Signal::KILL);
    cpp.wait();
    // Right after its end it may still be tried, and that is told, too.
    let first = targets[1].execute(&requests[1]).await;
    assert!(is_down(&first), "{} {}", first.status, short(&first.body));
    let is_missed = async || {
        let answer = targets[1].execute(&requests[1]).await;
        answer.is_problem(503, "no_live_executor").is_ok()
            && !answer.header("retry-after").is_empty()
    };
    eventually("it is missed", PATIENCE, is_missed).await.unwrap();
    assert!(works(0).await, "the other language stopped");
    let health = get(&gateway, "/health").await;
    assert_eq!((health.status, &health.body["status"]), (200, &json!("warn")));
    assert_eq!(get(&gateway, "/health/ready").await.status, 200);
    let services = get(&gateway, "/api/microservices/health").await.body;
    assert_eq!(services["status"], "degraded");
    assert_eq!(services["services"]["cpp"]["status"], "unhealthy");
    let listed = get(&gateway, "/v1/languages/cpp").await.body;
    assert_eq!(listed["available"], false, "{listed}");
    let port = cpp.port().to_string();
    let again = ServerBuilder::new("executor-cpp").set("PORT", &port).spawn();
    eventually("it is back", PATIENCE, async || works(1).await).await.unwrap();
    let passes = async || get(&gateway, "/health").await.body["status"] == "pass";
    eventually("health passes", PATIENCE, passes).await.unwrap();
    drop(gateway);
    drop(again);
}

/// Whether a client is told that there is nobody now, and when to try again.
fn is_down(answer: &Answer) -> bool {
    let code = &answer.body["code"];
    let unreachable = answer.status == 502 && *code == "executor_unreachable";
    let none = answer.status == 503 && *code == "no_live_executor";
    (unreachable || none) && !answer.header("retry-after").is_empty()
}

#[tokio::test]
async fn a_gateway_without_executors_says_so() {
    let gateway = ServerBuilder::new("gateway").spawn();
    let live = async || {
        client().get(gateway.url("/health/live")).send().await.is_ok_and(|it| it.status() == 200)
    };
    eventually("it lives", PATIENCE, live).await.unwrap();
    let health = get(&gateway, "/health").await;
    assert_eq!((health.status, &health.body["status"]), (503, &json!("fail")));
    let none = Target::gateway(&gateway, "python").execute(&json!({"code": "1"})).await;
    none.is_problem(503, "no_live_executor").unwrap();
    let empty = get(&gateway, "/v1/languages").await.body;
    assert_eq!(empty["languages"], Value::Array(Vec::new()));
}
