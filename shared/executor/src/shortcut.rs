//! Pure: which shortcut a program may take. Nothing here is about any language; what a shortcut
//! may be taken for stands in `runtime.toml`, and [`ShortcutSpec`] says what it must keep to.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, bytes};

use crate::spec::{HeadSpec, MadeSpec, ShortcutSpec, whole_patterns};

/// How much of a program is looked at for its head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The shortcuts of one phase, in order.
#[derive(Debug, Default)]
pub(crate) struct Shortcuts {
    head: Option<Head>,
    list: Vec<Shortcut>,
}

#[derive(Debug)]
struct Head {
    skip: bytes::Regex,
    entry: bytes::Regex,
    names: BTreeSet<String>,
}

#[derive(Debug)]
struct Shortcut {
    options: Vec<Regex>,
    made: Vec<MadeSpec>,
    needs: String,
    unlike: Option<Regex>,
    commands: Vec<Vec<String>>,
}

/// What the choice depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The text of the program, if it is one source file.
    pub(crate) only_source: Option<&'a [u8]>,
    /// The options in force.
    pub(crate) options: &'a [String],
}

/// A shortcut that may be taken.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    pub(crate) commands: &'a [Vec<String>],
    /// Its own placeholders.
    pub(crate) variables: BTreeMap<String, String>,
    unlike: Option<&'a Regex>,
}

impl Taken<'_> {
    /// Whether the usual commands might say `output` too, `places` being directories that they
    /// have no reason to name.
    pub(crate) fn is_usual(&self, output: &str, places: &[String]) -> bool {
        let told = places.iter().any(|it| output.contains(it.as_str()));
        !told && !self.unlike.is_some_and(|it| it.is_match(output))
    }
}

impl Shortcuts {
    /// Parses the patterns of `specs`.
    pub(crate) fn parse(
        head: Option<&HeadSpec>,
        specs: &[ShortcutSpec],
    ) -> Result<Self, regex::Error> {
        let head = head.map(Head::parse).transpose()?;
        let list = specs.iter().map(Shortcut::parse).collect::<Result<_, _>>()?;
        Ok(Self { head, list })
    }

    /// The first that may be taken. `is_there` tells whether there is the file `needs` of one,
    /// given its own placeholders.
    pub(crate) fn choose(
        &self,
        facts: Facts<'_>,
        is_there: impl Fn(&str, &BTreeMap<String, String>) -> bool,
    ) -> Option<Taken<'_>> {
        // Most programs have a head, and most languages no shortcut that looks at it.
        let head = self.head.as_ref().filter(|_| self.list.iter().any(|it| !it.made.is_empty()));
        let names = head.zip(facts.only_source).map(|(head, text)| head.names_in(text));
        self.list.iter().find_map(|it| it.take(facts.options, names.as_ref(), &is_there))
    }
}

impl Head {
    fn parse(spec: &HeadSpec) -> Result<Self, regex::Error> {
        let anchored = |it: &str| bytes::Regex::new(&format!(r"\A(?:{it})"));
        let names = spec.names.iter().cloned().collect();
        Ok(Self { skip: anchored(&spec.skip)?, entry: anchored(&spec.entry)?, names })
    }

    /// The names that `text` starts with.
    fn names_in(&self, text: &[u8]) -> BTreeSet<String> {
        // An entry that the bound cuts in two is none.
        let mut rest = text.get(..HEAD_BYTES_MAX).unwrap_or(text);
        let mut names = BTreeSet::new();
        loop {
            let skipped = self.skip.find(rest).map_or(0, |it| it.end());
            rest = rest.get(skipped..).unwrap_or_default();
            let Some(entry) = self.entry.captures(rest) else { return names };
            let name = entry.name("name").and_then(|it| str::from_utf8(it.as_bytes()).ok());
            let Some(name) = name.filter(|it| self.names.contains(*it)) else { return names };
            names.insert(name.to_owned());
            let end = entry.get_match().end().max(1);
            rest = rest.get(end..).unwrap_or_default();
        }
    }
}

impl Shortcut {
    fn parse(spec: &ShortcutSpec) -> Result<Self, regex::Error> {
        Ok(Self {
            options: whole_patterns(&spec.options)?,
            made: spec.made.clone(),
            needs: spec.needs.clone(),
            unlike: spec.unlike.as_deref().map(Regex::new).transpose()?,
            commands: spec.commands.clone(),
        })
    }

    fn take(
        &self,
        options: &[String],
        names: Option<&BTreeSet<String>>,
        is_there: impl Fn(&str, &BTreeMap<String, String>) -> bool,
    ) -> Option<Taken<'_>> {
        let mut variables = self.variables_of(options)?;
        let is_ready = if self.made.is_empty() {
            is_there(&self.needs, &variables)
        } else {
            let covered = |made: &&MadeSpec| {
                names.is_some_and(|names| made.of.iter().all(|it| names.contains(it)))
            };
            self.made.iter().filter(covered).any(|made| {
                variables.insert("made".to_owned(), made.name.clone());
                is_there(&self.needs, &variables)
            })
        };
        let unlike = self.unlike.as_ref();
        is_ready.then_some(Taken { commands: &self.commands, variables, unlike })
    }

    /// What the groups of `options` matched; none if one of the options matches nothing.
    fn variables_of(&self, options: &[String]) -> Option<BTreeMap<String, String>> {
        let mut variables = BTreeMap::new();
        for option in options {
            let (pattern, found) =
                self.options.iter().find_map(|it| Some((it, it.captures(option)?)))?;
            for name in pattern.capture_names().flatten() {
                let value = found.name(name).map_or("", |it| it.as_str());
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
        Some(variables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortcuts() -> Shortcuts {
        let made = |name: &str, of: &[&str]| MadeSpec {
            name: name.to_owned(),
            of: of.iter().map(|it| (*it).to_owned()).collect(),
        };
        let head = HeadSpec {
            skip: r"(?:\s|--[^\n]*\n)+".to_owned(),
            entry: r"load (?P<name>[a-z]+)\n".to_owned(),
            names: ["a", "b", "c"].map(str::to_owned).into(),
        };
        let spec = |made, needs: &str| ShortcutSpec {
            options: vec!["-l(?P<level>[0-9])".to_owned(), "-w".to_owned()],
            made,
            needs: needs.to_owned(),
            unlike: Some("odd".to_owned()),
            commands: vec![vec![needs.to_owned()]],
        };
        let specs = [
            spec(vec![made("ab", &["a", "b"]), made("a", &["a"]), made("c", &["c"])], "head"),
            spec(Vec::new(), "plain"),
        ];
        Shortcuts::parse(Some(&head), &specs).unwrap()
    }

    /// `expected` is the file that was needed, what was made, and the level.
    #[track_caller]
    fn check(source: Option<&str>, options: &[&str], missing: &[&str], expected: &[&str]) {
        let options: Vec<String> = options.iter().map(|it| (*it).to_owned()).collect();
        let facts = Facts { only_source: source.map(str::as_bytes), options: &options };
        let shortcuts = shortcuts();
        let of = |variables: &BTreeMap<String, String>, name| {
            variables.get(name).cloned().unwrap_or_default()
        };
        let taken = shortcuts.choose(facts, |needs, variables| {
            !missing.contains(&needs) && !missing.contains(&of(variables, "made").as_str())
        });
        let found = taken.map(|it| {
            [it.commands[0][0].clone(), of(&it.variables, "made"), of(&it.variables, "level")]
        });
        assert_eq!(found.unwrap_or_default().join(" ").trim(), expected.join(" "));
    }

    #[test]
    fn a_head_takes_the_first_that_it_covers_and_that_is_there() {
        check(Some("load b\nload a\n"), &[], &[], &["head", "ab"]);
        check(Some("load a\nload c\n"), &[], &[], &["head", "a"]);
        check(Some("load b\nload a\n"), &[], &["ab"], &["head", "a"]);
        check(Some("load c\n"), &[], &["c"], &["plain"]);
        check(Some("load b\n"), &[], &[], &["plain"]);
        check(None, &[], &[], &["plain"]);
        check(None, &[], &["plain"], &[]);
    }

    #[test]
    fn a_head_ends_at_the_first_thing_that_is_not_of_it() {
        check(Some(" \n-- load c\n\nload a\n"), &[], &[], &["head", "a"]);
        check(Some("let x\nload a\n"), &[], &[], &["plain"]);
        check(Some("load a\nload unknown\nload b\n"), &[], &[], &["head", "a"]);
        check(Some("load a\nlet x\nload b\n"), &[], &[], &["head", "a"]);
        check(Some("load a"), &[], &[], &["plain"]);
        let late = format!("{}load a\n", " ".repeat(HEAD_BYTES_MAX - 6));
        check(Some(&late), &[], &[], &["plain"]);
    }

    #[test]
    fn every_option_must_be_one_that_the_shortcut_knows() {
        check(Some("load a\n"), &["-l1", "-w", "-l2"], &[], &["head", "a 2"]);
        check(Some("load a\n"), &["-l1", "-x"], &[], &[]);
        check(Some("load a\n"), &["-l12"], &[], &[]);
    }

    #[test]
    fn output_that_names_our_places_is_not_usual() {
        let shortcuts = shortcuts();
        let facts = Facts { only_source: None, options: &[] };
        let taken = shortcuts.choose(facts, |_, _| true).unwrap();
        let places = ["/made".to_owned()];
        assert!(taken.is_usual("a:1: warning", &places));
        assert!(!taken.is_usual("from /made/a:1: warning", &places));
        assert!(!taken.is_usual("an odd word", &places));
    }
}
