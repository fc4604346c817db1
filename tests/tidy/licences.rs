//! What we depend on: only licences that `.deny.toml` allows, and none of the crates it denies.

use std::collections::BTreeSet;
use std::process::Command;

use serde::Deserialize;
use toml::Value;

use crate::repository::{hold, read_toml, root};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[test]
fn every_dependency_has_a_licence_that_we_allow() {
    let allowed = strings(&["licenses", "allow"]);
    let faults = dependencies().into_iter().filter_map(|it| {
        let licence = it.license.unwrap_or_default();
        (!is_allowed(&licence, &allowed))
            .then(|| format!("{} {}: `{licence}`", it.name, it.version))
    });
    hold("a licence is not in .deny.toml", faults);
}

#[test]
fn no_denied_crate_is_locked() {
    let lock = read_toml("Cargo.lock");
    let packages = lock.get("package").and_then(Value::as_array).into_iter().flatten();
    let locked: BTreeSet<&str> = packages.filter_map(|it| it.get("name")?.as_str()).collect();
    let deny = read_toml(".deny.toml");
    let denied = deny.get("bans").and_then(|it| it.get("deny")).and_then(Value::as_array);
    let denied = denied.into_iter().flatten().filter_map(|it| it.get("crate")?.as_str());
    let faults = denied.filter(|it| locked.contains(it)).map(str::to_owned);
    hold(".deny.toml denies what Cargo.lock holds", faults);
}

/// What is built here, and what it is built with.
fn dependencies() -> Vec<Package> {
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc starts");
    let told = String::from_utf8_lossy(&rustc.stdout);
    let host = told.lines().find_map(|it| it.strip_prefix("host: ")).expect("rustc has a host");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", host])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    metadata.packages.into_iter().filter(|it| it.source.is_some()).collect()
}

fn strings(path: &[&str; 2]) -> BTreeSet<String> {
    let deny = read_toml(".deny.toml");
    let [table, key] = path;
    let values = deny.get(*table).and_then(|it| it.get(*key)).and_then(Value::as_array);
    values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be met. `/` is what manifests had before SPDX.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (is_met, rest) = any(&words, allowed);
    is_met && rest.is_empty()
}

fn any<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut is_met, mut rest) = all(words, allowed);
    while let ["OR", after @ ..] = rest {
        let (other, left) = all(after, allowed);
        (is_met, rest) = (is_met || other, left);
    }
    (is_met, rest)
}

fn all<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut is_met, mut rest) = one(words, allowed);
    while let ["AND", after @ ..] = rest {
        let (other, left) = one(after, allowed);
        (is_met, rest) = (is_met && other, left);
    }
    (is_met, rest)
}

fn one<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    match words {
        ["(", rest @ ..] => match any(rest, allowed) {
            (is_met, [")", rest @ ..]) => (is_met, rest),
            (_, rest) => (false, rest),
        },
        [name, "WITH", exception, rest @ ..] => {
            (allowed.contains(&format!("{name} WITH {exception}")), rest)
        }
        [name, rest @ ..] => (allowed.contains(*name), rest),
        [] => (false, &[]),
    }
}

#[test]
fn an_expression_is_met_by_what_is_allowed() {
    let allowed = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    let check = |expression: &str, is_met| {
        assert_eq!(is_allowed(expression, &allowed), is_met, "{expression}");
    };
    check("MIT", true);
    check("GPL-3.0-only OR MIT", true);
    check("GPL-3.0-only AND MIT", false);
    check("(GPL-3.0-only OR MIT) AND Zlib", true);
    check("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only", true);
    check("Apache-2.0/MIT", true);
    check("", false);
    check("MIT AND", false);
}
