//! House rules: modules that an operator does not want programs to import.
//!
//! A rule of the house and no boundary: imports are looked for in the text, as `runtime.toml`
//! says how they look, and whoever wants to hide one can (`"o" + "s"`). Comments and texts are
//! not told apart from code, so what looks like an import there counts as one. What keeps
//! programs where they belong is the sandbox.

use protocol::{Diagnostic, FieldError, SourceFile};
use regex::{Captures, Regex};

use crate::core::NotAdmitted;
use crate::language::Program;
use crate::spec::ModulesSpec;

/// Most modules that may be refused, and the longest name of one, in bytes.
const REFUSED_MAX: usize = 200;
const NAME_BYTES_MAX: usize = 200;

/// Most imports that are looked at in one program, and most breaches that are told of it.
const IMPORTS_MAX: usize = 20_000;
const BREACHES_MAX: usize = 20;

/// The name by which `/info` and diagnostics call these rules.
pub(crate) const FEATURE: &str = "houseRules";

/// Modules that are refused here, and how to find imports of them.
#[derive(Debug, Default)]
pub(crate) struct HouseRules {
    refused: Vec<String>,
    imports: Vec<Regex>,
    separator: String,
    optional_prefix: String,
}

/// An import of what is refused.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    /// Which of the files.
    file: usize,
    /// From 1.
    line: u64,
    /// From 1, in characters.
    column: u64,
    message: String,
}

impl HouseRules {
    /// The rules that refuse `refused` in programs of a language; none if that is empty.
    pub(crate) fn new(spec: Option<&ModulesSpec>, refused: &[String]) -> anyhow::Result<Self> {
        if refused.is_empty() {
            return Ok(Self::default());
        }
        let Some(spec) = spec else {
            anyhow::bail!(
                "EXECUTOR_REFUSED_MODULES is set, but nothing says how imports look here: unset \
                 it, or add [modules] to runtime.toml"
            );
        };
        let prefix = &spec.optional_prefix;
        let bare = |name: &String| name.strip_prefix(prefix).unwrap_or(name).to_owned();
        let imports = spec.imports.iter().map(|it| Regex::new(it));
        Ok(Self {
            refused: refused.iter().map(bare).collect(),
            imports: imports.collect::<Result<_, _>>()?,
            separator: spec.separator.clone(),
            optional_prefix: spec.optional_prefix.clone(),
        })
    }

    /// Refuses a program that imports what is refused.
    pub(crate) fn check(&self, program: &Program) -> Result<(), NotAdmitted> {
        let error = |breach: Breach| {
            let Breach { file, line, column, message } = breach;
            let pointer = if program.named { format!("/files/{file}") } else { "/code".to_owned() };
            FieldError::new(pointer, format!("line {line}, column {column}: {message}"))
        };
        let errors: Vec<FieldError> =
            self.breaches(&program.files).into_iter().map(error).collect();
        if errors.is_empty() { Ok(()) } else { Err(NotAdmitted::HouseRules(errors)) }
    }

    /// The same as warnings.
    pub(crate) fn warnings(&self, program: &Program) -> Vec<Diagnostic> {
        let warning = |breach: Breach| Diagnostic {
            message: breach.message,
            line: breach.line,
            column: breach.column,
            code: Some(FEATURE.to_owned()),
            file: program.files.get(breach.file).map(|it| it.path.clone()),
        };
        self.breaches(&program.files).into_iter().map(warning).collect()
    }

    /// What `/info` says of the rules, if there are any.
    pub(crate) fn note(&self) -> Option<String> {
        let refused = self.refused.join(", ");
        (!refused.is_empty()).then(|| {
            format!(
                "programs that import any of these are refused: {refused}. This is a house rule \
                 that reads the text of programs, and no boundary: the isolation is"
            )
        })
    }

    fn breaches(&self, files: &[SourceFile]) -> Vec<Breach> {
        let mut breaches = Vec::new();
        if self.refused.is_empty() {
            return breaches;
        }
        let mut left = IMPORTS_MAX;
        for (file, source) in files.iter().enumerate() {
            let Ok(text) = std::str::from_utf8(&source.content) else { continue };
            let mut found = Vec::new();
            for import in &self.imports {
                for captures in import.captures_iter(text).take(IMPORTS_MAX) {
                    self.read(&captures, &mut left, &mut found);
                }
            }
            found.sort_unstable();
            found.dedup();
            found.truncate(BREACHES_MAX - breaches.len());
            breaches.extend(found.into_iter().map(|(offset, message)| {
                let (line, column) = place(text, offset);
                Breach { file, line, column, message }
            }));
            if left == 0 {
                let message =
                    format!("more than {IMPORTS_MAX} imports are not looked through; write fewer");
                breaches.truncate(BREACHES_MAX - 1);
                breaches.push(Breach { file, line: 1, column: 1, message });
            }
            if left == 0 || breaches.len() == BREACHES_MAX {
                break;
            }
        }
        breaches
    }

    /// Adds what is refused of one import statement: where it stands, and what to say.
    fn read(&self, captures: &Captures<'_>, left: &mut usize, found: &mut Vec<(usize, String)>) {
        let name = captures.name("name");
        let names = match captures.name("names") {
            None => name.iter().map(|it| (it.start(), it.as_str().to_owned())).collect(),
            Some(names) => {
                let prefix = name.map(|it| format!("{}{}", it.as_str(), self.separator));
                elements(prefix.unwrap_or_default(), names.as_str(), names.start(), *left)
            }
        };
        for (offset, name) in names {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return;
            }
            let name: String = name.split_whitespace().collect();
            let name = name.strip_prefix(&self.optional_prefix).unwrap_or(&name);
            if let Some(refused) = self.refused.iter().find(|it| self.covers(it, name)) {
                let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
                let message = if shown == *refused {
                    format!("`{shown}` is not to be imported here; a house rule refuses it")
                } else {
                    format!(
                        "`{shown}` is not to be imported here; a house rule refuses `{refused}`"
                    )
                };
                found.push((offset, message));
            }
        }
    }

    /// Whether a rule about `refused` is about `name`: the same, something below it, or
    /// everything of what it is in.
    fn covers(&self, refused: &str, name: &str) -> bool {
        if let Some(whole) = name.strip_suffix('*').and_then(|it| it.strip_suffix(&self.separator))
        {
            let one = refused.strip_prefix(whole).and_then(|it| it.strip_prefix(&self.separator));
            return one.is_some_and(|it| !it.contains(&self.separator))
                || self.covers(refused, whole);
        }
        name.strip_prefix(refused)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(&self.separator))
    }
}

/// Refuses names that cannot be meant.
pub(crate) fn check_refused(refused: &[String]) -> anyhow::Result<()> {
    let is_name = |name: &String| {
        let is_short = (1..=NAME_BYTES_MAX).contains(&name.len());
        is_short && !name.chars().any(|it| it.is_control() || it.is_whitespace())
    };
    anyhow::ensure!(
        refused.len() <= REFUSED_MAX && refused.iter().all(is_name),
        "EXECUTOR_REFUSED_MODULES must be at most {REFUSED_MAX} names of 1 to {NAME_BYTES_MAX} \
         bytes, separated by commas"
    );
    Ok(())
}

/// The names of a list that commas, semicolons or lines separate, as far as `max` reaches, and
/// where each stands: what is in quotes, or the first word. Names before braces hold for what is
/// in them.
fn elements(mut prefix: String, list: &str, start: usize, max: usize) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    // How long the prefix was outside of each brace that is open.
    let mut outside = Vec::new();
    let mut rest = list;
    while names.len() < max {
        let end = rest.find([',', ';', '\n', '{', '}', '(', ')']).unwrap_or(rest.len());
        let (element, after) = rest.split_at(end);
        let offset = start + list.len() - rest.len();
        let (skipped, name) = first_name(element);
        let mark = after.chars().next();
        if mark == Some('{') {
            outside.push(prefix.len());
            // No module has a name that long.
            if prefix.len() + name.len() <= NAME_BYTES_MAX {
                prefix.push_str(name);
            }
        } else if !name.is_empty() {
            names.push((offset + skipped, format!("{prefix}{name}")));
        }
        if mark == Some('}') {
            prefix.truncate(outside.pop().unwrap_or(prefix.len()));
        }
        let Some(mark) = mark else { break };
        rest = after.get(mark.len_utf8()..).unwrap_or_default();
    }
    names
}

/// What of an element of a list is its name, and how many bytes stand before it.
fn first_name(element: &str) -> (usize, &str) {
    let is_quote = |it: char| it == '"' || it == '`';
    if let Some((before, quoted)) = element.split_once(is_quote) {
        return (before.len() + 1, quoted.split(is_quote).next().unwrap_or_default());
    }
    let skipped = element.len() - element.trim_start().len();
    (skipped, element.split_whitespace().next().unwrap_or_default())
}

/// Line and column of an offset, both from 1.
fn place(text: &str, offset: usize) -> (u64, u64) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|it| *it != '\n').count() + 1;
    (line as u64, column as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How imports look in a language that has them all.
    fn spec() -> ModulesSpec {
        ModulesSpec {
            separator: "::".to_owned(),
            optional_prefix: "core/".to_owned(),
            imports: vec![
                r"\bload\s+(?P<name>[\w:/*]+)".to_owned(),
                r"\buse\s+(?P<names>[^;]+);".to_owned(),
                r"\bof\s+(?P<name>[\w:]+)\s+take\s+(?P<names>[^\n]+)".to_owned(),
            ],
        }
    }

    fn rules(refused: &[&str]) -> HouseRules {
        let refused: Vec<String> = refused.iter().map(|it| (*it).to_owned()).collect();
        check_refused(&refused).unwrap();
        HouseRules::new(Some(&spec()), &refused).unwrap()
    }

    fn files(texts: &[&str]) -> Vec<SourceFile> {
        let file = |(number, text): (usize, &&str)| SourceFile {
            path: number.to_string(),
            content: text.as_bytes().to_vec(),
        };
        texts.iter().enumerate().map(file).collect()
    }

    #[track_caller]
    fn check(refused: &[&str], text: &str, places: &[(u64, u64)]) {
        let breaches = rules(refused).breaches(&files(&[text]));
        let found: Vec<_> = breaches.iter().map(|it| (it.line, it.column)).collect();
        assert_eq!(found, places, "{text}: {breaches:?}");
    }

    #[test]
    fn a_rule_is_about_a_module_and_all_that_is_in_it() {
        check(&["a"], "load a", &[(1, 6)]);
        check(&["a"], "x\n load a::b::c", &[(2, 7)]);
        check(&["a::b"], "load a::b::c load a::bc load a load b", &[(1, 6)]);
        check(&["a"], "load ab load b::a", &[]);
    }

    #[test]
    fn what_stands_for_everything_is_everything_one_level_down() {
        check(&["a::b"], "load a::*", &[(1, 6)]);
        check(&["a::b::c", "b"], "load a::*", &[]);
        check(&["a"], "load a::b::*", &[(1, 6)]);
    }

    #[test]
    fn lists_may_nest_and_rename() {
        check(&["a"], "use b, a as c;", &[(1, 8)]);
        check(&["a::b", "a::c::d"], "use a::{b::x, c::{d, e}, f}, b;", &[(1, 9), (1, 19)]);
        check(&["a::d"], "use a::{c::{d}}}}, d;", &[]);
        check(&["a::c"], "of a take b, c", &[(1, 14)]);
        check(&["b::c"], "use x \"b::c\"\n y `b`;", &[(1, 8)]);
    }

    #[test]
    fn a_prefix_that_means_nothing_is_looked_through() {
        check(&["core/a", "b"], "load a load core/b load core/core/b", &[(1, 6), (1, 13)]);
    }

    #[test]
    fn places_count_characters_and_name_their_file() {
        let breaches = rules(&["a"]).breaches(&files(&["load b", "é\né load a"]));
        let found: Vec<_> = breaches.iter().map(|it| (it.file, it.line, it.column)).collect();
        assert_eq!(found, [(1, 2, 8)]);
    }

    #[test]
    fn one_import_is_told_once_and_many_are_told_in_part() {
        check(&["a"], "use load a;", &[(1, 10)]);
        let many = "load a ".repeat(1000);
        let breaches = rules(&["a"]).breaches(&files(&[&many, &many]));
        assert_eq!(breaches.len(), BREACHES_MAX);
    }

    #[test]
    fn a_program_of_too_many_imports_is_refused_unread() {
        let text = "load b ".repeat(IMPORTS_MAX + 1) + "load a";
        let breaches = rules(&["a"]).breaches(&files(&[&text]));
        assert!(breaches[0].message.contains("write fewer"), "{breaches:?}");
    }

    #[test]
    fn without_rules_nothing_is_looked_at() {
        let none = HouseRules::new(None, &[]).unwrap();
        assert_eq!((none.breaches(&files(&["load a"])), none.note()), (Vec::new(), None));
        assert!(HouseRules::new(None, &["a".to_owned()]).is_err());
    }

    #[test]
    fn names_that_cannot_be_meant_are_refused() {
        for name in ["", "a b", "a\n", &"a".repeat(201)] {
            assert!(check_refused(&[name.to_owned()]).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(load |use |of a take |[a-c:*{}(),;\n\"é ]){0,200}") {
            let breaches = rules(&["a", "b::c"]).breaches(&files(&[&text]));
            prop_assert!(breaches.len() <= BREACHES_MAX);
            let lines = text.lines().count() as u64 + 1;
            prop_assert!(breaches.iter().all(|it| it.line <= lines && it.column > 0));
        }
    }
}
