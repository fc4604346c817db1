//! The small world that every run sees, whatever the host is: a clean environment, and the parts
//! of the system that programs and toolchains need.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sandbox::Mechanisms;

use crate::workspace::Directories;

/// Files and directories that runs may read and execute. None holds a secret of a host that
/// follows the usual layout, and none lists processes. `/proc` itself is not among them.
const READABLE: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/bin",
    "/sbin",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/openssl.cnf",
    "/dev/random",
    "/dev/urandom",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",
];

/// What the machine is, for runtimes that size themselves by it. The kernel forgets such files and
/// makes them anew, so they must be opened when a run begins.
const MACHINE: &[&str] =
    &["/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory"];

/// The one device that runs may write to.
const WRITABLE: &[&str] = &["/dev/null"];

/// The parts of the host that runs see, where they see nothing else, and `more`.
pub(crate) fn shown(more: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    READABLE.iter().chain(MACHINE).chain(WRITABLE).map(PathBuf::from).chain(more).collect()
}

/// Variables that every run has.
const COMMON: &[(&str, &str)] =
    &[("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("TZ", "UTC")];

/// What every run may read, and `more`.
pub(crate) fn readable(
    mechanisms: &Mechanisms,
    more: impl IntoIterator<Item = PathBuf>,
) -> Vec<PathBuf> {
    // Where it shows the run's own processes alone.
    let own = mechanisms.own_proc.then(|| PathBuf::from("/proc"));
    READABLE.iter().map(PathBuf::from).chain(own).chain(more).collect()
}

/// What every run may read beside, found when it begins.
pub(crate) fn machine(mechanisms: &Mechanisms) -> impl Iterator<Item = PathBuf> {
    let listed = if mechanisms.own_proc { &[] } else { MACHINE };
    listed.iter().map(PathBuf::from)
}

/// What a run may write: its own directories, and a private place for shared memory if it has
/// one.
pub(crate) fn writable(
    mechanisms: &Mechanisms,
    own: impl IntoIterator<Item = PathBuf>,
) -> Vec<PathBuf> {
    let memory = mechanisms.namespaces.then(|| PathBuf::from(sandbox::SHARED_MEMORY));
    WRITABLE.iter().map(PathBuf::from).chain(memory).chain(own).collect()
}

/// The part of it that is the same for every run.
pub(crate) fn without_places(
    more: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let own = COMMON.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let environment: BTreeMap<String, String> = own.chain(more).collect();
    environment.into_iter().collect()
}

/// The environment of every phase; later entries of `more` win.
pub(crate) fn environment<'a>(
    directories: &Directories,
    more: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Vec<(String, String)> {
    let own = |path: PathBuf| path.to_string_lossy().into_owned();
    let places = [
        ("HOME".to_owned(), own(directories.work_dir())),
        ("TMPDIR".to_owned(), own(directories.temporary())),
    ];
    let more = more.into_iter().map(|(name, value)| (name.clone(), value.clone()));
    without_places(places.into_iter().chain(more))
}
