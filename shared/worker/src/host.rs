//! How this machine is, for those who look after workers.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use protocol::worker::HostReport;

/// Looks at the machine, and remembers what it saw.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// Time that processors were busy, and all their time, when that was last read.
    processors: Mutex<(u64, u64)>,
}

impl Machine {
    /// How it is now. `place` is on the disk that is told of.
    pub(crate) fn report(&self, place: &Path) -> HostReport {
        let name = rustix::system::uname();
        let disk = rustix::fs::statvfs(place);
        let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
        HostReport {
            hostname: name.nodename().to_string_lossy().into_owned(),
            kernel: name.release().to_string_lossy().into_owned(),
            processors: ::host::processors(),
            cpu: self.busy(),
            memory_bytes: ::host::memory(Path::new("/")).map_or(0, |it| it.bytes),
            memory_free_bytes: available().unwrap_or(0),
            disk_bytes: disk.as_ref().map_or(0, |it| bytes(it.f_blocks, it.f_frsize)),
            disk_free_bytes: disk.as_ref().map_or(0, |it| bytes(it.f_bavail, it.f_frsize)),
        }
    }

    /// How busy processors were since this was last asked, from 0 to 1.
    fn busy(&self) -> f64 {
        let Some(now) = processors() else { return 0.0 };
        let mut last = self.processors.lock().unwrap_or_else(PoisonError::into_inner);
        let (busy, all) = (now.0.saturating_sub(last.0), now.1.saturating_sub(last.1));
        *last = now;
        #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
        let share = busy as f64 / all.max(1) as f64;
        share
    }
}

/// Time that all processors were busy, and all of their time, from `/proc/stat` (proc(5)).
fn processors() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> =
        line.split_whitespace().take(8).filter_map(|it| it.parse().ok()).collect();
    let all: u64 = times.iter().sum();
    let idle = times.get(3)? + times.get(4)?;
    Some((all.saturating_sub(idle), all))
}

/// Memory that programs could have, in bytes.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|it| it.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_of_this_machine() {
        let report = Machine::default().report(Path::new("/"));
        assert!(report.processors > 0 && report.memory_bytes > 0 && report.disk_bytes > 0);
        assert!((0.0..=1.0).contains(&report.cpu));
    }
}
