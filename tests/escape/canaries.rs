//! Files outside every work directory: none may be read, changed, or have its rights changed.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// What is in the files; must never appear in an answer.
pub(crate) const SECRET: &str = "escape-canary-91c4e2";

/// Name and mode of each.
const FILES: &[(&str, u32)] = &[("private", 0o600), ("public", 0o644), ("open", 0o666)];

pub(crate) struct Canaries {
    directory: tempfile::TempDir,
    user: u32,
    before: Vec<(PathBuf, Look)>,
}

/// All that an attack could change about a file. The time of its last change tells of rights,
/// owners, links, attributes and times.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    mode: u32,
    user: u32,
    links: u64,
    size: u64,
    changed: (i64, i64),
    content: Option<Vec<u8>>,
}

impl Canaries {
    /// Lays the files out, as files of `user`.
    pub(crate) fn lay_out(user: u32) -> Self {
        let directory = tempfile::Builder::new().prefix("flotilla-canaries-").tempdir().unwrap();
        let mut canaries = Self { directory, user, before: Vec::new() };
        canaries.renew();
        canaries
    }

    /// Makes all as they were when they were laid out.
    pub(crate) fn renew(&mut self) {
        set_mode(self.path(), 0o755);
        for (name, mode) in FILES {
            let path = self.file(name);
            drop(std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path)));
            std::fs::write(&path, SECRET).unwrap();
            set_mode(&path, *mode);
            own(&path, self.user);
        }
        let drop_box = self.path().join("drop");
        drop(std::fs::remove_dir_all(&drop_box).or_else(|_| std::fs::remove_file(&drop_box)));
        std::fs::create_dir(&drop_box).unwrap();
        set_mode(&drop_box, 0o777);
        own(&drop_box, self.user);
        self.before = self.look();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// What changed since they were laid out.
    pub(crate) fn changed(&mut self) -> Vec<String> {
        let now = self.look();
        let mut changed: Vec<String> = now
            .iter()
            .filter(|it| !self.before.contains(it))
            .map(|(path, _)| format!("a canary changed: {}", path.display()))
            .collect();
        if now.len() < self.before.len() {
            changed.push("a canary is gone".to_owned());
        }
        self.before = now;
        changed
    }

    fn look(&self) -> Vec<(PathBuf, Look)> {
        let mut paths: Vec<PathBuf> =
            FILES.iter().map(|(name, _)| self.file(name)).filter(|it| it.exists()).collect();
        paths.push(self.path().join("drop"));
        paths.into_iter().map(|path| (path.clone(), Look::at(&path))).collect()
    }
}

impl Look {
    fn at(path: &Path) -> Self {
        let metadata = std::fs::symlink_metadata(path).unwrap();
        Self {
            mode: metadata.mode(),
            user: metadata.uid(),
            links: metadata.nlink(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            content: metadata.is_file().then(|| std::fs::read(path).unwrap_or_default()),
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a file to another user, which only root can, and only root needs.
fn own(path: &Path, user: u32) {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(user), Some(user)).unwrap();
    }
}
