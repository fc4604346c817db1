//! Names: what TypeScript files are called once they are JavaScript, and what imports of them
//! must say then. Node wants the whole file name; TypeScript leaves parts of it out.

use std::collections::{BTreeMap, BTreeSet};

/// What may be left out of an import, likeliest first.
const ENDINGS: [&str; 12] = [
    ".ts",
    ".tsx",
    ".mts",
    ".cts",
    ".js",
    ".mjs",
    ".cjs",
    ".json",
    "/index.ts",
    "/index.tsx",
    "/index.js",
    "/index.mjs",
];

/// What TypeScript lets an import say for a file that is not JavaScript yet.
const ALIASES: [(&str, &[&str]); 4] =
    [(".js", &[".ts", ".tsx"]), (".mjs", &[".mts"]), (".cjs", &[".cts"]), (".jsx", &[".tsx"])];

/// The files of a program, before and after.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Every path as it was sent.
    pub(crate) files: BTreeSet<String>,
    /// The new paths of TypeScript files.
    pub(crate) emitted: BTreeMap<String, String>,
}

impl Names {
    /// What an import of `specifier` in `importer` must say instead, if anything.
    pub(crate) fn resolve(&self, importer: &str, specifier: &str) -> Option<String> {
        let is_relative = matches!(specifier, "." | "..")
            || specifier.starts_with("./")
            || specifier.starts_with("../");
        if !is_relative {
            return None;
        }
        let directory = parent(importer);
        let target = join(directory, specifier)?;
        let found = self.find(&target)?;
        Some(relative(directory, &found))
    }

    fn find(&self, target: &str) -> Option<String> {
        if let Some(emitted) = self.emitted.get(target) {
            return Some(emitted.clone());
        }
        if self.files.contains(target) {
            return None;
        }
        let whole = ENDINGS.iter().map(|ending| format!("{target}{ending}"));
        let aliases = ALIASES.iter().flat_map(|(said, meant)| {
            let stem = target.strip_suffix(said);
            meant.iter().filter_map(move |ending| stem.map(|stem| format!("{stem}{ending}")))
        });
        let path = aliases
            .chain(whole)
            .map(|path| path.trim_start_matches('/').to_owned())
            .find(|path| self.files.contains(path))?;
        Some(self.emitted.get(&path).cloned().unwrap_or(path))
    }
}

/// The directory of a path, empty at the top.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// A path from a directory on, unless it leaves the top.
fn join(directory: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// How a file in `directory` names `path`.
fn relative(directory: &str, path: &str) -> String {
    let from: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    let to: Vec<&str> = path.split('/').collect();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let ups = from.len() - shared;
    let start = if ups == 0 { "./".to_owned() } else { "../".repeat(ups) };
    let rest: Vec<&str> = to.into_iter().skip(shared).collect();
    start + &rest.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(importer: &str, specifier: &str, expected: Option<&str>) {
        let files = [
            "main.ts",
            "util.ts",
            "old.js",
            "data.json",
            "lib/index.ts",
            "lib/deep/a.ts",
            "same.ts",
            "same.js",
        ];
        let names = Names {
            files: files.map(str::to_owned).into(),
            emitted: files
                .iter()
                .filter_map(|it| {
                    Some(((*it).to_owned(), format!("{}.mjs", it.strip_suffix(".ts")?)))
                })
                .collect(),
        };
        assert_eq!(names.resolve(importer, specifier).as_deref(), expected, "{specifier}");
    }

    #[test]
    fn an_import_may_leave_out_or_disguise_the_extension() {
        for specifier in ["./util", "./util.ts", "./util.js", "./lib/../util"] {
            check("main.ts", specifier, Some("./util.mjs"));
        }
        check("main.ts", "./old", Some("./old.js"));
        check("main.ts", "./data", Some("./data.json"));
    }

    #[test]
    fn a_directory_means_its_index() {
        check("main.ts", "./lib", Some("./lib/index.mjs"));
        check("lib/deep/a.ts", "..", Some("../index.mjs"));
        check("lib/index.ts", "./deep/a", Some("./deep/a.mjs"));
        check("lib/deep/a.ts", "../../util", Some("../../util.mjs"));
    }

    #[test]
    fn what_is_right_or_unknown_stays() {
        for specifier in
            ["fs", "node:fs", "./old.js", "./data.json", "./nope", "../../util", "/util"]
        {
            check("main.ts", specifier, None);
        }
        check("main.ts", "./same.js", None);
        check("main.ts", "./same.ts", Some("./same.mjs"));
    }
}
