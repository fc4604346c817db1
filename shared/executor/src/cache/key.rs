//! What a compiled program is found by.

use sha2::{Digest as _, Sha256};

use super::manifest::hex;

/// A digest of everything that a compile's result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(String);

impl Key {
    /// Enough of it for the name of a directory.
    pub(crate) fn short(&self) -> &str {
        self.0.get(..16).unwrap_or(&self.0)
    }

    /// All of it, as hex digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// All of it, as a part of another.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The digest of `parts`, which cannot be confused with another division of the same bytes.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(hex(&digest.finalize().into()))
    }
}

/// Whose compiled programs a request gets, and leaves its own to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Nobody's: the cache is neither read nor written.
    Nobody,
    /// Everybody's.
    Everybody,
    /// Those of one caller; of all who name none, if there is no name.
    Caller(Option<String>),
}

impl Sharing {
    /// The part of a key that keeps callers apart; none if nothing is to be found or kept.
    pub(crate) fn part(&self) -> Option<Key> {
        match self {
            Self::Nobody => None,
            Self::Everybody => Some(Key::of([&b"everybody"[..]])),
            Self::Caller(None) => Some(Key::of([&b"unnamed callers"[..]])),
            Self::Caller(Some(id)) => Some(Key::of([&b"caller"[..], id.as_bytes()])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_the_division_of_their_parts() {
        assert_ne!(Key::of([&b"ab"[..], b"c"]), Key::of([&b"a"[..], b"bc"]));
    }

    #[test]
    fn callers_are_apart_from_each_other_and_from_those_without_a_name() {
        let named = |id: &str| Sharing::Caller(Some(id.to_owned())).part();
        let all = [named("a"), named("b"), named(""), Sharing::Caller(None).part()];
        let all: std::collections::HashSet<_> =
            all.into_iter().chain([Sharing::Everybody.part()]).collect();
        assert_eq!(all.len(), 5);
        assert_eq!(Sharing::Nobody.part(), None);
        assert_eq!(named("a"), named("a"));
    }
}
