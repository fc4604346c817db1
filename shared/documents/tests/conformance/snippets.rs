//! Snippets: kept while somebody wants them, and not too many.

use bytes::Bytes;
use documents::SnippetId;

use crate::{Store, at};

const HOUR: i64 = 3600;

async fn keep(store: &Store, data: &[u8], now: i64) -> bool {
    let (id, data) = (SnippetId::of(data), Bytes::copy_from_slice(data));
    store.keep_snippet(id, data, at(now)).await.unwrap()
}

async fn look(store: &Store, data: &[u8], now: i64) -> Option<Bytes> {
    store.snippet(SnippetId::of(data), at(now)).await.unwrap()
}

async fn purge(store: &Store, before: i64) -> usize {
    store.purge_snippets(at(before), 10).await.unwrap()
}

pub(crate) async fn a_snippet_is_kept_while_it_is_wanted(store: &Store) {
    let text = "{\"a\": \"Größe 👩‍🚀\"}".as_bytes();
    assert_eq!(look(store, text, 0).await, None);
    assert!(keep(store, text, 0).await);
    assert_eq!(look(store, text, 1).await.as_deref(), Some(text));
    assert_eq!(purge(store, 0).await, 0);
    // It is kept again, and later looked at.
    assert!(keep(store, text, HOUR).await);
    assert_eq!(purge(store, HOUR).await, 0);
    assert!(look(store, text, 3 * HOUR).await.is_some());
    assert_eq!(purge(store, 3 * HOUR).await, 0);
    assert_eq!(purge(store, 3 * HOUR + 1).await, 1);
    assert_eq!(look(store, text, 3 * HOUR).await, None);
}

pub(crate) async fn snippets_have_bounds(store: &Store) {
    for number in 0..3 {
        assert!(keep(store, &[number], 0).await);
    }
    assert!(!keep(store, b"fourth", 0).await);
    assert!(keep(store, &[1], 1).await, "it is there already");
    assert_eq!(purge(store, 1).await, 2);
    assert!(!keep(store, &[b'x'; 1000], 1).await, "it is too large beside the other");
    assert!(keep(store, &[b'x'; 999], 1).await);
    assert_eq!(purge(store, 2).await, 2);
    assert!(keep(store, &[b'x'; 1000], 1).await, "what is deleted does not count");
    assert_eq!(purge(store, 2).await, 1);
}
