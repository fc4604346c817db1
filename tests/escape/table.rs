//! Every attack, by the promise that it tries to break.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use futures::future::LocalBoxFuture;

use crate::attack::Attack;
use crate::ground::Ground;
use crate::promise::{Promise, not_made};

/// Attacks on one promise.
pub(crate) struct Table {
    /// The promise, as a sentence.
    pub(crate) promise: &'static str,
    /// The guarantees that its attacks are on, unless one names its own. None: what is promised at
    /// every level.
    pub(crate) against: &'static [Promise],
    pub(crate) attacks: &'static [Attack],
    pub(crate) scenarios: &'static [Scenario],
}

/// An attack of several steps.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) stopped_by: &'static str,
    /// The guarantees that it attacks, beside those of its table.
    pub(crate) against: &'static [Promise],
    /// Says all that is wrong.
    pub(crate) play: for<'a> fn(&'a mut Ground) -> LocalBoxFuture<'a, Vec<String>>,
}

/// All of them.
pub(crate) static TABLES: &[&Table] = &[
    &crate::secrets::TABLE,
    &crate::writes::TABLE,
    &crate::files::TANGLES,
    &crate::files::RESULTS,
    &crate::network::TABLE,
    &crate::processes::TABLE,
    &crate::survivors::TABLE,
    &crate::limits::TABLE,
    &crate::truth::TABLE,
    &crate::surface::TABLE,
    &crate::requests::TABLE,
    &crate::stream::TABLE,
    &crate::terminals::TABLE,
    &crate::compile::cpp::TABLE,
    &crate::compile::others::TABLE,
    &crate::compile::hooks::TABLE,
    &crate::compile::bombs::TABLE,
    &crate::compile::cache::TABLE,
    &crate::languages::javascript::TABLE,
    &crate::languages::java::TABLE,
    &crate::languages::go::TABLE,
    &crate::languages::rust::TABLE,
    &crate::order::TABLE,
];

impl Table {
    /// Makes each of its attacks that the ground promises to hold against, and returns what got
    /// through.
    pub(crate) async fn make(&self, ground: &mut Ground) -> String {
        let began = Instant::now();
        let (mut made, mut left_out, mut report) = (0_usize, Vec::new(), String::new());
        for attack in self.attacks {
            let promises = attack.against.unwrap_or(self.against);
            let missing = not_made(promises, ground.guarantees());
            if !missing.is_empty() {
                left_out.push(format!("{}: no promise of {}", attack.name, missing.join(", ")));
            } else if ground.has(attack.language) {
                let faults = attack.faults(ground).await;
                tell(&mut report, ground, (attack.name, attack.stopped_by), &faults);
                made += 1;
            } else {
                left_out.push(format!("{}: no executor of {}", attack.name, attack.language));
            }
        }
        for scenario in self.scenarios {
            let promises = [self.against, scenario.against].concat();
            let missing = not_made(&promises, ground.guarantees());
            if !missing.is_empty() {
                left_out.push(format!("{}: no promise of {}", scenario.name, missing.join(", ")));
                continue;
            }
            let mut faults = (scenario.play)(ground).await;
            faults.extend(ground.damage().await);
            tell(&mut report, ground, (scenario.name, scenario.stopped_by), &faults);
            made += 1;
        }
        let (rights, promise, seconds) = (ground.rights, self.promise, began.elapsed().as_secs());
        let found = report.lines().filter(|it| !it.is_empty() && !it.starts_with(' ')).count();
        say(&format!("{rights:?}: {promise}: {made} made, {found} got through, {seconds} s"));
        for left in left_out {
            say(&format!("{rights:?}:     left out: {left}"));
        }
        report
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let scenarios = self.scenarios.iter().map(|it| it.name);
        self.attacks.iter().map(|it| it.name).chain(scenarios)
    }
}

/// Tells how far the suite is, at once: what tests print is held back until they fail.
pub(crate) fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn tell(report: &mut String, ground: &Ground, attack: (&str, &str), faults: &[String]) {
    if !faults.is_empty() {
        let (name, stopped_by) = attack;
        let (rights, faults) = (ground.rights, faults.join("\n    "));
        writeln!(report, "{name} ({rights:?}; {stopped_by} must stop it)\n    {faults}\n").unwrap();
    }
}

#[test]
fn the_tables_hold_more_than_120_attacks() {
    let mut names = BTreeSet::new();
    for table in TABLES {
        say(&format!("{:4} attacks: {}", table.names().count(), table.promise));
        for name in table.names() {
            assert!(names.insert(name), "two attacks are called `{name}`");
        }
    }
    say(&format!("{:4} attacks in all", names.len()));
    assert!(names.len() > 120, "{} attacks are too few", names.len());
}
