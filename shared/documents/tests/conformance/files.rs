//! The store in a file: the suite, and whom it refuses.

use std::path::Path;

use documents::{Appended, DocumentStore as _, SqliteStore, StoreError, open};
use rusqlite::Connection;
use tempfile::tempdir;

use crate::servers::a_server_is_told_of_until_it_leaves;
use crate::{
    AT_ONCE, BOUNDS, Store, append, everything, load, old_rows, room, what_was_kept_before_is_there,
};

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

#[tokio::test]
async fn a_file_keeps_rooms() {
    let directory = tempdir().unwrap();
    let store: Store = open(&url(&directory.path().join("rooms")), BOUNDS).await.unwrap();
    everything(&store).await;
    a_server_is_told_of_until_it_leaves(&store, false).await;
}

#[tokio::test]
async fn what_a_file_acknowledged_is_there_after_a_restart() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("rooms");
    let store: Store = open(&url(&path), BOUNDS).await.unwrap();
    let id = room(&store).await;
    assert_eq!(append(&store, &id, &["a"]).await, Appended::Written { before: 0, number: 1 });
    drop(store);
    let store: Store = open(&url(&path), BOUNDS).await.unwrap();
    assert_eq!(load(&store, &id, 0).await.unwrap().updates.len(), 1);
}

#[tokio::test]
async fn a_file_is_one_servers_own_and_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempdir().unwrap();
    let path = directory.path().join("rooms");
    let store = SqliteStore::open(path.clone(), BOUNDS).await.unwrap();
    let second = SqliteStore::open(path.clone(), AT_ONCE).await.unwrap_err();
    assert!(matches!(second, StoreError::Taken(_)), "{second}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(store.hear(tokio::sync::mpsc::channel(1).0).is_none());
}

#[tokio::test]
async fn what_a_younger_version_or_another_program_wrote_is_refused() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("rooms");
    drop(SqliteStore::open(path.clone(), BOUNDS).await.unwrap());
    let set = |name: &str, value: i64| {
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, name, value).unwrap();
    };
    set("user_version", 99);
    let error = SqliteStore::open(path.clone(), BOUNDS).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    set("user_version", 3);
    set("application_id", 7);
    let error = SqliteStore::open(path.clone(), BOUNDS).await.unwrap_err().to_string();
    assert!(error.contains("another program"), "{error}");
}

#[tokio::test]
async fn what_version_1_wrote_is_kept_and_gets_what_is_new() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("rooms");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../../src/sqlite/schema-1.sql")).unwrap();
    old.execute_batch(&old_rows("BLOB")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.pragma_update(None, "application_id", 0x466c_6f52).unwrap();
    drop(old);
    let store: Store = open(&url(&path), BOUNDS).await.unwrap();
    what_was_kept_before_is_there(&store).await;
    everything(&store).await;
    drop(store);
    let version = |it: &Connection| it.pragma_query_value(None, "user_version", |row| row.get(0));
    assert_eq!(version(&Connection::open(&path).unwrap()), Ok(3));
}

#[tokio::test]
async fn a_url_that_is_no_store_is_refused_without_its_password() {
    for url in ["redis://me:secret@host", "sqlite:", "rooms.db", "mysql://me:secret@host/db"] {
        let error = open(url, BOUNDS).await.unwrap_err();
        assert!(matches!(error, StoreError::Url(_)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
