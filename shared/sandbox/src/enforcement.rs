//! Pure: turns mechanisms into the guarantees that are reported, each with its mechanism.

use protocol::{Guarantee, Level, Strength};
use serde::Serialize;

use crate::{Mechanisms, Probe};

/// What a run cannot do here, and what stops it. Names no kernel version, path or user.
pub fn guarantees(mechanisms: &Mechanisms) -> Vec<Guarantee> {
    reach(mechanisms).into_iter().chain(totals(mechanisms)).collect()
}

/// What a run can reach outside it.
fn reach(mechanisms: &Mechanisms) -> [Guarantee; 6] {
    let it = *mechanisms;
    let filter = (it.seccomp, "system-call filter");
    let user = (it.user_switch, "slot user");
    let scope = (it.landlock_scope, "landlock scope");
    let landlock = (it.landlock_files, "landlock");
    let tree = (it.namespaces, "file tree of its own");
    let processes = (it.namespaces, "process namespace");
    let network = (it.namespaces, "empty network namespace");
    let files = it.landlock_files || it.namespaces;
    let separated = it.seccomp && it.separates();
    let secrets = it.seccomp && (files || it.user_switch);
    [
        by("files", enforced(files), &[landlock, tree, user]),
        by("process_secrets", enforced(secrets), &[scope, user, processes, filter]),
        by("network", enforced(it.seccomp || it.namespaces), &[filter, network]),
        by("signals", enforced(separated), &[scope, user, processes, filter]),
        by(
            "clean_up",
            enforced_or_watched(separated),
            &[
                (it.namespaces, "end of the process namespace"),
                (it.landlock_scope, "kill inside the landlock scope"),
                (it.user_switch, "kill by user"),
                (!separated && it.seccomp, "kill of the process group"),
                (!separated, "walk of the process tree"),
            ],
        ),
        by("kernel_surface", enforced(it.seccomp), &[filter]),
    ]
}

/// What a run can use up.
fn totals(mechanisms: &Mechanisms) -> [Guarantee; 5] {
    let it = *mechanisms;
    let group = (it.cgroup, "control group");
    let own_user = it.user_switch || it.namespaces;
    let by_process = "watch every 10 ms, processor limit of each process";
    [
        by(
            "memory_per_process",
            enforced_or_watched(it.data_limit || it.cgroup),
            &[(it.data_limit, "data limit of each process"), group, (!it.cgroup, "tree watch")],
        ),
        by(
            "memory_total",
            enforced_or_watched(it.cgroup),
            &[group, (!it.cgroup, "tree watch every 10 ms")],
        ),
        by(
            "processes",
            enforced_or_watched(own_user || it.cgroup),
            &[
                group,
                (it.user_switch, "process limit of the slot user"),
                (!it.user_switch && it.namespaces, "process limit of the user namespace"),
                (!own_user, "process limit of the shared user"),
            ],
        ),
        by(
            "disk",
            enforced_or_watched(it.namespaces),
            &[
                (it.namespaces, "bounded file system in memory"),
                (true, "size limit of each file; work directory removed"),
            ],
        ),
        by(
            "cpu",
            enforced_or_watched(it.cgroup),
            &[(it.cgroup, "time and fair share of the control group"), (true, by_process)],
        ),
    ]
}

/// What a mechanism that is missing would add, if it alone were granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gain {
    /// Guarantees that would be enforced then, by name.
    pub enforce: Vec<String>,
    /// The level then.
    pub reach: Level,
}

/// What the same host would be with `mechanism` as well.
pub fn gain(probe: &Probe, mechanism: &str) -> Gain {
    let mut granted = probe.clone();
    for result in granted.results.iter_mut().filter(|it| it.mechanism == mechanism) {
        result.fault = None;
    }
    let mechanisms = granted.mechanisms();
    let before = names_of_enforced(&probe.mechanisms());
    let after = names_of_enforced(&mechanisms);
    let enforce = after.into_iter().filter(|it| !before.contains(it)).collect();
    Gain { enforce, reach: mechanisms.level() }
}

fn names_of_enforced(mechanisms: &Mechanisms) -> Vec<String> {
    let all = guarantees(mechanisms).into_iter();
    all.filter(|it| it.strength == Strength::Enforced).map(|it| it.name).collect()
}

/// What the host would have to grant for more than was proven, and what would be enforced then.
pub fn raise(probe: &Probe) -> Vec<String> {
    let missing = probe.results.iter().filter(|it| it.fault.is_some());
    missing.map(|it| wish(&it.mechanism, &it.grant, &gain(probe, &it.mechanism))).collect()
}

fn wish(mechanism: &str, grant: &str, gain: &Gain) -> String {
    let more = match gain.enforce.as_slice() {
        [] => "nothing more is enforced by this alone".to_owned(),
        [one] => format!("{one} becomes enforced"),
        several => format!("{} become enforced", several.join(", ")),
    };
    format!("{mechanism}: needs {grant}; then {more}, at level {}", gain.reach)
}

/// A guarantee by those of the mechanisms that are there.
fn by(name: &str, strength: Strength, mechanisms: &[(bool, &str)]) -> Guarantee {
    let there: Vec<&str> = mechanisms.iter().filter(|it| it.0).map(|it| it.1).collect();
    let nothing = there.is_empty() || strength == Strength::None;
    let mechanism = if nothing { "none".to_owned() } else { there.join(", ") };
    Guarantee { name: name.to_owned(), strength, mechanism }
}

fn enforced_or_watched(yes: bool) -> Strength {
    if yes { Strength::Enforced } else { Strength::Watched }
}

fn enforced(yes: bool) -> Strength {
    if yes { Strength::Enforced } else { Strength::None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_enforced_by_nothing() {
        for guarantee in guarantees(&Mechanisms::default()) {
            assert_ne!(guarantee.strength, Strength::Enforced, "{guarantee:?}");
        }
    }

    fn strength(mechanisms: Mechanisms, name: &str) -> Strength {
        guarantees(&mechanisms).into_iter().find(|it| it.name == name).unwrap().strength
    }

    #[test]
    fn totals_are_watched_without_a_group() {
        let separated = Mechanisms {
            seccomp: true,
            landlock_files: true,
            landlock_scope: true,
            user_switch: true,
            data_limit: true,
            ..Mechanisms::default()
        };
        for name in ["memory_total", "disk", "cpu"] {
            assert_eq!(strength(separated, name), Strength::Watched, "{name}");
        }
        for name in ["files", "network", "signals", "processes"] {
            assert_eq!(strength(separated, name), Strength::Enforced, "{name}");
        }
        let bounded = Mechanisms { cgroup: true, namespaces: true, ..separated };
        for name in ["memory_total", "disk", "cpu"] {
            assert_eq!(strength(bounded, name), Strength::Enforced, "{name}");
        }
    }

    #[test]
    fn namespaces_stand_in_for_landlock() {
        let apart = Mechanisms { seccomp: true, namespaces: true, ..Mechanisms::default() };
        for name in ["files", "process_secrets", "signals", "clean_up", "disk", "processes"] {
            assert_eq!(strength(apart, name), Strength::Enforced, "{name}");
        }
        assert_eq!(strength(apart, "memory_total"), Strength::Watched);
    }
}
