//! Java source as the tokens that tell where types and methods begin: words and single signs,
//! without comments and literals. Any text has tokens; none makes this fail.

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A keyword, a name or a number.
    Word(&'a str),
    /// Any other character.
    Sign(char),
}

/// The tokens of a source.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            quoted(rest, "/*", "*/", false)
        } else if rest.starts_with("\"\"\"") {
            quoted(rest, "\"\"\"", "\"\"\"", true)
        } else if first == '"' || first == '\'' {
            literal(rest, first)
        } else if is_word(first) {
            let length = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest.get(..length).unwrap_or_default()));
            length
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    tokens
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

/// Length of what is between two marks, with them.
fn quoted(text: &str, open: &str, close: &str, escapes: bool) -> usize {
    let mut at = open.len();
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(close) {
            return at + close.len();
        }
        let mut characters = rest.chars();
        let first = characters.next().map_or(1, char::len_utf8);
        let is_escape = escapes && rest.starts_with('\\');
        at += first + if is_escape { characters.next().map_or(0, char::len_utf8) } else { 0 };
    }
    text.len()
}

/// Length of a string or character literal, which ends with its line if it does not end before.
fn literal(text: &str, mark: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\n' => return at,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == mark => return at + character.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        let found: Vec<String> = tokens(source)
            .into_iter()
            .map(|token| match token {
                Token::Word(word) => word.to_owned(),
                Token::Sign(sign) => sign.to_string(),
            })
            .collect();
        assert_eq!(found.join(" "), expected);
    }

    #[test]
    fn comments_and_literals_leave_nothing() {
        check("a /* class X */ b // class Y\nc", "a b c");
        check(r#"s = "class \" X"; t = '\''; u = '"';"#, "s = ; t = ; u = ;");
        check("t = \"\"\"\n class X \\\"\"\" \"y\" \"\"\"; b", "t = ; b");
    }

    #[test]
    fn an_open_literal_ends_with_its_line_and_an_open_comment_with_the_text() {
        check("a = \"b\nc", "a = c");
        check("a /* b", "a");
        check("a \"\"\" b \\", "a");
    }

    #[test]
    fn names_may_have_any_letters() {
        check("class Größe_1$ {}", "class Größe_1$ { }");
    }

    proptest! {
        #[test]
        fn any_text_has_tokens(source in ".{0,200}") {
            drop(tokens(&source));
        }

        #[test]
        fn any_marks_have_tokens(source in r#"["'\\/*\n a{}(é]{0,64}"#) {
            drop(tokens(&source));
        }
    }
}
