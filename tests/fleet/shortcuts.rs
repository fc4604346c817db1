//! A shortcut of a compile changes nothing that can be seen of it: what the bare toolchain says of
//! a program, and what that does, is what the executor says and what it does there.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tests::Server;

use crate::checks::{Checks, same, short};
use crate::languages::start;
use crate::target::Target;

/// `programs/<language>/shortcuts/table.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// The bare toolchain: the program's options and its sources follow. It makes `main`.
    bare: Vec<String>,
    /// What the entry is called.
    entry: String,
    /// Beginnings of the bare toolchain's lines that are not about the program.
    #[serde(default)]
    beside: Vec<String>,
    program: Vec<Program>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    name: String,
    #[serde(default)]
    options: Vec<String>,
    /// The entry, and further files by path.
    code: String,
    #[serde(default)]
    files: std::collections::BTreeMap<String, String>,
    /// Whether a shortcut gives the result; none if that is not the point.
    quick: Option<bool>,
}

/// What is seen of a program.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    compiles: bool,
    said: String,
    printed: String,
    code: Option<i64>,
}

async fn check(language: &str) {
    let Some(server) = start(language, &[("EXECUTOR_SLOTS", "2")]).await else { return };
    let path = tests::repository().join("tests/fleet/programs").join(language);
    let text = std::fs::read_to_string(path.join("shortcuts/table.toml")).unwrap();
    let table: Table = toml::from_str(&text).unwrap();
    let target = Target::executor(&server);
    let mut checks = Checks::default();
    for program in &table.program {
        let name = format!("{language}: {} is as without shortcuts", program.name);
        checks.add(name, program.check(&table, &target, &server));
    }
    // One at a time, so that the counts of shortcuts are each one's own.
    checks.make(language, 1).await;
}

impl Program {
    async fn check(&self, table: &Table, target: &Target, server: &Server) -> Result<()> {
        let mut files = vec![json!({"path": table.entry, "content": self.code})];
        let others = self.files.iter();
        files.extend(others.map(|(path, content)| json!({"path": path, "content": content})));
        let before = taken(server).await?;
        let request = json!({"files": files, "compilerOptions": self.options});
        let report = target.run(&request).await?;
        let is_quick = taken(server).await? > before;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let compiles = report["status"] != "compile_error";
        let seen = Seen {
            compiles,
            said: text(&report["compile"]["output"]),
            printed: text(&report["output"]),
            code: report["exitCode"].as_i64().filter(|_| compiles),
        };
        same("what is seen", &seen, &self.bare(table)?)?;
        ensure!(
            self.quick.is_none_or(|it| it == is_quick),
            "quick: {is_quick}: {}",
            short(&report)
        );
        Ok(())
    }

    /// What is seen of the program with the bare toolchain.
    fn bare(&self, table: &Table) -> Result<Seen> {
        let directory = tempfile::tempdir()?;
        let entry = &table.entry;
        std::fs::write(directory.path().join(entry), &self.code)?;
        let mut sources = vec![entry.clone()];
        for (path, content) in &self.files {
            std::fs::write(directory.path().join(path), content)?;
            let is_source = path.rsplit('.').next() == entry.rsplit('.').next();
            sources.extend(is_source.then(|| path.clone()));
        }
        let (program, arguments) = table.bare.split_first().context("no bare toolchain")?;
        let arguments = arguments.iter().chain(&self.options).chain(&sources);
        let compiled = in_directory(directory.path(), program, arguments)?;
        let compiles = compiled.status.success();
        let said = [compiled.stdout, compiled.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let lines = said.lines().filter(|line| !table.beside.iter().any(|it| line.starts_with(it)));
        let said = lines.map(|line| format!("{line}\n")).collect();
        if !compiles {
            return Ok(Seen { compiles, said, printed: String::new(), code: None });
        }
        let ran = in_directory(directory.path(), "./main", &Vec::<String>::new())?;
        let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
        Ok(Seen { compiles, said, printed, code: ran.status.code().map(i64::from) })
    }
}

fn in_directory<'a>(
    directory: &Path,
    program: &str,
    arguments: impl IntoIterator<Item = &'a String>,
) -> Result<Output> {
    let path = format!("{}:{}", tests::toolchain_path(), std::env::var("PATH")?);
    // The program is searched on that path too.
    let mut command = Command::new("env");
    command.arg(format!("PATH={path}")).arg(program).args(arguments);
    command.current_dir(directory).env("LANG", "C.UTF-8");
    command.output().with_context(|| program.to_owned())
}

/// How many compiles of the server a shortcut gave.
async fn taken(server: &Server) -> Result<u64> {
    let metrics = reqwest::get(server.url("/metrics")).await?.text().await?;
    let line = metrics.lines().find(|it| it.contains("shortcuts_total{outcome=\"taken\"}"));
    Ok(line.and_then(|it| it.rsplit(' ').next()).map_or(Ok(0), str::parse)?)
}

#[tokio::test]
async fn shortcuts_of_cpp_change_nothing_that_can_be_seen() {
    check("cpp").await;
}

#[tokio::test]
async fn shortcuts_of_go_change_nothing_that_can_be_seen() {
    check("go").await;
}

#[tokio::test]
async fn shortcuts_of_rust_change_nothing_that_can_be_seen() {
    check("rust").await;
}
