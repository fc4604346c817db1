//! What Node is given: JavaScript byte for byte, under a name that says how to load it, and
//! TypeScript as JavaScript.

use oxc_allocator::Allocator;
use oxc_parser::ParserReturn;
use oxc_span::SourceType;

use executor::Program;
use protocol::{Diagnostic, SourceFile};

use crate::front_end::{Kind, diagnostics, fault, kind, on_deep_stack, parse};
use crate::names::{Names, parent};
use crate::typescript::{emit, is_old_module};

/// Names and transforms the files of a program.
pub(crate) fn prepare(mut program: Program) -> Result<Program, Vec<Diagnostic>> {
    if program.files.iter().any(|file| is_typescript(&file.path)) {
        return transform(program);
    }
    if !program.named && holds_module(&program) {
        for file in &mut program.files {
            file.path = renamed(&file.path, "mjs");
        }
        program.entry = renamed(&program.entry, "mjs");
    }
    Ok(program)
}

/// The type of a source file by its name; none if it is no source.
pub(crate) fn source_type(path: &str) -> Option<SourceType> {
    match extension(path) {
        "js" => Some(SourceType::unambiguous()),
        "mjs" => Some(SourceType::mjs()),
        "cjs" => Some(SourceType::cjs()),
        "ts" => Some(SourceType::ts().with_unambiguous(true)),
        "tsx" => Some(SourceType::tsx().with_unambiguous(true)),
        "mts" => Some(SourceType::ts().with_module(true)),
        "cts" => Some(SourceType::ts().with_commonjs(true)),
        _ => None,
    }
}

/// Whether a file becomes JavaScript; declarations alone do not.
fn is_typescript(path: &str) -> bool {
    let is_declaration = [".d.ts", ".d.mts", ".d.cts"].iter().any(|it| path.ends_with(it));
    !is_declaration && source_type(path).is_some_and(SourceType::is_typescript)
}

/// Whether nameless JavaScript is a module. If it cannot be told, Node will say why.
fn holds_module(program: &Program) -> bool {
    let [file] = program.files.as_slice() else { return false };
    let Ok(source) = std::str::from_utf8(&file.content) else { return false };
    if !["import", "export", "await"].iter().any(|word| source.contains(word)) {
        return false;
    }
    let found = on_deep_stack(source.len(), || {
        let allocator = Allocator::default();
        let parsed = parse(&allocator, source, SourceType::unambiguous(), &file.path);
        parsed.is_ok_and(|parsed| kind(&parsed) == Kind::Module)
    });
    found == Ok(true)
}

fn transform(mut program: Program) -> Result<Program, Vec<Diagnostic>> {
    let bytes = program.files.iter().map(|file| file.content.len()).sum();
    let new = on_deep_stack(bytes, || transformed(&program)).map_err(|fault| vec![fault])??;
    for file in &mut program.files {
        let Some((_, path, content)) = new.iter().find(|(old, ..)| *old == file.path) else {
            continue;
        };
        if program.entry == file.path {
            program.entry.clone_from(path);
        }
        file.path.clone_from(path);
        file.content.clone_from(content);
    }
    Ok(program)
}

/// Old path, new path and content of each TypeScript file.
type Transformed = Vec<(String, String, Vec<u8>)>;

fn transformed(program: &Program) -> Result<Transformed, Vec<Diagnostic>> {
    let files: Vec<&SourceFile> =
        program.files.iter().filter(|file| is_typescript(&file.path)).collect();
    let allocators: Vec<Allocator> = files.iter().map(|_| Allocator::default()).collect();
    let mut errors = Vec::new();
    let mut units = Vec::with_capacity(files.len());
    for (file, allocator) in files.iter().zip(&allocators) {
        match read(program, file, allocator) {
            Ok(unit) => units.push(unit),
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let names = names(program, &units)?;
    let mut new = Vec::with_capacity(files.len());
    for (unit, allocator) in units.into_iter().zip(&allocators) {
        let old = &unit.file.path;
        match emit(unit.parsed.program, allocator, unit.kind, old, &names) {
            Ok(code) => {
                let path = names.emitted.get(old).unwrap_or(old);
                new.push((old.clone(), path.clone(), code.into_bytes()));
            }
            Err(found) => {
                errors.extend(diagnostics(found, unit.source, old).0);
            }
        }
    }
    if errors.is_empty() { Ok(new) } else { Err(errors) }
}

/// A TypeScript file that was read.
struct Unit<'a> {
    file: &'a SourceFile,
    source: &'a str,
    parsed: ParserReturn<'a>,
    kind: Kind,
}

fn read<'a>(
    program: &Program,
    file: &'a SourceFile,
    allocator: &'a Allocator,
) -> Result<Unit<'a>, Vec<Diagnostic>> {
    let path = &file.path;
    let source = text(file).map_err(|error| vec![error])?;
    let source_type = source_type(&file.path).unwrap_or_default();
    let mut parsed = parse(allocator, source, source_type, path).map_err(|error| vec![error])?;
    let errors = diagnostics(std::mem::take(&mut parsed.diagnostics), source, path).0;
    if !errors.is_empty() {
        return Err(errors);
    }
    let kind = load_kind(program, file, &parsed);
    Ok(Unit { file, source, parsed, kind })
}

/// The text of a file, without a byte order mark.
pub(crate) fn text(file: &SourceFile) -> Result<&str, Diagnostic> {
    let text = std::str::from_utf8(&file.content).map_err(|error| Diagnostic {
        file: Some(file.path.clone()),
        ..fault(&format!("the file is not UTF-8: {error}"))
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// How Node will load a file.
fn load_kind(program: &Program, file: &SourceFile, parsed: &ParserReturn<'_>) -> Kind {
    match extension(&file.path) {
        "mts" => Kind::Module,
        "cts" => Kind::CommonJs,
        _ if package_is_module(program, &file.path) => Kind::Module,
        _ if is_old_module(&parsed.program) => Kind::CommonJs,
        _ => kind(parsed),
    }
}

/// Whether the nearest `package.json` among the files says that `.js` means a module.
fn package_is_module(program: &Program, path: &str) -> bool {
    let mut directory = parent(path);
    loop {
        let manifest = if directory.is_empty() {
            "package.json".to_owned()
        } else {
            format!("{directory}/package.json")
        };
        if let Some(file) = program.files.iter().find(|file| file.path == manifest) {
            let manifest: Option<serde_json::Value> = serde_json::from_slice(&file.content).ok();
            return manifest.is_some_and(|it| it.get("type").is_some_and(|it| it == "module"));
        }
        if directory.is_empty() {
            return false;
        }
        directory = parent(directory);
    }
}

/// The new names: `.js` where Node takes that for what the file is, else the name that says so.
fn names(program: &Program, units: &[Unit<'_>]) -> Result<Names, Vec<Diagnostic>> {
    let mut names = Names::default();
    names.files.extend(program.files.iter().map(|file| file.path.clone()));
    for Unit { file, kind, .. } in units {
        let explicit = if *kind == Kind::Module { "mjs" } else { "cjs" };
        let is_plain = !matches!(extension(&file.path), "mts" | "cts")
            && package_is_module(program, &file.path) == (*kind == Kind::Module);
        let extensions = [if is_plain { "js" } else { explicit }, explicit];
        let is_free = |path: &String| {
            !names.files.contains(path) && !names.emitted.values().any(|it| it == path)
        };
        let path = extensions.iter().map(|it| renamed(&file.path, it)).find(is_free);
        let path = path.ok_or_else(|| {
            let message = "the JavaScript of this file would overwrite another file";
            vec![Diagnostic { file: Some(file.path.clone()), ..fault(message) }]
        })?;
        names.emitted.insert(file.path.clone(), path);
    }
    Ok(names)
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn renamed(path: &str, extension: &str) -> String {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    format!("{stem}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(files: &[(&str, &str)], named: bool) -> Program {
        let file = |(path, content): &(&str, &str)| SourceFile {
            path: (*path).to_owned(),
            content: (*content).into(),
        };
        Program {
            language: String::new(),
            entry: files[0].0.to_owned(),
            files: files.iter().map(file).collect(),
            named,
            variables: [].into(),
        }
    }

    fn prepared(files: &[(&str, &str)], named: bool) -> (String, Vec<(String, String)>) {
        let program = prepare(program(files, named)).unwrap();
        let text = |content| String::from_utf8(content).unwrap();
        (program.entry, program.files.into_iter().map(|it| (it.path, text(it.content))).collect())
    }

    #[track_caller]
    fn check_javascript(code: &str, entry: &str) {
        let (found, files) = prepared(&[("main.js", code)], false);
        assert_eq!(found, entry);
        assert_eq!(files, [(entry.to_owned(), code.to_owned())]);
    }

    #[track_caller]
    fn check_typescript(code: &str, entry: &str, expected: &str) {
        let (found, files) = prepared(&[("main.ts", code)], false);
        assert_eq!((found.as_str(), files[0].1.as_str()), (entry, expected));
    }

    #[track_caller]
    fn check_names(files: &[(&str, &str)], expected: &[&str]) {
        let (entry, files) = prepared(files, true);
        let found: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(found, expected);
        assert_eq!(entry, expected[0]);
    }

    #[test]
    fn javascript_stays_and_is_named_by_what_it_is() {
        check_javascript("const fs = require('fs');", "main.js");
        check_javascript("import fs from 'fs';", "main.mjs");
        check_javascript("export default 1", "main.mjs");
        check_javascript("const x = await f();", "main.mjs");
        check_javascript("console.log(import.meta.url)", "main.mjs");
        check_javascript("import('fs').then(console.log)", "main.js");
        check_javascript("async () => await 1; // import x", "main.js");
        check_javascript("const await = 1; return await;", "main.js");
    }

    #[test]
    fn broken_javascript_is_left_to_node() {
        check_javascript("import {", "main.mjs");
        check_javascript("const = 'import'", "main.js");
        check_javascript(&format!("{}import x from 'y'", "(".repeat(2000)), "main.js");
    }

    #[test]
    fn named_javascript_keeps_its_name() {
        check_names(&[("main.js", "import './a.js'"), ("a.js", "")], &["main.js", "a.js"]);
    }

    #[test]
    fn types_go_and_lines_stay() {
        let code = "type A = {\n  a: string\n}\n\n// why\nlet a: A = { a: `x\ny` } as A\nf(a!,\n  1)\ninterface B {}\nvar c: B\n";
        let expected = "\n\n\n\n\nlet a = { a: `x\ny` };\nf(a, 1);\n\n\nvar c;\n";
        check_typescript(code, "main.js", expected);
    }

    #[test]
    fn imports_that_name_types_only_go() {
        let code = "import { A, b } from 'x';\nimport C from 'y';\nimport 'z';\nlet a: A = b as C;";
        check_typescript(
            code,
            "main.mjs",
            "import { b } from \"x\";\n\nimport \"z\";\nlet a = b;\n",
        );
        check_typescript(
            "import type { A } from './a';\nlet a: A;",
            "main.mjs",
            "\nlet a; export {};\n",
        );
    }

    #[test]
    fn what_has_no_javascript_of_its_own_is_transformed() {
        check_typescript(
            "class A { constructor(private x = 1) {} }",
            "main.js",
            "class A { x; constructor(x = 1) { this.x = x; } }\n",
        );
        check_typescript(
            "import fs = require('fs');\nexport = fs;",
            "main.js",
            "const fs = require(\"fs\");\nmodule.exports = fs;\n",
        );
    }

    #[test]
    fn a_module_may_require_too() {
        let (_, files) = prepared(&[("main.ts", "import 'x';\nrequire('y');")], false);
        assert!(files[0].1.starts_with("import { createRequire"), "{files:?}");
        let (_, files) = prepared(
            &[("main.ts", "import 'x';\ndeclare const require: any;\nrequire('y')")],
            false,
        );
        assert!(files[0].1.starts_with("import { createRequire"), "{files:?}");
        let (_, files) =
            prepared(&[("main.ts", "import { require } from 'x';\nrequire('y')")], false);
        assert!(files[0].1.starts_with("import { require"), "{files:?}");
    }

    #[test]
    fn files_are_named_by_what_they_are() {
        check_names(
            &[
                ("main.ts", "import './a'"),
                ("a.ts", "let a = 1"),
                ("b.mts", ""),
                ("c.cts", ""),
                ("d.d.ts", ""),
            ],
            &["main.mjs", "a.js", "b.mjs", "c.cjs", "d.d.ts"],
        );
        let module = r#"{"type": "module"}"#;
        check_names(
            &[
                ("src/main.ts", "import './a'"),
                ("src/a.ts", "export = 1"),
                ("package.json", module),
            ],
            &["src/main.js", "src/a.js", "package.json"],
        );
        check_names(&[("main.ts", "let a"), ("main.js", "")], &["main.cjs", "main.js"]);
    }

    #[test]
    fn a_name_that_is_taken_is_an_error() {
        let files = [("main.mts", ""), ("main.mjs", "")];
        let errors = prepare(program(&files, true)).unwrap_err();
        assert!(errors[0].message.contains("overwrite"), "{errors:?}");
    }

    #[test]
    fn imports_follow_the_new_names() {
        let main = "import { a } from './a';\nexport * from './b/index';\nexport { c } from './c.js';\nawait import('./b');\nrequire('./c');\nnew Worker('./a.ts');\nnew URL('./a.ts', import.meta.url);\na;";
        let (_, files) = prepared(
            &[
                ("main.ts", main),
                ("a.ts", "export let a"),
                ("b/index.ts", "export {}"),
                ("c.js", ""),
            ],
            true,
        );
        let code = &files[0].1;
        for expected in [
            "from \"./a.mjs\"",
            "* from \"./b/index.mjs\"",
            "from \"./c.js\"",
            "import(\"./b/index.mjs\")",
            "require(\"./c.js\")",
            "Worker(\"./a.mjs\")",
            "URL(\"./a.mjs\", import",
        ] {
            assert!(code.contains(expected), "{expected} in {code}");
        }
    }

    #[test]
    fn every_fault_of_typescript_has_a_place() {
        let errors = prepare(program(&[("main.ts", "let a = 1;\nlet a = (;")], false)).unwrap_err();
        assert_eq!((errors[0].line, errors[0].column), (2, 10), "{errors:?}");
        let files = [("main.ts", "let a = 1;\n  let a = 2;"), ("b.ts", "let x: = 1")];
        let errors = prepare(program(&files, true)).unwrap_err();
        assert_eq!(errors[0].file.as_deref(), Some("b.ts"), "{errors:?}");
        let errors = prepare(program(&files[..1], true)).unwrap_err();
        assert_eq!((errors[0].line, errors[0].file.as_deref()), (2, Some("main.ts")), "{errors:?}");
    }

    #[test]
    fn bytes_that_are_not_text_are_an_error() {
        let mut program = program(&[("main.ts", "")], false);
        program.files[0].content = vec![0xff, 0xfe];
        assert!(prepare(program).unwrap_err()[0].message.contains("UTF-8"));
    }
}
