//! Pure: what lines of a tool's output should say, where it was asked more directly than people
//! ask it.

use regex::{Captures, Regex};

use crate::spec::MessageSpec;

/// The messages of a language, patterns parsed.
#[derive(Debug, Default)]
pub(crate) struct Messages(Vec<(Regex, String)>);

impl Messages {
    /// Parses the patterns of `specs`.
    pub(crate) fn parse(specs: &[MessageSpec]) -> Result<Self, regex::Error> {
        let parse = |it: &MessageSpec| {
            Ok((Regex::new(&format!("(?m)^(?:{})$", it.pattern))?, it.instead.clone()))
        };
        Ok(Self(specs.iter().map(parse).collect::<Result<_, _>>()?))
    }

    /// The lines of `output` that are to be replaced, replaced; all of it if there is none.
    /// `fill` fills the placeholders of a replacement.
    pub(crate) fn apply<E>(
        &self,
        output: String,
        fill: impl Fn(&str) -> Result<String, E>,
    ) -> Result<String, E> {
        let mut replaced: Vec<(String, usize, String)> = Vec::new();
        for (pattern, instead) in &self.0 {
            let mut found = pattern.captures_iter(&output).peekable();
            if found.peek().is_none() {
                continue;
            }
            let instead = fill(instead)?;
            replaced.extend(found.map(|it| (order(&it), start(&it), expand(&it, &instead))));
        }
        if replaced.is_empty() {
            return Ok(output);
        }
        replaced.sort();
        Ok(replaced.into_iter().map(|(_, _, line)| line + "\n").collect())
    }
}

fn order(found: &Captures<'_>) -> String {
    found.name("order").map_or("", |it| it.as_str()).to_owned()
}

fn start(found: &Captures<'_>) -> usize {
    found.get_match().start()
}

fn expand(found: &Captures<'_>, instead: &str) -> String {
    let mut line = String::new();
    found.expand(instead, &mut line);
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Values;

    #[track_caller]
    fn check(output: &str, expected: &str) {
        let spec = |pattern: &str, instead: &str| MessageSpec {
            pattern: pattern.to_owned(),
            instead: instead.to_owned(),
        };
        let specs = [
            spec(r"(?P<place>\w+): no (?P<order>\w+)", "$place: $order is not in {root}"),
            spec("gone", "away"),
        ];
        let mut values = Values::default();
        values.set("root", "/r");
        let messages = Messages::parse(&specs).unwrap();
        assert_eq!(messages.apply(output.to_owned(), |it| values.fill(it)).unwrap(), expected);
    }

    #[test]
    fn other_output_stays_as_it_is() {
        check("", "");
        check("a: bad\n  no b", "a: bad\n  no b");
    }

    #[test]
    fn lines_that_are_replaced_are_told_alone_and_in_order() {
        check("a: no d\nelse\nc: no b", "c: b is not in /r\na: d is not in /r\n");
        check("gone\ngone\nx", "away\naway\n");
        check("a: no {out}", "a: no {out}");
    }
}
