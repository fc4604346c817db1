//! Pure: turns mechanisms into the guarantees that are reported, each with its mechanism.

use protocol::{Guarantee, Strength};

use crate::{Mechanisms, Probe};

/// What a run cannot do here, and what stops it. Names no kernel version, path or user.
pub fn guarantees(mechanisms: &Mechanisms) -> Vec<Guarantee> {
    let Mechanisms { seccomp, landlock_files, landlock_scope, user_switch, data_limit } =
        *mechanisms;
    let files = match (landlock_files, user_switch) {
        (true, true) => "landlock, slot user",
        (true, false) => "landlock",
        (false, _) => "none",
    };
    let separation = match (landlock_scope, user_switch) {
        (true, true) => "landlock scope, slot user, system-call filter",
        (true, false) => "landlock scope, system-call filter",
        (false, true) => "slot user, system-call filter",
        (false, false) => "none",
    };
    let separated = seccomp && (landlock_scope || user_switch);
    let filter = |yes: bool| if yes { "system-call filter" } else { "none" };
    let clean_up = match (landlock_scope, user_switch) {
        (true, _) => "kill inside the landlock scope",
        (false, true) => "kill as the slot user",
        (false, false) => "walk of the process tree",
    };
    let memory = if data_limit { "data limit of each process" } else { "tree watch" };
    let processes = if user_switch {
        "process limit of the slot user"
    } else {
        "process limit of the shared user"
    };
    vec![
        guarantee("files", enforced(landlock_files), files),
        guarantee(
            "process_secrets",
            enforced(seccomp && (landlock_files || user_switch)),
            separation,
        ),
        guarantee("network", enforced(seccomp), filter(seccomp)),
        guarantee("signals", enforced(separated), if separated { separation } else { "none" }),
        guarantee(
            "clean_up",
            if separated { Strength::Enforced } else { Strength::Watched },
            clean_up,
        ),
        guarantee(
            "memory_per_process",
            if data_limit { Strength::Enforced } else { Strength::Watched },
            memory,
        ),
        guarantee("memory_total", Strength::Watched, "tree watch every 10 ms"),
        guarantee(
            "processes",
            if user_switch { Strength::Enforced } else { Strength::Watched },
            processes,
        ),
        guarantee("disk", Strength::Watched, "size limit of each file; work directory removed"),
        guarantee(
            "cpu",
            Strength::Watched,
            "tree watch every 10 ms, processor limit of each process",
        ),
        guarantee("kernel_surface", enforced(seccomp), filter(seccomp)),
    ]
}

/// What the host would have to grant for more than was proven.
pub fn raise(probe: &Probe) -> Vec<String> {
    probe
        .results
        .iter()
        .filter(|result| result.fault.is_some())
        .map(|result| format!("{}: needs {}", result.mechanism, result.grant))
        .collect()
}

fn guarantee(name: &str, strength: Strength, mechanism: &str) -> Guarantee {
    Guarantee { name: name.to_owned(), strength, mechanism: mechanism.to_owned() }
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

    #[test]
    fn totals_are_watched_even_with_every_mechanism() {
        let all = Mechanisms {
            seccomp: true,
            landlock_files: true,
            landlock_scope: true,
            user_switch: true,
            data_limit: true,
        };
        let strength =
            |name: &str| guarantees(&all).into_iter().find(|it| it.name == name).unwrap().strength;
        assert_eq!(strength("memory_total"), Strength::Watched);
        assert_eq!(strength("files"), Strength::Enforced);
        assert_eq!(strength("network"), Strength::Enforced);
        assert_eq!(strength("signals"), Strength::Enforced);
    }
}
