//! What nobody touches for long is deleted.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Rooms;
use crate::store::StoreError;

/// Between two looks for what nobody touched.
const PERIOD: Duration = Duration::from_mins(1);
/// What is deleted at once.
const AT_ONCE: usize = 100;

impl Rooms {
    /// Deletes rooms and snippets that nobody touched for long, until it is dropped.
    pub async fn keep_clean(&self) {
        loop {
            match self.clean(Timestamp::now()).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!("old rooms cannot be deleted: {error}"),
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Deletes some of what is old by now. Says whether there may be more.
    pub async fn clean(&self, now: Timestamp) -> Result<bool, StoreError> {
        let before = |age: SignedDuration| now.saturating_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
        let purged = self.means.store.purge(before(self.ttl), now, AT_ONCE).await?;
        for id in &purged {
            self.tell_deleted(id).await;
        }
        let snippets = self.means.store.purge_snippets(before(self.snippet_ttl), AT_ONCE).await?;
        Ok(purged.len() == AT_ONCE || snippets == AT_ONCE)
    }
}
