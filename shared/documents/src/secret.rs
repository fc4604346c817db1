//! Secrets that let people in. A store has digests of them: nobody enters with those.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What a secret is known by in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// That of a secret as its holder has it.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// As a store keeps it.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether it is the same, which takes as long to say as that it is not.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl From<[u8; 32]> for SecretDigest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// A new secret: 256 random bits.
pub(crate) fn random_secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_what_is_kept_of_it() {
        let (one, other) = (random_secret().unwrap(), random_secret().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
        let digest = SecretDigest::of(&one);
        assert!(digest.is(&SecretDigest::of(&one)) && !digest.is(&SecretDigest::of(&other)));
        assert!(!digest.is(&SecretDigest::from([0; 32])));
        assert!(!format!("{digest:?}").contains(&one));
    }
}
