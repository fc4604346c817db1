//! Nothing outside `executors/` names a language. The names are what the folders there say, so
//! this file needs none either.

use std::collections::BTreeSet;

use crate::repository::{self, exists, files, files_ending, folders, hold, read, read_toml};
use crate::tokens::{self, Kind};

/// Where programs are sent to a fleet: such tests are about languages.
const PROGRAMS: &[&str] = &["tests/fleet/", "tests/chaos/", "tests/escape/"];

/// Names this short are ordinary words, unless they are what a language is called itself.
const ALIAS_LETTERS_MIN: usize = 3;

#[test]
fn no_rust_source_outside_executors_names_a_language() {
    let names = names();
    let mut faults = Vec::new();
    for path in files_ending(".rs").filter(|it| is_outside(it)) {
        for token in tokens::whole(path) {
            let is_named = match token.kind {
                Kind::Text => names.contains(&token.text),
                Kind::Word => names.contains(&token.text.to_lowercase()),
                Kind::Mark => false,
            };
            if is_named {
                faults.push(format!("{path}:{}: {}", token.line, token.text));
            }
        }
    }
    hold("a language is named outside its folder; ask the fleet or the folders instead", faults);
}

#[test]
fn no_script_or_setting_outside_executors_names_a_language() {
    let names = names();
    let scripts = files().filter(|it| it.starts_with("scripts/") || it.starts_with(".ci/"));
    let tables = files_ending(".toml").filter(|it| !it.starts_with("railway/"));
    let mut faults = Vec::new();
    for path in scripts.chain(tables).filter(|it| is_outside(it)) {
        for (number, line) in read(path).lines().enumerate() {
            let code = line.split(" #").next().unwrap_or_default();
            if code.trim_start().starts_with(['#', '[']) {
                continue;
            }
            let mut words = code.split(|it: char| !(it.is_alphanumeric() || "_-+#".contains(it)));
            if let Some(name) = words.find(|it| names.contains(*it)) {
                faults.push(format!("{path}:{}: {name}", number + 1));
            }
        }
    }
    hold("a language is named outside its folder; walk `executors/*` instead", faults);
}

#[test]
fn the_page_names_no_language() {
    let names = names();
    let is_source = |it: &str| [".ts", ".tsx"].iter().any(|end| it.ends_with(end));
    let sources = files().filter(|it| it.starts_with("gateway/console/page/") && is_source(it));
    let mut faults = Vec::new();
    for path in sources {
        for (number, line) in read(path).lines().enumerate() {
            // Between words that are quoted are words that are not, and it does no harm to look at both.
            let mut quoted = line.split(['"', '\'', '`']);
            if let Some(name) = quoted.find(|it| names.contains(&it.to_lowercase())) {
                faults.push(format!("{path}:{}: {name}", number + 1));
            }
        }
    }
    hold("a language is named in the page; take what `/v1/languages` says of it", faults);
}

fn is_outside(path: &str) -> bool {
    !path.starts_with("executors/") && !PROGRAMS.iter().any(|it| path.starts_with(it))
}

/// Everything that a language is called, lower case.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in folders("executors") {
        let path = format!("executors/{folder}/runtime.toml");
        names.insert(folder);
        if !exists(&path) {
            continue;
        }
        let spec = read_toml(&path);
        let languages = spec.get("languages").and_then(toml::Value::as_array);
        for language in languages.into_iter().flatten() {
            let id = language.get("id").and_then(toml::Value::as_str);
            names.extend(id.map(str::to_owned));
            let aliases = language.get("aliases").and_then(toml::Value::as_array);
            let aliases = aliases.into_iter().flatten().filter_map(toml::Value::as_str);
            names.extend(aliases.filter(|it| it.len() >= ALIAS_LETTERS_MIN).map(str::to_lowercase));
        }
    }
    names
}

#[test]
fn there_are_languages() {
    assert!(!names().is_empty(), "{} has no executors", repository::root().display());
}
