//! Whether a worker of this machine would be given jobs.

use anyhow::Context as _;
use serde::Serialize;

/// What the gateway says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkerReport {
    /// Where it is.
    pub(crate) gateway: String,
    /// Why it gives no jobs, if it does not.
    pub(crate) trouble: Option<String>,
}

/// Asks the gateway that the environment names, as an executor would.
pub(super) fn examine() -> anyhow::Result<WorkerReport> {
    let gateway = settings::variable("EXECUTOR_PULL_URL");
    let gateway =
        gateway.context("EXECUTOR_PULL_URL is not set; name the gateway to ask for jobs")?;
    let key = settings::variable("EXECUTOR_PULL_KEY").unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tried = runtime.block_on(worker::try_gateway(&gateway, key.into()));
    Ok(WorkerReport { trouble: tried.err().map(|it| it.to_string()), gateway })
}
