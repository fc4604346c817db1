//! An executor says what it enforces, and refuses to serve with less than it must.

use protocol::Level;

use crate::ground::{Ground, TOKEN, info};
use crate::machine::Users;
use crate::rights::{Rights, builder, is_root};
use crate::secrets::BY_NAME;

/// Starts an executor that must end instead, and returns what it said.
async fn refused(rights: Rights, minimum: &str) -> String {
    let users = Users::claim(rights);
    let started = builder(rights, &users, "python", users.slots().start)
        .set("EXECUTOR_MIN_ISOLATION", minimum);
    let said = started.try_start().await.expect_err("the executor must refuse to start");
    assert!(said.starts_with("exit status:") && !said.starts_with("exit status: 0"), "{said}");
    assert!(said.contains("EXECUTOR_MIN_ISOLATION"), "it must say which setting: {said}");
    said
}

#[tokio::test]
async fn less_isolation_than_demanded_is_refused_and_the_probe_named() {
    for rights in Rights::separating() {
        let level = Ground::start(*rights, &["python"]).await.level();
        for minimum in Level::ALL.into_iter().filter(|it| *it > level) {
            refused(*rights, minimum.as_str()).await;
        }
    }
    if is_root() {
        for rights in [Rights::RootWithoutLandlock, Rights::SharedWithoutLandlock] {
            for minimum in ["confined", "separated"] {
                let said = refused(rights, minimum).await;
                assert!(said.contains("landlock_files"), "it must name the probe: {said}");
            }
        }
        let said = refused(Rights::SharedWithoutLandlock, "separated").await;
        assert!(said.contains("user_switch"), "it must name each probe that failed: {said}");
    }
}

#[tokio::test]
async fn a_lower_minimum_is_told_as_it_is() {
    if !is_root() {
        return;
    }
    for rights in [Rights::RootWithoutLandlock, Rights::SharedWithoutLandlock] {
        let ground = Ground::start(rights, &["python"]).await;
        let info = info(ground.server("python")).await;
        let isolation = &info["isolation"];
        assert_eq!(isolation["level"], "filtered", "{isolation}");
        let files = isolation["guarantees"].as_array().unwrap().iter();
        let files = files.into_iter().find(|it| it["name"] == "files").unwrap();
        assert_eq!(files["strength"], "none", "{isolation}");
        let raise = isolation["raise"].to_string();
        assert!(raise.contains("landlock_files"), "{isolation}");
    }
}

#[tokio::test]
async fn the_suite_sees_an_escape_where_nothing_holds() {
    if !is_root() {
        return;
    }
    let mut ground = Ground::start(Rights::SharedWithoutLandlock, &["python"]).await;
    let faults = BY_NAME.faults(&mut ground).await.join("\n");
    for seen in ["ESCAPED open", "ESCAPED hard link", "ESCAPED for writing", "a canary changed"] {
        assert!(faults.contains(seen), "`{seen}` is not among\n{faults}");
    }
}

#[tokio::test]
async fn info_describes_the_host_to_nobody() {
    for rights in Rights::separating() {
        let ground = Ground::start(*rights, &["python"]).await;
        let text = info(ground.server("python")).await.to_string();
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let state = ground.server("python").state().to_string_lossy().into_owned();
        let user = ground.users.slots().start.to_string();
        let repository = tests::repository().to_string_lossy().into_owned();
        for told in [&kernel, &host, &state, &user, &repository] {
            assert!(!text.contains(told.as_str()), "`{told}` is told: {text}");
        }
        for place in ["/usr", "/root", "/home", "/tmp", "/var", "/proc", TOKEN] {
            assert!(!text.contains(place), "`{place}` is told: {text}");
        }
    }
}
