//! House rules: modules that an operator refuses are warned of by `/validate` and refused by
//! `/execute`, in every language. Who hides an import gets past: that is no fault, it says so.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::Server;

use crate::checks::{Checks, same, short};
use crate::language::{LANGUAGES, Language};
use crate::languages::start;
use crate::target::{Target, get};

/// Line, column and module of imports.
type Places = &'static [(u64, u64, &'static str)];

/// What an operator refuses in a language, and what becomes of programs then.
struct Policy {
    language: &'static str,
    refused: &'static str,
    /// Programs, and the line, column and module of each import that is refused.
    breaches: &'static [(&'static str, Places)],
    /// Programs that run, and print `ran`: harmless ones, and those that hide what they import.
    runs: &'static [&'static str],
}

const POLICIES: &[Policy] = &[
    Policy {
        language: "python",
        refused: "os,subprocess, concurrent.futures",
        breaches: &[
            ("import os", &[(1, 8, "os")]),
            ("import sys, os.path as p, json", &[(1, 13, "os.path")]),
            ("x = 1; import sys, \\\n  subprocess", &[(2, 3, "subprocess")]),
            (
                "if True:\n    from os import (path,\n        sep)",
                &[(2, 21, "os.path"), (3, 9, "os.sep")],
            ),
            ("from concurrent import futures as f", &[(1, 24, "concurrent.futures")]),
            ("from os.path import *\nimport os", &[(1, 21, "os.path.*"), (2, 8, "os")]),
            ("__import__('subprocess').run(['true'])", &[(1, 13, "subprocess")]),
            ("import importlib\nimportlib.import_module(\"os\")", &[(2, 26, "os")]),
            ("'''\nimport os\n'''", &[(2, 8, "os")]),
        ],
        runs: &[
            "import sys, json\nfrom json import *\nprint('ran')",
            "s = 'import os'  # import os\nprint('ran')",
            "__import__('o' + 's').getpid(); print('ran')",
            "exec('imp' + 'ort subprocess'); print('ran')",
        ],
    },
    Policy {
        language: "javascript",
        refused: "fs,node:child_process",
        breaches: &[
            ("const fs = require('fs')", &[(1, 21, "fs")]),
            ("require(\"node:fs/promises\")", &[(1, 10, "fs/promises")]),
            (
                "import {a} from 'child_process'\nimport\n'fs'",
                &[(1, 18, "child_process"), (3, 2, "fs")],
            ),
            ("export * from\"fs\"", &[(1, 15, "fs")]),
            ("import(`fs`).then(console.log)", &[(1, 9, "fs")]),
            ("process.getBuiltinModule('fs')", &[(1, 27, "fs")]),
        ],
        runs: &[
            "require('path'); Array.from('fs'); console.log('ran')",
            "require('f' + 's').existsSync('.'); console.log('ran')",
        ],
    },
    Policy {
        language: "typescript",
        refused: "fs,child_process",
        breaches: &[
            ("import type {Stats} from 'node:fs'", &[(1, 27, "fs")]),
            ("import fs = require('fs')", &[(1, 22, "fs")]),
        ],
        runs: &[
            "import {sep} from 'path'; const name: string = 'fs'; console.log(sep && name && 'ran')",
        ],
    },
    Policy {
        language: "java",
        refused: "java.net,java.io.File",
        breaches: &[
            ("import java.net.Socket;\nclass A {}", &[(1, 8, "java.net.Socket")]),
            ("import java.util.*; import java.io.*;\nclass A {}", &[(1, 28, "java.io.*")]),
            ("class A { java.io.File f; java.io.FileReader r; }", &[(1, 11, "java.io.File")]),
            (
                "class A { Object o = java . net . URI.create(\"a\"); }",
                &[(1, 22, "java.net.URI.create")],
            ),
        ],
        runs: &[
            "import java.util.*; class A { public static void main(String[] a) { System.out.println(\"ran\"); } }",
            "class A { public static void main(String[] a) throws Exception { \
             Class.forName(\"java.\" + \"net.Socket\"); System.out.println(\"ran\"); } }",
        ],
    },
    Policy {
        language: "cpp",
        refused: "sys,cstdlib",
        breaches: &[
            ("#include <cstdlib>\nint main() {}", &[(1, 11, "cstdlib")]),
            ("int main() {}\n #  include\t\"sys/socket.h\"", &[(2, 14, "sys/socket.h")]),
        ],
        runs: &[
            "#include <iostream>\nint main() { std::cout << \"ran\\n\"; }",
            "#define HEADER <cstdlib>\n#include HEADER\n#include <cstdio>\nint main() { std::puts(\"ran\"); }",
        ],
    },
    Policy {
        language: "go",
        refused: "os,net",
        breaches: &[
            ("package main\nimport \"os\"\nfunc main() {}", &[(2, 9, "os")]),
            (
                "package main\nimport (\n\t\"fmt\"\n\tsh \"os/exec\"; . `net/http`\n)",
                &[(4, 6, "os/exec"), (4, 19, "net/http")],
            ),
            ("package main; import _ \"net\"", &[(1, 25, "net")]),
            ("package main\nimport\n\"net\"", &[(3, 2, "net")]),
        ],
        runs: &[
            "package main\nimport \"fmt\"\nfunc main() { fmt.Println(\"ran\", \"os\") }",
            "package main\nimport o \"\\x6fs\"\nfunc main() { o.Stdout.WriteString(\"ran\") }",
        ],
    },
    Policy {
        language: "rust",
        refused: "std::process,std::net::TcpStream,libc",
        breaches: &[
            ("use std::process::Command;\nfn main() {}", &[(1, 5, "std::process::Command")]),
            (
                "use std::{fs, net::{self, TcpStream}, process as p};",
                &[(1, 27, "std::net::TcpStream"), (1, 39, "std::process")],
            ),
            ("use std::net::*;", &[(1, 5, "std::net::*")]),
            ("fn main() { ::std::process::exit(0) }", &[(1, 15, "std::process::exit")]),
            ("extern crate libc;", &[(1, 14, "libc")]),
        ],
        runs: &[
            "use std::fs; fn main() { let _ = fs::read(\"\"); println!(\"ran\"); }",
            "use std as s; fn main() { s::process::Command::new(\"true\"); println!(\"ran\"); }",
        ],
    },
];

/// The code by which diagnostics and `/info` call such rules.
const NAME: &str = "houseRules";

#[derive(Debug)]
struct Place {
    line: u64,
    column: u64,
    module: &'static str,
}

async fn check(policy: &'static Policy) {
    let language: &Language = LANGUAGES.iter().find(|it| it.id == policy.language).unwrap();
    let settings = [("EXECUTOR_REFUSED_MODULES", policy.refused), ("EXECUTOR_SLOTS", "2")];
    let Some(server) = start(language.executor, &settings).await else { return };
    let target = if language.id == language.executor {
        Target::executor(&server)
    } else {
        Target::executor_for(&server, language.id)
    };
    let mut checks = Checks::default();
    for (code, places) in policy.breaches {
        let places = places.iter().map(|&(line, column, module)| Place { line, column, module });
        let places: Vec<Place> = places.collect();
        let (target, places) = (&target, std::rc::Rc::new(places));
        let told = places.clone();
        checks.add(format!("{code:?} is refused"), async move {
            is_refused(target, &json!({"code": code}), "/code", &places).await
        });
        checks.add(format!("{code:?} is warned of"), async move {
            is_warned_of(target, code, &told).await
        });
    }
    for code in policy.runs {
        checks.add(format!("{code:?} runs"), runs(&target, code));
    }
    checks.add("a breach in any file is told", in_the_second_file(policy, &target));
    checks.add("the rule is told as what it is", is_told(policy, &server));
    checks.make(policy.language, 2).await;
}

async fn is_refused(
    target: &Target,
    request: &Value,
    pointer: &str,
    places: &[Place],
) -> Result<()> {
    let answer = target.execute(request).await;
    answer.is_problem(422, "refused_module")?;
    let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
    same("the number of breaches", &errors.len(), &places.len())?;
    for (error, place) in errors.iter().zip(places) {
        let Place { line, column, module } = place;
        same("the pointer", &error["pointer"], &json!(pointer))?;
        let detail = error["detail"].as_str().unwrap_or_default();
        let start = format!("line {line}, column {column}: `{module}` ");
        ensure!(detail.starts_with(&start), "`{detail}` does not start with `{start}`");
    }
    Ok(())
}

async fn is_warned_of(target: &Target, code: &str, places: &[Place]) -> Result<()> {
    let report = target.validate(&json!({"code": code})).await?;
    let warnings = report["warnings"].as_array().cloned().unwrap_or_default();
    let ruled: Vec<&Value> = warnings.iter().filter(|it| it["code"] == NAME).collect();
    same("the number of warnings", &ruled.len(), &places.len())?;
    for (warning, place) in ruled.iter().zip(places) {
        let told = (warning["line"].as_u64(), warning["column"].as_u64());
        same("the place", &told, &(Some(place.line), Some(place.column)))?;
        let message = warning["message"].as_str().unwrap_or_default();
        ensure!(message.contains(place.module), "`{message}` does not name {}", place.module);
    }
    Ok(())
}

async fn runs(target: &Target, code: &str) -> Result<()> {
    let report = target.run(&json!({"code": code})).await?;
    let output = report["output"].as_str().unwrap_or_default();
    ensure!(output.starts_with("ran"), "{}", short(&report));
    let validated = target.validate(&json!({"code": code})).await?;
    let warnings = validated["warnings"].as_array().cloned().unwrap_or_default();
    ensure!(warnings.iter().all(|it| it["code"] != NAME), "{}", short(&validated));
    Ok(())
}

/// The entry may be fine, and another file not.
async fn in_the_second_file(policy: &Policy, target: &Target) -> Result<()> {
    let (code, places) = policy.breaches.first().unwrap();
    let places = places.iter().map(|&(line, column, module)| Place { line, column, module });
    let files = json!([{"path": "entry", "content": "1"}, {"path": "a/b.txt", "content": code}]);
    let request = json!({"files": files});
    is_refused(target, &request, "/files/1", &places.collect::<Vec<_>>()).await
}

async fn is_told(policy: &Policy, server: &Server) -> Result<()> {
    let info = get(server, "/info").await.body;
    let features = info["features"].as_array().cloned().unwrap_or_default();
    ensure!(features.contains(&json!(NAME)), "the features are {features:?}");
    let notes = info["notes"].as_array().cloned().unwrap_or_default();
    let mut notes = notes.iter().filter_map(Value::as_str);
    let first = policy.refused.split(',').next().unwrap_or_default();
    ensure!(
        notes.any(|it| it.contains("no boundary") && it.contains(first)),
        "no note tells of the rule: {info}"
    );
    Ok(())
}

async fn check_language(id: &str) {
    check(POLICIES.iter().find(|it| it.language == id).unwrap()).await;
}

#[tokio::test]
async fn house_rules_hold_in_python() {
    check_language("python").await;
}

#[tokio::test]
async fn house_rules_hold_in_javascript() {
    check_language("javascript").await;
}

#[tokio::test]
async fn house_rules_hold_in_typescript() {
    check_language("typescript").await;
}

#[tokio::test]
async fn house_rules_hold_in_java() {
    check_language("java").await;
}

#[tokio::test]
async fn house_rules_hold_in_cpp() {
    check_language("cpp").await;
}

#[tokio::test]
async fn house_rules_hold_in_go() {
    check_language("go").await;
}

#[tokio::test]
async fn house_rules_hold_in_rust() {
    check_language("rust").await;
}

#[test]
fn every_language_has_its_rules() {
    for language in &LANGUAGES {
        assert!(POLICIES.iter().any(|it| it.language == language.id), "{}", language.id);
    }
}
