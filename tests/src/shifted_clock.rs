//! A wall clock that a test sets while the programs that look at it run.

use std::fs::{File, set_permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// What stands between a program and the C library.
const SOURCE: &str = include_str!("shifted_clock.c");

/// The wall clock of the programs that are started with its variables. Their steady clocks go on as
/// they are, as where somebody sets the clock of a machine.
///
/// (libfaketime does more, and cannot be loaded into a server with an allocator of its own, such as
/// Redis.)
#[derive(Debug)]
pub struct ShiftedClock {
    directory: TempDir,
    seconds: File,
}

impl ShiftedClock {
    /// One that is right.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("flotilla-clock-").tempdir_in("/var/tmp");
        let directory = directory.unwrap();
        // Servers run as users of their own.
        set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let source = directory.path().join("clock.c");
        std::fs::write(&source, SOURCE).unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-O1", "-shared", "-fPIC", "-o"]).arg(directory.path().join("clock.so"));
        let made = compile.arg(&source).status().unwrap();
        assert!(made.success(), "cc ended with {made}");
        let seconds = File::create(directory.path().join("seconds")).unwrap();
        let clock = Self { directory, seconds };
        clock.set(0);
        clock
    }

    /// Sets it to so many seconds after the right time.
    pub fn set(&self, seconds: i64) {
        self.seconds.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    /// What a program has to find in its environment.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let shown = |place: PathBuf| place.to_string_lossy().into_owned();
        [
            ("LD_PRELOAD", shown(self.directory.path().join("clock.so"))),
            ("SHIFTED_CLOCK", shown(self.directory.path().join("seconds"))),
        ]
    }
}

impl Default for ShiftedClock {
    fn default() -> Self {
        Self::new()
    }
}
