//! Finds out what this host grants, by doing: in a child for each mechanism, the forbidden thing
//! must fail and the allowed thing must work.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, WaitOptions, getpid, getppid, test_kill_process, waitpid};
use rustix::thread::set_no_new_privs;
use serde::{Deserialize, Serialize};

use crate::Mechanisms;
use crate::plan::Resource;
use crate::sys::process::{Fork, exit, fork};
use crate::sys::{attempts, identity, landlock, limits, seccomp};
use crate::wire;

/// First argument of a process that probes.
pub(crate) const ARGUMENT: &str = "sandbox-probe";

/// What the probes found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Each mechanism and how its probe went.
    pub results: Vec<ProbeResult>,
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
            landlock_scope: proven("landlock_scope"),
            user_switch: proven("user_switch"),
            data_limit: proven("data_limit"),
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
        "a kernel of at least 6.2 with Landlock enabled (`landlock` in its LSM list), and an outer \
         filter that allows the landlock calls",
        files_outside_are_refused,
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
];

/// Probes this host, in a process of its own that is gone when this returns. `scratch` is a
/// directory that this process may write to. Call it while there is one thread.
pub fn probe(scratch: &Path) -> io::Result<Probe> {
    #[expect(clippy::disallowed_methods, reason = "the probe is a process of the sandbox")]
    let output = Command::new("/proc/self/exe")
        .arg(ARGUMENT)
        .arg(scratch)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    wire::receive(output.stdout.as_slice())
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
    let told = wire::send(io::stdout().lock(), &Probe { results });
    exit(i32::from(told.is_err()))
}

/// Makes one attempt in a child, whose restrictions go with it.
fn in_child(scratch: &Path, attempt: fn(&Path) -> Result<(), String>) -> Result<(), String> {
    let told = |error: rustix::io::Errno| error.to_string();
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(told)?;
    let file = scratch.join(format!("probe-{}", getpid().as_raw_nonzero()));
    fs::write(&file, "probe").map_err(|error| format!("cannot write a file: {error}"))?;
    let outcome = match fork().map_err(|error| error.to_string())? {
        Fork::Child => {
            drop(reader);
            let told = wire::send(File::from(writer), &attempt(&file));
            exit(i32::from(told.is_err()));
        }
        Fork::Parent(child) => {
            drop(writer);
            outcome_of(child, reader)
        }
    };
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
    seccomp::install(seccomp::Owns::More).map_err(|error| error.to_string())?;
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
    set_no_new_privs(true).map_err(|error| error.to_string())?;
    let directory = file.parent().ok_or("the scratch file has no directory")?;
    let inside = directory.join(format!("inside-{}", getpid().as_raw_nonzero()));
    fs::create_dir(&inside).map_err(|error| error.to_string())?;
    let outcome = try_files(file, &inside);
    fs::remove_dir_all(&inside).map_err(|error| error.to_string())?;
    outcome
}

fn try_files(file: &Path, inside: &Path) -> Result<(), String> {
    let child = fork().map_err(|error| error.to_string())?;
    let Fork::Parent(child) = child else {
        let code = match try_files_inside(file, inside) {
            Ok(()) => 0,
            Err(step) => step,
        };
        exit(code);
    };
    let status = waitpid(Some(child), WaitOptions::empty()).ok().flatten();
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        Some(1) => Err("no domain could be entered".to_owned()),
        Some(2) => Err("a file outside the list could be read".to_owned()),
        Some(3) => Err("a file outside the list could be truncated".to_owned()),
        Some(4) => Err("a file inside the list could not be written".to_owned()),
        _ => Err("the attempt ended without a word".to_owned()),
    }
}

fn try_files_inside(file: &Path, inside: &Path) -> Result<(), i32> {
    if !landlock::enter_files(&[], &[inside.to_owned()], false).unwrap_or(false) {
        return Err(1);
    }
    if File::open(file).is_ok() {
        return Err(2);
    }
    // Landlock before ABI 3 lets this through.
    if OpenOptions::new().write(true).truncate(true).open(file).is_ok()
        || rustix::fs::open(file, rustix::fs::OFlags::WRONLY, rustix::fs::Mode::empty()).is_ok()
    {
        return Err(3);
    }
    fs::write(inside.join("a"), "a").map_err(|_refused| 4)
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
fn refused<E>(what: &str, outcome: Result<(), E>) -> Result<(), String> {
    outcome.err().map(drop).ok_or_else(|| format!("{what} was let through"))
}
