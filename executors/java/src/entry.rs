//! Which file a nameless program belongs in, and which class `java` is to start: javac wants a
//! public type in a file of its name, and people send any name.

use executor::Program;
use protocol::{Diagnostic, SourceFile};

use crate::tokens::{Token, tokens};

/// Longest type or package that becomes a path; longer ones stay where they are.
const NAME_BYTES_MAX: usize = 128;

/// Names the file of a nameless program after its type, and sets `class`, the class to start.
// The hook's type has room for diagnostics; here javac has the word.
#[expect(clippy::unnecessary_wraps, reason = "the shape of the hook")]
pub(crate) fn prepare(mut program: Program) -> Result<Program, Vec<Diagnostic>> {
    let units: Vec<(String, Unit)> = program
        .files
        .iter()
        .filter(|file| is_source(&file.path))
        .map(|file| (file.path.clone(), Unit::read(file)))
        .collect();
    let entry = units
        .iter()
        .find(|(path, unit)| *path == program.entry && unit.has_main())
        .or_else(|| units.iter().find(|(_, unit)| unit.has_main()))
        .or_else(|| units.iter().find(|(path, _)| *path == program.entry))
        .or_else(|| units.first());
    let Some((path, unit)) = entry else {
        program.variables.insert("class".to_owned(), "Main".to_owned());
        return Ok(program);
    };
    program.variables.insert("class".to_owned(), unit.main_class(path));
    if !program.named
        && let Some(path) = unit.path()
        && let Some(file) = program.files.first_mut()
    {
        file.path.clone_from(&path);
        program.entry = path;
    }
    Ok(program)
}

fn is_source(path: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|it| it.eq_ignore_ascii_case("java"))
}

/// What of a source file matters here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    package: Vec<String>,
    types: Vec<Type>,
}

/// A top-level type.
#[derive(Debug, PartialEq, Eq)]
struct Type {
    name: String,
    is_public: bool,
    main: Main,
}

/// How well a type can be started: the newest Java takes a `main` without `static` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Main {
    None,
    Instance,
    Static,
}

impl Unit {
    fn read(file: &SourceFile) -> Self {
        let source = String::from_utf8_lossy(&file.content);
        let tokens = tokens(&source);
        let mut reader = Reader { tokens: &tokens };
        reader.unit()
    }

    fn has_main(&self) -> bool {
        self.types.iter().any(|it| it.main != Main::None)
    }

    /// The type that gives the file its name.
    fn namesake(&self) -> Option<&Type> {
        self.types.iter().find(|it| it.is_public).or_else(|| self.startable())
    }

    /// The type to start: the best `main`, the public type's before others', the first of equals.
    fn startable(&self) -> Option<&Type> {
        self.types.iter().rev().max_by_key(|it| (it.main, it.is_public))
    }

    fn path(&self) -> Option<String> {
        let mut parts = self.package.clone();
        parts.push(format!("{}.java", self.namesake()?.name));
        let path = parts.join("/");
        (path.len() <= NAME_BYTES_MAX).then_some(path)
    }

    /// The full name of the class to start; of a file without types it is the file's own.
    fn main_class(&self, path: &str) -> String {
        let stem = std::path::Path::new(path).file_stem().and_then(|it| it.to_str());
        let name = self.startable().map(|it| it.name.as_str()).or(stem).unwrap_or("Main");
        let mut parts = self.package.clone();
        parts.push(name.to_owned());
        parts.join(".")
    }
}

/// Reads a unit off its tokens, once from front to back.
struct Reader<'a> {
    tokens: &'a [Token<'a>],
}

impl<'a> Reader<'a> {
    fn unit(&mut self) -> Unit {
        let mut unit = Unit::default();
        let mut is_public = false;
        while let Some(token) = self.next() {
            match token {
                Token::Sign('@') => self.annotation(&mut is_public, &mut unit),
                Token::Sign('{' | '(' | '[') => _ = self.body(),
                Token::Sign(';') => is_public = false,
                Token::Word("package") if unit.types.is_empty() => unit.package = self.package(),
                Token::Word("public") => is_public = true,
                Token::Word("class" | "interface" | "enum") => self.add(&mut is_public, &mut unit),
                Token::Word("record") if self.is_record() => self.add(&mut is_public, &mut unit),
                Token::Word(_) | Token::Sign(_) => {}
            }
        }
        unit
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(*first)
    }

    fn package(&mut self) -> Vec<String> {
        let mut parts = Vec::new();
        while let Some(Token::Word(part)) = self.next() {
            parts.push(part.to_owned());
            if self.next() != Some(Token::Sign('.')) {
                break;
            }
        }
        parts
    }

    /// Skips `Name.name(…)`; `@interface` declares a type instead.
    fn annotation(&mut self, is_public: &mut bool, unit: &mut Unit) {
        if let [Token::Word("interface"), rest @ ..] = self.tokens {
            self.tokens = rest;
            return self.add(is_public, unit);
        }
        while let [Token::Word(_), Token::Sign('.'), rest @ ..] = self.tokens {
            self.tokens = rest;
        }
        if let [Token::Word(_), rest @ ..] = self.tokens {
            self.tokens = rest;
        }
        if let [Token::Sign('('), rest @ ..] = self.tokens {
            self.tokens = rest;
            self.body();
        }
    }

    /// `record` is a keyword only before a name and its components.
    fn is_record(&self) -> bool {
        matches!(self.tokens, [Token::Word(_), Token::Sign('(' | '<'), ..])
    }

    /// Adds the type whose name is next.
    fn add(&mut self, is_public: &mut bool, unit: &mut Unit) {
        let Some(Token::Word(name)) = self.next() else { return };
        let mut main = Main::None;
        while let Some(token) = self.next() {
            match token {
                Token::Sign('{') => {
                    main = self.body();
                    break;
                }
                Token::Sign('(' | '[') => _ = self.body(),
                Token::Sign(';') => break,
                Token::Word(_) | Token::Sign(_) => {}
            }
        }
        unit.types.push(Type { name: name.to_owned(), is_public: *is_public, main });
        *is_public = false;
    }

    /// Skips to the bracket that closes the one just read; the best `main` right inside.
    fn body(&mut self) -> Main {
        let mut best = Main::None;
        let mut depth = 1_usize;
        let mut is_static = false;
        while let Some(token) = self.next() {
            match token {
                Token::Sign('{' | '(' | '[') => depth += 1,
                Token::Sign('}' | ')' | ']') if depth == 1 => break,
                Token::Sign('}' | ')' | ']') => depth -= 1,
                Token::Word("static") if depth == 1 => is_static = true,
                Token::Word("void") if depth == 1 => best = best.max(self.main(is_static)),
                Token::Word(_) | Token::Sign(_) => {}
            }
            if depth == 1 && matches!(token, Token::Sign('}' | ';')) {
                is_static = false;
            }
        }
        best
    }

    /// Whether the method whose name is next is a `main`.
    fn main(&self, is_static: bool) -> Main {
        let [Token::Word("main"), Token::Sign('('), parameters @ ..] = self.tokens else {
            return Main::None;
        };
        let end = parameters.iter().position(|it| *it == Token::Sign(')')).unwrap_or(0);
        let parameters = parameters.get(..end).unwrap_or_default();
        let takes_arguments =
            parameters.contains(&Token::Word("String")) && !parameters.contains(&Token::Sign(','));
        match (is_static, takes_arguments, parameters.is_empty()) {
            (true, true, _) => Main::Static,
            (false, true, _) | (_, _, true) => Main::Instance,
            (_, false, false) => Main::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nameless(code: &str) -> Program {
        let file = SourceFile { path: "Main.java".to_owned(), content: code.into() };
        Program {
            language: "java".to_owned(),
            entry: "Main.java".to_owned(),
            files: vec![file],
            named: false,
            variables: [].into(),
        }
    }

    #[track_caller]
    fn check(code: &str, path: &str, class: &str) {
        let program = prepare(nameless(code)).unwrap();
        assert_eq!((program.entry.as_str(), program.variables["class"].as_str()), (path, class));
        assert_eq!(program.files[0].path, program.entry);
    }

    const MAIN: &str = "public static void main(String[] args) {}";

    #[test]
    fn the_public_type_names_the_file() {
        check(&format!("public class Hello {{ {MAIN} }}"), "Hello.java", "Hello");
        check(&format!("class A {{}} public final class B {{ {MAIN} }}"), "B.java", "B");
        check(&format!("public class A {{}} class B {{ {MAIN} }}"), "A.java", "B");
    }

    #[test]
    fn without_a_public_type_it_is_the_one_with_main() {
        check(&format!("class A {{ void f() {{}} }} class B {{ {MAIN} }}"), "B.java", "B");
        check(&format!("class B {{ {MAIN} }} class C {{ {MAIN} }}"), "B.java", "B");
        check("class A { static public void main(final String... a) {} }", "A.java", "A");
    }

    #[test]
    fn a_main_elsewhere_is_no_main() {
        let inner = format!("class A {{ static class I {{ {MAIN} }} }} class B {{ {MAIN} }}");
        check(&inner, "B.java", "B");
        let local = format!("class A {{ static void main(int a) {{ }} }} class B {{ {MAIN} }}");
        check(&local, "B.java", "B");
        let said =
            format!("class A {{ String s = \"{MAIN}\"; /* {MAIN} */ }} class B {{ {MAIN} }}");
        check(&said, "B.java", "B");
    }

    #[test]
    fn a_package_is_a_directory() {
        check(&format!("package a.b;\nclass C {{ {MAIN} }}"), "a/b/C.java", "a.b.C");
        check("/* package x; */ package a;\nimport b.c; class D {}", "a/D.java", "a.D");
    }

    #[test]
    fn every_kind_of_type_counts() {
        check(&format!("public record P(int x, int[] y) {{ {MAIN} }}"), "P.java", "P");
        check(&format!("public enum E {{ A {{ }}, B; {MAIN} }}"), "E.java", "E");
        check("interface I { static void main(String[] a) {} }", "I.java", "I");
        check(
            &format!("sealed interface S permits T {{}} record T() implements S {{ {MAIN} }}"),
            "T.java",
            "T",
        );
        check(
            &format!("@interface A {{}} class B<T extends Comparable<T>> {{ {MAIN} }}"),
            "B.java",
            "B",
        );
    }

    #[test]
    fn annotations_do_not_confuse() {
        let code = format!(
            "@Deprecated @a.B(value = {{String.class, X.class}}, s = \"class Z {{\") public class A {{ @C({{1}}) {MAIN} }}"
        );
        check(&code, "A.java", "A");
    }

    #[test]
    fn without_any_main_the_first_type_is_started_and_java_complains() {
        check("class A { } class B { }", "A.java", "A");
        check("int x = 3;", "Main.java", "Main");
        check("", "Main.java", "Main");
    }

    #[test]
    fn an_instance_main_is_better_than_none() {
        check("class A { } class B { void main() { } }", "B.java", "B");
        check("void main() { }", "Main.java", "Main");
    }

    #[test]
    fn a_monstrous_name_stays_out_of_paths() {
        let name = "A".repeat(300);
        check(&format!("class {name} {{ {MAIN} }}"), "Main.java", &name);
    }

    #[test]
    fn named_files_keep_their_names() {
        let file = |path: &str, content: &str| SourceFile {
            path: path.to_owned(),
            content: content.into(),
        };
        let main = format!("package app; public class Start {{ {MAIN} }}");
        let files = vec![
            file("app/Util.java", "package app; class Util {}"),
            file("notes.txt", "class X"),
            file("app/Start.java", &main),
        ];
        let program =
            Program { files, named: true, entry: "app/Util.java".to_owned(), ..nameless("") };
        let prepared = prepare(program.clone()).unwrap();
        assert_eq!(prepared.files, program.files);
        assert_eq!(prepared.variables["class"], "app.Start");
    }

    proptest! {
        #[test]
        fn any_source_gets_a_safe_path(source in "(package |class |public |record |main|void |[a-z.;{}()<>@\"'*/ ]){0,40}") {
            let program = prepare(nameless(&source)).unwrap();
            let is_safe = program.entry.split('/').all(|part| !part.is_empty() && part != "..");
            prop_assert!(is_safe && program.variables.contains_key("class"));
        }
    }
}
