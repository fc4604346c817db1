//! Snippets, which are kept where rooms are.

use bytes::Bytes;

use super::{Rooms, now};
use crate::snippet::SnippetId;
use crate::store::StoreError;

impl Rooms {
    /// Keeps a snippet, or notes that it is wanted still. None if there are too many, or all of them
    /// together are too large.
    pub async fn keep_snippet(&self, data: Bytes) -> Result<Option<SnippetId>, StoreError> {
        let id = SnippetId::of(&data);
        let is_kept = self.means.store.keep_snippet(id.clone(), data, now()).await?;
        Ok(is_kept.then_some(id))
    }

    /// What a snippet says, if it is kept.
    pub async fn snippet(&self, id: &SnippetId) -> Result<Option<Bytes>, StoreError> {
        self.means.store.snippet(id.clone(), now()).await
    }
}
