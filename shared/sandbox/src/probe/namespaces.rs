//! The probe of namespaces: enters them as a run does, and looks around.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, WaitOptions, getegid, geteuid, getpid, getppid, waitpid};

use super::{refused, tell, told_by_child};
use crate::probe::outcome_of;
use crate::sys::limits;
use crate::sys::namespaces::{fork_apart, keep_user, needs_user_namespace};
use crate::sys::process::{Fork, exit, fork};
use crate::tree::Processes;
use crate::view::{Foundation, WORK, enter};
use crate::{CellSpec, Mechanisms};

/// All that the attempt may write, in bytes.
const FILES_BYTES: u64 = 1 << 20;

pub(super) fn hold(file: &Path) -> Result<(), String> {
    look_around(file, Mechanisms { namespaces: true, ..Mechanisms::default() })
}

pub(super) fn hold_with_own_proc(file: &Path) -> Result<(), String> {
    look_around(file, Mechanisms { namespaces: true, own_proc: true, ..Mechanisms::default() })
}

fn look_around(file: &Path, mechanisms: Mechanisms) -> Result<(), String> {
    let root = file.with_extension("root");
    fs::create_dir(&root).map_err(|error| error.to_string())?;
    let outcome = told_by_child(|| leave(file, &root, mechanisms));
    fs::remove_dir(&root).map_err(|error| error.to_string())?;
    outcome
}

/// What the spawner does: leaves the host, and forks somebody apart.
fn leave(file: &Path, root: &Path, mechanisms: Mechanisms) -> Result<(), String> {
    let network = || fs::read_link("/proc/self/ns/net").map_err(|error| error.to_string());
    let before = network()?;
    let user = needs_user_namespace().then(|| (geteuid().as_raw(), getegid().as_raw()));
    let readable = ["/usr", "/lib", "/dev/null"].map(PathBuf::from).to_vec();
    let foundation = Foundation { root: root.to_owned(), readable };
    foundation.lay().map_err(|failed| format!("{}: {}", failed.step, failed.error))?;
    if network()? == before {
        return Err("the network is still the host's".to_owned());
    }
    let told = |error: rustix::io::Errno| error.to_string();
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(told)?;
    match fork_apart().map_err(|error| error.to_string())? {
        Fork::Child => tell(writer, &live_apart(file, &foundation, mechanisms, user)),
        Fork::Parent(child) => {
            drop(writer);
            outcome_of(child, reader)
        }
    }
}

/// What the reaper does, and then what it must not be able to.
fn live_apart(
    file: &Path,
    foundation: &Foundation,
    mechanisms: Mechanisms,
    user: Option<(u32, u32)>,
) -> Result<(), String> {
    if let Some((uid, gid)) = user {
        keep_user(uid, gid).map_err(|error| format!("cannot keep the user: {error}"))?;
        processes_are_counted_apart()?;
    }
    let spec = CellSpec {
        mechanisms,
        uid: None,
        files_bytes: FILES_BYTES,
        readable: Vec::new(),
        writable: Vec::new(),
        neighbours: 0,
    };
    enter(foundation, &spec).map_err(|failed| format!("{}: {}", failed.step, failed.error))?;
    if getpid() != Pid::INIT || getppid().is_some() {
        return Err("processes are numbered with the host's".to_owned());
    }
    refused("a file of the host", fs::metadata(file))?;
    refused("writing beside the run's directories", fs::write("/file", ""))?;
    refused("writing to a file of the host", fs::write("/usr/file", ""))?;
    let small = Path::new(WORK).join("small");
    fs::write(&small, "small").map_err(|error| format!("cannot write a file: {error}"))?;
    let large = vec![0; usize::try_from(2 * FILES_BYTES).unwrap_or(usize::MAX)];
    refused("more files than may be", fs::write(Path::new(WORK).join("large"), large))?;
    if mechanisms.own_proc {
        let own = Processes::open().ok().and_then(|it| it.own());
        if own != Some(Pid::INIT) {
            return Err("`/proc` shows other processes".to_owned());
        }
        refused("writing to `/proc`", fs::write("/proc/self/oom_score_adj", "0"))?;
    }
    Ok(())
}

/// Kernels before 5.14 count a user's processes outside the namespace, too.
fn processes_are_counted_apart() -> Result<(), String> {
    // This process, and one more. Outside there are two already.
    limits::set_processes(2).map_err(|error| error.to_string())?;
    match fork() {
        Ok(Fork::Child) => exit(0),
        Ok(Fork::Parent(child)) => {
            waitpid(Some(child), WaitOptions::empty()).unwrap_or_default();
            Ok(())
        }
        Err(_) => Err("processes are counted with those of the host".to_owned()),
    }
}
