//! The look at the machine from outside: processes, files and objects of the users of runs.

use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::rights::Rights;

/// How long what a run left may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Users that belong to one ground: tests that run at the same time have others.
pub(crate) struct Users {
    rights: Rights,
    block: Range<u32>,
    _claim: UnixListener,
}

impl Users {
    const FIRST: u32 = 70_000;
    const EACH: u32 = 50;
    const BLOCKS: u32 = 200;
    const ALL: Range<u32> = Self::FIRST..Self::FIRST + Self::EACH * Self::BLOCKS;

    /// Claims a block of users, for as long as this lives.
    pub(crate) fn claim(rights: Rights) -> Self {
        for block in 0..Self::BLOCKS {
            let name = SocketAddr::from_abstract_name(format!("flotilla-escape-users-{block}"));
            if let Ok(claim) = UnixListener::bind_addr(&name.unwrap()) {
                let first = Self::FIRST + block * Self::EACH;
                return Self { rights, block: first..first + Self::EACH, _claim: claim };
            }
        }
        panic!("no block of users is free");
    }

    /// The user of the servers.
    pub(crate) fn server(&self) -> u32 {
        match self.rights {
            Rights::Shared | Rights::Ordinary | Rights::SharedWithoutLandlock | Rights::Nothing => {
                self.block.start
            }
            Rights::Everything | Rights::Root | Rights::RootWithoutLandlock => 0,
            Rights::Own => rustix::process::geteuid().as_raw(),
        }
    }

    /// The users of slots, where they have their own.
    pub(crate) fn slots(&self) -> Range<u32> {
        self.block.start + 1..self.block.end
    }

    fn contains(&self, user: u32) -> bool {
        self.block.contains(&user)
    }

    /// Whether a process of these users is neither a server nor a spawner nor a supervisor of it,
    /// that is, whether it came from a run.
    fn is_foreign(&self, process: &Process, all: &[Process]) -> bool {
        let parent = |it: &Process| all.iter().find(|other| other.pid == it.parent).cloned();
        let is_ours = |it: &Process| it.parent == i32::try_from(std::process::id()).unwrap();
        let mut chain = vec![process.clone()];
        while let Some(next) = chain.last().and_then(parent) {
            chain.push(next);
        }
        let depth = chain.iter().position(is_ours);
        // Server, spawner, supervisor; a program is below those, or below nobody of ours.
        depth.is_none_or(|depth| depth > self.rights.processes_around() + 2)
    }
}

/// What is known of a process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) user: u32,
    pub(crate) state: char,
}

/// Every process of the machine.
pub(crate) fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    pids.filter_map(process).collect()
}

pub(crate) fn process(pid: i32) -> Option<Process> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next().map(str::to_owned)
    };
    Some(Process {
        pid,
        parent: field("PPid:")?.parse().ok()?,
        user: field("Uid:")?.parse().ok()?,
        state: field("State:")?.chars().next()?,
    })
}

pub(crate) fn children(pid: i32) -> Vec<Process> {
    processes().into_iter().filter(|it| it.parent == pid).collect()
}

/// The process number in the innermost namespace that the process is in.
pub(crate) fn number_within(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|it| it.starts_with("NSpid:"));
    line.and_then(|it| it.split_ascii_whitespace().last()?.parse().ok()).unwrap_or(pid)
}

/// The spawner of a server: the first of its children; the others are zygotes.
pub(crate) fn spawner_of(server: i32) -> i32 {
    children(server).iter().map(|it| it.pid).min().expect("a server has a spawner")
}

/// The only run below a server: its supervisor and its program.
pub(crate) fn run_below(server: i32) -> Vec<i32> {
    let supervisors = children(server).into_iter().flat_map(|it| children(it.pid));
    let programs = supervisors.flat_map(|it| children(it.pid));
    let mut programs = programs.filter(|it| !is_as_its_parent(it) && !stands_ready(it));
    let program = programs.next().expect("a run goes on");
    vec![program.parent, program.pid]
}

/// What a server, its spawner or the victim was given, or had done to it: limits, priority,
/// processors, and whether it is stopped.
pub(crate) fn condition(pid: i32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let priority = [15, 16, 37, 38].map(|index| fields.get(index).copied().unwrap_or_default());
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let processors = status.lines().find(|line| line.starts_with("Cpus_allowed:"));
    let stopped = process(pid).is_none_or(|it| "TtXZ".contains(it.state));
    format!("stopped {stopped}, priority {priority:?}, processors {processors:?}\n{limits}")
}

/// Processes of runs that still live, beside those expected. Waits a while for them to go.
pub(crate) async fn survivors(server: i32, users: &Users, expected: &[i32]) -> Vec<String> {
    if soon(|| left_over(server, users, expected).is_empty()).await {
        return Vec::new();
    }
    let left = left_over(server, users, expected).into_iter();
    left.map(|it| format!("a process survived: {it:?}")).collect()
}

/// Processes of runs that live now, beside those expected.
pub(crate) fn left_over(server: i32, users: &Users, expected: &[i32]) -> Vec<Process> {
    let all = processes();
    let spawners: Vec<i32> = all.iter().filter(|it| it.parent == server).map(|it| it.pid).collect();
    let ours = |pid: i32| pid == server || spawners.contains(&pid) || expected.contains(&pid);
    let below = all.iter().filter(|it| spawners.contains(&it.parent));
    let below = below.filter(|it| !waits(it, &all));
    let of_slots = all.iter().filter(|it| users.contains(it.user) && users.is_foreign(it, &all));
    let of_slots = of_slots.filter(|it| !is_to_start(it, &all));
    below.chain(of_slots).filter(|it| !ours(it.pid)).cloned().collect()
}

/// Whether a process is a supervisor that waits for a run: of the server's program, with nothing
/// below it but what is to become the run's.
fn waits(process: &Process, all: &[Process]) -> bool {
    let mut below = all.iter().filter(|it| it.parent == process.pid);
    is_as_its_parent(process) && below.all(|it| is_as_its_parent(it) || stands_ready(it))
}

/// Whether a process waits for its program, or compiles for all.
fn stands_ready(process: &Process) -> bool {
    let words = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    let line = std::fs::read_link(format!("/proc/{}/fd/3", process.pid));
    let hears = line.is_ok_and(|it| it.to_string_lossy().starts_with("socket:"));
    let is_to_hear = words.contains("/support/warm.js\0") || words.contains("\0flotilla.Warm\0");
    is_to_hear && hears || words.contains("\0flotilla.Compiler\0")
}

/// Whether a process is what is to become a run's, below a supervisor that waits.
fn is_to_start(process: &Process, all: &[Process]) -> bool {
    let supervisor = all.iter().find(|it| it.pid == process.parent);
    let is_ready = is_as_its_parent(process) || stands_ready(process);
    is_ready && supervisor.is_some_and(|it| waits(it, all))
}

/// Whether a process runs what its parent runs. Where that is hidden, by its words.
fn is_as_its_parent(process: &Process) -> bool {
    let look = |pid: i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (std::fs::read_link(format!("/proc/{pid}/exe")).ok(), words)
    };
    look(process.pid) == look(process.parent)
}

/// Files and objects of the users of runs, in the places where everybody may leave some.
pub(crate) fn litter(users: &Users) -> Vec<String> {
    const PLACES: &[&str] = &["/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock"];
    let mut found = Vec::new();
    for place in PLACES {
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
        for path in entries.map(|it| it.path()).filter(|it| !is_the_tests(it)) {
            let Ok(metadata) = path.symlink_metadata() else { continue };
            let of_another_ground = Users::ALL.contains(&metadata.uid());
            let is_named = path.ends_with("flotilla-escape") && !of_another_ground;
            if users.contains(metadata.uid()) || is_named {
                found.push(format!("left behind: {}", path.display()));
                // It must not be held against the next attack.
                drop(std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path)));
            }
        }
    }
    for kind in ["shm", "sem", "msg"] {
        let table = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        let mut lines = table.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
        let Some(column) = names.iter().position(|it| *it == "uid") else { continue };
        for line in lines {
            let user = line.split_ascii_whitespace().nth(column).and_then(|it| it.parse().ok());
            if user.is_some_and(|it| users.contains(it)) {
                found.push(format!("left behind, System V {kind}: {line}"));
            }
        }
    }
    found
}

fn is_the_tests(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("flotilla-canaries-") || name.starts_with("flotilla-test-")
}

/// Whether `holds` comes true within the patience.
pub(crate) async fn soon(holds: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}
