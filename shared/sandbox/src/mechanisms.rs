//! The mechanisms that this host grants, as proven by probes, and the level that they add up to.

use protocol::Level;
use serde::{Deserialize, Serialize};

/// What was proven to work here. Every one that is true is used, also above the level's minimum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mechanisms {
    /// A system-call filter takes hold, under `no_new_privs`.
    pub seccomp: bool,
    /// Landlock refuses files outside its list and truncation.
    pub landlock_files: bool,
    /// A Landlock domain cannot signal processes outside it.
    pub landlock_scope: bool,
    /// We can become another user for good (root with the usual container's capabilities).
    pub user_switch: bool,
    /// The kernel refuses private memory beyond `RLIMIT_DATA`.
    pub data_limit: bool,
}

impl Mechanisms {
    /// The strongest level whose every mechanism is there.
    pub fn level(&self) -> Level {
        if !self.seccomp {
            return Level::Bare;
        }
        if !self.landlock_files {
            return Level::Filtered;
        }
        if self.landlock_scope || self.user_switch { Level::Separated } else { Level::Confined }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Mechanisms = Mechanisms {
        seccomp: true,
        landlock_files: true,
        landlock_scope: true,
        user_switch: true,
        data_limit: true,
    };

    #[test]
    fn a_level_needs_every_mechanism_below_it() {
        let check = |mechanisms: Mechanisms, level| assert_eq!(mechanisms.level(), level);
        check(Mechanisms::default(), Level::Bare);
        check(Mechanisms { seccomp: false, ..ALL }, Level::Bare);
        check(Mechanisms { landlock_files: false, ..ALL }, Level::Filtered);
        check(Mechanisms { landlock_scope: false, user_switch: false, ..ALL }, Level::Confined);
        check(Mechanisms { landlock_scope: false, ..ALL }, Level::Separated);
        check(Mechanisms { user_switch: false, ..ALL }, Level::Separated);
        check(ALL, Level::Separated);
    }
}
