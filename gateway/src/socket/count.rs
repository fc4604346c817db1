//! How many sockets are open, in all and of each key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::ApiError;

/// Sockets that may be open.
const SOCKETS_MAX: usize = 2000;
/// Sockets of one key that may be open.
const PER_KEY_MAX: usize = 500;

type Counts = Arc<Mutex<HashMap<String, usize>>>;

/// The open sockets, by key.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Counts);

/// One that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    counts: Counts,
    key: String,
}

impl Sockets {
    /// Counts one more of a key.
    pub(crate) fn enter(&self, key: &str) -> Result<Open, ApiError> {
        let mut counts = lock(&self.0);
        let own = counts.get(key).copied().unwrap_or_default();
        for (count, most) in [(own, PER_KEY_MAX), (counts.values().sum(), SOCKETS_MAX)] {
            if count >= most {
                return Err(ApiError::TooManySockets(most));
            }
        }
        counts.insert(key.to_owned(), own + 1);
        Ok(Open { counts: Arc::clone(&self.0), key: key.to_owned() })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

fn lock(counts: &Counts) -> MutexGuard<'_, HashMap<String, usize>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_bounded_in_all_and_by_key() {
        let sockets = Sockets::default();
        let enter = |key: &str| sockets.enter(key).ok();
        let mut open: Vec<Open> = (0..PER_KEY_MAX).map(|_| enter("a").unwrap()).collect();
        assert!(enter("a").is_none());
        open.pop();
        assert!(enter("a").is_some(), "one that ends makes room");
        while let Some(another) = enter(&format!("{}", open.len())) {
            open.push(another);
        }
        assert_eq!(open.len(), SOCKETS_MAX);
        open.clear();
        assert!(lock(&sockets.0).is_empty());
    }
}
