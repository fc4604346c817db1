//! Control groups: what the kernel counts and bounds for a whole run, however many processes it
//! is. The server makes one for each cell, in the second version of the interface where a subtree
//! is ours, or in the first where we are root of the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

/// The group of the server itself, below the one that it was started in: a group of the second
/// version that has groups below may hold no process.
const SERVERS: &str = "flotilla-servers";

/// What the groups of runs are called, before the server's process id and a number.
const RUN: &str = "flotilla-run-";

/// Over which time processors are shared out, in microseconds: the kernel's own default.
const CPU_PERIOD_US: u64 = 100_000;

/// Where groups of the machine are mounted, as the kernel tells.
const MOUNTS: &str = "/proc/self/mountinfo";

/// The groups that this process is in.
const OWN: &str = "/proc/self/cgroup";

/// Where groups for runs can be made. Clones stand for the same place.
#[derive(Debug, Clone)]
pub struct Cgroups {
    parents: Directories,
    made: Arc<AtomicU64>,
}

/// Where the files of a group are: four times the same directory in the second version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Directories {
    version: Version,
    memory: PathBuf,
    pids: PathBuf,
    /// None where processor time cannot be bounded.
    cpu: Option<PathBuf>,
    /// Where processor time is counted.
    cpu_usage: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Version {
    One,
    Two,
}

/// A group. Dropping it leaves it behind: see [`Cgroup::remove`].
#[derive(Debug)]
pub(crate) struct Cgroup(Directories);

/// What a run may spend of what a group bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupLimits {
    /// Memory of every kind, in bytes, with nothing swapped out.
    pub(crate) memory_bytes: u64,
    /// Processes and threads, the supervisor included.
    pub(crate) processes: u64,
    /// Processors at a time.
    pub(crate) processors: u64,
}

impl Cgroups {
    /// Finds a place where this process may make groups, and removes those that dead servers left
    /// there. This process may be moved to a group beside them. The error says what is missing.
    pub fn claim() -> Result<Self, String> {
        let mounts = fs::read_to_string(MOUNTS).map_err(|it| format!("{MOUNTS}: {it}"))?;
        let own = fs::read_to_string(OWN).map_err(|it| format!("{OWN}: {it}"))?;
        let second = claim_second(&mounts, &own);
        let parents = match second {
            Ok(parents) => parents,
            Err(why) => first(&mounts, &own).ok_or(why)?,
        };
        parents.remove_stale();
        Ok(Self { parents, made: Arc::default() })
    }

    /// Makes a group.
    pub(crate) fn make(&self) -> io::Result<Cgroup> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("{RUN}{}-{number}", getpid().as_raw_nonzero());
        let group = Cgroup(self.parents.map(|parent| parent.join(&name)));
        for directory in group.0.all() {
            if let Err(error) = fs::create_dir(directory) {
                group.remove();
                return Err(error);
            }
        }
        Ok(group)
    }
}

impl Cgroup {
    /// Where its files are, for a process that enters it.
    pub(crate) fn directories(&self) -> &Directories {
        &self.0
    }

    /// Bounds what is in it.
    pub(crate) fn limit(&self, limits: GroupLimits) -> io::Result<()> {
        let Directories { memory, pids, cpu, version, .. } = &self.0;
        let bytes = limits.memory_bytes.to_string();
        match version {
            Version::Two => {
                fs::write(memory.join("memory.max"), &bytes)?;
                write_if_there(&memory.join("memory.swap.max"), "0")?;
            }
            Version::One => {
                // The bound with swap may never be below the one without.
                let with_swap = memory.join("memory.memsw.limit_in_bytes");
                write_if_there(&with_swap, "-1")?;
                fs::write(memory.join("memory.limit_in_bytes"), &bytes)?;
                write_if_there(&with_swap, &bytes)?;
            }
        }
        fs::write(pids.join("pids.max"), limits.processes.to_string())?;
        let Some(cpu) = cpu else { return Ok(()) };
        let quota = limits.processors.saturating_mul(CPU_PERIOD_US);
        match version {
            Version::Two => fs::write(cpu.join("cpu.max"), format!("{quota} {CPU_PERIOD_US}")),
            Version::One => {
                write_if_there(&cpu.join("cpu.cfs_period_us"), &CPU_PERIOD_US.to_string())?;
                write_if_there(&cpu.join("cpu.cfs_quota_us"), &quota.to_string())
            }
        }
    }

    /// Kills what is in it and removes it. Returns whether it is gone; a process that is still on
    /// its way out keeps it.
    pub(crate) fn remove(&self) -> bool {
        self.0.remove()
    }
}

impl Directories {
    fn second(directory: &Path, bounds_cpu: bool) -> Self {
        let directory = directory.to_owned();
        Self {
            version: Version::Two,
            memory: directory.clone(),
            pids: directory.clone(),
            cpu: bounds_cpu.then(|| directory.clone()),
            cpu_usage: directory,
        }
    }

    fn map(&self, change: impl Fn(&Path) -> PathBuf) -> Self {
        Self {
            version: self.version,
            memory: change(&self.memory),
            pids: change(&self.pids),
            cpu: self.cpu.as_deref().map(&change),
            cpu_usage: change(&self.cpu_usage),
        }
    }

    /// Each directory once.
    fn all(&self) -> Vec<&Path> {
        let mut all = vec![self.memory.as_path(), &self.pids, &self.cpu_usage];
        all.extend(self.cpu.as_deref());
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Puts this process into the group.
    pub(crate) fn join(&self) -> io::Result<()> {
        for directory in self.all() {
            fs::write(directory.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    fn remove(&self) -> bool {
        let mut gone = true;
        for directory in self.all() {
            match fs::remove_dir(directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => {
                    kill_within(directory);
                    gone &= fs::remove_dir(directory).is_ok();
                }
            }
        }
        gone
    }

    /// Removes the groups of servers that are no more.
    fn remove_stale(&self) {
        let all = self.all().into_iter().filter_map(|directory| fs::read_dir(directory).ok());
        for name in all.flatten().flatten().filter_map(|it| it.file_name().into_string().ok()) {
            let server = name.strip_prefix(RUN).and_then(|rest| rest.split('-').next());
            if server.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                self.map(|parent| parent.join(&name)).remove();
            }
        }
    }

    /// The file that tells how often memory ran out in the group, the one that tells the most
    /// memory that it had, and the one that tells its processor time.
    pub(crate) fn usage_files(&self) -> [PathBuf; 4] {
        let Self { version, memory, pids, cpu_usage, .. } = self;
        let [events, peak, cpu] = match version {
            Version::Two => ["memory.events", "memory.peak", "cpu.stat"],
            Version::One => ["memory.oom_control", "memory.max_usage_in_bytes", "cpuacct.usage"],
        };
        [memory.join(events), memory.join(peak), cpu_usage.join(cpu), pids.join("pids.current")]
    }
}

/// Kills every process of a group.
fn kill_within(directory: &Path) {
    // Where the kernel can do it in one go, nobody escapes by forking.
    if fs::write(directory.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|it| Pid::from_raw(it.parse().ok()?)) {
        kill_process(pid, Signal::KILL).unwrap_or_default();
    }
}

fn write_if_there(path: &Path, text: &str) -> io::Result<()> {
    match fs::write(path, text) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A place of the second version: our own group, or the one above if a server of ours moved there
/// before.
fn claim_second(mounts: &str, own: &str) -> Result<Directories, String> {
    let mount = mounts_of(mounts, "cgroup2").next().ok_or("no control groups are mounted")?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"));
    let group = mount.directory(path.ok_or("this process is in no control group")?);
    let parent = match group.parent() {
        Some(parent) if group.ends_with(SERVERS) => parent.to_owned(),
        _ => group,
    };
    let told = |what: &str, error: io::Error| format!("{what}: {error}");
    let available = fs::read_to_string(parent.join("cgroup.controllers"))
        .map_err(|it| told("cannot read which controllers there are", it))?;
    let has = |name: &str| available.split_ascii_whitespace().any(|it| it == name);
    if !has("memory") || !has("pids") {
        return Err("the controllers of memory and processes are not ours to use".to_owned());
    }
    let wanted = if has("cpu") { "+memory +pids +cpu" } else { "+memory +pids" };
    let control = parent.join("cgroup.subtree_control");
    if fs::write(&control, wanted).is_err() {
        make_room(&parent, own).map_err(|it| told("cannot move aside", it))?;
        fs::write(&control, wanted).map_err(|it| told("cannot hand on the controllers", it))?;
    }
    Ok(Directories::second(&parent, has("cpu")))
}

/// Moves this process out of `parent`, and where that is all ours, everybody else in it, too.
fn make_room(parent: &Path, own: &str) -> io::Result<()> {
    let servers = parent.join(SERVERS);
    match fs::create_dir(&servers) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let entrance = servers.join("cgroup.procs");
    fs::write(&entrance, "0")?;
    if own.lines().any(|line| line == "0::/") || is_delegated(parent) {
        let others = fs::read_to_string(parent.join("cgroup.procs"))?;
        for process in others.lines() {
            // It may have ended meanwhile.
            fs::write(&entrance, process).unwrap_or_default();
        }
    }
    Ok(())
}

/// Whether the system's manager of services left the group to whoever is in it.
fn is_delegated(group: &Path) -> bool {
    let mut value = [0_u8; 8];
    let marks = ["user.delegate", "trusted.delegate"];
    marks.iter().any(|mark| {
        rustix::fs::getxattr(group, *mark, &mut value)
            .is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

/// A place of the first version: our own group of each controller.
fn first(mounts: &str, own: &str) -> Option<Directories> {
    let place = |controller: &str| -> Option<PathBuf> {
        let mount = mounts_of(mounts, "cgroup").find(|it| it.has_option(controller))?;
        let path = own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|it| it == controller).then_some(path)
        })?;
        let directory = mount.directory(path);
        rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK).ok()?;
        Some(directory)
    };
    Some(Directories {
        version: Version::One,
        memory: place("memory")?,
        pids: place("pids")?,
        cpu: place("cpu"),
        cpu_usage: place("cpuacct")?,
    })
}

/// One mounted hierarchy, as a line of `mountinfo` tells it.
struct Mount<'a> {
    root: &'a str,
    place: &'a str,
    options: &'a str,
}

impl Mount<'_> {
    /// The directory of the group `path` of the hierarchy, as far as it is shown here.
    fn directory(&self, path: &str) -> PathBuf {
        let below = Path::new(path).strip_prefix(self.root).unwrap_or(Path::new(""));
        Path::new(self.place).join(below)
    }

    fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|it| it == name)
    }
}

/// The mounts of a type: `proc_pid_mountinfo(5)` has the order of the fields.
fn mounts_of<'a>(mounts: &'a str, kind: &'a str) -> impl Iterator<Item = Mount<'a>> {
    mounts.lines().filter_map(move |line| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, place) = (front.next()?, front.next()?);
        let mut back = back.split(' ');
        let options = (back.next()? == kind).then(|| back.nth(1)).flatten()?;
        Some(Mount { root, place, options })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
        31 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n\
        40 30 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        41 30 0:34 /docker/a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn a_hierarchy_is_found_by_its_controller() {
        let place = |controller| {
            let mount = mounts_of(MOUNTINFO, "cgroup").find(|it| it.has_option(controller));
            mount.map(|it| it.directory("/docker/a/b"))
        };
        assert_eq!(place("cpuacct").unwrap(), Path::new("/sys/fs/cgroup/cpu,cpuacct/docker/a/b"));
        // A container is shown its own part as if it were all there is.
        assert_eq!(place("memory").unwrap(), Path::new("/sys/fs/cgroup/memory/b"));
        assert_eq!(place("pids"), None);
        let second = mounts_of(MOUNTINFO, "cgroup2").next().unwrap();
        assert_eq!(second.directory("/"), Path::new("/sys/fs/cgroup/"));
    }

    #[test]
    fn a_group_has_each_directory_once() {
        assert_eq!(Directories::second(Path::new("/a"), true).all(), [Path::new("/a")]);
    }
}
