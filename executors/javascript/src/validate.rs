//! Looks at sources without running them: syntax, and what the language forbids beyond it, such
//! as a name declared twice.

use oxc_allocator::Allocator;
use oxc_semantic::SemanticBuilder;

use executor::Program;
use protocol::{Diagnostic, SourceFile};

use crate::front_end::{diagnostics, on_deep_stack, parse};
use crate::prepare::{source_type, text};

/// Errors and warnings of every source file.
pub(crate) fn validate(program: &Program) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    for file in &program.files {
        let looked = on_deep_stack(file.content.len(), || look(file));
        let found = looked.unwrap_or_else(|fault| (vec![fault], Vec::new()));
        errors.extend(found.0);
        warnings.extend(found.1);
    }
    (errors, warnings)
}

fn look(file: &SourceFile) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
    let Some(source_type) = source_type(&file.path) else { return Default::default() };
    let path = &file.path;
    let allocator = Allocator::default();
    let read =
        text(file).and_then(|source| Ok((source, parse(&allocator, source, source_type, path)?)));
    let (source, mut parsed) = match read {
        Ok(read) => read,
        Err(error) => return (vec![error], Vec::new()),
    };
    let mut found = std::mem::take(&mut parsed.diagnostics);
    if !parsed.panicked {
        let semantic = SemanticBuilder::new_compiler().build(&parsed.program);
        found.extend(semantic.diagnostics);
    }
    diagnostics(found, source, path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prepare::prepare;

    fn program(path: &str, code: &str) -> Program {
        let file = SourceFile { path: path.to_owned(), content: code.into() };
        Program {
            language: String::new(),
            entry: path.to_owned(),
            files: vec![file],
            named: false,
            variables: [].into(),
        }
    }

    #[track_caller]
    fn check(path: &str, code: &str, places: &[(u64, u64)]) {
        let (errors, _) = validate(&program(path, code));
        let found: Vec<_> = errors.iter().map(|it| (it.line, it.column)).collect();
        assert_eq!(found, places, "{errors:?}");
    }

    #[test]
    fn sound_sources_pass() {
        for code in ["return await", "with (a) b;", "await f();", "import a from 'b'; await a", ""]
        {
            check("main.js", code, &[]);
        }
        for code in
            ["enum A { B }", "let a: string = 1", "export = 1", "using a = b", "a satisfies B"]
        {
            check("main.ts", code, &[]);
        }
    }

    #[test]
    fn errors_have_places() {
        check("main.js", "let a;\nlet é = ;\n", &[(2, 9)]);
        check("main.js", "let a;\n  let a;\nbreak;\n", &[(2, 7), (3, 1)]);
        check("main.ts", "enum A { B = , }", &[(1, 14)]);
        check("main.js", "let a: string;", &[(1, 6)]);
    }

    /// Deep nesting of every kind, with and without its end.
    const DEEP: [(&str, &str, &str); 52] = [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{", "", "}"),
        ("!", "1", ""),
        ("-+", "1", ""),
        ("a=>", "1", ""),
        ("(a)=>(", "1", ")"),
        ("if(1)", ";", ""),
        ("a?b:", "c", ""),
        ("a?", "b", ":c"),
        ("a?(b):c=>", "d", ""),
        ("a?(b,c):d=>", "e", ""),
        ("`${", "1", "}`"),
        ("A<", "B", ">"),
        ("let x:A<", "B", ">"),
        ("new ", "a", ""),
        ("await ", "a", ""),
        ("x=", "1", ""),
        ("[[],", "1", "]"),
        ("({a:", "1", "})"),
        ("function f(){", "", "}"),
        ("(function(){", "", "})"),
        ("class A{m(){", "", "}}"),
        ("x=class{a=", "1", "}"),
        ("if(1);else ", ";", ""),
        ("for(;;)", ";", ""),
        ("a:", ";", ""),
        ("typeof ", "1", ""),
        ("2**", "2", ""),
        ("1+", "1", ""),
        ("a&&", "b", ""),
        ("a??", "b", ""),
        ("a?.", "b", ""),
        ("async()=>", "1", ""),
        ("f<a,", "b", ">()"),
        ("<a>", "b", ""),
        ("x as ()=>", "A", ""),
        ("x as A extends B?C:", "D", ""),
        ("x as (", "A", ")"),
        ("x as {a:", "A", "}"),
        ("x as keyof ", "A", ""),
        ("namespace A{", "", "}"),
        ("(a=", "1", ")=>1"),
        ("a<(", "b", ")"),
        ("try{", "", "}finally{}"),
        ("switch(1){case 1:", "", "}"),
        ("let {a:", "b", "}=c"),
        ("import(", "a", ")"),
        ("@a ", "class A{}", ""),
        ("b <`&new }${", "", ""),
        ("/`/;A<", "B", ">"),
        (".a", "", ""),
    ];

    #[test]
    fn every_deep_source_is_answered() {
        for (open, middle, close) in DEEP {
            let count = 50_000 / (open.len() + close.len());
            for ends in [0, count] {
                let code = format!("{}{middle}{}", open.repeat(count), close.repeat(ends));
                for path in ["main.js", "main.ts"] {
                    drop(validate(&program(path, &code)));
                    drop(prepare(program(path, &code)));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_source_is_answered(code in r"([ -~\n]|let |class |=>|import |\$\{|<|/|é){0,64}") {
            for path in ["main.js", "main.ts"] {
                drop(validate(&program(path, &code)));
                drop(prepare(program(path, &code)));
            }
        }
    }
}
