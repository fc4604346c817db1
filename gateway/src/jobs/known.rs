//! A worker as this gateway knows it: because the worker calls it, or because another gateway told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::ExecutorInfo;
use protocol::worker::{HostReport, WorkerState};
use queue::JobId;
use serde::{Deserialize, Serialize};

use super::board::Told;
use super::worker::{SILENCE_MAX, Worker};

/// A worker as operators see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkerView {
    pub(super) id: String,
    pub(super) is_live: bool,
    pub(super) state: WorkerState,
    pub(super) version: String,
    pub(super) languages: Vec<String>,
    pub(super) queues: Vec<String>,
    pub(super) isolation: protocol::Level,
    pub(super) slots: usize,
    /// The jobs that it has.
    pub(super) jobs: Vec<JobId>,
    /// RFC 3339.
    pub(super) registered_at: String,
    /// RFC 3339.
    pub(super) heard_at: String,
    pub(super) host: Option<HostReport>,
}

/// A worker that another gateway hears, or this one itself: its own notices come back to it.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) id: String,
    info: Arc<ExecutorInfo>,
    told: Told,
    pub(super) heard: Instant,
}

/// A worker that is known.
#[derive(Clone, Copy)]
pub(super) enum Known<'a> {
    Own(&'a Worker),
    Other(&'a Other),
}

impl Known<'_> {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Own(it) => &it.id,
            Self::Other(it) => &it.id,
        }
    }

    pub(super) fn incarnation(&self) -> String {
        match self {
            Self::Own(it) => it.incarnation.clone(),
            Self::Other(it) => it.told.incarnation.clone(),
        }
    }

    pub(super) fn info(&self) -> &Arc<ExecutorInfo> {
        match self {
            Self::Own(it) => &it.info,
            Self::Other(it) => &it.info,
        }
    }

    pub(super) fn queues(&self) -> &[String] {
        match self {
            Self::Own(it) => &it.queues,
            Self::Other(it) => &it.told.queues,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        match self {
            Self::Own(it) => it.is_live(),
            Self::Other(it) => it.heard.elapsed() < SILENCE_MAX,
        }
    }

    pub(super) fn view(&self) -> WorkerView {
        match self {
            Self::Own(it) => it.view(),
            Self::Other(it) => WorkerView { is_live: self.is_live(), ..it.told.view.clone() },
        }
    }
}

impl Other {
    /// What another gateway told so long ago.
    pub(super) fn new(id: String, told: Told, age: Duration) -> Self {
        let now = Instant::now();
        let heard = now.checked_sub(age).unwrap_or(now);
        Self { id, info: Arc::new(told.info.clone()), told, heard }
    }
}
