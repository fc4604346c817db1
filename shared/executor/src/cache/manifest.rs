//! What an entry of the cache consists of, as it is written beside the program: a digest of every
//! file, and what the compiler said. A line with its own digest comes first, so that a part of it
//! is never taken for the whole.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
pub(super) type Digest = [u8; 32];

/// An entry's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// The entry's own name: one that was moved to another is another's.
    pub(super) name: String,
    /// What the compiler said.
    pub(super) output: String,
    /// The digest of every file, as hex digits, by its path.
    pub(super) files: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads what [`Self::write`] wrote; none if it is anything else.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (digest, text) = bytes.split_at_checked(64)?;
        let text = text.strip_prefix(b"\n")?;
        if hex(&Sha256::digest(text).into()).as_bytes() != digest {
            return None;
        }
        serde_json::from_slice(text).ok()
    }

    /// As bytes.
    pub(super) fn write(&self) -> serde_json::Result<Vec<u8>> {
        let text = serde_json::to_vec(self)?;
        let mut bytes = hex(&Sha256::digest(&text).into()).into_bytes();
        bytes.push(b'\n');
        bytes.extend(text);
        Ok(bytes)
    }
}

/// A digest as hex digits.
pub(super) fn hex(digest: &Digest) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // A string takes everything.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_a_manifest_counts() {
        let files = [("main".to_owned(), hex(&[7; 32]))].into();
        let manifest = Manifest { name: "1-a".to_owned(), output: "said\n".to_owned(), files };
        let bytes = manifest.write().unwrap();
        assert_eq!(Manifest::parse(&bytes), Some(manifest));
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            assert_eq!(Manifest::parse(&damaged), None, "byte {index}");
            assert_eq!(Manifest::parse(&bytes[..index]), None, "length {index}");
        }
    }
}
