//! Workers, which only call out: their jobs are run once, told of once, and never lost, whoever is
//! killed, stopped or cut off meanwhile.

use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Server, answering, client, lonely};

use crate::checks::eventually;
use crate::connections::is_running;
use crate::jobs::{ended, program, started, submitted};
use crate::languages::start;
use crate::target::{get, whole};

const PATIENCE: Duration = Duration::from_mins(1);

/// A worker of `gateway`, once that has heard of it.
pub(crate) async fn worker(
    gateway: &Server,
    name: &str,
    settings: &[(&str, &str)],
) -> Option<Server> {
    let url = gateway.url("");
    let own = [("EXECUTOR_PULL_URL", url.as_str()), ("EXECUTOR_WORKER_NAME", name)];
    let worker = start("python", &[&own, settings].concat()).await?;
    registered(gateway, name).await.unwrap_or_else(|error| panic!("{error}:\n{}", worker.log()));
    Some(worker)
}

/// Waits until a gateway has heard of a worker. One that started anew may have been told the result
/// of a job by a worker before that.
pub(crate) async fn registered(gateway: &Server, name: &str) -> Result<()> {
    eventually("it registers", PATIENCE, async || seen(gateway, name).await.is_some()).await
}

/// Two workers, each for one job at a time.
async fn two_workers(gateway: &Server, settings: &[(&str, &str)]) -> Option<(Server, Server)> {
    let settings = [&[("EXECUTOR_SLOTS", "1")], settings].concat();
    let one = worker(gateway, "one", &settings).await?;
    Some((one, worker(gateway, "other", &settings).await?))
}

/// Who has a job, once somebody has.
async fn holder(gateway: &Server, id: &str) -> String {
    started(gateway, id).await;
    let job = get(gateway, &format!("/v1/jobs/{id}")).await.body;
    job["attempts"][0]["worker"].as_str().unwrap().to_owned()
}

/// What a gateway knows of a worker.
pub(crate) async fn seen(gateway: &Server, name: &str) -> Option<Value> {
    let workers = get(gateway, "/v1/workers").await.body;
    let id = format!("anonymous:{name}");
    workers["workers"].as_array().unwrap().iter().find(|it| it["id"] == id.as_str()).cloned()
}

#[tokio::test]
async fn a_worker_that_nobody_can_reach_runs_jobs() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    assert_eq!(get(&gateway, "/health").await.status, 503, "nobody runs anything");
    let Some(worker) = worker(&gateway, "one", &[("EXECUTOR_SLOTS", "2")]).await else { return };
    assert_eq!(get(&gateway, "/health").await.body["workers"], 1);
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(submitted(&gateway, &program(&format!("print({number})"))).await);
    }
    for (number, id) in ids.iter().enumerate() {
        let job = ended(&gateway, id).await;
        assert_eq!(job["result"]["output"], json!(format!("{number}\n")), "{job}");
        assert_eq!(job["attempts"][0]["worker"], "anonymous:one");
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    }
    // A program that runs is stopped when it is not wanted any more.
    let id = submitted(&gateway, &program("import time\ntime.sleep(50)")).await;
    started(&gateway, &id).await;
    whole(client().delete(gateway.url(&format!("/v1/jobs/{id}")))).await;
    assert_eq!(ended(&gateway, &id).await["state"], "cancelled");
    let view = seen(&gateway, "one").await.unwrap();
    assert_eq!((&view["isLive"], &view["slots"]), (&json!(true), &json!(2)));
    let host = &view["host"];
    for text in [&host["hostname"], &host["kernel"], &view["version"], &view["isolation"]] {
        assert!(!text.as_str().unwrap().is_empty(), "{view}");
    }
    assert!(host["processors"].as_u64() > Some(0), "{view}");
    assert!((0.0..=1.0).contains(&host["cpu"].as_f64().unwrap()), "{view}");
    for (all, free) in [("memoryBytes", "memoryFreeBytes"), ("diskBytes", "diskFreeBytes")] {
        let (all, free) = (host[all].as_u64().unwrap(), host[free].as_u64().unwrap());
        assert!(free > 0 && free < all, "{view}");
    }
    // It serves the other front as well.
    let direct =
        client().post(worker.url("/execute")).body(json!({"code": "print(1)"}).to_string());
    assert_eq!(whole(direct).await.body["output"], "1\n");
    let now = client().post(gateway.url("/v1/execute")).body(program("1").to_string());
    whole(now.header("content-type", "application/json"))
        .await
        .is_problem(404, "only_workers")
        .unwrap();
    drop(worker);
    assert!(seen(&gateway, "one").await.is_none(), "it has left");
}

#[tokio::test]
async fn a_killed_worker_s_job_runs_elsewhere() {
    // A machine that stands still for a moment may be late once, and not each time.
    for _ in 0..3 {
        let Some(took) = taken_over().await else { return };
        println!("it runs elsewhere after {took:?}");
        if took < Duration::from_secs(20) {
            return;
        }
    }
    panic!("it is taken over too late each time");
}

/// Kills a worker with a job, and says how long it took until that was another's.
async fn taken_over() -> Option<Duration> {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    let (one, other) = two_workers(&gateway, &[]).await?;
    let id = submitted(&gateway, &program("import time\ntime.sleep(3)\nprint('done')")).await;
    let is_one = holder(&gateway, &id).await == "anonymous:one";
    let (victim, heir) = if is_one { (one, other) } else { (other, one) };
    victim.signal(Signal::KILL);
    let began = Instant::now();
    let attempts = async || {
        let job = get(&gateway, &format!("/v1/jobs/{id}")).await.body;
        job["attempts"].as_array().unwrap().len()
    };
    while attempts().await < 2 {
        assert!(began.elapsed() < PATIENCE, "nobody has taken it over");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed();
    let job = ended(&gateway, &id).await;
    assert_eq!((&job["state"], &job["result"]["output"]), (&json!("succeeded"), &json!("done\n")));
    victim.abandon();
    drop(heir);
    Some(took)
}

#[tokio::test]
async fn a_paused_worker_s_result_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    let one_slot = [("EXECUTOR_SLOTS", "1")];
    let Some(paused) = worker(&gateway, "paused", &one_slot).await else { return };
    let word = "import time, os\ntime.sleep(6)\nprint(os.urandom(8).hex())";
    let id = submitted(&gateway, &program(word)).await;
    started(&gateway, &id).await;
    paused.signal(Signal::STOP);
    let Some(_heir) = worker(&gateway, "heir", &one_slot).await else { return };
    let job = ended(&gateway, &id).await;
    paused.signal(Signal::CONT);
    assert_eq!(job["attempts"].as_array().unwrap().len(), 2, "{job}");
    // The paused one is of use again, and what it has to tell of the job is dropped.
    let deadline = Instant::now() + PATIENCE;
    while seen(&gateway, "paused").await.unwrap()["jobs"] != json!([]) {
        assert!(Instant::now() < deadline, "it keeps the job:\n{}", paused.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(get(&gateway, &format!("/v1/jobs/{id}")).await.body["result"], job["result"]);
}

#[tokio::test]
async fn a_result_waits_for_its_gateway_across_restarts_of_both() {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    let first = answering(lonely(directory.path(), &[])).await;
    let (port, slots) = (first.port(), [("EXECUTOR_SLOTS", "1")]);
    let settings = [slots[0], ("EXECUTOR_SPOOL_DIR", spool.to_str().unwrap())];
    let Some(worker_before) = worker(&first, "w", &settings).await else { return };
    let id = submitted(&first, &program("import time\ntime.sleep(5)\nprint('done')")).await;
    is_running(&worker_before, 1).await;
    first.signal(Signal::KILL);
    first.abandon();
    let deadline = Instant::now() + PATIENCE;
    while !std::fs::read_dir(&spool).is_ok_and(|mut it| {
        it.any(|it| it.is_ok_and(|it| it.path().extension().is_some_and(|it| it == "result")))
    }) {
        assert!(Instant::now() < deadline, "it keeps nothing:\n{}", worker_before.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    worker_before.signal(Signal::KILL);
    worker_before.abandon();
    let second = answering(lonely(directory.path(), &[]).at(port)).await;
    let Some(_worker) = worker(&second, "w", &settings).await else { return };
    let job = ended(&second, &id).await;
    assert_eq!((&job["state"], &job["result"]["output"]), (&json!("succeeded"), &json!("done\n")));
    assert_eq!(job["attempt"], 1, "it ran once: {job}");
}

#[tokio::test]
async fn a_worker_outlives_its_gateway_s_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = answering(lonely(directory.path(), &[])).await;
    let port = first.port();
    let Some(worker) = worker(&first, "w", &[("EXECUTOR_SLOTS", "1")]).await else { return };
    let id = submitted(&first, &program("import time\ntime.sleep(5)\nprint('done')")).await;
    is_running(&worker, 1).await;
    first.signal(Signal::KILL);
    first.abandon();
    let second = answering(lonely(directory.path(), &[]).at(port)).await;
    let job = ended(&second, &id).await;
    assert_eq!((&job["state"], &job["result"]["output"]), (&json!("succeeded"), &json!("done\n")));
    assert_eq!(job["attempt"], 1, "it ran once: {job}");
    registered(&second, "w").await.unwrap();
    let next = submitted(&second, &program("print('next')")).await;
    assert_eq!(ended(&second, &next).await["result"]["output"], "next\n");
}

#[tokio::test]
async fn a_worker_that_drains_leaves_jobs_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    let drain = [("EXECUTOR_DRAIN_SECONDS", "1")];
    let Some((one, other)) = two_workers(&gateway, &drain).await else { return };
    let id = submitted(&gateway, &program("import time\ntime.sleep(6)\nprint('done')")).await;
    let is_one = holder(&gateway, &id).await == "anonymous:one";
    let (mut leaving, heir) = if is_one { (one, other) } else { (other, one) };
    leaving.signal(Signal::TERM);
    assert_eq!(leaving.wait(), Some(0), "{}", leaving.log());
    let job = ended(&gateway, &id).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["attempts"][0]["reason"], "drain", "{job}");
    let name = if is_one { "other" } else { "one" };
    // One that is told to drain takes nothing until it is told to resume.
    let tell =
        |word: &str| client().post(gateway.url(&format!("/v1/workers/anonymous:{name}/{word}")));
    assert_eq!(whole(tell("drain")).await.status, 202);
    let deadline = Instant::now() + PATIENCE;
    while seen(&gateway, name).await.unwrap()["state"] != "draining" {
        assert!(Instant::now() < deadline, "it goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let id = submitted(&gateway, &program("print('later')")).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(get(&gateway, &format!("/v1/jobs/{id}")).await.body["state"], "ready");
    assert_eq!(whole(tell("resume")).await.status, 202);
    assert_eq!(ended(&gateway, &id).await["result"]["output"], "later\n");
    whole(client().post(gateway.url("/v1/workers/nobody/drain")))
        .await
        .is_problem(404, "unknown_worker")
        .unwrap();
    drop(heir);
}

/// A key that submits, one that works, and one that looks after others.
const KEYS: (&str, &str, &str) =
    ("submit-0123456789ab", "work-0123456789abcd", "admin-0123456789abc");

#[tokio::test]
async fn keys_do_what_their_roles_say_and_it_is_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let audit = directory.path().join("audit.log");
    let (sam, wanda, ada) = KEYS;
    let keys =
        format!("sam:{sam} running=1 waiting=2,wanda:{wanda} role=work,ada:{ada} role=admin");
    let settings =
        [("GATEWAY_KEYS", keys.as_str()), ("GATEWAY_AUDIT_FILE", audit.to_str().unwrap())];
    let gateway = answering(lonely(directory.path(), &settings)).await;
    let ask = async |method: &str, path: &str, key: &str| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = client().request(method, gateway.url(path)).body("{}");
        whole(request.header("x-api-key", key).header("content-type", "application/json")).await
    };
    for (method, path, key) in [
        ("POST", "/v1/worker/poll", sam),
        ("GET", "/v1/workers", sam),
        ("POST", "/v1/jobs", wanda),
        ("GET", "/v1/jobs", wanda),
        ("POST", "/v1/jobs", ada),
        ("GET", "/v1/workers", wanda),
        ("POST", "/v1/execute", ada),
        ("POST", "/v1/worker/complete", ada),
    ] {
        ask(method, path, key).await.is_problem(403, "forbidden").unwrap();
    }
    assert_eq!(ask("GET", "/v1/workers", ada).await.body, json!({"workers": []}));
    assert_eq!(ask("POST", "/v1/worker/complete", wanda).await.status, 200);
    ask("POST", "/v1/worker/complete", "nobody-0123456789")
        .await
        .is_problem(401, "unauthorized")
        .unwrap();

    a_key_has_so_much_at_a_time(&gateway).await;
    let lines = std::fs::read_to_string(&audit).unwrap();
    let line = |key: &str, path: &str, status: u64| {
        lines
            .lines()
            .map(|it| serde_json::from_str::<Value>(it).unwrap())
            .any(|it| it["key"] == key && it["path"] == path && it["status"] == status)
    };
    assert!(line("ada", "/v1/workers", 200) && line("ada", "/v1/execute", 403), "{lines}");
    assert!(line("wanda", "/v1/worker/register", 200), "{lines}");
    assert!(!lines.contains("sam") && !lines.contains("0123456789"), "{lines}");
}

/// What the key that submits may have running and waiting holds for its jobs, at a worker with more
/// slots than that.
async fn a_key_has_so_much_at_a_time(gateway: &Server) {
    let (sam, wanda, ada) = KEYS;
    let ask = async |path: &str, key: &str| {
        whole(client().get(gateway.url(path)).header("x-api-key", key)).await
    };
    let url = gateway.url("");
    let worker = [
        ("EXECUTOR_PULL_URL", url.as_str()),
        ("EXECUTOR_PULL_KEY", wanda),
        ("EXECUTOR_SLOTS", "2"),
    ];
    let Some(worker) = start("python", &worker).await else { return };
    let deadline = Instant::now() + PATIENCE;
    let id = loop {
        let workers = ask("/v1/workers", ada).await.body;
        if let Some(id) = workers["workers"][0]["id"].as_str() {
            break id.to_owned();
        }
        assert!(Instant::now() < deadline, "it does not register:\n{}", worker.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(id.starts_with("wanda:") && id.ends_with("-python"), "{id}");
    let submit = async |code: &str| {
        let request = client().post(gateway.url("/v1/jobs")).bearer_auth(sam);
        whole(request.header("content-type", "application/json").body(program(code).to_string()))
            .await
    };
    // One runs, two wait, and no more.
    let sleep = "import time\ntime.sleep(10)";
    let first = submit(sleep).await.body["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{first}");
    while ask(&path, sam).await.body["state"] != "leased" {
        assert!(Instant::now() < deadline, "it does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(submit(sleep).await.status, 202);
    assert_eq!(submit(sleep).await.status, 202);
    submit(sleep).await.is_problem(429, "queue_full").unwrap();
    let queue = ask("/v1/queue", sam).await.body;
    assert_eq!(queue["languages"][0]["leased"], 1, "two slots, and one program: {queue}");
    // An operator sees everybody's, and ends them.
    assert_eq!(ask(&path, ada).await.body["id"], first.as_str());
    for (wanted, key, count) in [("*", ada, 3), ("sam", ada, 3), ("wanda", ada, 0), ("sam", sam, 3)]
    {
        let listed = ask(&format!("/v1/jobs?caller={wanted}"), key).await.body;
        let listed = listed["jobs"].as_array().unwrap().clone();
        assert_eq!(listed.len(), count, "{wanted}: {listed:?}");
        assert!(listed.iter().all(|it| it["caller"] == "sam"), "{listed:?}");
    }
    assert_eq!(ask("/v1/jobs", ada).await.body["jobs"], json!([]), "its own");
    for wanted in ["*", "ada"] {
        let refused = ask(&format!("/v1/jobs?caller={wanted}"), sam).await;
        refused.is_problem(403, "forbidden").unwrap();
    }
    let ended = whole(client().delete(gateway.url(&path)).bearer_auth(ada)).await;
    assert_eq!(ended.status, 202, "{}", ended.body);
}

#[tokio::test]
async fn a_job_goes_to_the_workers_of_its_queue() {
    let directory = tempfile::tempdir().unwrap();
    let settings = [("GATEWAY_JOBS_QUEUES", "small,later")];
    let gateway = answering(lonely(directory.path(), &settings)).await;
    let Some(_plain) = worker(&gateway, "plain", &[]).await else { return };
    let in_queue = |queue: &str| {
        let mut job = program("print(6 * 7)");
        job["queue"] = json!(queue);
        job
    };
    let post = client().post(gateway.url("/v1/jobs")).body(in_queue("large").to_string());
    let refused = whole(post.header("content-type", "application/json")).await;
    refused.is_problem(422, "invalid_request").unwrap();
    let told = refused.body["errors"][0]["detail"].as_str().unwrap();
    assert_eq!(told, "is no queue here; there are: default, later, small");
    // Nobody asks for its jobs yet: it waits, and that is told.
    let early = submitted(&gateway, &in_queue("later")).await;
    let queue = get(&gateway, "/v1/queue").await.body;
    assert_eq!(queue["reason"], "nobody runs python in the queue later now", "{queue}");
    let ours = [("EXECUTOR_PULL_QUEUES", "large,later")];
    let Some(_large) = worker(&gateway, "large", &ours).await else { return };
    let jobs = [
        (early, "later", "large"),
        (submitted(&gateway, &in_queue("large")).await, "large", "large"),
        (submitted(&gateway, &program("print(6 * 7)")).await, "default", "plain"),
    ];
    for (id, queue, worker) in jobs {
        let job = ended(&gateway, &id).await;
        assert_eq!(job["result"]["output"], "42\n", "{job}");
        assert_eq!((&job["language"], &job["queue"]), (&json!("python"), &json!(queue)));
        assert_eq!(job["attempts"][0]["worker"], format!("anonymous:{worker}"));
    }
    assert_eq!(seen(&gateway, "large").await.unwrap()["queues"], json!(["large", "later"]));
}
