//! Files go in as `files` and come out as `outputFiles`.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::checks::{Checks, same, short};
use crate::fields::base64;
use crate::language::Language;
use crate::target::Target;

pub(crate) fn checks<'a>(language: &'static Language, target: &'a Target) -> Checks<'a> {
    let mut checks = Checks::default();
    checks.add(
        format!("{}: files come back as text or base64, links and pipes do not", language.id),
        outputs(language, target),
    );
    checks.add(
        format!("{}: an entry file with data beside it runs, in either encoding", language.id),
        inputs(language, target),
    );
    checks
}

async fn outputs(language: &Language, target: &Target) -> Result<()> {
    let request = language.tool_with(&["write"], json!({"outputFiles": ["out/*"]}));
    let report = target.run(&request).await?;
    ensure!(report["status"] == "success", "{}", short(&report));
    let expected = json!([
        {"path": "out/a.txt", "content": "größe\n", "encoding": "utf8", "size": 8},
        {"path": "out/b.bin", "content": base64(&[255, 0, 1]), "encoding": "base64", "size": 3},
    ]);
    same("the files", &report["files"], &expected)?;
    let request = language.tool_with(&["write"], json!({"outputFiles": ["**/*.bin", "nothing"]}));
    let files = target.run(&request).await?["files"].clone();
    same("the files of a pattern", &files, &json!([expected[1]]))
}

async fn inputs(language: &Language, target: &Target) -> Result<()> {
    let name = match language.id {
        "python" => "tool.py",
        "javascript" => "tool.js",
        "typescript" => "tool.ts",
        "java" => "Tool.java",
        "cpp" => "tool.cpp",
        "go" => "tool.go",
        _ => "tool.rs",
    };
    for (content, encoding) in
        [(language.tool.to_owned(), "utf8"), (base64(language.tool.as_bytes()), "base64")]
    {
        let files = json!([
            {"path": name, "content": content, "encoding": encoding},
            {"path": "data/größe.bin", "content": base64(&[0, 255]), "encoding": "base64"},
        ]);
        let patterns = json!(["data/*"]);
        let request = json!({"files": files, "args": ["nothing"], "outputFiles": patterns});
        let report = target.run(&request).await?;
        ensure!(report["output"] == "ok\n", "{}", short(&report));
        let returned = json!([{
            "path": "data/größe.bin", "content": base64(&[0, 255]), "encoding": "base64", "size": 2,
        }]);
        same("the files", &report["files"], &returned)?;
        same("the cases", report.get("cases").unwrap_or(&Value::Null), &Value::Null)?;
    }
    Ok(())
}
