//! Rust sources as words, marks and texts: no comments, no documents, and no unit tests.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::repository;

/// One token of a source.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    /// A word, one mark, or what stands between the quotes of a text.
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Mark,
    Text,
}

/// The tokens of a file. Unit tests are left out.
#[track_caller]
pub(crate) fn product(path: &str) -> Vec<Token> {
    read(path, true)
}

/// The tokens of a file, unit tests too.
#[track_caller]
pub(crate) fn whole(path: &str) -> Vec<Token> {
    read(path, false)
}

/// The lines on which `pattern`, such as `env::var`, begins.
pub(crate) fn lines_of(pattern: &str, tokens: &[Token]) -> Vec<usize> {
    let wanted: Vec<String> = flatten_text(pattern).into_iter().map(|it| it.text).collect();
    tokens
        .windows(wanted.len())
        .filter(|window| window.iter().zip(&wanted).all(|(it, text)| is_code(it, text)))
        .filter_map(|window| Some(window.first()?.line))
        .collect()
}

fn is_code(token: &Token, text: &str) -> bool {
    token.kind != Kind::Text && token.text == text
}

#[track_caller]
fn read(path: &str, without_tests: bool) -> Vec<Token> {
    let stream: TokenStream =
        repository::read(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut tokens = Vec::new();
    flatten(stream, without_tests, &mut tokens);
    tokens
}

/// Patterns are not whole items: `#[allow` has no closing bracket.
fn flatten_text(pattern: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for letter in pattern.chars() {
        let is_word = letter.is_alphanumeric() || letter == '_';
        match tokens.last_mut() {
            Some(last) if is_word && last.kind == Kind::Word => last.text.push(letter),
            _ => tokens.push(Token {
                line: 0,
                kind: if is_word { Kind::Word } else { Kind::Mark },
                text: letter.to_string(),
            }),
        }
    }
    tokens
}

fn flatten(stream: TokenStream, without_tests: bool, tokens: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        let mut push = |kind, text| tokens.push(Token { line, kind, text });
        match tree {
            TokenTree::Ident(word) => push(Kind::Word, word.to_string()),
            TokenTree::Literal(literal) => match quoted(&literal.to_string()) {
                Some(text) => push(Kind::Text, text.to_owned()),
                None => push(Kind::Word, literal.to_string()),
            },
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                let attribute = trees.peek().map(ToString::to_string).unwrap_or_default();
                let attribute: String = attribute.split_whitespace().collect();
                if without_tests && attribute == "[cfg(test)]" {
                    // The attribute, and the item to its end.
                    for tree in trees.by_ref() {
                        if ends_item(&tree) {
                            break;
                        }
                    }
                } else if attribute.starts_with("[doc=") {
                    trees.next();
                } else {
                    push(Kind::Mark, "#".to_owned());
                }
            }
            TokenTree::Punct(mark) => push(Kind::Mark, mark.as_char().to_string()),
            TokenTree::Group(group) => {
                let (open, close) = marks(group.delimiter());
                push(Kind::Mark, open.to_owned());
                flatten(group.stream(), without_tests, tokens);
                let line = group.span_close().start().line;
                tokens.push(Token { line, kind: Kind::Mark, text: close.to_owned() });
            }
        }
    }
}

fn ends_item(tree: &TokenTree) -> bool {
    match tree {
        TokenTree::Punct(mark) => mark.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    }
}

fn marks(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

/// What stands between the quotes of a literal; none if it is a number or a character.
fn quoted(literal: &str) -> Option<&str> {
    let (_, rest) = literal.split_once('"')?;
    rest.rsplit_once('"').map(|(text, _)| text).filter(|_| !literal.starts_with('\''))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(source: &str, without_tests: bool) -> Vec<Token> {
        let mut tokens = Vec::new();
        flatten(source.parse().unwrap(), without_tests, &mut tokens);
        tokens
    }

    #[track_caller]
    fn check(source: &str, pattern: &str, lines: &[usize]) {
        assert_eq!(lines_of(pattern, &tokens(source, true)), lines, "{pattern} in {source}");
    }

    #[test]
    fn a_pattern_is_found_however_it_is_spaced() {
        check("fn a() {\n std :: env::var(\"A\") }", "env::var", &[2]);
        check("#[allow(dead_code)] fn a() {}", "#[allow", &[1]);
        check("fn a() { todo!() }", "todo!", &[1]);
    }

    #[test]
    fn comments_documents_and_texts_are_not_code() {
        check("// env::var\n/// env::var\nconst A: &str = \"env::var\";", "env::var", &[]);
    }

    #[test]
    fn unit_tests_are_left_out_and_what_follows_them_is_not() {
        let source = "#[cfg(test)]\nmod tests { fn a() { env::var() } }\nfn b() { env::var() }";
        check(source, "env::var", &[3]);
        assert_eq!(lines_of("env::var", &tokens(source, false)), [2, 3]);
    }

    #[test]
    fn a_raw_text_is_what_stands_between_its_quotes() {
        assert_eq!(quoted("r#\"a\"b\"#"), Some("a\"b"));
        assert_eq!(quoted("'\"'"), None);
        assert_eq!(quoted("17"), None);
    }
}
