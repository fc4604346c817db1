//! The cgroups that this process is in, from its own up to the highest that can be seen.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Which of the two designs a controller belongs to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// The cgroups that bound us by one controller, our own first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) version: Version,
    directories: Vec<PathBuf>,
}

impl Chain {
    /// Finds them below `root`, which is `/` save in tests. None if the controller is nowhere.
    pub(crate) fn find(root: &Path, controller: &str) -> Option<Self> {
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let (version, own) = own_path(&read("proc/self/cgroup")?, controller)?;
        let mount = mount(&read("proc/self/mountinfo")?, version, controller)?;
        let top = root.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
        let mut directories = vec![top.clone()];
        if let Some(below) = below(&own, &mount.root) {
            for part in below.components() {
                let next = directories.last()?.join(part);
                directories.push(next);
            }
        }
        // A container may see names of cgroups that are not mounted for it.
        directories.retain(|it| it.is_dir());
        directories.reverse();
        Some(Self { version, directories })
    }

    /// What `file` says in each of the cgroups that has it.
    pub(crate) fn values(&self, file: &str) -> impl Iterator<Item = String> {
        let read = move |it: &PathBuf| fs::read_to_string(it.join(file)).ok();
        self.directories.iter().filter_map(read).map(|it| it.trim().to_owned())
    }

    /// The smallest number that `file` says; words such as `max` are no bound.
    pub(crate) fn smallest(&self, file: &str) -> Option<u64> {
        self.values(file).filter_map(|it| it.parse().ok()).min()
    }
}

/// A mounted hierarchy: where, and which cgroup is at its top.
struct Mount {
    root: PathBuf,
    point: PathBuf,
}

/// Our path in the hierarchy of `controller`, from `/proc/self/cgroup` (cgroups(7)).
fn own_path(text: &str, controller: &str) -> Option<(Version, PathBuf)> {
    let fields = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1).map(str::to_owned);
        Some((fields.next()?, PathBuf::from(fields.next()?)))
    };
    let all: Vec<(String, PathBuf)> = text.lines().filter_map(fields).collect();
    let is_v1 = |it: &&(String, PathBuf)| it.0.split(',').any(|name| name == controller);
    if let Some((_, path)) = all.iter().find(is_v1) {
        return Some((Version::V1, path.clone()));
    }
    let (_, path) = all.into_iter().find(|(names, _)| names.is_empty())?;
    Some((Version::V2, path))
}

/// Where that hierarchy is mounted, from `/proc/self/mountinfo` (proc(5)).
fn mount(text: &str, version: Version, controller: &str) -> Option<Mount> {
    text.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let (name, options) = (kind.next()?, kind.nth(1).unwrap_or_default());
        let is_it = match version {
            Version::V1 => name == "cgroup" && options.split(',').any(|it| it == controller),
            Version::V2 => name == "cgroup2",
        };
        is_it.then(|| Mount { root: root.into(), point: point.into() })
    })
}

/// `own` as seen from the cgroup at the top of the mount; none if it is not below that.
fn below(own: &Path, top: &Path) -> Option<PathBuf> {
    let below = own.strip_prefix(top).ok()?;
    let is_plain = below.components().all(|it| matches!(it, Component::Normal(_)));
    is_plain.then(|| below.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A made-up machine: files by path.
    pub(crate) fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    pub(crate) const MOUNTS_V2: (&str, &str) = (
        "proc/self/mountinfo",
        "21 1 0:5 / /proc rw shared:1 - proc proc rw\n\
         30 23 0:26 / /sys/fs/cgroup ro,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate\n",
    );

    #[track_caller]
    fn check(files: &[(&str, &str)], controller: &str, expected: Option<(Version, &[&str])>) {
        let root = machine(files);
        let found = Chain::find(root.path(), controller);
        let expected = expected.map(|(version, directories)| Chain {
            version,
            directories: directories.iter().map(|it| root.path().join(it)).collect(),
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_service_is_bounded_by_every_cgroup_above_it() {
        let expected = ["sys/fs/cgroup/system.slice/a.service", "sys/fs/cgroup/system.slice"];
        let expected = [&expected[..], &["sys/fs/cgroup"]].concat();
        check(
            &[
                ("proc/self/cgroup", "0::/system.slice/a.service\n"),
                MOUNTS_V2,
                ("sys/fs/cgroup/system.slice/a.service/memory.max", "max\n"),
            ],
            "memory",
            Some((Version::V2, &expected)),
        );
    }

    #[test]
    fn in_a_container_its_own_cgroup_is_the_top() {
        let own = ("proc/self/cgroup", "0::/\n");
        let limit = ("sys/fs/cgroup/memory.max", "1\n");
        check(&[own, MOUNTS_V2, limit], "memory", Some((Version::V2, &["sys/fs/cgroup"])));
        // Without a cgroup namespace the path is the host's, and only its end is mounted.
        let mounts = "30 23 0:26 /docker/a /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let own = ("proc/self/cgroup", "0::/docker/a/b\n");
        let files = [own, ("proc/self/mountinfo", mounts), ("sys/fs/cgroup/b/memory.max", "1\n")];
        let expected = ["sys/fs/cgroup/b", "sys/fs/cgroup"];
        check(&files, "memory", Some((Version::V2, &expected)));
    }

    #[test]
    fn a_cgroup_that_is_not_mounted_here_bounds_by_what_is() {
        for path in ["0::/../other\n", "0::/kubepods/a\n"] {
            let files =
                [("proc/self/cgroup", path), MOUNTS_V2, ("sys/fs/cgroup/memory.max", "1\n")];
            check(&files, "memory", Some((Version::V2, &["sys/fs/cgroup"])));
        }
    }

    #[test]
    fn the_older_design_has_a_hierarchy_a_controller() {
        let files = [
            ("proc/self/cgroup", "8:pids:/\n4:cpu,memory:/a\n0::/\n"),
            (
                "proc/self/mountinfo",
                "1 1 0:1 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                 2 1 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,cpu,memory\n\
                 3 1 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            ),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1\n"),
        ];
        let expected = ["sys/fs/cgroup/memory/a", "sys/fs/cgroup/memory"];
        check(&files, "memory", Some((Version::V1, &expected)));
        check(&files, "io", Some((Version::V2, &[])));
    }

    #[test]
    fn without_proc_nothing_is_known() {
        check(&[], "memory", None);
    }
}
