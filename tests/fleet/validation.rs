//! `/validate` says where the error is, and runs nothing.

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::checks::{Checks, same, short};
use crate::language::Language;
use crate::programs::folder;
use crate::target::Target;

/// `validate.toml` of a language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: Vec<Source>,
}

/// Sources and where their first error is; valid if it is nowhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    name: String,
    request: toml::Table,
    line: Option<u64>,
    column: Option<u64>,
    #[serde(default)]
    warns: bool,
}

pub(crate) fn checks<'a>(language: &'static Language, target: &'a Target) -> Checks<'a> {
    let mut checks = Checks::default();
    let text = std::fs::read_to_string(folder(language).join("validate.toml")).unwrap();
    let file: File = toml::from_str(&text).unwrap();
    for source in file.source {
        let name = format!("{}: validating {} says where it is wrong", language.id, source.name);
        checks.add(name, async move {
            source.check(target).await?;
            source.check_run(target).await
        });
    }
    checks.add(format!("{}: its tool is valid, and is not run", language.id), async move {
        let report = target.validate(&json!({"code": language.tool})).await?;
        ensure!(report["isValid"] == true, "{}", short(&report));
        Ok(())
    });
    checks
}

impl Source {
    async fn check(&self, target: &Target) -> Result<()> {
        let report = target.validate(&serde_json::to_value(&self.request)?).await?;
        ensure!(report["errors"].is_array() && report["warnings"].is_array(), "{report}");
        same("isValid", &report["isValid"], &json!(self.line.is_none()))?;
        let warned = report["warnings"].as_array().is_some_and(|it| !it.is_empty());
        ensure!(warned || !self.warns, "nothing warns: {report}");
        let Some(line) = self.line else {
            return same("the errors", &report["errors"], &Value::Array(Vec::new()));
        };
        let first = &report["errors"][0];
        let message = first["message"].as_str().unwrap_or_default();
        ensure!(!message.is_empty(), "the message is empty: {report}");
        let place = (first["line"].as_u64(), first["column"].as_u64());
        let column_is_right = self.column.is_none_or(|it| place.1 == Some(it));
        ensure!(place.0 == Some(line) && column_is_right, "the place is {place:?}: {report}");
        Ok(())
    }

    /// What stops a run before its program is told at the same place.
    async fn check_run(&self, target: &Target) -> Result<()> {
        let events = target.stream(&serde_json::to_value(&self.request)?).await?.rest().await?;
        let told = events.iter().filter(|it| it.name == "diagnostic").map(|it| &it.data);
        let errors: Vec<&Value> = told.filter(|it| it["severity"] == "error").collect();
        let report = events.last().map(|it| it.data["report"].clone()).unwrap_or_default();
        if report["status"] != "compile_error" {
            return same("the errors of what ran", &errors, &Vec::new());
        }
        let Some(first) = errors.first() else { anyhow::bail!("no place is told: {report}") };
        same("the line", &first["line"].as_u64(), &self.line)?;
        let column = self.column.or_else(|| first["column"].as_u64());
        same("the column", &first["column"].as_u64(), &column)?;
        ensure!(first["message"].as_str().is_some_and(|it| !it.is_empty()), "{first}");
        Ok(())
    }
}
