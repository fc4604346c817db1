//! What every spawner of a server shares: a thread that reaps whatever comes to the server, and
//! kills what it did not expect; another that removes control groups.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::{
    DumpableBehavior, Pid, WaitOptions, getpid, set_child_subreaper, set_dumpable_behavior, wait,
};

use crate::cgroup::Cgroup;
use crate::spawner::{LaunchError, Process};
use crate::sys::limits::raise_open_files;
use crate::warden::{PATIENCE, children, pause, sweep};

/// Keeps the server free of processes that nobody expects.
#[derive(Debug)]
pub(crate) struct Keeper {
    expected: Mutex<Expected>,
    /// Control groups of cells that are gone.
    emptied: Sender<Cgroup>,
}

/// How many reapers that were told to end are remembered before those that have are forgotten.
const ENDING_MAX: usize = 256;

/// Who may be below the server.
#[derive(Debug, Default)]
struct Expected {
    /// Spawners by process id, and who is to learn when one ends.
    spawners: HashMap<Pid, Weak<Process>>,
    /// Reapers that live, by process id: they are spared when strays are swept.
    reapers: HashSet<Pid>,
    /// Reapers that were told to end, and by when they will have: they are spared, too. A sweep that
    /// stops them first, and is broken off by the end of this process, would leave them stopped.
    ending: HashMap<Pid, Instant>,
}

impl Expected {
    fn all(&mut self) -> HashSet<Pid> {
        self.forget_ended();
        let reapers = self.reapers.iter().chain(self.ending.keys());
        reapers.chain(self.spawners.keys()).copied().collect()
    }

    fn forget_ended(&mut self) {
        let now = Instant::now();
        self.ending.retain(|_, until| now < *until);
    }
}

impl Keeper {
    /// Makes this process what orphans come to, hides it, and starts the threads. Call it while
    /// there is one thread.
    pub(crate) fn start() -> Result<Arc<Self>, LaunchError> {
        let system = |what| {
            move |source: rustix::io::Errno| LaunchError::System { what, source: source.into() }
        };
        set_child_subreaper(Some(getpid())).map_err(system("become a subreaper"))?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(system("hide this process"))?;
        raise_open_files()
            .map_err(|source| LaunchError::System { what: "raise the limit of files", source })?;
        let (emptied, to_remove) = channel();
        let keeper = Arc::new(Self { expected: Mutex::default(), emptied });
        let thread = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)
                .map(drop)
                .map_err(|source| LaunchError::System { what: "start a thread", source })
        };
        thread("cgroup-remover", Box::new(move || remove_groups(&to_remove)))?;
        Ok(keeper)
    }

    /// Starts to reap. There must be a child, then and later.
    pub(crate) fn watch(self: &Arc<Self>) -> Result<(), LaunchError> {
        let keeper = Arc::clone(self);
        std::thread::Builder::new()
            .name("spawner-keeper".to_owned())
            .spawn(move || keeper.reap())
            .map(drop)
            .map_err(|source| LaunchError::System { what: "start a thread", source })
    }

    /// Runs `start`, which starts a spawner, and expects that from then on.
    pub(crate) fn expect_spawner(
        &self,
        process: Weak<Process>,
        start: impl FnOnce() -> Result<Pid, LaunchError>,
    ) -> Result<Pid, LaunchError> {
        // Nothing is reaped or swept in between.
        let mut expected = self.lock();
        let pid = start()?;
        expected.spawners.insert(pid, process);
        Ok(pid)
    }

    /// Notes that a reaper lives.
    pub(crate) fn note_reaper(&self, pid: i32) {
        if let Some(pid) = Pid::from_raw(pid) {
            self.lock().reapers.insert(pid);
        }
    }

    /// Notes that a reaper died.
    pub(crate) fn forget_reaper(&self, pid: i32) {
        if let Some(pid) = Pid::from_raw(pid) {
            self.lock().reapers.remove(&pid);
        }
    }

    /// Notes that a reaper was told to end.
    pub(crate) fn let_reaper_end(&self, pid: i32) {
        if let Some(pid) = Pid::from_raw(pid) {
            let mut expected = self.lock();
            if expected.reapers.remove(&pid) {
                if expected.ending.len() > ENDING_MAX {
                    expected.forget_ended();
                }
                expected.ending.insert(pid, Instant::now() + 2 * PATIENCE);
            }
        }
    }

    /// Removes a control group once everything in it is gone.
    pub(crate) fn remove_later(&self, group: Cgroup) {
        // Without its thread, this process is at its end.
        self.emptied.send(group).unwrap_or_default();
    }

    /// Waits until this process has no children but spawners and reapers; all others are being
    /// killed. Says whether that came true.
    pub(crate) fn has_no_strays(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let expected = self.lock().all();
            if children().iter().all(|it| expected.contains(it)) {
                return true;
            }
            pause(Duration::from_millis(1));
        }
        false
    }

    /// Reaps what comes to the server, for as long as that lives.
    fn reap(&self) {
        loop {
            let ended = match wait(WaitOptions::empty()) {
                Ok(Some((pid, _))) => pid,
                Ok(None) => continue,
                // Nobody is left, until somebody wants a spawner again.
                Err(_) => {
                    pause(Duration::from_millis(20));
                    continue;
                }
            };
            // Kept, so that no spawner is started that would be taken for a stray.
            let mut expected = self.lock();
            expected.reapers.remove(&ended);
            expected.ending.remove(&ended);
            let spawner = expected.spawners.remove(&ended);
            // Whatever came to us when a spawner or a reaper of its died is a stray; reapers that
            // live go on with their runs.
            sweep(&expected.all());
            drop(expected);
            if let Some(process) = spawner.and_then(|it| it.upgrade()) {
                process.note_end(ended);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes control groups as soon as they are empty. One that stays in use is given up after a
/// while; the next server removes it.
fn remove_groups(groups: &Receiver<Cgroup>) {
    let mut waiting: Vec<(Cgroup, Instant)> = Vec::new();
    loop {
        let next = if waiting.is_empty() {
            groups.recv().map_err(|_closed| RecvTimeoutError::Disconnected)
        } else {
            groups.recv_timeout(Duration::from_millis(2))
        };
        match next {
            Ok(group) => waiting.push((group, Instant::now() + PATIENCE)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        waiting.retain(|(group, until)| !group.remove() && Instant::now() < *until);
    }
}
