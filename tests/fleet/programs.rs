//! Programs on disk, in the form of the executors' own samples: a request, and what must come
//! of it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::checks::{Checks, same, short};
use crate::language::Language;
use crate::target::Target;

/// A program and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Program {
    name: String,
    request: toml::Table,
    expect: Expectation,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Expectation {
    status: String,
    output: Option<String>,
    #[serde(default)]
    output_contains: String,
    #[serde(default)]
    error_contains: String,
    exit_code: Option<i64>,
    signal: Option<String>,
}

/// Every sample of the language's executor, and every program of its folder here.
pub(crate) fn checks<'a>(language: &'static Language, target: &'a Target) -> Checks<'a> {
    let mut checks = Checks::default();
    let samples = tests::repository().join("executors").join(language.executor).join("samples");
    for path in tomls(&samples).into_iter().chain(tomls(&folder(language))) {
        let text = std::fs::read_to_string(&path).unwrap();
        if path.ends_with("validate.toml") {
            continue;
        }
        let program: Program =
            toml::from_str(&text).with_context(|| path.display().to_string()).unwrap();
        let own = program.request.get("language").and_then(toml::Value::as_str);
        // Samples of a family's other languages say so, and run once.
        if own.is_some_and(|it| it != language.id) {
            continue;
        }
        let name = format!("{}: the program `{}` does as in a shell", language.id, program.name);
        checks.add(name, async move { program.check(target).await });
    }
    checks
}

/// The folder of a language's programs.
pub(crate) fn folder(language: &Language) -> PathBuf {
    tests::repository().join("tests/fleet/programs").join(language.id)
}

fn tomls(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|it| it.unwrap().path()).collect();
    paths.retain(|it| it.extension().is_some_and(|it| it == "toml"));
    paths.sort();
    paths
}

impl Program {
    async fn check(&self, target: &Target) -> Result<()> {
        let report = target.run(&serde_json::to_value(&self.request)?).await?;
        let expect = &self.expect;
        let text = |field: &str| report[field].as_str().unwrap_or_default().to_owned();
        let status = text("status");
        ensure!(status == expect.status, "it ends with {status}: {}", short(&report));
        if let Some(output) = &expect.output {
            same("the output", &text("output"), output)?;
        }
        let holds = text("output").contains(&expect.output_contains)
            && text("error").contains(&expect.error_contains);
        ensure!(holds, "a text is missing in {}", short(&report));
        if let Some(code) = expect.exit_code {
            same("the exit code", &report["exitCode"], &Value::from(code))?;
        }
        if let Some(signal) = &expect.signal {
            same("the signal", &report["signal"], &Value::from(signal.as_str()))?;
        }
        Ok(())
    }
}
