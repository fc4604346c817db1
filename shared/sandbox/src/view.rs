//! The file tree that a run sees where it can have one of its own: the parts of the host that
//! programs need, to be read and never to be changed, and a small file system in memory for all
//! that it writes. Nothing else of the host has a name in there.
//!
//! The spawner builds the part that is the same for every run, once ([`Foundation`]). The reaper
//! adds what is the run's own and leaves the host's tree behind ([`enter`]).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid, chown};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, unmount,
};
use rustix::process::{chdir, pivot_root};
use rustix::system::sethostname;
use serde::{Deserialize, Serialize};

use crate::CellSpec;
use crate::sys::namespaces::{Attribute, leave_host, restrict_mount};

/// Where programs work.
pub const WORK: &str = "/work";
/// Where they put temporary files.
pub const TEMPORARY: &str = "/tmp";
/// Where compilers put what they make.
pub const OUT: &str = "/out";
/// Where the C library keeps named shared memory and semaphores.
pub const SHARED_MEMORY: &str = "/dev/shm";

/// Where a run's file system is put together, out of its sight.
const FILES: &str = "/.files";

/// Name of the machine, as programs see it.
const HOST_NAME: &[u8] = b"flotilla";

/// Entries that all of a run's files may take.
const ENTRIES_MAX: u64 = 100_000;

/// Names by which programs open their own streams.
const STREAMS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Longest chain of links that is followed.
const LINKS_MAX: usize = 40;

/// Parts of `/proc` that tell of the host or of other runs, and that no program needs.
const MASKED: &[&str] = &[
    "/proc/cmdline",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/modules",
    "/proc/partitions",
    "/proc/sched_debug",
    "/proc/softirqs",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
];

/// The part of every run's file tree that comes from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foundation {
    /// An empty directory that the tree is built on. Others do not see it there.
    pub root: PathBuf,
    /// Files, and directories with all below, that the tree holds. What does not exist is passed
    /// over.
    pub readable: Vec<PathBuf>,
}

impl Foundation {
    /// Leaves the host's network, names and objects behind, and builds the tree. The process must
    /// have one thread.
    pub(crate) fn lay(&self) -> Result<(), Failed> {
        leave_host().map_err(|it| Failed::new("leave the host's namespaces", it))?;
        self.build().map_err(|it| Failed::new("build the file tree of runs", it))
    }

    fn build(&self) -> io::Result<()> {
        let apart = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", apart)?;
        memory_file_system(&self.root, "mode=755,size=1m,nr_inodes=4k")?;
        for path in self.top_down() {
            self.show(path)?;
        }
        for directory in [WORK, TEMPORARY, OUT, "/dev", SHARED_MEMORY, FILES, "/proc"] {
            make_directory(&within(&self.root, Path::new(directory)))?;
        }
        for (name, target) in STREAMS {
            let link = within(&self.root, Path::new(name));
            if fs::symlink_metadata(&link).is_err() {
                std::os::unix::fs::symlink(target, link)?;
            }
        }
        restrict_mount(&self.root, &[Attribute::ReadOnly, Attribute::NoSetUser])
    }

    /// What the tree holds, in an order in which what lies below something else is there already.
    fn top_down(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = self.readable.iter().map(PathBuf::as_path).collect();
        paths.sort_by_key(|path| path.components().count());
        paths
    }

    /// Puts one path of the host into the tree, by the links that lead to it there.
    fn show(&self, path: &Path) -> io::Result<()> {
        if fs::symlink_metadata(path).is_err() {
            return Ok(());
        }
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            match self.show_to_first_link(&path)? {
                Some(next) => path = next,
                None => return Ok(()),
            }
        }
        Err(io::Error::other(format!("{} is behind too many links", path.display())))
    }

    /// Shows again what the run's own directories cover, such as what is kept below `/tmp`.
    fn show_what_is_covered(&self) -> io::Result<()> {
        let own = [WORK, TEMPORARY, OUT, SHARED_MEMORY];
        let is_covered = |path: &&Path| own.iter().any(|place| path.starts_with(place));
        self.top_down().into_iter().filter(is_covered).try_for_each(|path| self.show(path))
    }

    /// As [`Self::show`], up to the first link: makes that, and returns where the rest of the path
    /// is behind it.
    fn show_to_first_link(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let mut outside = PathBuf::from("/");
        let mut names =
            path.components().filter(|it| matches!(it, Component::Normal(_))).peekable();
        while let Some(name) = names.next() {
            let behind = outside.join(name);
            let inside = within(&self.root, &behind);
            let Ok(metadata) = fs::symlink_metadata(&behind) else { return Ok(None) };
            let is_there = fs::symlink_metadata(&inside).is_ok();
            if metadata.is_symlink() {
                let target = fs::read_link(&behind)?;
                if !is_there {
                    std::os::unix::fs::symlink(&target, &inside)?;
                }
                let rest: PathBuf = names.collect();
                return Ok(Some(normal(&outside.join(target).join(rest))));
            }
            if !is_there {
                if names.peek().is_none() {
                    return bind(&behind, &inside, metadata.is_dir()).map(|()| None);
                }
                make_directory(&inside)?;
            }
            outside = behind;
        }
        Ok(None)
    }
}

/// A step that failed, by name.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) step: &'static str,
    pub(crate) error: io::Error,
}

impl Failed {
    pub(crate) fn new(step: &'static str, error: impl Into<io::Error>) -> Self {
        Self { step, error: error.into() }
    }
}

/// Shows one file or directory of the host, not to be changed.
fn bind(outside: &Path, inside: &Path, is_directory: bool) -> io::Result<()> {
    if is_directory {
        make_directory(inside)?;
    } else {
        fs::write(inside, "")?;
    }
    mount_bind_recursive(outside, inside)?;
    restrict_mount(inside, &[Attribute::ReadOnly, Attribute::NoSetUser])
}

/// Adds what is the run's own to the tree of `foundation`, and makes that the whole tree of this
/// process. Returns the root of the file system that programs write to, which holds a directory
/// for each of [`WORK`], [`TEMPORARY`] and [`OUT`], named like it. This process is the first one
/// of its namespaces.
pub(crate) fn enter(foundation: &Foundation, spec: &CellSpec) -> Result<OwnedFd, Failed> {
    let root = foundation.root.as_path();
    let tree = || -> io::Result<OwnedFd> {
        // A tree that came from elsewhere is locked in place; a copy of it is ours.
        mount_bind_recursive(root, root)?;
        let files = lay_out_files(root, spec)?;
        foundation.show_what_is_covered()?;
        for directory in &spec.writable {
            mount_bind(directory, within(root, directory))?;
        }
        if spec.mechanisms.own_proc {
            show_processes(root)?;
        }
        chdir(root)?;
        pivot_root(".", ".")?;
        // The old root lies on the new one now.
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")?;
        Ok(files)
    };
    sethostname(HOST_NAME).map_err(|it| Failed::new("name the machine", it))?;
    tree().map_err(|it| Failed::new("enter the run's file tree", it))
}

/// Mounts the file system that programs write to, and shows its directories where they belong.
fn lay_out_files(root: &Path, spec: &CellSpec) -> io::Result<OwnedFd> {
    let files = within(root, Path::new(FILES));
    let size = spec.files_bytes;
    memory_file_system(&files, &format!("mode=711,size={size},nr_inodes={ENTRIES_MAX}"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::fs::open(&files, flags, Mode::empty())?;
    for place in [WORK, TEMPORARY, OUT, SHARED_MEMORY] {
        let place = Path::new(place);
        let directory = files.join(place.file_name().unwrap_or_default());
        fs::create_dir(&directory)?;
        rustix::fs::chmod(&directory, Mode::RWXU)?;
        if let Some(uid) = spec.slot_user() {
            chown(&directory, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
        }
        mount_bind(&directory, within(root, place))?;
    }
    unmount(&files, UnmountFlags::DETACH)?;
    Ok(handle)
}

/// Mounts the processes of this namespace, without what they do not need.
fn show_processes(root: &Path) -> io::Result<()> {
    let place = within(root, Path::new("/proc"));
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", &place, "proc", flags, None)?;
    restrict_mount(&place, &[Attribute::ReadOnly])?;
    let nothing = within(root, Path::new("/dev/null"));
    for path in MASKED {
        let masked = within(root, Path::new(path));
        if fs::symlink_metadata(&masked).is_ok_and(|it| it.is_file()) {
            mount_bind(&nothing, &masked)?;
        }
    }
    Ok(())
}

fn memory_file_system(place: &Path, options: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount("flotilla", place, "tmpfs", flags, options.as_c_str())?)
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // The mask of this process took bits away.
        Ok(()) => Ok(rustix::fs::chmod(path, Mode::from_raw_mode(0o755))?),
        Err(_) => Ok(()),
    }
}

/// The place of an absolute path below `root`.
fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// An absolute path without `.` and `..`; no part of it may be a link.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => drop(normal.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_root() {
        assert_eq!(within(Path::new("/r"), Path::new("/a/b")), Path::new("/r/a/b"));
        assert_eq!(within(Path::new("/r"), Path::new("/")), Path::new("/r"));
        assert_eq!(normal(Path::new("/a/../../b/./c")), Path::new("/b/c"));
    }
}
