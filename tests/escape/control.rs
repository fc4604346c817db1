//! The positive control: the same programs without a jail, in a box that is thrown away. That an
//! attack fails in the jail proves something only if it does not fail here.

use std::time::Duration;

use protocol::Level;
use serde_json::json;

use crate::attack::Attack;
use crate::ground::Ground;
use crate::promise::not_made;
use crate::rights::{Rights, is_root};
use crate::table::{TABLES, say};

/// How many of ten attacks must get through. What is left is held by more than the jail: a tool
/// that refuses, a file that is not there, a reaper that finds every process.
const MOST_OF_TEN: usize = 7;

#[tokio::test]
async fn without_a_jail_most_attacks_get_through() {
    if !is_root() {
        say("left out: only root can make the box");
        return;
    }
    let mut ground = Ground::whole(Rights::Nothing).await;
    assert_eq!(ground.level(), Level::Bare, "something of the jail is left");
    let (mut made, mut held) = (0, Vec::new());
    for table in TABLES {
        for attack in table.attacks {
            let promises = attack.against.unwrap_or(table.against);
            let is_promised = not_made(promises, ground.guarantees()).is_empty();
            if is_promised || !ground.has(attack.language) {
                continue;
            }
            made += 1;
            // What an earlier one did may come late.
            if !ground.is_as_started(attack.language) {
                ground.replace(attack.language).await;
            }
            if !attack.has_effect(&mut ground).await {
                held.push(attack.name);
            }
            repair(&mut ground, attack).await;
        }
    }
    ground.abandon();
    let through = made - held.len();
    say(&format!("without a jail: {made} made, {through} got through; not: {held:#?}"));
    assert!(through * 10 >= made * MOST_OF_TEN, "{held:#?}");
}

/// Makes sure that the next attack finds everything in order.
async fn repair(ground: &mut Ground, attack: &Attack) {
    ground.canaries.renew();
    let is_well = match attack.language {
        "python" => {
            let answer = ground.try_run("python", "print('well')", &json!({})).await;
            answer.is_some_and(|it| it.contains(r"well\n"))
        }
        language => ground.is_healthy(language).await,
    };
    // A supervisor that ends takes a moment.
    for _ in 0..20 {
        if is_well && ground.is_as_started(attack.language) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ground.replace(attack.language).await;
}
