//! Refuses sources that are nested absurdly deep, and says where. This glance can be fooled, for
//! it does not tell a regular expression from a division: what gets past it is caught by the time
//! that it takes (see [`crate::front_end`]).

use protocol::Diagnostic;

use crate::front_end::{fault, position};

/// Deepest nesting of brackets, and of `<` in a statement.
const BRACKETS_MAX: usize = 256;
/// Most arrows in a row, as in `a => b => c`.
const ARROWS_MAX: usize = 64;

/// Looks for what is too deep. Strings and comments are left out as well as a glance can tell.
pub(crate) fn check_depth(source: &str, file: &str) -> Result<(), Diagnostic> {
    let mut nesting = Nesting::default();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' | '\'' => quoted(rest, first),
            '=' if rest.starts_with("=>") => {
                nesting.arrow();
                2
            }
            _ => first.len_utf8(),
        };
        nesting.read(first);
        if let Some(what) = nesting.excess() {
            let (line, column) = position(source, source.len() - rest.len());
            let file = Some(file.to_owned());
            return Err(Diagnostic { line, column, file, ..fault(&what) });
        }
        rest = rest.get(skipped..).unwrap_or_default();
    }
    Ok(())
}

/// How deep a place in a source is.
#[derive(Debug, Default)]
struct Nesting {
    /// For every open bracket, the arrows in a row outside it.
    brackets: Vec<usize>,
    angles: usize,
    arrows: usize,
    /// Whether a line end here could end a statement.
    is_complete: bool,
    is_line_end: bool,
}

impl Nesting {
    fn read(&mut self, character: char) {
        if character.is_whitespace() || character == '/' {
            self.is_line_end |= character == '\n';
            return;
        }
        let is_word = character.is_alphanumeric() || "_$\"'`".contains(character);
        if self.is_complete && self.is_line_end && is_word {
            self.arrows = 0;
        }
        match character {
            '(' | '[' | '{' => self.brackets.push(std::mem::take(&mut self.arrows)),
            ')' | ']' | '}' => self.arrows = self.brackets.pop().unwrap_or_default(),
            ',' | ';' => self.arrows = 0,
            '<' => self.angles += 1,
            '>' => self.angles = self.angles.saturating_sub(1),
            _ => {}
        }
        if matches!(character, ';' | '{' | '}') {
            self.angles = 0;
        }
        self.is_complete = is_word || matches!(character, ')' | ']' | '}');
        self.is_line_end = false;
    }

    fn arrow(&mut self) {
        self.arrows += 1;
    }

    fn excess(&self) -> Option<String> {
        if self.brackets.len().max(self.angles) > BRACKETS_MAX {
            return Some(format!("brackets may be nested {BRACKETS_MAX} deep"));
        }
        (self.arrows > ARROWS_MAX)
            .then(|| format!("there may be {ARROWS_MAX} arrow functions in a row"))
    }
}

/// Length of a string literal; of its mark alone if it does not end on its line.
fn quoted(text: &str, mark: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\n' => return 1,
            '\\' => is_escaped = true,
            _ if character == mark => return at + 1,
            _ => {}
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, is_fine: bool) {
        assert_eq!(check_depth(source, "a.js").is_ok(), is_fine);
    }

    #[test]
    fn absurd_nesting_is_refused() {
        for unit in ["(", "[", "{", "`${", "A<", "f<a,", "a=>", "a?(b):c=>\n", "a=>(b)=>"] {
            check(&unit.repeat(300), false);
        }
    }

    #[test]
    fn what_people_write_is_not() {
        check(&"(((1)))\n".repeat(1000), true);
        check(&"x = a => b\n".repeat(1000), true);
        check(&"x(a => b, ".repeat(200), true);
        check(&"({ a: x => 1, b: y => 2 });".repeat(1000), true);
        check(&"if (a < b) c();\n".repeat(1000), true);
        check(&format!("s = \"{}\"; // {}", "(".repeat(999), "[".repeat(999)), true);
        check(&format!("/* {} */ t = '{}'", "(".repeat(999), "\\'(".repeat(999)), true);
    }

    #[test]
    fn the_place_is_told() {
        let error = check_depth(&format!("a;\n{}", "[".repeat(300)), "a.js").unwrap_err();
        assert_eq!((error.line, error.column, error.file.as_deref()), (2, 257, Some("a.js")));
    }
}
