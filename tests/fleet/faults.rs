//! Bad input: each gets its documented problem, at an executor and at a gateway alike, and
//! nobody else notices.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Server, ServerBuilder, client};

use crate::checks::{Checks, same};
use crate::language::language;
use crate::languages::start;
use crate::target::{Target, whole};

/// A body that is sent as it is, and what must come of it.
struct Row {
    name: &'static str,
    body: String,
    expected: Expected,
}

enum Expected {
    Problem(u16, &'static str),
    Refused(Vec<&'static str>),
}

use Expected::{Problem, Refused};

/// The text of a body.
struct Body(String);

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self(value.to_string())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

fn row(name: &'static str, body: impl Into<Body>, expected: Expected) -> Row {
    Row { name, body: body.into().0, expected }
}

/// A request that is right but for these fields, which replace its own.
fn with(fields: Value) -> Value {
    let mut request = json!({"language": "python", "code": "print(1)"});
    let Value::Object(fields) = fields else { panic!("{fields} is no object") };
    request.as_object_mut().unwrap().extend(fields);
    request
}

fn with_files(files: impl Into<Value>) -> Value {
    json!({"language": "python", "files": files.into()})
}

fn shapes() -> Vec<Row> {
    let deep = format!(r#"{{"language":"python","code":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    vec![
        row("text is not JSON", "nonsense", Problem(400, "not_json")),
        row("nothing is not JSON", "", Problem(400, "not_json")),
        row("half of a body is not JSON", r#"{"code":"#, Problem(400, "not_json")),
        row("NaN is not JSON", r#"{"code":"x","timeout":NaN}"#, Problem(400, "not_json")),
        row("a list is no request", "[]", Refused(vec![""])),
        row("a string is no request", r#""code""#, Refused(vec![""])),
        row("deep JSON is refused", deep, Problem(400, "not_json")),
        row("endless depth is refused", "[".repeat(1_000_000), Problem(413, "too_large")),
        row(
            "code above its limit is too large",
            with(json!({"code": "#".repeat(50 * 1024 + 1)})),
            Problem(413, "too_large"),
        ),
        row(
            "input above its limit is too large",
            with(json!({"inputData": "x".repeat((16 << 20) + 1)})),
            Problem(413, "too_large"),
        ),
        row(
            "a body above its limit is too large",
            with(json!({"inputData": "x".repeat(40 << 20)})),
            Problem(413, "too_large"),
        ),
        row(
            "an unknown language is not found",
            with(json!({"language": "cobol"})),
            Problem(404, "unknown_language"),
        ),
    ]
}

fn fields() -> Vec<Row> {
    let timeouts =
        [json!(0), json!(-1), json!(60.5), json!(1e300), json!("5"), json!(true), json!([])];
    let timeouts = timeouts.into_iter().map(|it| {
        row(
            "a timeout is above 0 and at most 60",
            with(json!({"timeout": it})),
            Refused(vec!["/timeout"]),
        )
    });
    let mut rows: Vec<Row> = timeouts.collect();
    rows.extend([
        row("an unknown field is named", with(json!({"nonsense/x": 1})), Refused(vec!["/nonsense~1x"])),
        row("code may not be empty", with(json!({"code": ""})), Refused(vec!["/code"])),
        row("code is needed", json!({"language": "python"}), Refused(vec!["/code"])),
        row("code is a string", with(json!({"code": 7})), Refused(vec!["/code"])),
        row(
            "code and files are not given both",
            with(json!({"files": [{"path": "a", "content": ""}]})),
            Refused(vec!["/files"]),
        ),
        row(
            "memory is bounded on both sides",
            with(json!({"memoryLimit": 0, "cpuTime": 0})),
            Refused(vec!["/cpuTime", "/memoryLimit"]),
        ),
        row("memory is bounded above", with(json!({"memoryLimit": 4096})), Refused(vec!["/memoryLimit"])),
        row(
            "NUL has no place in arguments and environment",
            with(json!({"args": ["a\u{0}b"], "env": {"A": "\u{0}", "1B": "x", "C=": "x"}})),
            Refused(vec!["/args/0", "/env/A", "/env/1B", "/env/C="]),
        ),
        row("101 cases are too many", with(json!({"cases": vec![json!({}); 101]})), Refused(vec!["/cases"])),
        row("65 arguments are too many", with(json!({"args": vec!["x"; 65]})), Refused(vec!["/args"])),
        row(
            "all wrong fields are told at once",
            with(json!({
                "timeout": 0, "cpuTime": "x", "memoryLimit": 1.5, "args": [1], "env": [], "inputData": 5,
                "cases": [{"name": 1, "x": 2}], "outputFiles": "x", "outputBase64": 1, "cache": "x", "nonsense": null,
                "code": [], "version": "", "compilerOptions": {},
            })),
            Refused(vec![
                "/timeout", "/cpuTime", "/memoryLimit", "/args/0", "/env", "/inputData",
                "/cases/0/name", "/cases/0/x", "/outputFiles", "/outputBase64", "/cache", "/nonsense", "/code",
                "/version", "/compilerOptions",
            ]),
        ),
    ]);
    rows
}

fn files() -> Vec<Row> {
    let file = |path: &str| json!({"path": path, "content": ""});
    let bad = [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "./a",
        "a/.",
        "",
        "a\u{0}",
        "a\nb",
        "..",
        "a/",
    ];
    let bad = bad.iter().map(|it| {
        row(
            "a path stays below the work directory",
            with_files(json!([file(it)])),
            Refused(vec!["/files/0/path"]),
        )
    });
    let mut rows: Vec<Row> = bad.collect();
    let many = |count: usize| -> Value { (0..count).map(|it| file(&format!("f{it}"))).collect() };
    rows.extend([
        row(
            "a path is given once",
            with_files(json!([file("a"), file("a")])),
            Refused(vec!["/files/1/path"]),
        ),
        row(
            "a path is no file and directory both",
            with_files(json!([file("a/b"), file("a"), file("a/b/c")])),
            Refused(vec!["/files/1/path", "/files/2/path"]),
        ),
        row(
            "a path is not long",
            with_files(json!([file(&"x".repeat(600))])),
            Refused(vec!["/files/0/path"]),
        ),
        row(
            "a path is not deep",
            with_files(json!([file(&["d"; 20].join("/"))])),
            Refused(vec!["/files/0/path"]),
        ),
        row("1,000 files are too many", with_files(many(1000)), Refused(vec!["/files"])),
        row(
            "20,000 files are not even parsed",
            with_files(many(20_000)),
            Problem(413, "too_large"),
        ),
        row(
            "content is base64 if it says so",
            with_files(json!([{"path": "a", "content": "###", "encoding": "base64"}])),
            Refused(vec!["/files/0/content"]),
        ),
        row(
            "a file has known fields of the right types",
            with_files(
                json!([{"path": 1, "mode": 7}, "x", {"path": "a", "content": "", "encoding": "x"}]),
            ),
            Refused(vec![
                "/files/0/path",
                "/files/0/content",
                "/files/0/mode",
                "/files/1",
                "/files/2/encoding",
            ]),
        ),
    ]);
    rows
}

fn checks<'a>(kind: &str, target: &'a Target) -> Checks<'a> {
    let mut checks = Checks::default();
    let rows = shapes().into_iter().chain(fields()).chain(files());
    for row in rows {
        let shown: String = row.body.chars().take(80).collect();
        checks.add(format!("{kind}: {}: {shown}", row.name), async move {
            let answer = target.post("/execute", &row.body, &[]).await;
            match &row.expected {
                Problem(status, code) => answer.is_problem(*status, code),
                Refused(pointers) => answer.refuses(pointers),
            }
        });
    }
    checks.add(format!("{kind}: a body of another type is refused"), async move {
        let answer = target.post("/execute", "{}", &[("content-type", "text/plain")]).await;
        answer.is_problem(415, "unsupported_media_type")
    });
    checks.add(format!("{kind}: another method is refused with those allowed"), async move {
        for (path, method, allowed) in [
            ("/execute", "GET", "POST"),
            ("/validate", "PUT", "POST"),
            ("/execute", "DELETE", "POST"),
        ] {
            let answer = whole(client().request(method.parse()?, target.url(path))).await;
            answer.is_problem(405, "method_not_allowed")?;
            same("Allow", &answer.header("allow"), &allowed)?;
        }
        Ok(())
    });
    checks.add(format!("{kind}: an unknown path is not found"), async move {
        whole(client().get(target.url("/nonsense"))).await.is_problem(404, "not_found")
    });
    checks.add(format!("{kind}: a request id is taken over if it is one"), request_ids(target));
    checks.add(format!("{kind}: validate refuses as execute does"), async move {
        let wrong = json!({"language": "python", "code": "", "timeout": 1}).to_string();
        target.post("/validate", &wrong, &[]).await.refuses(&["/code", "/timeout"])?;
        target.post("/validate", "x", &[]).await.is_problem(400, "not_json")
    });
    checks.add(format!("{kind}: code just at its limit, NUL and all, is run"), limits(target));
    checks
}

async fn request_ids(target: &Target) -> Result<()> {
    let given = "Test-id_1.x";
    let answer = target.post("/execute", "x", &[("x-request-id", given)]).await;
    answer.is_problem(400, "not_json")?;
    same("the id", &answer.header("x-request-id"), &given)?;
    let body = with(json!({})).to_string();
    let run = target.post("/execute", &body, &[("x-request-id", given)]).await;
    same("the id of a report", &run.body["requestId"], &json!(given))?;
    for bad in ["a b", &"x".repeat(65), "ü"] {
        let answer = target.post("/execute", "x", &[("x-request-id", bad)]).await;
        answer.is_problem(400, "not_json")?;
        ensure!(answer.header("x-request-id") != bad, "`{bad}` is taken for an id");
    }
    Ok(())
}

async fn limits(target: &Target) -> Result<()> {
    let code = format!("print(1)\n#{}", "x".repeat(50 * 1024 - 10));
    let report = target.run(&with(json!({"code": code}))).await?;
    same("the output", &report["output"], &json!("1\n"))?;
    // What an interpreter makes of it is its own business.
    target.run(&with(json!({"code": "print(1)\u{0}"}))).await.map(drop)
}

/// Starts a gateway in front of executors.
pub(crate) async fn gateway(executors: &[(&str, &Server)], settings: &[(&str, &str)]) -> Server {
    let mut builder = ServerBuilder::new("gateway").set("GATEWAY_PROBE_SECONDS", "0.2");
    for (name, server) in executors {
        let variable = format!("{}_EXECUTOR_URL", name.to_uppercase());
        builder = builder.set(&variable, &server.url(""));
    }
    for (name, value) in [("GATEWAY_RATE_PER_MINUTE", "1000000"), ("GATEWAY_RATE_BURST", "100000")]
    {
        builder = builder.set(name, value);
    }
    for (name, value) in settings {
        builder = builder.set(name, value);
    }
    builder.start().await
}

#[tokio::test]
async fn bad_input_gets_its_documented_problem() {
    let Some(executor) = start("python", &[]).await else { return };
    let gateway = gateway(&[("python", &executor)], &[]).await;
    let (direct, through) = (Target::executor(&executor), Target::gateway(&gateway, "python"));
    let mut all = checks("executor", &direct);
    all.extend(checks("gateway", &through));
    all.make("bad input", 4).await;
    let ok = language("python").tool(&["nothing"]);
    for target in [direct, through] {
        assert_eq!(target.run(&ok).await.unwrap()["output"], "ok\n");
    }
    // A gateway that goes first waits for nobody.
    drop(gateway);
}
