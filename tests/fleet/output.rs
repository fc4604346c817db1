//! What a program prints comes back: all of it within bounds, whatever the bytes, and at once.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::checks::{Checks, same, short};
use crate::fields::base64;
use crate::language::Language;
use crate::target::Target;

const BYTES: [u8; 12] = *b"\xff\xfe\x00\x41\x00\xc3\x28\xf0\x9f\x98\x80\x0a";

pub(crate) fn checks<'a>(language: &'static Language, target: &'a Target) -> Checks<'a> {
    let mut checks = Checks::default();
    let id = language.id;
    checks.add(format!("{id}: 10 MB of output are cut and flagged"), cut(language, target));
    checks.add(format!("{id}: 100 MB of output end in output_limit"), limit(language, target));
    checks.add(format!("{id}: output in no encoding is told exactly"), bytes(language, target));
    checks.add(
        format!("{id}: a child that holds the output does not delay the answer"),
        held(language, target),
    );
    checks.add(
        format!("{id}: events come in order, and while the program runs"),
        events(language, target),
    );
    checks
}

async fn cut(language: &Language, target: &Target) -> Result<()> {
    let report = target.run(&language.tool(&["print", "10485760"])).await?;
    same("the status", &report["status"], &json!("success"))?;
    same("outputTruncated", &report["outputTruncated"], &json!(true))?;
    same("errorTruncated", &report["errorTruncated"], &json!(false))?;
    let length = report["output"].as_str().unwrap_or_default().len();
    same("the length of the output", &length, &(1 << 20))
}

async fn limit(language: &Language, target: &Target) -> Result<()> {
    let report = target.run(&language.tool(&["print", "104857600"])).await?;
    same("the status", &report["status"], &json!("output_limit"))?;
    same("outputTruncated", &report["outputTruncated"], &json!(true))?;
    let length = report["output"].as_str().unwrap_or_default().len();
    same("the length of the output", &length, &(1 << 20))
}

async fn bytes(language: &Language, target: &Target) -> Result<()> {
    let request = language.tool_with(&["bytes"], json!({"outputBase64": true}));
    let report = target.run(&request).await?;
    same("the bytes", &report["outputBase64"], &json!(base64(&BYTES)))?;
    same("the text", &report["output"], &json!(String::from_utf8_lossy(&BYTES)))?;
    let without = target.run(&language.tool(&["bytes"])).await?;
    ensure!(without.get("outputBase64").is_none(), "bytes come unasked");
    Ok(())
}

async fn held(language: &Language, target: &Target) -> Result<()> {
    // The children sleep five minutes; an answer before the timeout did not wait for them.
    let asked = Instant::now();
    let report = target.run(&language.tool_with(&["hold"], json!({"timeout": 60}))).await?;
    ensure!(report["output"] == "done\n", "{}", short(&report));
    same("the status", &report["status"], &json!("success"))?;
    ensure!(asked.elapsed() < Duration::from_mins(1), "the answer waited for them");
    Ok(())
}

async fn events(language: &Language, target: &Target) -> Result<()> {
    let mut events = target.stream(&language.tool(&["flush"])).await?;
    let first = events.until("stdout").await?;
    let seen = Instant::now();
    same("the first output", &first["data"], &json!("first\n"))?;
    let rest = events.rest().await?;
    // The program sleeps two seconds in between, so the first line did not wait for its end.
    ensure!(seen.elapsed() > Duration::from_millis(300), "the first output came with the last");
    let names: Vec<&str> = rest.iter().map(|it| it.name.as_str()).collect();
    ensure!(
        names == ["stdout", "stderr", "exit"] || names == ["stderr", "stdout", "exit"],
        "the events are {names:?}"
    );
    let told = |name: &str| rest.iter().find(|it| it.name == name).map(|it| it.data.clone());
    let (stdout, stderr) = (told("stdout").unwrap_or_default(), told("stderr").unwrap_or_default());
    same("the second output", &stdout["data"], &json!("second\n"))?;
    same("the error", &stderr["data"], &json!("problem\n"))?;
    let report = told("exit").unwrap_or_default()["report"].clone();
    same("the status", &report["status"], &json!("success"))?;
    same("the output of the report", &report["output"], &json!(""))
}
