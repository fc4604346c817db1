//! A directory for a short look at this host, where an executor would keep its files.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

/// What tells our own from other people's files.
const PREFIX: &str = ".flotilla-";

/// Where an executor that is started here would keep its files.
pub(crate) fn state_directory() -> PathBuf {
    let state = settings::variable("EXECUTOR_STATE_DIR").map(PathBuf::from);
    state.unwrap_or_else(host::state_directory)
}

/// A directory of our own where an executor would make `state`, or elsewhere, and then why.
pub(crate) fn near(state: &Path) -> anyhow::Result<(TempDir, Option<String>)> {
    // The nearest directory above that exists.
    let existing = state.ancestors().find(|it| it.is_dir());
    match inside(existing.unwrap_or(Path::new("/"))) {
        Ok(scratch) => Ok((scratch, None)),
        Err(error) => {
            let elsewhere = inside(&std::env::temp_dir());
            let elsewhere = elsewhere.context("no directory can be written to")?;
            Ok((elsewhere, Some(error.to_string())))
        }
    }
}

fn inside(directory: &Path) -> io::Result<TempDir> {
    // Other users pass through it, as they do through an executor's.
    let mode = Permissions::from_mode(0o711);
    let scratch = tempfile::Builder::new().prefix(PREFIX).tempdir_in(directory)?;
    std::fs::set_permissions(scratch.path(), mode)?;
    Ok(scratch)
}
