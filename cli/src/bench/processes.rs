//! The processes of this machine at one moment: who descends from whom, and what they spent.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// The kernel tells processor time in hundredths of a second (`USER_HZ`, proc(5)).
const TICK: Duration = Duration::from_millis(10);
/// Time between two looks at processes that should come to rest.
const LOOK_INTERVAL: Duration = Duration::from_millis(4);
/// Looks in a row that must see nothing done: together longer than a tick.
const QUIET_LOOKS: u32 = 4;
/// Processes that do not come to rest in this time are measured as they are.
const REST_MAX: Duration = Duration::from_secs(3);
/// The same before a program's first run: what was started with the fleet may still warm up.
const FIRST_REST_MAX: Duration = Duration::from_secs(20);

/// One look at all processes.
#[derive(Debug, Default)]
pub(crate) struct Processes(BTreeMap<u32, Process>);

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: u32,
    /// Whether it runs, or waits for the disk.
    is_busy: bool,
    /// Ticks of its own, of all its threads.
    own: u64,
    /// Ticks of those that descended from it and that it has waited for.
    waited: u64,
}

impl Processes {
    /// Reads them all. One that ends meanwhile is not among them.
    pub(crate) fn look() -> anyhow::Result<Self> {
        let entries = fs::read_dir("/proc").context("cannot list /proc")?;
        let pids = entries.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        let process =
            |pid: u32| Process::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
        Ok(Self(pids.filter_map(|pid| Some((pid, process(pid)?))).collect()))
    }

    /// `root` and all that descend from it.
    pub(crate) fn tree(&self, root: u32) -> Vec<u32> {
        let mut found: Vec<u32> = self.0.contains_key(&root).then_some(root).into_iter().collect();
        let mut next = 0;
        while let Some(&pid) = found.get(next) {
            found.extend(self.children(pid));
            next += 1;
        }
        found
    }

    /// Processor time of the tree below `root`, with what it has waited for.
    pub(crate) fn processor_time(&self, root: u32) -> Duration {
        let tree = self.tree(root);
        let members = tree.iter().filter_map(|pid| self.0.get(pid));
        ticks(members.map(|it| it.own + it.waited).sum())
    }

    /// Those that it has started, or that were left to it.
    pub(crate) fn children(&self, pid: u32) -> impl Iterator<Item = u32> {
        self.0.iter().filter(move |(_, it)| it.parent == pid).map(|(child, _)| *child)
    }

    fn is_busy(&self, root: u32) -> bool {
        self.tree(root).iter().filter_map(|pid| self.0.get(pid)).any(|it| it.is_busy)
    }
}

impl Process {
    /// Parses a line of `stat`, whose second field may hold anything in its parentheses.
    fn parse(stat: &str) -> Option<Self> {
        // From the third field, which is the state, as proc(5) counts.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            is_busy: matches!(*fields.first()?, "R" | "D"),
            own: number(14)? + number(15)?,
            waited: number(16)? + number(17)?,
        })
    }
}

/// Processor time of all commands that this process has waited for.
pub(crate) fn waited_time() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let process = Process::parse(&stat).context("/proc/self/stat is unlike proc(5)")?;
    Ok(ticks(process.waited))
}

/// Waits until the trees below `roots` do nothing: what they make ready for the next run should
/// burden neither that run nor the other side's. Answers with the processes as they are then.
pub(crate) async fn rest(roots: &[u32]) -> anyhow::Result<Processes> {
    rest_within(roots, REST_MAX).await
}

/// The same before a program's first run.
pub(crate) async fn first_rest(roots: &[u32]) -> anyhow::Result<Processes> {
    rest_within(roots, FIRST_REST_MAX).await
}

async fn rest_within(roots: &[u32], max: Duration) -> anyhow::Result<Processes> {
    let began = Instant::now();
    let (mut quiet, mut spent) = (0, None);
    loop {
        let processes = Processes::look()?;
        let now: Duration = roots.iter().map(|root| processes.processor_time(*root)).sum();
        let is_busy = roots.iter().any(|root| processes.is_busy(*root));
        quiet = if is_busy || spent != Some(now) { 0 } else { quiet + 1 };
        spent = Some(now);
        if quiet >= QUIET_LOOKS || began.elapsed() > max {
            return Ok(processes);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn ticks(count: u64) -> Duration {
    TICK.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "1 1 0 -1 4194304 9 9 0 0 3 4 50 60 20 0 1 0 7";

    fn process(parent: u32, own: u64, waited: u64) -> Process {
        Process { parent, is_busy: false, own, waited }
    }

    #[test]
    fn a_process_is_read_behind_any_name() {
        let expected = Process { parent: 7, is_busy: false, own: 7, waited: 110 };
        assert_eq!(Process::parse(&format!("12 (a b) S 7 {REST}")), Some(expected));
        let busy = Process { parent: 9, is_busy: true, ..expected };
        assert_eq!(Process::parse(&format!("12 (a) S 1 (x) R 9 {REST}")), Some(busy));
        assert_eq!(Process::parse("12 (a) S 1"), None);
        assert_eq!(Process::parse("nonsense"), None);
    }

    #[test]
    fn a_tree_holds_all_that_descend_and_what_was_waited_for() {
        let all = [
            (1, process(0, 1, 1000)),
            (2, process(1, 1, 10)),
            (3, process(2, 2, 0)),
            (4, process(3, 3, 5)),
            (5, process(1, 100, 0)),
        ];
        let processes = Processes(BTreeMap::from(all));
        assert_eq!(processes.tree(2), [2, 3, 4]);
        assert_eq!(processes.tree(5), [5]);
        assert_eq!(processes.tree(6), [0_u32; 0]);
        assert_eq!(processes.processor_time(2), TICK * 21);
        assert_eq!(processes.children(1).collect::<Vec<_>>(), [2, 5]);
    }

    #[test]
    fn this_process_is_among_all() {
        let pid = std::process::id();
        assert!(Processes::look().unwrap().tree(pid).contains(&pid));
        waited_time().unwrap();
    }
}
