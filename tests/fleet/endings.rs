//! How a program ended is told by the kernel's word.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::checks::{Checks, short};
use crate::language::{End, Language};
use crate::target::Target;

const CODES: [u8; 8] = [0, 1, 2, 42, 127, 128, 200, 255];

pub(crate) fn checks<'a>(language: &'static Language, target: &'a Target) -> Checks<'a> {
    let mut checks = Checks::default();
    checks.add(format!("{}: every exit code comes back", language.id), codes(language, target));
    checks.add(format!("{}: every signal comes back", language.id), signals(language, target));
    checks
}

async fn codes(language: &Language, target: &Target) -> Result<()> {
    let cases: Vec<Value> =
        CODES.iter().map(|code| json!({"args": ["exit", code.to_string()]})).collect();
    let report = target.run(&language.tool_with(&[], json!({"cases": cases}))).await?;
    for (index, code) in CODES.into_iter().enumerate() {
        let case = &report["cases"][index];
        let status = if code == 0 { "success" } else { "runtime_error" };
        let is_right =
            case["exitCode"] == code && case["status"] == status && case["signal"].is_null();
        ensure!(is_right, "exit {code} is told as {}", short(case));
    }
    Ok(())
}

async fn signals(language: &Language, target: &Target) -> Result<()> {
    let cases: Vec<Value> = language
        .signals
        .iter()
        .map(|(number, _)| json!({"args": ["signal", number.to_string()]}))
        .collect();
    let request = language.tool_with(&[], json!({"cases": cases, "timeout": 10}));
    let report = target.run(&request).await?;
    let mut wrong = Vec::new();
    for (index, (number, end)) in language.signals.iter().enumerate() {
        let case = &report["cases"][index];
        let (code, signal) = match end {
            End::Code(code) => (json!(code), Value::Null),
            End::Signal(name) => (Value::Null, json!(name)),
        };
        let is_right = case["exitCode"] == code
            && case["signal"] == signal
            && case["status"] == "runtime_error";
        if !is_right {
            wrong.push(format!("signal {number} is told as {}", short(case)));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}
