//! Snippets: what somebody shares by a link that could not hold all of it. A snippet is known by its
//! content, so it never changes, and nobody who does not know it guesses where it is.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// What the names of snippets begin with.
const ID_PREFIX: &str = "snip_";
/// What of a digest is in a name, in bytes: nobody finds two texts that have 160 bits in common.
const DIGEST_BYTES: usize = 20;

/// Which snippet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct SnippetId(String);

impl SnippetId {
    /// That of this content.
    pub fn of(data: &[u8]) -> Self {
        let mut text = ID_PREFIX.to_owned();
        for byte in Sha256::digest(data).iter().take(DIGEST_BYTES) {
            write!(text, "{byte:02x}").unwrap_or_default();
        }
        Self(text)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SnippetId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix(ID_PREFIX).ok_or(())?;
        let is_digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        let is_id = digits.len() == 2 * DIGEST_BYTES && digits.bytes().all(is_digit);
        if is_id { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for SnippetId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_named_by_its_content() {
        let id = SnippetId::of(b"{}");
        assert_eq!(id.as_str(), "snip_44136fa355b3678a1146ad16f7e8649e94fb4fc2");
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_ne!(id, SnippetId::of(b"{ }"));
        for text in ["", "snip_", &id.as_str()[5..], &id.as_str().to_uppercase(), &format!("{id}0")]
        {
            assert_eq!(text.parse::<SnippetId>(), Err(()), "{text}");
        }
    }
}
