//! The memory of a service: its process and all that descend from it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;
use serde::Serialize;

/// Memory of a process tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TreeMemory {
    /// Proportional set size: what processes share is counted once. In bytes.
    pub(crate) bytes: u64,
    /// How many processes.
    pub(crate) processes: usize,
    /// Whether some processes hid it, and their resident set size was taken.
    pub(crate) approximate: bool,
}

/// Adds up the tree below `root` (proc(5)). Processes that end meanwhile count nothing.
pub(crate) fn of_tree(root: u32) -> anyhow::Result<TreeMemory> {
    let parents = parents()?;
    let mut memory = TreeMemory { bytes: 0, processes: 0, approximate: false };
    for pid in tree(root, &parents) {
        let exact = kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:");
        let known = exact.or_else(|| kilobytes(&format!("/proc/{pid}/status"), "VmRSS:"));
        let Some(known) = known else { continue };
        memory.bytes += known * 1024;
        memory.processes += 1;
        memory.approximate |= exact.is_none();
    }
    Ok(memory)
}

/// The parent of every process.
fn parents() -> anyhow::Result<BTreeMap<u32, u32>> {
    let entries = fs::read_dir("/proc").context("cannot list /proc")?;
    let pids = entries.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    let parent = |pid: u32| parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    Ok(pids.filter_map(|pid| Some((pid, parent(pid)?))).collect())
}

/// The parent in a line of `stat`, whose second field may hold anything in its parentheses.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn tree(root: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| **parent == pid).map(|(child, _)| child));
        next += 1;
    }
    found
}

fn kilobytes(file: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|it| it.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (a b) S 7 12 12"), Some(7));
        assert_eq!(parent("12 (a) S 1 (x) R 9 1"), Some(9));
        assert_eq!(parent("nonsense"), None);
    }

    #[test]
    fn a_tree_holds_all_that_descend() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1)]);
        assert_eq!(tree(2, &parents), [2, 3, 4]);
        assert_eq!(tree(5, &parents), [5]);
    }

    #[test]
    fn this_process_uses_memory() {
        let memory = of_tree(std::process::id()).unwrap();
        assert!(memory.bytes > 0 && memory.processes >= 1);
    }
}
