//! Pure: fills the placeholders of a command. What a client sent can only ever become one whole
//! word, or several whole words, never a part of the command's shape.

use std::collections::BTreeMap;

/// The values of placeholders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    single: BTreeMap<String, String>,
    several: BTreeMap<&'static str, Vec<String>>,
}

/// A placeholder that nothing fills.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the placeholder `{{{0}}}` is unknown")]
pub(crate) struct UnknownPlaceholder(String);

impl Values {
    /// Fills `{name}` with `value`.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.single.insert(name.into(), value.into());
    }

    /// Fills each name of `values`.
    pub(crate) fn set_all(&mut self, values: &BTreeMap<String, String>) {
        for (name, value) in values {
            self.set(name, value);
        }
    }

    /// Makes a word with `{name}` in it stand for as many words as there are values.
    pub(crate) fn set_several(&mut self, name: &'static str, values: Vec<String>) {
        self.several.insert(name, values);
    }

    /// The command with every placeholder filled.
    pub(crate) fn words(&self, command: &[String]) -> Result<Vec<String>, UnknownPlaceholder> {
        let mut words = Vec::with_capacity(command.len());
        for word in command {
            let list = self.several.iter().find_map(|(name, values)| {
                let (before, after) = word.split_once(&format!("{{{name}}}"))?;
                Some((before, after, values))
            });
            match list {
                Some((before, after, values)) => {
                    let (before, after) = (self.fill(before)?, self.fill(after)?);
                    words.extend(values.iter().map(|it| format!("{before}{it}{after}")));
                }
                None => words.push(self.fill(word)?),
            }
        }
        Ok(words)
    }

    /// One text with every placeholder filled. Doubled braces and what is in them stay as they
    /// are; a brace that starts no placeholder (a name of lower-case letters and `_`, and the
    /// closing brace) stands for itself.
    pub(crate) fn fill(&self, text: &str) -> Result<String, UnknownPlaceholder> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            filled.push_str(before);
            if let Some((inside, after)) =
                behind.strip_prefix('{').and_then(|it| it.split_once("}}"))
            {
                filled.extend(["{{", inside, "}}"]);
                rest = after;
                continue;
            }
            let name = behind.split_once('}').filter(|(name, _)| is_name(name));
            if let Some((name, after)) = name {
                let value = self.single.get(name);
                filled.push_str(value.ok_or_else(|| UnknownPlaceholder(name.to_owned()))?);
                rest = after;
            } else {
                filled.push('{');
                rest = behind;
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|it| it.is_ascii_lowercase() || it == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        let mut values = Values::default();
        values.set("out", "/o");
        values.set("entry", "a {out}.x");
        values.set_several("sources", vec!["a".to_owned(), "b c".to_owned()]);
        values.set_several("options", Vec::new());
        values
    }

    #[track_caller]
    fn check(command: &[&str], expected: &[&str]) {
        let command: Vec<String> = command.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(values().words(&command).unwrap(), expected);
    }

    #[test]
    fn placeholders_are_filled_inside_words() {
        check(&["cc", "-o", "{out}/main"], &["cc", "-o", "/o/main"]);
    }

    #[test]
    fn a_value_is_not_filled_again() {
        check(&["{entry}"], &["a {out}.x"]);
    }

    #[test]
    fn a_list_becomes_words_of_its_own() {
        check(&["cc", "{options}", "{sources}"], &["cc", "a", "b c"]);
        check(&["{out}/{sources}.x"], &["/o/a.x", "/o/b c.x"]);
    }

    #[test]
    fn other_braces_stand_for_themselves() {
        check(&["{{.ImportPath}}={x", "{if .Export}"], &["{{.ImportPath}}={x", "{if .Export}"]);
        check(&["{{out}}{out}"], &["{{out}}/o"]);
    }

    #[test]
    fn an_unknown_placeholder_is_an_error() {
        assert!(values().fill("{nonsense}").is_err());
    }
}
