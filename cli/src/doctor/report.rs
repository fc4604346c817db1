//! What the doctor found, with field names that stay.

use host::{Memory, Place, Processes};
use protocol::{Guarantee, Level};
use sandbox::{Gain, Probe};
use serde::Serialize;

use super::worker::WorkerReport;

/// Everything.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DoctorReport {
    /// Whether the level is the minimum or above it: whether an executor would start.
    pub(crate) sufficient: bool,
    pub(crate) isolation: Isolation,
    pub(crate) mechanisms: Vec<Mechanism>,
    pub(crate) host: HostReport,
    /// Only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<WorkerReport>,
}

/// As in an executor's `/info`, save for what only an executor knows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Isolation {
    pub(crate) level: Level,
    pub(crate) minimum: Level,
    pub(crate) guarantees: Vec<Guarantee>,
    pub(crate) raise: Vec<String>,
}

/// One mechanism, and how its probe went.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mechanism {
    pub(crate) name: String,
    pub(crate) proven: bool,
    /// What went wrong; null if it was proven.
    pub(crate) fault: Option<String>,
    /// What a host must have for it.
    pub(crate) grant: String,
    /// What a host that grants it, and nothing else beyond this one, would be better at; null if
    /// it was proven.
    pub(crate) would: Option<Gain>,
}

/// What there is to run on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostReport {
    pub(crate) processors: usize,
    /// Null if the host does not say.
    pub(crate) memory: Option<Memory>,
    pub(crate) processes: Processes,
    pub(crate) state_directory: StateDirectory,
}

/// Where an executor would keep its files.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateDirectory {
    #[serde(flatten)]
    pub(crate) place: Place,
    /// Why nothing can be written there; null if it can.
    pub(crate) unwritable: Option<String>,
}

impl DoctorReport {
    /// Sums the probes up.
    pub(crate) fn new(
        probe: &Probe,
        minimum: Level,
        host: HostReport,
        worker: Option<WorkerReport>,
    ) -> Self {
        let proven = probe.mechanisms();
        let level = proven.level();
        let mechanisms = probe.results.iter().map(|it| Mechanism {
            name: it.mechanism.clone(),
            proven: it.fault.is_none(),
            fault: it.fault.clone(),
            grant: it.grant.clone(),
            would: it.fault.is_some().then(|| sandbox::gain(probe, &it.mechanism)),
        });
        Self {
            sufficient: level >= minimum,
            isolation: Isolation {
                level,
                minimum,
                guarantees: sandbox::guarantees(&proven),
                raise: sandbox::raise(probe),
            },
            mechanisms: mechanisms.collect(),
            host,
            worker,
        }
    }
}
