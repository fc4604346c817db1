//! The probe of control groups: makes one, enters it, and oversteps it.

use std::path::Path;

use rustix::process::{WaitOptions, waitpid};

use crate::cgroup::{Cgroup, Cgroups, GroupLimits};
use crate::sys::attempts;
use crate::sys::process::{Fork, exit, fork};
use crate::warden::pause;

/// The bounds of the attempt.
const LIMITS: GroupLimits = GroupLimits { memory_bytes: 32 << 20, processes: 3, processors: 1 };

pub(super) fn holds(_: &Path) -> Result<(), String> {
    let group = Cgroups::claim()?.make().map_err(|error| error.to_string())?;
    let outcome = holds_within(&group);
    // Whoever was in it is dead, and may be still on its way out.
    for _ in 0..100 {
        if group.remove() {
            return outcome;
        }
        pause(std::time::Duration::from_millis(10));
    }
    Err("a group could not be removed".to_owned())
}

fn holds_within(group: &Cgroup) -> Result<(), String> {
    group.limit(LIMITS).map_err(|error| format!("it cannot be bounded: {error}"))?;
    match inside(group, || attempts::touch_memory(8 << 20).is_ok())? {
        Some(true) => {}
        Some(false) | None => return Err("memory within its bound was refused".to_owned()),
    }
    if inside(group, || attempts::touch_memory(64 << 20).is_ok())? == Some(true) {
        return Err("memory beyond its bound was let through".to_owned());
    }
    match inside(group, too_many_processes)? {
        Some(true) => Err("processes beyond its bound were let through".to_owned()),
        Some(false) => Ok(()),
        None => Err("processes within its bound were refused".to_owned()),
    }
}

/// Tries to be more processes than may be; whether it could.
fn too_many_processes() -> bool {
    let more = LIMITS.processes;
    let made = (0..more).filter(|_| match fork() {
        Ok(Fork::Child) => {
            // Long enough for the others to be made beside it.
            pause(std::time::Duration::from_millis(200));
            exit(0)
        }
        Ok(Fork::Parent(_)) => true,
        Err(_) => false,
    });
    made.count() as u64 == more
}

/// What a process in the group says of its attempt; nothing if it was killed.
fn inside(group: &Cgroup, attempt: fn() -> bool) -> Result<Option<bool>, String> {
    match fork().map_err(|error| error.to_string())? {
        Fork::Child => {
            if group.directories().join().is_err() {
                exit(2);
            }
            exit(i32::from(!attempt()))
        }
        Fork::Parent(child) => {
            let status = waitpid(Some(child), WaitOptions::empty()).ok().flatten();
            match status.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok(Some(true)),
                Some(1) => Ok(Some(false)),
                Some(_) => Err("it cannot be entered".to_owned()),
                None => Ok(None),
            }
        }
    }
}
