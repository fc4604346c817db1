//! Finds out what this host grants, by doing: in a child for each mechanism, the forbidden thing
//! must fail and the allowed thing must work.

mod group;
mod namespaces;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, WaitOptions, getpid, getppid, test_kill_process, waitpid};
use rustix::thread::set_no_new_privs;
use serde::{Deserialize, Serialize};

use crate::plan::Resource;
use crate::sys::process::{Fork, exit, fork};
use crate::sys::{attempts, identity, landlock, limits, seccomp};
use crate::wire;
use crate::{Cgroups, Mechanisms};

/// First argument of a process that probes.
pub(crate) const ARGUMENT: &str = "sandbox-probe";

/// The mechanism that is claimed before it is proven.
const GROUP: &str = "cgroup";

/// What the probes found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Probe {
    /// Each mechanism and how its probe went.
    pub results: Vec<ProbeResult>,
    /// Where control groups can be made, if that was proven.
    #[serde(skip)]
    pub cgroups: Option<Cgroups>,
}

/// How one probe went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// The mechanism's name.
    pub mechanism: String,
    /// What went wrong; none if it was proven.
    pub fault: Option<String>,
    /// What would grant it.
    pub grant: String,
}

impl Probe {
    /// What was proven.
    pub fn mechanisms(&self) -> Mechanisms {
        let proven =
            |name: &str| self.results.iter().any(|it| it.mechanism == name && it.fault.is_none());
        Mechanisms {
            seccomp: proven("seccomp"),
            landlock_files: proven("landlock_files"),
            landlock_truncate: proven("landlock_truncate"),
            landlock_scope: proven("landlock_scope"),
            user_switch: proven("user_switch"),
            data_limit: proven("data_limit"),
            namespaces: proven("namespaces"),
            own_proc: proven("own_proc"),
            cgroup: proven(GROUP),
        }
    }
}

/// One mechanism: its name, what would grant it, and the attempt, made in a child with the path
/// of a file that exists.
type Attempt = (&'static str, &'static str, fn(&Path) -> Result<(), String>);

const ATTEMPTS: &[Attempt] = &[
    (
        "seccomp",
        "a kernel with seccomp filters, and an outer filter that lets us add one",
        filter_refuses_sockets,
    ),
    (
        "landlock_files",
        "a kernel of at least 5.13 with Landlock enabled (`landlock` in its LSM list), and an \
         outer filter that allows the landlock calls",
        files_outside_are_refused,
    ),
    (
        "landlock_truncate",
        "a kernel of at least 6.2 with Landlock enabled",
        truncation_outside_is_refused,
    ),
    (
        "landlock_scope",
        "a kernel of at least 6.12 with Landlock enabled",
        signals_outside_are_refused,
    ),
    (
        "user_switch",
        "running as root inside the container, with the capabilities SETUID, SETGID and KILL",
        another_user_cannot_come_back,
    ),
    ("data_limit", "a kernel of at least 4.7", memory_beyond_the_limit_is_refused),
    (
        "namespaces",
        "the capability SYS_ADMIN as root, or user namespaces for everybody on a kernel of at \
         least 5.14, and an outer filter that allows `clone`, `mount` and `pivot_root`; ordinary \
         containers have neither",
        namespaces::hold,
    ),
    (
        "own_proc",
        "namespaces, and a process file system that nothing is mounted over",
        namespaces::hold_with_own_proc,
    ),
    (
        GROUP,
        "a control group that is ours, with the controllers of memory and processes: as root of \
         the machine, or handed over (systemd: `Delegate=yes`)",
        group::holds,
    ),
];

/// Probes this host, in a process of its own that is gone when this returns. `scratch` is a
/// directory that this process may write to. Call it while there is one thread.
pub fn probe(scratch: &Path) -> io::Result<Probe> {
    // Before the prober is started, so that it finds itself where groups can be made.
    let claimed = Cgroups::claim();
    #[expect(clippy::disallowed_methods, reason = "the probe is a process of the sandbox")]
    let output = Command::new("/proc/self/exe")
        .arg(ARGUMENT)
        .arg(scratch)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let mut probe: Probe = wire::receive(output.stdout.as_slice())?;
    for result in &mut probe.results {
        if let (GROUP, Err(why)) = (result.mechanism.as_str(), &claimed) {
            result.fault = Some(why.clone());
        }
    }
    probe.cgroups = claimed.ok().filter(|_| probe.mechanisms().cgroup);
    Ok(probe)
}

/// The probing process itself.
pub(crate) fn serve() -> ! {
    let scratch = std::env::args_os().nth(2).map(PathBuf::from).unwrap_or_default();
    let results = ATTEMPTS
        .iter()
        .map(|(mechanism, grant, attempt)| ProbeResult {
            mechanism: (*mechanism).to_owned(),
            fault: in_child(&scratch, *attempt).err(),
            grant: (*grant).to_owned(),
        })
        .collect();
    let told = wire::send(io::stdout().lock(), &Probe { results, cgroups: None });
    exit(i32::from(told.is_err()))
}

/// Makes one attempt in a child, whose restrictions go with it.
fn in_child(scratch: &Path, attempt: fn(&Path) -> Result<(), String>) -> Result<(), String> {
    let file = scratch.join(format!("probe-{}", getpid().as_raw_nonzero()));
    fs::write(&file, "probe").map_err(|error| format!("cannot write a file: {error}"))?;
    let outcome = told_by_child(|| attempt(&file));
    fs::remove_file(&file).map_err(|error| format!("cannot remove a file: {error}"))?;
    outcome
}

fn outcome_of(child: Pid, reader: OwnedFd) -> Result<(), String> {
    let told: io::Result<Result<(), String>> = wire::receive(File::from(reader));
    let status = waitpid(Some(child), WaitOptions::empty()).ok().flatten();
    told.unwrap_or_else(|_| {
        let signal = status.and_then(|(_, status)| status.terminating_signal());
        Err(format!("the attempt ended without a word (signal {signal:?})"))
    })
}

fn filter_refuses_sockets(_: &Path) -> Result<(), String> {
    set_no_new_privs(true).map_err(|error| error.to_string())?;
    seccomp::install(seccomp::Surface::WHOLE).map_err(|error| error.to_string())?;
    refused("a socket", attempts::open_socket())?;
    // The allowed thing: a file and a child still work.
    File::open("/proc/self/status").or_else(|_| File::open("/")).map_err(|it| it.to_string())?;
    foreign_convention_is_fatal()
}

#[cfg(target_arch = "x86_64")]
fn foreign_convention_is_fatal() -> Result<(), String> {
    match fork().map_err(|error| error.to_string())? {
        Fork::Child => {
            attempts::call_under_x32();
            exit(0);
        }
        Fork::Parent(child) => {
            let status = waitpid(Some(child), WaitOptions::empty()).ok().flatten();
            let signal = status.and_then(|(_, status)| status.terminating_signal());
            if signal == Some(libc::SIGSYS) {
                return Ok(());
            }
            Err("a call under the x32 convention was let through".to_owned())
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn foreign_convention_is_fatal() -> Result<(), String> {
    Ok(())
}

fn files_outside_are_refused(file: &Path) -> Result<(), String> {
    inside_landlock(file, |file, inside| {
        refused("reading a file outside the list", File::open(file))?;
        let writing = OpenOptions::new().write(true).open(file);
        refused("writing to a file outside the list", writing)?;
        let within = fs::write(inside.join("a"), "a");
        within.map_err(|error| format!("a file inside the list could not be written: {error}"))
    })
}

fn truncation_outside_is_refused(file: &Path) -> Result<(), String> {
    inside_landlock(file, |file, _| {
        let name = file.as_os_str().as_encoded_bytes();
        refused("truncating a file outside the list", attempts::truncate(name))
    })
}

/// Tries something in a child that may use nothing but a new directory.
fn inside_landlock(
    file: &Path,
    attempt: fn(&Path, &Path) -> Result<(), String>,
) -> Result<(), String> {
    set_no_new_privs(true).map_err(|error| error.to_string())?;
    let directory = file.parent().ok_or("the scratch file has no directory")?;
    let inside = directory.join(format!("inside-{}", getpid().as_raw_nonzero()));
    fs::create_dir(&inside).map_err(|error| error.to_string())?;
    let outcome = told_by_child(|| {
        let listed = [inside.clone()];
        let domain = landlock::Domain::new(&[], landlock::Scoped::No);
        match domain.and_then(|it| it.enter(&[], &listed)) {
            Ok(true) => attempt(file, &inside),
            Ok(false) => Err("no domain could be entered".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    fs::remove_dir_all(&inside).map_err(|error| error.to_string())?;
    outcome
}

/// What a child says of its attempt.
fn told_by_child(attempt: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let told = |error: rustix::io::Errno| error.to_string();
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(told)?;
    match fork().map_err(|error| error.to_string())? {
        Fork::Child => tell(writer, &attempt()),
        Fork::Parent(child) => {
            drop(writer);
            outcome_of(child, reader)
        }
    }
}

/// Ends this process with what came of an attempt.
fn tell(writer: OwnedFd, outcome: &Result<(), String>) -> ! {
    let told = wire::send(File::from(writer), outcome);
    exit(i32::from(told.is_err()))
}

fn signals_outside_are_refused(_: &Path) -> Result<(), String> {
    set_no_new_privs(true).map_err(|error| error.to_string())?;
    let parent = getppid().ok_or("there is no parent")?;
    landlock::enter_scope().map_err(|error| error.to_string())?;
    refused("a signal to the parent", test_kill_process(parent))?;
    test_kill_process(getpid())
        .map_err(|error| format!("not even itself can be signalled: {error}"))
}

fn another_user_cannot_come_back(_: &Path) -> Result<(), String> {
    /// A user that nothing belongs to, as far as anybody knows.
    const USER: u32 = 64_999;
    if !identity::is_root() {
        return Err("not root".to_owned());
    }
    let parent = getppid().ok_or("there is no parent")?;
    identity::become_user(USER).map_err(|error| error.to_string())?;
    refused("coming back", identity::become_user(0))?;
    refused("a signal to root", test_kill_process(parent))
}

fn memory_beyond_the_limit_is_refused(_: &Path) -> Result<(), String> {
    const LIMIT: u64 = 64 << 20;
    limits::set(Resource::Data, LIMIT, LIMIT).map_err(|error| error.to_string())?;
    attempts::map_memory(1 << 20).map_err(|error| format!("no memory at all: {error}"))?;
    refused("memory beyond the limit", attempts::map_memory(128 << 20))
}

/// Turns a forbidden thing around: it must have failed.
fn refused<T, E>(what: &str, outcome: Result<T, E>) -> Result<(), String> {
    outcome.err().map(drop).ok_or_else(|| format!("{what} was let through"))
}
