//! Servers that share a store find each other: what one of them has in memory is asked of it.

use std::time::Duration;

use super::Rooms;
use crate::store::{ServerPlace, StoreError};

/// A server is announced this often.
const PERIOD: Duration = Duration::from_secs(15);
/// One that was not announced for so long is not told of: its address may be another's by now.
const AGE_MAX: Duration = Duration::from_mins(1);

impl Rooms {
    /// Tells other servers where the server of this name is, until it is dropped.
    pub async fn announce(&self, name: &str, place: &ServerPlace) {
        loop {
            if let Err(error) = self.means.store.announce(name.to_owned(), place.clone()).await {
                tracing::warn!("other gateways cannot be told where this one is: {error}");
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Where the server of this name is, if it is one that goes on.
    pub async fn server(&self, name: &str) -> Result<Option<ServerPlace>, StoreError> {
        self.means.store.server(name.to_owned(), AGE_MAX).await
    }

    /// Tells other servers that the server of this name is gone.
    pub async fn leave(&self, name: &str) {
        if let Err(error) = self.means.store.leave(name.to_owned()).await {
            tracing::warn!("other gateways cannot be told that this one ends: {error}");
        }
    }
}
