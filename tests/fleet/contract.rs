//! The original contract, to the letter, and the answer's shape.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::checks::{Checks, same, short};
use crate::language::Language;
use crate::target::Target;

/// A field, and what its JSON type must be.
type Field = (&'static str, fn(&Value) -> bool);

/// Every field of a report that must be there.
const FIELDS: [Field; 16] = [
    ("requestId", Value::is_string),
    ("status", Value::is_string),
    ("output", Value::is_string),
    ("error", Value::is_string),
    ("outputTruncated", Value::is_boolean),
    ("errorTruncated", Value::is_boolean),
    ("executionTime", Value::is_f64),
    ("cpuTime", Value::is_f64),
    ("memoryUsed", Value::is_u64),
    ("exitCode", Value::is_i64),
    ("signal", Value::is_null),
    ("timings", Value::is_object),
    ("warm", Value::is_boolean),
    ("isolation", Value::is_string),
    ("language", Value::is_string),
    ("version", Value::is_string),
];

pub(crate) fn checks<'a>(language: &'static Language, target: &'a Target) -> Checks<'a> {
    let mut checks = Checks::default();
    let id = language.id;
    checks.add(
        format!("{id}: code, inputData and timeout give output, error, executionTime and status"),
        original(language, target),
    );
    checks.add(
        format!("{id}: a report has every field of the contract"),
        every_field(language, target),
    );
    checks.add(
        format!("{id}: what fails says so in status, error and exitCode"),
        failure(language, target),
    );
    checks
}

async fn original(language: &Language, target: &Target) -> Result<()> {
    let code = echoing(language, language.tool);
    let request = json!({"code": code, "inputData": "41\n", "timeout": 20});
    let report = target.run(&request).await?;
    same("the status", &report["status"], &json!("success"))?;
    same("the output", &report["output"], &json!("41\n"))?;
    same("the error", &report["error"], &json!(""))?;
    let seconds = report["executionTime"].as_f64().unwrap_or(-1.0);
    ensure!(seconds > 0.0 && seconds < 20.0, "executionTime is {seconds}");
    Ok(())
}

/// The tool's code so that it echoes when it gets no arguments: the original contract has none.
fn echoing(language: &Language, code: &str) -> String {
    let (from, to) = match language.id {
        "python" => ("verb, *rest = sys.argv[1:]", "verb, *rest = ['echo']"),
        "javascript" => ("process.argv.slice(2)", "['echo']"),
        "typescript" => ("process.argv.slice(2) as [string, ...string[]]", "['echo']"),
        "java" => ("String first =", "args = new String[] {\"echo\"}; String first ="),
        "cpp" => ("rest(arguments + 1, arguments + count)", "rest(1, \"echo\")"),
        "go" => ("os.Args[1], os.Args[2:]", "\"echo\", []string{}"),
        _ => ("env::args().nth(1).unwrap()", "\"echo\".to_string()"),
    };
    assert!(code.contains(from), "{} has another tool now", language.id);
    code.replace(from, to)
}

async fn every_field(language: &Language, target: &Target) -> Result<()> {
    let report = target.run(&language.tool(&["nothing"])).await?;
    for (field, is_right) in FIELDS {
        let present = report.get(field);
        ensure!(present.is_some_and(is_right), "`{field}` is {present:?} in {}", short(&report));
    }
    same("the language", &report["language"], &json!(language.id))?;
    for timing in ["queue", "compile", "start", "run", "total"] {
        ensure!(report["timings"][timing].is_f64(), "`timings.{timing}` is missing");
    }
    // What is only sampled may be nothing beyond what stood ready.
    let is_known = report["memoryUsed"].as_u64() > Some(0) || report["approximate"] == true;
    ensure!(is_known, "memoryUsed is nothing");
    let compile = &report["compile"];
    ensure!(
        compile.is_null() || (compile["status"] == "success" && compile["cached"].is_boolean()),
        "`compile` is {compile}"
    );
    let again = target.run(&language.tool(&["nothing"])).await?;
    let is_cached = again["compile"].is_null() || again["compile"]["cached"] == true;
    ensure!(is_cached, "it is compiled again: {}", again["compile"]);
    Ok(())
}

async fn failure(language: &Language, target: &Target) -> Result<()> {
    let report = target.run(&language.tool(&["exit", "3"])).await?;
    same("the status", &report["status"], &json!("runtime_error"))?;
    same("the exit code", &report["exitCode"], &json!(3))?;
    let broken = target.run(&json!({"code": "(((( this is no program {{{{"})).await?;
    let status = broken["status"].as_str().unwrap_or_default();
    ensure!(matches!(status, "compile_error" | "runtime_error"), "the status is {status}");
    let error = broken["error"].as_str().unwrap_or_default();
    ensure!(!error.is_empty(), "nothing says what is wrong: {}", short(&broken));
    // An interpreter names the file that it runs in full, as in a shell.
    let names_ours = status == "compile_error" && error.contains("/work/");
    ensure!(!names_ours, "the error names our directories: {error}");
    Ok(())
}
