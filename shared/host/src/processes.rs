//! How many processes and threads there may be.

use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::cgroup::Chain;

/// Bounds on processes and threads together; none where nothing is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Processes {
    /// Those of the container.
    pub of_container: Option<u64>,
    /// Those of our user (`ulimit -u`), which root is not held to.
    pub of_user: Option<u64>,
}

impl Processes {
    /// The bound that is met first.
    pub fn smallest(&self) -> Option<u64> {
        self.of_container.into_iter().chain(self.of_user).min()
    }
}

/// Reads them. `root` is `/` save in tests.
pub fn processes(root: &Path) -> Processes {
    let chain = Chain::find(root, "pids");
    let is_root = rustix::process::geteuid().is_root();
    Processes {
        of_container: chain.and_then(|it| it.smallest("pids.max")),
        of_user: getrlimit(Resource::Nproc).current.filter(|_| !is_root),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::tests::{MOUNTS_V2, machine};

    #[test]
    fn the_container_says_how_many_processes_it_may_have() {
        let own = ("proc/self/cgroup", "0::/\n");
        let of_container = |value| {
            let root = machine(&[own, MOUNTS_V2, ("sys/fs/cgroup/pids.max", value)]);
            processes(root.path()).of_container
        };
        assert_eq!(of_container("256\n"), Some(256));
        assert_eq!(of_container("max\n"), None);
    }

    #[test]
    fn the_smaller_bound_is_met_first() {
        let bound = |of_container, of_user| Processes { of_container, of_user }.smallest();
        assert_eq!(bound(Some(512), Some(256)), Some(256));
        assert_eq!(bound(Some(512), None), Some(512));
        assert_eq!(bound(None, None), None);
    }
}
