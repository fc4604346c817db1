//! The mechanisms that this host grants, as proven by probes, and the level that they add up to.

use protocol::Level;
use serde::{Deserialize, Serialize};

/// What was proven to work here. Every one that is true is used, also above the level's minimum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mechanisms {
    /// A system-call filter takes hold, under `no_new_privs`.
    pub seccomp: bool,
    /// Landlock refuses files outside its list.
    pub landlock_files: bool,
    /// Landlock refuses truncation, too.
    pub landlock_truncate: bool,
    /// A Landlock domain cannot signal processes outside it.
    pub landlock_scope: bool,
    /// We can become another user for good (root with the usual container's capabilities).
    pub user_switch: bool,
    /// The kernel refuses private memory beyond `RLIMIT_DATA`.
    pub data_limit: bool,
    /// A program can have processes, mounts, network, host name and System V objects of its own,
    /// and a file tree that holds nothing but what it needs.
    pub namespaces: bool,
    /// In them it can have a `/proc` of its own.
    pub own_proc: bool,
    /// A control group bounds and counts memory and processes of a whole run.
    pub cgroup: bool,
}

impl Mechanisms {
    /// The strongest level whose every mechanism is there.
    pub fn level(&self) -> Level {
        if !self.seccomp {
            return Level::Bare;
        }
        if !self.landlock_files && !self.namespaces {
            return Level::Filtered;
        }
        if !self.separates() {
            return Level::Confined;
        }
        match (self.cgroup, self.namespaces) {
            (true, _) => Level::Bounded,
            (false, true) => Level::Namespaced,
            (false, false) => Level::Separated,
        }
    }

    /// Whether a process can wait for its program while another cell's runs: none of those can
    /// reach it.
    pub fn can_wait(&self) -> bool {
        self.seccomp && self.separates()
    }

    /// Whether files outside a run can be truncated, unless the filter refuses it.
    pub(crate) fn truncates_files_outside(&self) -> bool {
        !(self.namespaces || self.landlock_files && self.landlock_truncate)
    }

    /// Whether a run cannot reach processes outside it, where the filter takes hold too.
    pub fn separates(&self) -> bool {
        self.landlock_scope || self.user_switch || self.namespaces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Mechanisms = Mechanisms {
        seccomp: true,
        landlock_files: true,
        landlock_truncate: true,
        landlock_scope: true,
        user_switch: true,
        data_limit: true,
        namespaces: true,
        own_proc: true,
        cgroup: true,
    };

    #[test]
    fn a_level_needs_every_mechanism_below_it() {
        let check = |mechanisms: Mechanisms, level| assert_eq!(mechanisms.level(), level);
        check(ALL, Level::Bounded);
        check(Mechanisms { cgroup: false, ..ALL }, Level::Namespaced);
        check(Mechanisms { namespaces: false, ..ALL }, Level::Bounded);
        let bare = Mechanisms { cgroup: false, namespaces: false, ..ALL };
        check(bare, Level::Separated);
        check(Mechanisms { landlock_scope: false, ..bare }, Level::Separated);
        check(Mechanisms { user_switch: false, ..bare }, Level::Separated);
        let none_apart = Mechanisms { landlock_scope: false, user_switch: false, ..bare };
        check(none_apart, Level::Confined);
        check(Mechanisms { cgroup: true, ..none_apart }, Level::Confined);
        check(Mechanisms { landlock_files: false, ..bare }, Level::Filtered);
        check(Mechanisms { seccomp: false, ..ALL }, Level::Bare);
        check(Mechanisms::default(), Level::Bare);
    }

    #[test]
    fn a_file_tree_of_its_own_stands_in_for_landlock() {
        let without = Mechanisms { landlock_files: false, landlock_scope: false, ..ALL };
        assert_eq!(without.level(), Level::Bounded);
        assert_eq!(Mechanisms { user_switch: false, ..without }.level(), Level::Bounded);
    }
}
