//! Every attack under every kind of rights: one start of the executors for each.

use crate::ground::Ground;
use crate::rights::{Rights, is_root};
use crate::table::{TABLES, say};

/// Makes all attacks, and fails with all that got through.
async fn hold(rights: Rights) {
    if is_root() == (rights == Rights::Own) {
        return;
    }
    let mut ground = Ground::whole(rights).await;
    say(&format!("{rights:?}: executors run at level {}", ground.level()));
    let mut report = String::new();
    for table in TABLES {
        report += &table.make(&mut ground).await;
    }
    let damage = ground.finish().await;
    assert!(damage.is_empty() && report.is_empty(), "got through:\n\n{report}\n{damage:?}");
}

#[tokio::test]
async fn as_root_with_every_capability() {
    hold(Rights::Everything).await;
}

#[tokio::test]
async fn as_a_container_s_root() {
    hold(Rights::Root).await;
}

#[tokio::test]
async fn as_a_container_s_root_without_landlock() {
    hold(Rights::RootWithoutLandlock).await;
}

#[tokio::test]
async fn as_an_unprivileged_user() {
    hold(Rights::Shared).await;
}

#[tokio::test]
async fn as_an_ordinary_user_with_namespaces() {
    hold(Rights::Ordinary).await;
}

#[tokio::test]
async fn as_an_unprivileged_user_without_landlock() {
    hold(Rights::SharedWithoutLandlock).await;
}

#[tokio::test]
async fn as_whoever_runs_the_tests() {
    hold(Rights::Own).await;
}
