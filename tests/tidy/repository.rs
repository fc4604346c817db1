//! The files of the repository, without what builds have made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Folders that nobody wrote.
const MADE: &[&str] =
    &[".git", ".toolchains", "bench-results", "dist", "node_modules", "target", "__pycache__"];

static FILES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut files = Vec::new();
    collect(&root(), "", &mut files);
    files.sort();
    files
});

/// The checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member is in a workspace").to_owned()
}

/// Every file, relative to the root, in order.
pub(crate) fn files() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(String::as_str)
}

/// The files whose names end so.
pub(crate) fn files_ending(suffix: &'static str) -> impl Iterator<Item = &'static str> {
    files().filter(move |it| it.ends_with(suffix))
}

/// The files that are neither pictures nor other bytes, with their texts.
pub(crate) fn texts() -> impl Iterator<Item = (&'static str, String)> {
    files().filter_map(|it| Some((it, fs::read_to_string(root().join(it)).ok()?)))
}

/// Whether a file or folder of this path exists.
pub(crate) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// The text of a file.
#[track_caller]
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A TOML file.
#[track_caller]
pub(crate) fn read_toml(path: &str) -> toml::Table {
    toml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The folders below `path` by name, in order.
pub(crate) fn folders(path: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(path)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|it| it.path().is_dir())
        .filter_map(|it| it.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Fails with all the faults at once, if there are any.
#[track_caller]
pub(crate) fn hold(rule: &str, faults: impl IntoIterator<Item = String>) {
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "{rule}:\n  {}\n", faults.join("\n  "));
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && !MADE.contains(&name.as_str()) {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file() {
            files.push(path);
        }
    }
}
