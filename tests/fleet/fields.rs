//! Every field of a request does what it says.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::checks::{Checks, same, short};
use crate::language::Language;
use crate::target::Target;

const MIB: usize = 1 << 20;

pub(crate) fn checks<'a>(language: &'static Language, target: &'a Target) -> Checks<'a> {
    let mut checks = Checks::default();
    let mut add = |name: &str, check: futures::future::LocalBoxFuture<'a, Result<()>>| {
        checks.add(format!("{}: {name}", language.id), check);
    };
    add("10 MB of input arrive whole", Box::pin(large_input(language, target)));
    add("10 MB of input that nobody reads do no harm", Box::pin(unread_input(language, target)));
    add(
        "input is passed on byte by byte, or ends at once",
        Box::pin(small_input(language, target)),
    );
    add("arguments arrive as they are", Box::pin(arguments(language, target)));
    add(
        "the environment is the client's and the run's own",
        Box::pin(environment(language, target)),
    );
    add("a timeout ends what spins and what sleeps", Box::pin(timeouts(language, target)));
    add("cpuTime ends what spins and spares what sleeps", Box::pin(cpu_time(language, target)));
    add("memory that is taken bit by bit ends in memory_limit", Box::pin(hog(language, target)));
    add("one giant allocation ends in memory_limit", Box::pin(giant(language, target)));
    add("the smallest memory limit is no fault of ours", Box::pin(smallest(language, target)));
    add("a version is chosen exactly, by prefix or by range", Box::pin(versions(language, target)));
    add("compiler options are taken or refused one by one", Box::pin(options(language, target)));
    add("cases are compared one by one", Box::pin(cases(language, target)));
    checks
}

async fn large_input(language: &Language, target: &Target) -> Result<()> {
    let input = "0123456789abcde\n".repeat(10 * MIB / 16);
    let count = language.tool_with(&["count"], json!({"inputData": input}));
    same("the count", &target.run(&count).await?["output"], &json!("10485760\n"))?;
    let echo = language.tool_with(&["echo"], json!({"inputData": input}));
    let report = target.run(&echo).await?;
    same("the status", &report["status"], &json!("success"))?;
    ensure!(report["output"] == input[..MIB], "the output is not the input's first MiB");
    same("outputTruncated", &report["outputTruncated"], &json!(true))
}

async fn unread_input(language: &Language, target: &Target) -> Result<()> {
    let input = "x".repeat(10 * MIB);
    let report = target.run(&language.tool_with(&["nothing"], json!({"inputData": input}))).await?;
    same("the output", &report["output"], &json!("ok\n"))?;
    same("the status", &report["status"], &json!("success"))
}

async fn small_input(language: &Language, target: &Target) -> Result<()> {
    for input in ["größe 你好 😀\r\n\ttab\u{0}end", "", "\n\n", "no line end"] {
        let echo = language.tool_with(&["echo"], json!({"inputData": input}));
        same("the output", &target.run(&echo).await?["output"], &json!(input))?;
    }
    let absent = target.run(&language.tool(&["count"])).await?;
    same("the count without input", &absent["output"], &json!("0\n"))
}

async fn arguments(language: &Language, target: &Target) -> Result<()> {
    let args =
        ["args", "--times", "-x", "", "two words", "größe 😀", "$HOME `id` \"'", "a\nb", "@f"];
    let report = target.run(&language.tool(&args)).await?;
    let expected: String = args[1..].iter().map(|it| format!("[{it}]\n")).collect();
    same("the output", &report["output"], &json!(expected))
}

async fn environment(language: &Language, target: &Target) -> Result<()> {
    let names = ["env", "GREETING", "EMPTY", "TZ", "LANG", "EXECUTOR_STATE_DIR", "PORT"];
    let env = json!({"GREETING": "grüß dich = 1", "EMPTY": ""});
    let report = target.run(&language.tool_with(&names, json!({"env": env}))).await?;
    let expected = "grüß dich = 1\n\nUTC\nC.UTF-8\n(unset)\n(unset)\n";
    same("the output", &report["output"], &json!(expected))
}

async fn timeouts(language: &Language, target: &Target) -> Result<()> {
    for args in [&["spin"][..], &["sleep", "30"]] {
        let report = target.run(&language.tool_with(args, json!({"timeout": 0.6}))).await?;
        same("the status", &report["status"], &json!("timeout"))?;
        same("the exit code", &report["exitCode"], &Value::Null)?;
        same("the signal", &report["signal"], &json!("SIGKILL"))?;
        let seconds = report["executionTime"].as_f64().unwrap_or_default();
        ensure!(seconds >= 0.6, "executionTime is {seconds}");
    }
    let awake = target.run(&language.tool_with(&["sleep", "0.1"], json!({"timeout": 60}))).await?;
    same("the output", &awake["output"], &json!("asleep\nawake\n"))
}

async fn cpu_time(language: &Language, target: &Target) -> Result<()> {
    let spin = language.tool_with(&["spin"], json!({"timeout": 60, "cpuTime": 0.8}));
    let report = target.run(&spin).await?;
    same("the status", &report["status"], &json!("timeout"))?;
    let spent = report["cpuTime"].as_f64().unwrap_or_default();
    ensure!((0.7..30.0).contains(&spent), "cpuTime is {spent}");
    let sleep = language.tool_with(&["sleep", "1.5"], json!({"cpuTime": 1.4}));
    same("the status of a sleeper", &target.run(&sleep).await?["status"], &json!("success"))
}

async fn hog(language: &Language, target: &Target) -> Result<()> {
    for more in [json!({}), json!({"memoryLimit": 256})] {
        let report = target.run(&language.tool_with(&["hog"], more)).await?;
        ensure!(report["status"] == "memory_limit", "with the limit: {}", short(&report));
        let used = report["memoryUsed"].as_u64().unwrap_or_default();
        ensure!((1 << 20..1 << 30).contains(&used), "it got {used} bytes");
    }
    Ok(())
}

async fn giant(language: &Language, target: &Target) -> Result<()> {
    let report = target.run(&language.tool(&["giant"])).await?;
    ensure!(report["status"] == "memory_limit", "{}", short(&report));
    Ok(())
}

async fn smallest(language: &Language, target: &Target) -> Result<()> {
    for (limit, statuses) in [(16, &["success", "memory_limit"][..]), (64, &["success"])] {
        let request = language.tool_with(&["nothing"], json!({"memoryLimit": limit}));
        let report = target.run(&request).await?;
        let status = report["status"].as_str().unwrap_or_default();
        ensure!(statuses.contains(&status), "with {limit} MB: {}", short(&report));
    }
    Ok(())
}

async fn versions(language: &Language, target: &Target) -> Result<()> {
    let known = target.versions().await?;
    let Some(exact) = known.first() else { anyhow::bail!("no version is told") };
    let major = exact.split('.').next().unwrap_or_default();
    for wanted in [exact.clone(), major.to_owned(), format!(">={major}"), format!("^{major}")] {
        let request = language.tool_with(&["nothing"], json!({"version": wanted}));
        let report = target.run(&request).await?;
        let got = report["version"].as_str().unwrap_or_default().to_owned();
        ensure!(got.starts_with(major) && known.contains(&got), "`{wanted}` gives {got}");
    }
    for wanted in ["0.0.1", "nonsense", ">=1000"] {
        let request = language.tool_with(&["nothing"], json!({"version": wanted}));
        target.execute(&request).await.refuses(&["/version"])?;
    }
    Ok(())
}

async fn options(language: &Language, target: &Target) -> Result<()> {
    if !language.options.is_empty() {
        let request =
            language.tool_with(&["nothing"], json!({"compilerOptions": language.options}));
        same("the output", &target.run(&request).await?["output"], &json!("ok\n"))?;
    }
    let mut given = language.options.to_vec();
    let mut pointers = Vec::new();
    for option in ["-o/tmp/x", "@/etc/passwd", "-fplugin=/tmp/x.so", "", "--version", "/etc/passwd"]
    {
        pointers.push(format!("/compilerOptions/{}", given.len()));
        given.push(option);
    }
    let request = language.tool_with(&["nothing"], json!({"compilerOptions": given}));
    let pointers: Vec<&str> = pointers.iter().map(String::as_str).collect();
    target.execute(&request).await.refuses(&pointers)
}

async fn cases(language: &Language, target: &Target) -> Result<()> {
    let cases = json!([
        {"name": "right", "inputData": "1 2\n", "expectedOutput": "1 2"},
        {"inputData": "1\n", "expectedOutput": "2"},
        {"args": ["exit", "4"], "expectedOutput": ""},
        {"args": ["nothing"]},
    ]);
    let report = target.run(&language.tool_with(&["echo"], json!({"cases": cases}))).await?;
    let told = |field: &str| -> Vec<Value> {
        let cases = report["cases"].as_array().into_iter().flatten();
        cases.map(|it| it[field].clone()).collect()
    };
    let words = |words: &[&str]| words.iter().map(|it| json!(it)).collect::<Vec<_>>();
    let statuses = words(&["accepted", "wrong_answer", "runtime_error", "success"]);
    same("the statuses", &told("status"), &statuses)?;
    same("the names", &told("name"), &words(&["right", "2", "3", "4"]))?;
    same("the outputs", &told("output"), &words(&["1 2\n", "1\n", "", "ok\n"]))?;
    same("the exit codes", &told("exitCode"), &[0, 0, 4, 0].map(Value::from).to_vec())?;
    same("the whole status", &report["status"], &json!("wrong_answer"))?;
    let passing = json!([{"inputData": "x", "expectedOutput": "x"}]);
    let report = target.run(&language.tool_with(&["echo"], json!({"cases": passing}))).await?;
    same("the status of a pass", &report["status"], &json!("accepted"))
}

/// Bytes as base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
