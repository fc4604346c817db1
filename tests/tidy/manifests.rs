//! Manifests: what every member inherits, and which way dependencies point.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::repository::{exists, folders, hold, read_toml};

/// Crates and what they must not reach, directly or through other crates of ours.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "protocol",
        &["actix-web", "libc", "reqwest", "rusqlite", "rustix", "sqlx", "tokio", "tracing"],
    ),
    ("sandbox", &["actix-web", "executor", "gateway", "queue", "reqwest", "tokio"]),
    ("executor", &["gateway", "queue", "rusqlite", "sqlx"]),
    ("gateway", &["executor", "sandbox"]),
    ("documents", &["actix-web", "executor", "gateway", "queue", "sandbox"]),
    ("queue", &["actix-web", "executor", "gateway", "sandbox"]),
    ("settings", &["actix-web", "protocol", "tokio"]),
    ("telemetry", &["executor", "gateway", "queue", "sandbox"]),
];

/// What is said once, for all members.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

#[test]
fn every_member_takes_the_lints_and_fields_of_the_workspace() {
    let mut faults = Vec::new();
    for path in members() {
        let manifest = read_toml(&format!("{path}/Cargo.toml"));
        if !is_inherited(manifest.get("lints")) {
            faults.push(format!("{path}/Cargo.toml: [lints] workspace = true"));
        }
        let package = manifest.get("package").and_then(Value::as_table);
        for field in INHERITED {
            if !is_inherited(package.and_then(|it| it.get(*field))) {
                faults.push(format!("{path}/Cargo.toml: {field}.workspace = true"));
            }
        }
        // What only one language needs is that folder's business.
        let is_leaf = path.starts_with("executors/");
        for (name, dependency) in dependencies(&manifest, true) {
            if !is_leaf && !is_inherited(Some(dependency)) {
                faults.push(format!("{path}/Cargo.toml: {name}.workspace = true"));
            }
        }
    }
    hold("a member without these escapes silently; add the line", faults);
}

#[test]
fn dependencies_point_one_way() {
    let direct: BTreeMap<String, BTreeSet<String>> = members().map(|it| arrows(&it)).collect();
    let mut faults = Vec::new();
    for (from, forbidden) in ARROWS {
        let reached = reached(from, &direct);
        let reached = forbidden.iter().filter(|it| reached.contains(**it));
        faults.extend(reached.map(|it| format!("{from} → {it}")));
    }
    hold("a crate depends on what it must not know", faults);
}

/// The folders of the members.
fn members() -> impl Iterator<Item = String> {
    let executors = folders("executors").into_iter().map(|it| format!("executors/{it}"));
    let shared = folders("shared").into_iter().map(|it| format!("shared/{it}"));
    let single = ["gateway", "gateway/console", "cli", "tests"].map(str::to_owned);
    executors.chain(shared).chain(single).filter(|it| exists(&format!("{it}/Cargo.toml")))
}

/// A member's package and what it depends on outside its tests.
fn arrows(path: &str) -> (String, BTreeSet<String>) {
    let manifest = read_toml(&format!("{path}/Cargo.toml"));
    let name = manifest.get("package").and_then(|it| it.get("name")).and_then(Value::as_str);
    let names = dependencies(&manifest, false).into_iter().map(|(name, _)| name.to_owned());
    (name.unwrap_or_default().to_owned(), names.collect())
}

fn dependencies(manifest: &Table, with_tests: bool) -> Vec<(&str, &Value)> {
    let mut kinds = vec!["dependencies", "build-dependencies"];
    if with_tests {
        kinds.push("dev-dependencies");
    }
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    std::iter::once(manifest)
        .chain(targets)
        .flat_map(|it| kinds.iter().filter_map(|kind| it.get(*kind)?.as_table()))
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
        .collect()
}

fn is_inherited(value: Option<&Value>) -> bool {
    value.and_then(|it| it.get("workspace")).and_then(Value::as_bool) == Some(true)
}

fn reached(from: &str, direct: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from.to_owned()];
    while let Some(name) = next.pop() {
        for it in direct.get(&name).into_iter().flatten() {
            if reached.insert(it.clone()) {
                next.push(it.clone());
            }
        }
    }
    reached
}
