//! How many programs the holders of some keys may have running at a time, beside their jobs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::Caller;
use crate::error::ApiError;

type Counts = Arc<Mutex<HashMap<String, u64>>>;

/// What runs now of keys that are bounded.
#[derive(Debug, Default)]
pub(crate) struct Running(Counts);

/// A program that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    counts: Counts,
    name: String,
}

impl Running {
    /// Counts one more program of `caller`, if that is bounded.
    pub(crate) fn enter(&self, caller: &Caller) -> Result<Option<Counted>, ApiError> {
        let Some(holder) = caller.holder() else { return Ok(None) };
        let Some(most) = holder.running else { return Ok(None) };
        let mut counts = lock(&self.0);
        let count = counts.entry(holder.name.clone()).or_default();
        if *count >= most {
            return Err(ApiError::TooManyRunning(most));
        }
        *count += 1;
        Ok(Some(Counted { counts: Arc::clone(&self.0), name: holder.name.clone() }))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.name);
            }
        }
    }
}

fn lock(counts: &Counts) -> MutexGuard<'_, HashMap<String, u64>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}
