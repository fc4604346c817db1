//! How a language's sources look, as data: enough for an editor to colour any language that the fleet
//! runs without knowing it.

use serde::{Deserialize, Serialize};

/// What an editor has to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Syntax {
    /// What begins a comment that ends with its line.
    pub comments: Vec<String>,
    /// What begins and ends a comment of several lines.
    pub blocks: Vec<[String; 2]>,
    /// Texts, those with the longer beginnings first.
    pub strings: Vec<StringSyntax>,
    /// Words that the language keeps for itself.
    pub keywords: Vec<String>,
    /// Words that name types. Words that begin with a capital are taken for such.
    pub types: Vec<String>,
    /// Words that are values, such as `true`.
    pub constants: Vec<String>,
    /// What stands before a word that is said about the program, such as `@`.
    pub marks: Vec<String>,
    /// What begins a line that is said to the compiler, such as `#`.
    pub directives: Vec<String>,
    /// What a level is indented by.
    pub indent: String,
    /// What ends a line after which a level begins, beside open brackets.
    pub openers: Vec<String>,
}

/// One form of texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StringSyntax {
    /// What begins it.
    pub open: String,
    /// What ends it.
    pub close: String,
    /// Whether it may go over several lines.
    pub lines: bool,
    /// Whether `\\` means nothing in it.
    pub raw: bool,
    /// Whether it is one character long, and anything longer is something else.
    pub short: bool,
}
