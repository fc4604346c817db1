//! Programs that try to get out, sent to real executors: as root, where each slot has a user of
//! its own, and as an unprivileged user under a container's filter, where servers and runs share
//! one. What they did is looked at from outside, and each names the step that must stop it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a check that cannot be made must fail"
)]

mod attack;
mod canaries;
mod ground;
mod listeners;
mod machine;
mod victim;

mod compile;
mod files;
mod languages;
mod limits;
mod network;
mod processes;
mod promises;
mod refusal;
mod secrets;
mod surface;
mod survivors;
mod writes;

use ground::{Ground, Rights};

/// Makes the attacks of a table with whatever rights servers have in containers.
async fn hold(languages: &[&'static str], table: &[attack::Attack]) {
    for rights in Rights::all() {
        hold_with(*rights, languages, table).await;
    }
}

async fn hold_with(rights: Rights, languages: &[&'static str], table: &[attack::Attack]) {
    let mut ground = Ground::with_victim(rights, languages).await;
    attack::check(&mut ground, table).await;
    let damage = ground.finish().await;
    assert!(damage.is_empty(), "{rights:?}: {damage:?}");
}
