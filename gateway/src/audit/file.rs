//! A file of lines that is put aside when it is large, and begun anew when somebody else did so.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What the one before is called, behind the name of the file.
const BEFORE: &str = ".1";

/// The file that lines are added to.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl Lines {
    /// Goes on with the file at `path`, which only we may read.
    pub(super) fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let file = File::options().create(true).append(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, bytes_max })
    }

    /// Adds a line, whole.
    pub(super) fn add(&mut self, line: &str) -> io::Result<()> {
        let bytes = line.len() as u64;
        let is_full = self.bytes > 0 && self.bytes + bytes > self.bytes_max;
        let is_there = self.is_there()?;
        if is_full && is_there {
            let mut before = self.path.clone().into_os_string();
            before.push(BEFORE);
            fs::rename(&self.path, before)?;
        }
        if is_full || !is_there {
            *self = Self::open(&self.path, self.bytes_max)?;
        }
        self.file.write_all(line.as_bytes())?;
        self.bytes += bytes;
        Ok(())
    }

    /// Whether what is at the path is still the file that is open.
    fn is_there(&self) -> io::Result<bool> {
        let open = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_put_aside_before_it_is_too_large() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        let mut lines = Lines::open(&path, 10).unwrap();
        for line in ["first\n", "two\n", "three\n"] {
            lines.add(line).unwrap();
        }
        assert_eq!((read("audit.1"), read("audit")), ("first\ntwo\n".into(), "three\n".into()));
        // It goes on after a start, and a line that is too large by itself is kept as well.
        let mut lines = Lines::open(&path, 10).unwrap();
        lines.add("much too long\n").unwrap();
        lines.add("end\n").unwrap();
        assert_eq!((read("audit.1"), read("audit")), ("much too long\n".into(), "end\n".into()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn whoever_moves_a_file_away_has_all_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let mut lines = Lines::open(&path, 1 << 20).unwrap();
        lines.add("before\n").unwrap();
        fs::rename(&path, directory.path().join("kept")).unwrap();
        lines.add("after\n").unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("kept")).unwrap(), "before\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "after\n");
    }
}
