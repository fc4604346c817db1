//! What a program may do. Everything in here is decided before the run exists.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Mechanisms;

/// What one program may do, and how it is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments, its own name first.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Its current directory.
    pub work_dir: PathBuf,
    /// Files, and directories with all below, that it may read and execute beside those of its
    /// cell. What does not exist is passed over.
    pub readable: Vec<PathBuf>,
    /// Files, and directories with all below, that it may change.
    pub writable: Vec<PathBuf>,
    /// What it may spend.
    pub limits: Limits,
}

/// The program of a process that was started before that was known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// What it is to do: which program, and its arguments.
    pub words: Vec<String>,
    /// Variables beside those that it was started with.
    pub env: Vec<(String, String)>,
    /// What it may spend from now on.
    pub limits: Limits,
}

/// The part of a run's confinement that does not depend on its program, so that it can be made
/// before there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellSpec {
    /// The mechanisms to use: those that were proven at boot.
    pub mechanisms: Mechanisms,
    /// The user that programs become; none where the server cannot switch users.
    pub uid: Option<u32>,
    /// All that programs may write, in bytes, where they have a file system of their own.
    pub files_bytes: u64,
    /// Files, and directories with all below, that every program may read and execute. What does
    /// not exist is passed over.
    pub readable: Vec<PathBuf>,
    /// Directories of the host that programs may change, by the same path, beside their own.
    pub writable: Vec<PathBuf>,
    /// Processes and threads of the same user that other cells may come to have meanwhile, where
    /// programs do not change the user.
    pub neighbours: u64,
}

impl CellSpec {
    /// The user that programs become, if they change it.
    pub(crate) fn slot_user(&self) -> Option<u32> {
        self.uid.filter(|_| self.mechanisms.user_switch)
    }

    /// Whether a process can wait in the cell without being in reach of others' runs.
    pub(crate) fn can_wait(&self) -> bool {
        let Mechanisms { landlock_scope, namespaces, .. } = self.mechanisms;
        landlock_scope || namespaces || self.slot_user().is_some()
    }
}

/// What a run may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall clock, in milliseconds.
    pub wall_ms: u64,
    /// Processor time of the whole tree, in milliseconds.
    pub cpu_ms: u64,
    /// Memory of the whole tree, in bytes.
    pub memory_bytes: u64,
    /// Private memory of one process as the kernel counts it (`RLIMIT_DATA`), in bytes.
    pub data_bytes: u64,
    /// Address space of one process (`RLIMIT_AS`), in bytes, where its runtime reserves no more than
    /// about what it uses; none where it does, as the count of memory does not mind.
    pub address_space_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: u64,
    /// Processors at a time, where they can be shared out.
    pub processors: u64,
    /// Open descriptors of one process.
    pub open_files: u64,
    /// Size of one file, in bytes.
    pub file_bytes: u64,
    /// Stack of the main thread, in bytes.
    pub stack_bytes: u64,
}
