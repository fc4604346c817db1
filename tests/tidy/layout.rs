//! How files look: their first lines, their lengths, and what a language's folder holds.

use crate::repository::{exists, files_ending, folders, hold, read, read_toml, texts};
use crate::tokens;

/// Lines of a source without its unit tests.
const LINES_MAX: usize = 400;

/// Lines of an executor's `main.rs`: what is particular to a language is data or a hook.
const EXECUTOR_MAIN_LINES_MAX: usize = 40;

/// What every folder of a language holds.
const EXECUTOR_PARTS: &[&str] =
    &["Cargo.toml", "Dockerfile", "hostile", "install", "runtime.toml", "samples", "src/main.rs"];

/// Left-overs that the compiler lets pass, as code.
const LEFT_OVERS: &[&str] =
    &["todo!", "unimplemented!", "dbg!", "#[ignore", "#[should_panic", "#[allow", "#![allow"];

#[test]
fn every_source_says_at_its_top_what_it_is_for() {
    let silent = files_ending(".rs").filter(|it| !read(it).starts_with("//! "));
    hold("the first line of a source is a `//!` sentence", silent.map(str::to_owned));
}

#[test]
fn no_source_is_longer_than_a_reader_can_hold() {
    let sources = files_ending(".rs").filter(|path| !path.contains("/tests/"));
    let faults = sources.filter_map(|path| {
        let lines = lines_without_tests(&read(path));
        (lines > LINES_MAX).then(|| format!("{path}: {lines} lines"))
    });
    hold(&format!("a source has at most {LINES_MAX} lines without its tests"), faults);
}

#[test]
fn nothing_is_left_over() {
    let mut faults = Vec::new();
    for path in files_ending(".rs") {
        let tokens = tokens::whole(path);
        for pattern in LEFT_OVERS {
            let lines = tokens::lines_of(pattern, &tokens);
            faults.extend(lines.iter().map(|line| format!("{path}:{line}: {pattern}")));
        }
    }
    hold("finish it, delete it, or use `#[expect(…, reason = \"…\")]`", faults);
}

#[test]
fn no_note_to_ourselves_is_left() {
    // Taken apart, so that this file has none.
    let notes = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];
    let mut faults = Vec::new();
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split(|it: char| !it.is_alphanumeric());
            if words.any(|it| notes.contains(&it)) {
                faults.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    hold("do it now or file an issue", faults);
}

#[test]
fn every_executor_is_whole_and_small() {
    let mut faults = Vec::new();
    for language in folders("executors") {
        let folder = format!("executors/{language}");
        for part in EXECUTOR_PARTS.iter().filter(|it| !exists(&format!("{folder}/{it}"))) {
            faults.push(format!("{folder}/{part} is missing"));
        }
        let main = format!("{folder}/src/main.rs");
        if exists(&main) && read(&main).lines().count() > EXECUTOR_MAIN_LINES_MAX {
            faults.push(format!("{main} has more than {EXECUTOR_MAIN_LINES_MAX} lines"));
        }
        if !files_ending(".toml").any(|it| it.starts_with(&format!("{folder}/samples/"))) {
            faults.push(format!("{folder}/samples has no sample"));
        }
        let spec = format!("{folder}/runtime.toml");
        if exists(&spec)
            && read_toml(&spec).get("name").and_then(|it| it.as_str()) != Some(&language)
        {
            faults.push(format!("{spec}: its name is not that of its folder"));
        }
    }
    hold("a language is a folder that holds all of it", faults);
}

/// Unit tests stand last, in `mod tests`.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .position(|it| matches!(it, ["#[cfg(test)]", tests] if tests.starts_with("mod tests")))
        .unwrap_or(lines.len())
}

#[test]
fn the_tests_of_a_source_do_not_count() {
    assert_eq!(lines_without_tests("a\nb\n#[cfg(test)]\nmod tests {\n}\n"), 2);
    assert_eq!(lines_without_tests("a\nb\n"), 2);
}
