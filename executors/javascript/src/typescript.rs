//! TypeScript to JavaScript: types away, enums, namespaces, parameter properties and decorators
//! (the `experimentalDecorators` of TypeScript) transformed, imports that only name types left
//! out, every statement on the line it was on. Types are not checked.

use std::path::Path;

use oxc_allocator::Allocator;
use oxc_ast::ast::{ModuleDeclaration, Program, Statement};
use oxc_codegen::{Codegen, CodegenOptions, CommentOptions};
use oxc_diagnostics::Diagnostics;
use oxc_semantic::SemanticBuilder;
use oxc_transformer::{
    DecoratorOptions, HelperLoaderMode, HelperLoaderOptions, JsxOptions, JsxRuntime,
    TransformOptions, Transformer,
};

use crate::front_end::Kind;
use crate::lines::realign;
use crate::names::Names;
use crate::specifiers::adapt;

/// What `CommonJS` files can use, and TypeScript files of either kind do.
const SHIMS: [(&str, &str); 3] = [
    (
        "require",
        "import { createRequire as $createRequire } from \"node:module\"; const require = $createRequire(import.meta.url); ",
    ),
    (
        "__filename",
        "import { fileURLToPath as $filename } from \"node:url\"; const __filename = $filename(import.meta.url); ",
    ),
    (
        "__dirname",
        "import { fileURLToPath as $dirname } from \"node:url\"; const __dirname = $dirname(new URL(\".\", import.meta.url)).slice(0, -1); ",
    ),
];

/// What transformed code calls; the same as TypeScript's own `__decorate` and `__param`.
const HELPERS: &str = "var babelHelpers = { \
    decorate(decorators, target, key, description) { \
    var count = arguments.length, result = count < 3 ? target : description === null ? description = Object.getOwnPropertyDescriptor(target, key) : description; \
    for (var index = decorators.length - 1; index >= 0; index--) { var decorator = decorators[index]; \
    if (decorator) result = (count < 3 ? decorator(result) : count > 3 ? decorator(target, key, result) : decorator(target, key)) || result; } \
    return count > 3 && result && Object.defineProperty(target, key, result), result; }, \
    decorateParam(index, decorator) { return function (target, key) { decorator(target, key, index); }; } }; ";

/// Whether a module of TypeScript's older kind, `export =` and `import x = require(…)` alone.
pub(crate) fn is_old_module(program: &Program<'_>) -> bool {
    let mut is_old = false;
    for statement in &program.body {
        match statement.as_module_declaration() {
            Some(ModuleDeclaration::TSExportAssignment(_)) => is_old = true,
            Some(_) => return false,
            None => {
                is_old |= matches!(statement, Statement::TSImportEqualsDeclaration(_));
            }
        }
    }
    is_old
}

/// Turns a parsed file into JavaScript, or says what the parser left unsaid.
pub(crate) fn emit<'a>(
    mut program: Program<'a>,
    allocator: &'a Allocator,
    kind: Kind,
    path: &str,
    names: &Names,
) -> Result<String, Diagnostics> {
    adapt(&mut program, allocator, path, names);
    program.hashbang = None;
    let semantic = SemanticBuilder::new_compiler()
        .with_excess_capacity(2.0)
        .with_enum_eval(true)
        .build(&program);
    if semantic.diagnostics.has_errors() {
        return Err(semantic.diagnostics);
    }
    let scoping = semantic.semantic.into_scoping();
    let transformed = Transformer::new(allocator, Path::new(path), &options())
        .build_with_scoping(scoping, &mut program);
    if transformed.diagnostics.has_errors() {
        return Err(transformed.diagnostics);
    }
    let code = print(&program, path);
    Ok(preamble(&program, kind) + &code)
}

fn options() -> TransformOptions {
    TransformOptions {
        decorator: DecoratorOptions { legacy: true, ..DecoratorOptions::default() },
        jsx: JsxOptions { runtime: JsxRuntime::Classic, ..JsxOptions::default() },
        helper_loader: HelperLoaderOptions {
            mode: HelperLoaderMode::External,
            ..HelperLoaderOptions::default()
        },
        ..TransformOptions::default()
    }
}

fn print(program: &Program<'_>, path: &str) -> String {
    let options = CodegenOptions {
        comments: CommentOptions::disabled(),
        source_map_path: Some(path.into()),
        ..CodegenOptions::default()
    };
    let printed = Codegen::new().with_options(options).build(program);
    let mut places = Vec::new();
    if let Some(map) = &printed.map {
        places.extend(map.get_tokens().map(|it| (it.get_dst_line(), it.get_src_line())));
    }
    realign(&printed.code, places.into_iter())
}

/// What goes before the code, on its first line: names that the emitted file uses and nobody
/// declares.
fn preamble(program: &Program<'_>, kind: Kind) -> String {
    let semantic = SemanticBuilder::new().build(program).semantic;
    let unknown = semantic.scoping().root_unresolved_references();
    let is_unknown = |name: &str| unknown.keys().any(|it| it.as_str() == name);
    let mut preamble = String::new();
    if kind == Kind::Module {
        for (name, shim) in SHIMS {
            if is_unknown(name) {
                preamble.push_str(shim);
            }
        }
    }
    if is_unknown("babelHelpers") {
        preamble.push_str(HELPERS);
    }
    preamble
}
