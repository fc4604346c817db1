//! Ends every process of a run, whatever it did to survive, and sweeps up after our own
//! processes that died.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, kill_process_group,
    test_kill_process, wait, waitpid,
};
use rustix::thread::set_no_new_privs;

use crate::sys::identity::become_warden_of;
use crate::sys::process::{Fork, exit, fork, kill_everybody};
use crate::tree::Processes;

/// How long a killed tree may take to go. Beyond it, something hangs inside the kernel.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How a run's processes can be reached for killing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// This process is in a Landlock domain that holds it and the run, and nobody else.
    Scope,
    /// The run has a user of its own.
    User(u32),
    /// This process is the first one of a namespace that holds the run, and nobody else.
    Namespace,
    /// No process of the run can leave the process group of its program.
    Group,
    /// Only by walking the tree.
    Tree,
}

/// Kills everything below this process and reaps it; `program` was the first process of the run.
/// Returns whether nothing is left.
pub(crate) fn end_all(reach: Reach, program: Option<Pid>) -> bool {
    // A subreaper without children has nothing below it; most programs leave nothing.
    let last = loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    if matches!(last, Err(Errno::CHILD)) {
        return true;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match reach {
            Reach::Scope if outside_is_safe() => kill_everybody(),
            Reach::Namespace if is_first() => kill_everybody(),
            Reach::User(uid) => kill_user(uid),
            Reach::Group if program.is_some() => {
                // The number stays the group's for as long as anybody is in it.
                program
                    .map(|it| kill_process_group(it, Signal::KILL))
                    .transpose()
                    .unwrap_or_default();
                kill_below(getpid(), &HashSet::new());
            }
            Reach::Scope | Reach::Namespace | Reach::Group | Reach::Tree => {
                kill_below(getpid(), &HashSet::new());
            }
        }
        // Whatever was killed is reaped in one go; a survivor needs another round.
        let round = Instant::now() + Duration::from_millis(100);
        while Instant::now() < round {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => pause(Duration::from_micros(500)),
                Err(Errno::CHILD) => return true,
                Err(_) => break,
            }
        }
        if Instant::now() > deadline {
            return false;
        }
    }
}

/// Kills and reaps everything below this process except `keep` and what is below those. Returns
/// whether only they are left.
pub(crate) fn sweep(keep: &HashSet<Pid>) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let strays: Vec<Pid> = children().into_iter().filter(|pid| !keep.contains(pid)).collect();
        if strays.is_empty() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        kill_below(getpid(), keep);
        for stray in strays {
            // If somebody else reaped it, that is as good.
            waitpid(Some(stray), WaitOptions::NOHANG).unwrap_or_default();
        }
        pause(Duration::from_millis(1));
    }
}

/// Waits for one child that ended, without blocking.
pub(crate) fn reap_one() -> Option<(Pid, WaitStatus)> {
    wait(WaitOptions::NOHANG).ok().flatten()
}

/// Whether this process really cannot signal the outside: only then may it signal everybody.
fn outside_is_safe() -> bool {
    getppid().is_some_and(|parent| test_kill_process(parent) == Err(Errno::PERM))
}

/// Whether this process is the first one of its namespace: only then is everybody that it can see
/// of its run.
fn is_first() -> bool {
    getpid() == Pid::INIT
}

/// Kills every process of the user `uid`, from a process that may signal them and that they may
/// not signal: as the user itself, it could be stopped or killed by those that it comes to kill.
fn kill_user(uid: u32) {
    match fork() {
        Ok(Fork::Child) => {
            let harmless = set_no_new_privs(true).is_ok() && become_warden_of(uid).is_ok();
            if harmless && outside_is_safe() {
                kill_everybody();
            }
            exit(0);
        }
        Ok(Fork::Parent(killer)) => {
            waitpid(Some(killer), WaitOptions::empty()).unwrap_or_default();
        }
        Err(_) => kill_below(getpid(), &HashSet::new()),
    }
}

/// Stops the tree below `root` until nobody new appears, then kills it. `keep` and what is below
/// are spared.
fn kill_below(root: Pid, keep: &HashSet<Pid>) {
    const ROUNDS_MAX: usize = 64;
    let mut seen = HashSet::new();
    for _ in 0..ROUNDS_MAX {
        let fresh: Vec<Pid> =
            victims(root, keep).into_iter().filter(|pid| !seen.contains(pid)).collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            signal(pid, Signal::STOP);
            seen.insert(pid);
        }
    }
    for pid in seen {
        signal(pid, Signal::KILL);
    }
}

fn victims(root: Pid, keep: &HashSet<Pid>) -> Vec<Pid> {
    let Ok(processes) = Processes::open() else { return Vec::new() };
    let mut found = Vec::new();
    for child in processes.children(root).into_iter().filter(|pid| !keep.contains(pid)) {
        found.push(child);
        found.extend(processes.below(child));
    }
    found
}

/// The children of this process; none where the host does not tell.
pub(crate) fn children() -> Vec<Pid> {
    Processes::open().map(|it| it.children(getpid())).unwrap_or_default()
}

fn signal(pid: Pid, signal: Signal) {
    // It may have ended meanwhile.
    kill_process(pid, signal).unwrap_or_default();
}

/// Waits a moment. The callers have one thread and nothing else to do.
pub(crate) fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "no runtime thread: the process is ours alone")]
    std::thread::sleep(time);
}
