//! Parses the source files of a submission: whose names stay below the directory that they are
//! joined to, and whose places do not collide.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::fields::{Fields, kind};
use crate::{Bounds, FieldError};

/// One source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative path; empty if the client sent `code` and named none.
    pub path: String,
    /// The bytes.
    pub content: Vec<u8>,
}

/// Reads `code` or `files`, and adds their sizes to `code_bytes`.
pub(crate) fn read(
    fields: &mut Fields<'_>,
    bounds: &Bounds,
    code_bytes: &mut usize,
) -> Vec<SourceFile> {
    let code = fields.string("code");
    let files = fields.list("files", bounds.files_max);
    match (code, files) {
        (Some(_), Some(_)) => {
            fields.refuse("files", "give `code` or `files`, not both");
            Vec::new()
        }
        (Some(code), None) if code.is_empty() => {
            fields.refuse("code", "`code` must not be empty");
            Vec::new()
        }
        (Some(code), None) => {
            *code_bytes += code.len();
            vec![SourceFile { path: String::new(), content: code.into_bytes() }]
        }
        (None, Some(files)) if files.is_empty() => {
            fields.refuse("files", "`files` must name at least one file");
            Vec::new()
        }
        (None, Some(files)) => source_files(fields, files, code_bytes),
        (None, None) => {
            if fields.errors().iter().all(|it| it.pointer != "/code" && it.pointer != "/files") {
                fields.refuse("code", "`code` or `files` is required");
            }
            Vec::new()
        }
    }
}

fn source_files(
    fields: &mut Fields<'_>,
    files: Vec<Value>,
    code_bytes: &mut usize,
) -> Vec<SourceFile> {
    let mut sources = Vec::with_capacity(files.len());
    let mut taken = BTreeSet::new();
    for (index, value) in files.into_iter().enumerate() {
        let at = format!("/files/{index}");
        let Value::Object(object) = value else {
            let detail =
                format!("must be an object with `path` and `content`, not {}", kind(&value));
            fields.errors().push(FieldError::new(at, detail));
            continue;
        };
        let Some(file) = source_file(&at, object, fields.errors()) else { continue };
        if let Err(detail) = take_path(&mut taken, &file.path) {
            fields.errors().push(FieldError::new(format!("{at}/path"), detail));
            continue;
        }
        *code_bytes += file.content.len();
        sources.push(file);
    }
    sources
}

fn source_file(
    at: &str,
    object: Map<String, Value>,
    errors: &mut Vec<FieldError>,
) -> Option<SourceFile> {
    let mut file = Fields::new(at, object, errors);
    let path = file.string("path");
    if let Some(Err(detail)) = path.as_deref().map(check_path) {
        file.refuse("path", detail);
    } else if path.is_none() {
        file.refuse("path", "`path` is required");
    }
    let content = file.string("content");
    if content.is_none() {
        file.refuse("content", "`content` is required");
    }
    let encoding = file.string("encoding").unwrap_or_else(|| "utf8".to_owned());
    let content = match encoding.as_str() {
        "utf8" => content.map(String::into_bytes),
        "base64" => content.and_then(|text| {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            decoded
                .inspect_err(|error| file.refuse("content", format!("is not base64: {error}")))
                .ok()
        }),
        _ => {
            file.refuse("encoding", "`encoding` must be `utf8` or `base64`");
            None
        }
    };
    file.finish();
    Some(SourceFile { path: path.filter(|path| check_path(path).is_ok())?, content: content? })
}

/// A path that stays below the directory it is joined to, on any file system.
fn check_path(path: &str) -> Result<(), String> {
    const BYTES_MAX: usize = 512;
    const DEPTH_MAX: usize = 16;
    if path.is_empty() || path.len() > BYTES_MAX {
        return Err(format!("a path must have 1 to {BYTES_MAX} bytes"));
    }
    if path.chars().any(char::is_control) {
        return Err("a path must not hold control characters".to_owned());
    }
    if path.starts_with('/') {
        return Err("a path must be relative, without a leading `/`".to_owned());
    }
    let parts: Vec<&str> = path.split('/').collect();
    if parts.len() > DEPTH_MAX {
        return Err(format!("a path may have at most {DEPTH_MAX} parts"));
    }
    for part in parts {
        if part.is_empty() || part == "." || part == ".." || part.len() > 255 {
            return Err(format!(
                "`{}` is no part of a path that we take",
                part.chars().take(32).collect::<String>()
            ));
        }
    }
    Ok(())
}

/// Claims `path`, unless it, or a file where it needs a directory, is claimed already.
fn take_path(taken: &mut BTreeSet<String>, path: &str) -> Result<(), String> {
    let below = format!("{path}/");
    if taken.contains(path) {
        return Err(format!("`{path}` is given twice"));
    }
    let is_directory =
        taken.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below));
    let parent = path.match_indices('/').map(|(end, _)| path.get(..end).unwrap_or_default());
    if is_directory || parent.into_iter().any(|parent| taken.contains(parent)) {
        return Err(format!("`{path}` is both a file and a directory"));
    }
    taken.insert(path.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{Refusal, RunRequest};

    /// Paths that tried to get out somewhere, and those next to them that are harmless.
    const CORPUS: &[(&str, bool)] = &[
        ("a", true),
        ("a/b.c", true),
        ("..a", true),
        ("a..", true),
        ("...", true),
        ("-rf", true),
        ("~/a", true),
        ("a\\..\\b", true),
        ("%2e%2e/a", true),
        ("é/ü", true),
        ("", false),
        (".", false),
        ("..", false),
        ("/", false),
        ("/a", false),
        ("//a", false),
        ("a/", false),
        ("a//b", false),
        ("./a", false),
        ("a/.", false),
        ("a/../b", false),
        ("a/..", false),
        ("a\0", false),
        ("a\n", false),
        ("a\u{7f}", false),
        ("a\u{85}", false),
        ("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p", true),
        ("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q", false),
    ];

    /// What is taken of files with these paths.
    fn taken(paths: &[String]) -> Result<Vec<String>, Refusal> {
        let files: Vec<Value> =
            paths.iter().map(|path| json!({"path": path, "content": ""})).collect();
        let body = json!({"files": files}).to_string();
        let request = RunRequest::parse(body.as_bytes(), &Bounds::default())?;
        Ok(request.sources.into_iter().map(|it| it.path).collect())
    }

    fn path() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            4 => "[ab]{1,2}",
            1 => "[.]{0,3}",
            1 => r"[a./\\\x00-\x20\x7f-\u{a0} -]{0,8}",
            1 => "a{254,257}",
        ];
        prop_oneof![vec(part, 1..20).prop_map(|it| it.join("/")), any::<String>()]
    }

    #[test]
    fn the_corpus_is_told_apart() {
        for (path, is_taken) in CORPUS {
            assert_eq!(taken(&[(*path).to_owned()]).is_ok(), *is_taken, "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn a_path_that_passes_has_only_plain_parts(path in path()) {
            for path in taken(&[path]).into_iter().flatten() {
                prop_assert!(path.len() <= 512 && !path.starts_with('/'));
                prop_assert!(!path.chars().any(char::is_control));
                let parts: Vec<&str> = path.split('/').collect();
                prop_assert!(parts.len() <= 16);
                let is_plain = |it: &&str| !["", ".", ".."].contains(it) && it.len() <= 255;
                prop_assert!(parts.iter().all(is_plain));
            }
        }

        #[test]
        fn paths_that_pass_together_do_not_collide(paths in vec("[ab]{1}(/[ab]{1}){0,3}", 1..8)) {
            if let Ok(taken) = taken(&paths) {
                for (index, path) in taken.iter().enumerate() {
                    let below = format!("{path}/");
                    let others = taken.iter().enumerate().filter(|it| it.0 != index);
                    for (_, other) in others {
                        prop_assert!(other != path && !other.starts_with(&below));
                    }
                }
            }
        }
    }
}
