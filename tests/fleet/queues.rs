//! The queues of others, spoken as their own clients and workers speak them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Server, answering, client, lonely};

use crate::faults::gateway;
use crate::languages::start;
use crate::target::{Answer, whole};

pub(crate) const KEYS: &str = "api:submit-0123456789,other:submit-9876543210,vm:work-0123456789ab role=work,\
                    vm2:work-ba9876543210 role=work,ops:admin-0123456789a role=admin";
pub(crate) const API: &str = "submit-0123456789";
pub(crate) const OTHER: &str = "submit-9876543210";
pub(crate) const VM: &str = "work-0123456789ab";
pub(crate) const VM_2: &str = "work-ba9876543210";
pub(crate) const OPS: &str = "admin-0123456789a";

/// One of the queues, with somebody's key.
#[derive(Clone, Copy)]
pub(crate) struct Queue<'a> {
    gateway: &'a Server,
    prefix: &'static str,
    /// How a key is brought.
    header: &'static str,
}

impl<'a> Queue<'a> {
    pub(crate) fn message_queue(gateway: &'a Server) -> Self {
        Self { gateway, prefix: "/dialects/message-queue", header: "authorization" }
    }

    pub(crate) fn queue_service(gateway: &'a Server) -> Self {
        Self { gateway, prefix: "/dialects/queue-service", header: "x-api-key" }
    }

    fn key(&self, key: &str) -> String {
        if self.header == "authorization" { format!("Bearer {key}") } else { key.to_owned() }
    }

    pub(crate) async fn get(&self, key: &str, path: &str) -> Answer {
        let request = client().get(self.gateway.url(&format!("{}{path}", self.prefix)));
        whole(request.header(self.header, self.key(key))).await
    }

    pub(crate) async fn post(&self, key: &str, path: &str, body: &Value) -> Answer {
        let request = client().post(self.gateway.url(&format!("{}{path}", self.prefix)));
        let request = request.header(self.header, self.key(key)).body(body.to_string());
        whole(request.header("content-type", "application/json")).await
    }

    /// What `path` answers once it is not what it is at first.
    async fn until(&self, key: &str, path: &str, is_over: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let answer = self.get(key, path).await;
            if is_over(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{}\n{}", answer.body, self.gateway.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A gateway that serves the queues, and nobody of its own to run their tasks.
pub(crate) async fn served(directory: &tempfile::TempDir, more: &[(&str, &str)]) -> Server {
    let settings = [
        ("GATEWAY_KEYS", KEYS),
        ("GATEWAY_MESSAGE_QUEUE", "true"),
        ("GATEWAY_QUEUE_SERVICE", "true"),
    ];
    answering(lonely(directory.path(), &[&settings, more].concat())).await
}

#[tokio::test]
async fn machines_that_only_call_out_work_over_the_message_queue() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = served(&directory, &[]).await;
    let queue = Queue::message_queue(&gateway);
    let health = client().get(gateway.url("/dialects/message-queue/health")).send().await.unwrap();
    assert_eq!(health.status(), 200, "no key is needed");
    assert_eq!(queue.get(API, "/status").await.body["queue_health"], "healthy");

    // Three tasks come, two go out in one poll, and the third in the next.
    let mut ids = Vec::new();
    for number in 0..3 {
        let body = json!({"code": format!("print({number})"), "timeout": 30});
        let answer = queue.post(API, "/tasks", &body).await;
        assert_eq!((answer.status, &answer.body["status"]), (200, &json!("queued")));
        ids.push(answer.body["task_id"].as_str().unwrap().to_owned());
    }
    let status = queue.get(API, "/status").await.body;
    assert_eq!(
        (&status["pending_tasks"], &status["active_vms"], &status["queue_health"]),
        (&json!(3), &json!(0), &json!("degraded"))
    );
    let info =
        json!({"vm_id": "vm-1", "vm_info": {"hostname": "sol"}, "system_metrics": {"cpu": 7}});
    assert_eq!(queue.post(VM, "/heartbeat", &info).await.status, 200);
    let first = queue.get(VM, "/tasks?vm_id=vm-1&limit=2").await;
    assert_eq!(first.header("cache-control"), "no-store");
    let second = queue.get(VM, "/tasks?vm_id=vm-1").await.body;
    let mut tasks = first.body["tasks"].as_array().unwrap().clone();
    assert_eq!((tasks.len(), second["tasks"].as_array().unwrap().len()), (2, 1), "{second}");
    tasks.extend(second["tasks"].as_array().unwrap().clone());
    assert_eq!(queue.get(VM, "/tasks").await.body["tasks"], json!([]));
    assert_eq!(queue.get(API, "/status").await.body["active_vms"], 2);
    let vms = queue.get(OPS, "/vms").await.body;
    assert_eq!(vms["vms"][1]["id"], "vm:vm/vm-1");
    assert_eq!(vms["vms"][1]["info"]["system_metrics"]["cpu"], 7, "{vms}");

    let pending = queue.get(API, &format!("/results/{}", ids[0])).await;
    pending.is_problem(404, "no_result").unwrap();
    for task in &tasks {
        let told = json!({"task_id": task["task_id"], "success": true, "vm_id": "vm-1",
            "output": format!("ran {}", task["code"].as_str().unwrap()), "execution_time": 2.0,
            "somethingNew": 1});
        for _ in 0..2 {
            // An answer may be lost, and the result come again.
            assert_eq!(queue.post(VM, "/results", &told).await.status, 200);
        }
        let mut changed = told;
        changed["output"] = json!("something else");
        queue.post(VM, "/results", &changed).await.is_problem(409, "no_lease").unwrap();
    }
    for (number, id) in ids.iter().enumerate() {
        let result = queue.get(API, &format!("/results/{id}")).await.body;
        assert_eq!(result["output"], json!(format!("ran print({number})")));
        assert_eq!((&result["status"], &result["success"]), (&json!("completed"), &json!(true)));
        queue.get(OTHER, &format!("/results/{id}")).await.is_problem(404, "no_job").unwrap();
        let job = client().get(gateway.url(&format!("/v1/jobs/{id}")));
        let job = whole(job.header("x-api-key", API)).await.body;
        assert_eq!(
            (&job["state"], &job["result"]["status"]),
            (&json!("succeeded"), &json!("success"))
        );
        assert_eq!(job["attempts"][0]["worker"], "vm:vm/vm-1", "{job}");
    }
    assert_eq!(queue.get(VM, "/status").await.body["avg_execution_time"], 2.0);
}

#[tokio::test]
async fn the_message_queue_refuses_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = served(&directory, &[]).await;
    let queue = Queue::message_queue(&gateway);
    for (body, pointer) in [
        (json!({"code": 5}), "/code"),
        (json!({"code": "1", "timeout": 1e9}), "/timeout"),
        (json!({"code": "1", "priority": 10}), "/priority"),
        (json!({"code": "1", "task_id": "a b"}), "/task_id"),
        (json!({"source": "1"}), ""),
    ] {
        let answer = queue.post(API, "/tasks", &body).await;
        answer.refuses(&[pointer]).unwrap_or_else(|error| panic!("{body}: {error}"));
    }
    let unknown = queue.post(API, "/tasks", &json!({"code": "1", "language": "cobol"})).await;
    // Nobody has said yet what it runs.
    unknown.is_problem(503, "no_live_executor").unwrap();
    for (path, pointer) in [
        ("/tasks?limit=0", "/limit"),
        ("/tasks?wait=51", "/wait"),
        ("/tasks?vm_id=a%20b", "/vm_id"),
    ] {
        queue.get(VM, path).await.refuses(&[pointer]).unwrap();
    }
    queue.post(VM, "/results", &json!({"task_id": "x"})).await.refuses(&["/task_id"]).unwrap();
    let large = json!({"vm_id": "a", "vm_info": {"x": "y".repeat(5000)}});
    queue.post(VM, "/heartbeat", &large).await.refuses(&["/vm_info"]).unwrap();
    // Each key is good for its own things.
    queue.get(API, "/tasks").await.is_problem(403, "forbidden").unwrap();
    queue.post(VM, "/tasks", &json!({"code": "1"})).await.is_problem(403, "forbidden").unwrap();
    queue.get(VM, "/vms").await.is_problem(403, "forbidden").unwrap();
    queue.get("nobody-0123456789", "/tasks").await.is_problem(401, "unauthorized").unwrap();
    let head = client().head(gateway.url("/dialects/message-queue/tasks"));
    assert_eq!(whole(head.header("x-api-key", VM)).await.status, 405, "it would take tasks");
    // The same name is the same task, with other content a conflict.
    let named = json!({"code": "1", "task_id": "mine"});
    for _ in 0..2 {
        assert_eq!(queue.post(API, "/tasks", &named).await.body["task_id"], "mine");
    }
    let other = queue.post(API, "/tasks", &json!({"code": "2", "task_id": "mine"})).await;
    other.is_problem(409, "idempotency_conflict").unwrap();
    assert_eq!(queue.get(API, "/status").await.body["pending_tasks"], 1);
    queue.get(OTHER, "/results/mine").await.is_problem(404, "no_job").unwrap();
}

#[tokio::test]
async fn queues_that_are_not_switched_on_are_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = answering(lonely(directory.path(), &[])).await;
    for (queue, path) in [
        (Queue::message_queue(&gateway), "/status"),
        (Queue::message_queue(&gateway), "/tasks"),
        (Queue::queue_service(&gateway), "/tasks/next"),
        (Queue::queue_service(&gateway), "/health"),
    ] {
        queue.get("", path).await.is_problem(404, "not_served").unwrap();
    }
}

#[tokio::test]
async fn workers_of_the_queue_service_have_their_tasks_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = served(&directory, &[]).await;
    let queue = Queue::queue_service(&gateway);
    let task =
        |id: &str| json!({"eval_id": id, "code": "print(1)", "engine": "gvisor", "priority": 1});
    assert_eq!(queue.get(VM, "/tasks/next").await.body, Value::Null);
    for _ in 0..2 {
        let answer = queue.post(API, "/tasks", &task("e-1")).await;
        assert_eq!(answer.body, json!({"eval_id": "e-1", "status": "queued"}));
    }
    let mut other = task("e-1");
    other["code"] = json!("print(2)");
    queue.post(API, "/tasks", &other).await.is_problem(409, "idempotency_conflict").unwrap();
    assert_eq!(queue.get(API, "/tasks/e-1").await.body["status"], "queued");
    queue.get(API, "/tasks/e-2").await.is_problem(404, "no_job").unwrap();
    queue.get(OTHER, "/tasks/e-1").await.is_problem(404, "no_job").unwrap();

    let next = queue.get(VM, "/tasks/next").await;
    assert_eq!(next.header("cache-control"), "no-store");
    let told = ["eval_id", "code", "engine"].map(|it| next.body[it].clone());
    assert_eq!(told, [json!("e-1"), json!("print(1)"), json!("gvisor")]);
    assert_eq!(queue.get(API, "/tasks/e-1").await.body["status"], "running");
    let output = json!({"output": {"stdout": "1\n", "code": 0}});
    let complete =
        async |key: &str, output: &Value| queue.post(key, "/tasks/e-1/complete", output).await;
    complete(VM_2, &output).await.is_problem(409, "no_lease").unwrap();
    for _ in 0..2 {
        assert_eq!(complete(VM, &output).await.status, 200);
    }
    complete(VM, &json!({"output": "changed"})).await.is_problem(409, "no_lease").unwrap();
    let done = queue.get(API, "/tasks/e-1").await.body;
    assert_eq!((&done["status"], &done["output"]), (&json!("completed"), &output["output"]));

    // Two callers' tasks of one name are two, and never mixed up.
    assert_eq!(queue.post(API, "/tasks", &task("same")).await.status, 200);
    assert_eq!(queue.post(OTHER, "/tasks", &task("same")).await.status, 200);
    assert_eq!(queue.get(VM, "/tasks/next").await.body["eval_id"], "same");
    assert_eq!(queue.get(VM, "/tasks/next").await.body, Value::Null, "it has one of that name");
    assert_eq!(queue.get(VM_2, "/tasks/next?wait=5").await.body["eval_id"], "same");
    let failed = json!({"error": "the engine broke"});
    assert_eq!(queue.post(VM, "/tasks/same/fail", &failed).await.status, 200);
    assert_eq!(queue.post(VM_2, "/tasks/same/complete", &json!({"output": "2"})).await.status, 200);
    let mut ends = [queue.get(API, "/tasks/same").await, queue.get(OTHER, "/tasks/same").await]
        .map(|it| (it.body["status"].clone(), it.body["error"].clone(), it.body["output"].clone()));
    ends.sort_by_key(|(status, ..)| status.to_string());
    let completed = (json!("completed"), Value::Null, json!("2"));
    assert_eq!(ends, [completed, (json!("failed"), failed["error"].clone(), Value::Null)]);

    for (body, pointer) in [
        (json!({"eval_id": "next", "code": "1"}), "/eval_id"),
        (json!({"eval_id": "a", "code": "1", "engine": ""}), "/engine"),
        (json!({"eval_id": "a", "code": "1", "priority": -1}), "/priority"),
    ] {
        queue.post(API, "/tasks", &body).await.refuses(&[pointer]).unwrap();
    }
    queue.get(API, "/tasks/next").await.is_problem(403, "forbidden").unwrap();
    queue.post(VM, "/tasks", &task("e-4")).await.is_problem(403, "forbidden").unwrap();
}

#[tokio::test]
async fn leases_of_the_queue_service_outlive_the_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = served(&directory, &[]).await;
    let queue = Queue::queue_service(&gateway);
    for id in ["e-3", "e-4"] {
        let task = json!({"eval_id": id, "code": "print(1)", "engine": "gvisor"});
        assert_eq!(queue.post(API, "/tasks", &task).await.status, 200);
        assert_eq!(queue.get(VM, "/tasks/next").await.body["eval_id"], id);
    }
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.wait(), Some(0));
    // Tasks are found by their names, and so are leases: the store has both.
    let gateway = served(&directory, &[]).await;
    let queue = Queue::queue_service(&gateway);
    assert_eq!(queue.get(API, "/tasks/e-3").await.body["status"], "running");
    let output = json!({"output": "3\n"});
    let late = async |key| queue.post(key, "/tasks/e-3/complete", &output).await;
    late(VM_2).await.is_problem(409, "no_lease").unwrap();
    assert_eq!(late(VM).await.body, json!({"eval_id": "e-3", "status": "completed"}));
    late(VM_2).await.is_problem(409, "no_lease").unwrap();
    assert_eq!(queue.get(API, "/tasks/e-3").await.body["output"], "3\n");
    let failed = json!({"error": "broke"});
    assert_eq!(queue.post(VM, "/tasks/e-4/fail", &failed).await.status, 200);
    assert_eq!(queue.get(API, "/tasks/e-4").await.body["error"], "broke");
}

#[tokio::test]
async fn the_fleet_runs_what_the_queues_take() {
    let Some(python) = start("python", &[]).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let settings = [
        ("GATEWAY_STORE_URL", store.as_str()),
        ("GATEWAY_KEYS", KEYS),
        ("GATEWAY_MESSAGE_QUEUE", "true"),
        ("GATEWAY_MESSAGE_QUEUE_LANGUAGE", "python"),
        ("GATEWAY_QUEUE_SERVICE", "true"),
    ];
    let gateway = gateway(&[("python", &python)], &settings).await;
    let queue = Queue::message_queue(&gateway);
    let id =
        queue.post(API, "/tasks", &json!({"code": "print(6 * 7)"})).await.body["task_id"].clone();
    let path = format!("/results/{}", id.as_str().unwrap());
    let result = queue.until(API, &path, |it| it.status == 200).await.body;
    assert_eq!((&result["output"], &result["success"]), (&json!("42\n"), &json!(true)));
    let failing = json!({"code": "raise SystemExit(3)", "task_id": "failing"});
    queue.post(API, "/tasks", &failing).await;
    let result = queue.until(API, "/results/failing", |it| it.status == 200).await.body;
    assert_eq!(
        (&result["status"], &result["success"], &result["exit_code"]),
        (&json!("completed"), &json!(false), &json!(3))
    );

    let queue = Queue::queue_service(&gateway);
    let code = "import os\nprint(os.environ['EVAL_ID'])";
    queue.post(API, "/tasks", &json!({"eval_id": "e", "code": code, "engine": "py"})).await;
    let is_over = |it: &Answer| it.body["status"] == "completed";
    assert_eq!(queue.until(API, "/tasks/e", is_over).await.body["output"], "e\n");
    // What no language is goes to workers of the queue, and to nobody else.
    queue.post(API, "/tasks", &json!({"eval_id": "d", "code": "1", "engine": "docker"})).await;
    assert_eq!(queue.get(VM, "/tasks/next?wait=5").await.body["eval_id"], "d");
}

#[tokio::test]
async fn one_name_in_two_queues_is_two_tasks() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = served(&directory, &[]).await;
    let (one, other) = (Queue::message_queue(&gateway), Queue::queue_service(&gateway));
    let task = one.post(API, "/tasks", &json!({"code": "print(1)", "task_id": "same"})).await;
    assert_eq!(task.status, 200, "{}", task.body);
    let task = other.post(API, "/tasks", &json!({"code": "print(2)", "eval_id": "same"})).await;
    assert_eq!(task.status, 200, "{}", task.body);
    assert_eq!(one.get(API, "/status").await.body["pending_tasks"], 2);
    for _ in 0..2 {
        let given = other.get(VM, "/tasks/next?wait=5").await.body;
        let id = given["eval_id"].as_str().unwrap();
        let told = json!({"output": format!("ran {}", given["code"].as_str().unwrap())});
        assert_eq!(other.post(VM, &format!("/tasks/{id}/complete"), &told).await.status, 200);
    }
    assert_eq!(one.get(API, "/results/same").await.body["output"], "ran print(1)");
    assert_eq!(other.get(API, "/tasks/same").await.body["output"], "ran print(2)");
}
