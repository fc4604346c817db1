//! Results that could not be delivered, one file each, so that they outlive this process.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use protocol::worker::JobResult;
use tempfile::Builder;

/// Files at most: more jobs than that are not taken on.
const FILES_MAX: usize = 1000;
/// Largest file that is read, in bytes.
const BYTES_MAX: u64 = 256 << 20;
/// How results' files end.
const SUFFIX: &str = "result";
/// How they end until they are whole.
const PART: &str = "part";

/// A directory of results.
#[derive(Debug)]
pub(crate) struct Spool(PathBuf);

impl Spool {
    /// Uses a directory that nobody else may look into, or makes it. What the last start was killed
    /// over is no result, and goes.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == PART) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self(path.to_owned()))
    }

    /// Keeps a result. It is on the disk when this returns.
    pub(crate) fn keep(&self, result: &JobResult) -> io::Result<()> {
        let mut file = Builder::new().suffix(&format!(".{PART}")).tempfile_in(&self.0)?;
        file.write_all(&serde_json::to_vec(result)?)?;
        file.as_file().sync_all()?;
        file.persist(self.place(result)).map_err(|it| it.error)?;
        File::open(&self.0)?.sync_all()
    }

    /// Lets go of a result.
    pub(crate) fn let_go(&self, result: &JobResult) {
        // Most were never kept.
        drop(fs::remove_file(self.place(result)));
    }

    /// Everything that is kept. What is no result is passed over.
    pub(crate) fn all(&self) -> io::Result<Vec<JobResult>> {
        let mut results = Vec::new();
        for entry in fs::read_dir(&self.0)?.take(FILES_MAX) {
            let path = entry?.path();
            let is_ours = path.extension().is_some_and(|it| it == SUFFIX);
            if !is_ours || fs::metadata(&path)?.len() > BYTES_MAX {
                continue;
            }
            match serde_json::from_slice(&fs::read(&path)?) {
                Ok(result) => results.push(result),
                Err(error) => tracing::warn!("{} is no result: {error}", path.display()),
            }
        }
        Ok(results)
    }

    /// Whether there is room for the results of more jobs.
    pub(crate) fn has_room(&self) -> bool {
        fs::read_dir(&self.0).is_ok_and(|it| it.take(FILES_MAX).count() < FILES_MAX)
    }

    fn place(&self, result: &JobResult) -> PathBuf {
        // What a gateway calls a job is no path.
        let plain = |text: &str| -> String {
            text.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').take(64).collect()
        };
        self.0.join(format!("{}.{}.{SUFFIX}", plain(&result.id), plain(&result.token)))
    }
}

impl Drop for Spool {
    /// A directory that holds nothing is not left behind.
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn a_result_outlives_the_process_and_nothing_else_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spool");
        let spool = Spool::open(&path).unwrap();
        let report = RawValue::from_string("{\"status\":\"success\"}".to_owned()).unwrap();
        let result =
            JobResult { id: "../../a".to_owned(), token: "b".to_owned(), run_ms: 1, report };
        spool.keep(&result).unwrap();
        fs::write(path.join("x.result"), "nonsense").unwrap();
        fs::write(path.join("y.part"), "{\"id\": ").unwrap();
        drop(spool);
        let again = Spool::open(&path).unwrap();
        assert!(!path.join("y.part").exists());
        let kept = again.all().unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0].id.as_str(), kept[0].report.get()), ("../../a", result.report.get()));
        again.let_go(&result);
        assert!(again.all().unwrap().is_empty() && again.has_room());
        fs::remove_file(path.join("x.result")).unwrap();
        drop(again);
        assert!(!path.exists());
    }
}
