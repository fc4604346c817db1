//! Workspaces: a cell with the files of one run, taken from what was made ready ahead, or made
//! now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::SourceFile;
use sandbox::{CellSpec, Policy, Spawner};

use crate::core::Core;
use crate::pool::{Held, Kind, Made};
use crate::process::{self, Fault, Finished, Sink, Start, Traffic};
use crate::spec::WarmBy;
use crate::workspace::Directories;

/// A cell with the files of one run. When it is dropped, everything in it is gone or on its way.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Programs run in here, one after the other. Goes first, so that nothing writes any more.
    cell: Option<sandbox::Cell>,
    /// What they read and write.
    pub(crate) directories: Directories,
    /// What it was made for.
    pub(crate) kind: Kind,
    /// Comes free last; none if somebody else holds it.
    place: Option<Held>,
}

impl Workspace {
    /// Runs one process in it to its end. After a fault, this returns when nothing of it can be
    /// left, and the workspace takes no other process.
    pub(crate) async fn run<S: Sink>(
        &mut self,
        start: &Start,
        traffic: Traffic<'_>,
        sinks: (S, S),
    ) -> Result<Finished, Fault> {
        let Some(cell) = &mut self.cell else { return Err(Fault::Lost) };
        let outcome = process::run(cell, start, traffic, sinks).await;
        let outcome = match outcome {
            // A supervisor that lives says itself whether all is gone.
            Err(fault @ (Fault::Lost | Fault::LostEarly)) => {
                let cell = self.cell.take();
                let settled = move || cell.is_none_or(sandbox::Cell::settle);
                match tokio::task::spawn_blocking(settled).await {
                    Ok(true) => Err(fault),
                    Ok(false) | Err(_) => Err(Fault::Unclean),
                }
            }
            outcome => outcome,
        };
        if let (Err(Fault::Unclean), Some(place)) = (&outcome, &mut self.place) {
            place.forsake();
        }
        outcome
    }

    /// Runs one command in it.
    pub(crate) async fn execute<S: Sink>(
        &mut self,
        policy: Policy,
        traffic: Traffic<'_>,
        sinks: (S, S),
    ) -> Result<Finished, Fault> {
        self.run(&Start::Launch(policy), traffic, sinks).await
    }

    /// Gives everything back, off the path of whoever waits for the run: that is over.
    pub(crate) fn close(self) {
        drop(tokio::task::spawn_blocking(move || drop(self)));
    }
}

impl Core {
    /// A workspace that holds `files`, of a kind if one of that is ready or can be made at once, and
    /// a bare one otherwise.
    pub(crate) async fn workspace(
        self: &Arc<Self>,
        kind: Kind,
        files: &[SourceFile],
    ) -> Result<Workspace, Fault> {
        // What is forked now is ready sooner than what is executed, whatever stands ready for that.
        let instead = if self.forks(kind) { kind } else { Kind::Cell };
        let (place, ready) = self.pool.take(kind, instead).await.ok_or_else(no_place)?;
        let (kind, made) = if let Some(ready) = ready {
            ready
        } else {
            // A process would be ready later than one that is started with its program.
            let kind = if self.forks(kind) { kind } else { Kind::Cell };
            (kind, self.make(kind, place.uid()).await?)
        };
        let Made { cell, directories } = made;
        directories.write(files)?;
        Ok(Workspace { cell: Some(cell), directories, kind, place: Some(place) })
    }

    /// A place for a workspace that is not like others.
    pub(crate) fn place(&self) -> Result<Held, Fault> {
        self.pool.take_bare().ok_or_else(no_place)
    }

    /// A workspace in a cell of its own kind for the user of a place that the caller holds, where
    /// programs may also change the directory `writable`, which counts as theirs.
    pub(crate) async fn workspace_for(
        self: &Arc<Self>,
        uid: Option<u32>,
        writable: &Path,
        files_bytes: u64,
    ) -> Result<Workspace, Fault> {
        let writable = vec![writable.to_owned()];
        let spec = CellSpec { writable, files_bytes, ..self.cell_spec(uid) };
        let core = Arc::clone(self);
        let made = blocking(move || core.furnish(&core.spawner, &spec)).await?;
        let Made { cell, directories } = made;
        Ok(Workspace { cell: Some(cell), directories, kind: Kind::Cell, place: None })
    }

    /// Makes what is ready of a kind, for programs that become the user `uid`.
    pub(crate) async fn make(
        self: &Arc<Self>,
        kind: Kind,
        uid: Option<u32>,
    ) -> Result<Made, Fault> {
        let core = Arc::clone(self);
        blocking(move || {
            let spec = core.cell_spec(uid);
            match kind {
                Kind::Cell => core.furnish(&core.spawner, &spec),
                Kind::Warm(warm) => core.make_warm(warm, &spec),
            }
        })
        .await
    }

    /// A cell of a spawner, with its directories. Blocks until it is ready.
    pub(crate) fn furnish(&self, spawner: &Spawner, spec: &CellSpec) -> Result<Made, Fault> {
        let mut cell = spawner.cell(spec)?;
        cell.limit(self.likely_limits())?;
        let directories = match cell.files() {
            Some(root) => Directories::in_memory(root, spec.uid)?,
            None => self.state.directories(spec.uid)?,
        };
        Ok(Made { cell, directories })
    }

    fn cell_spec(&self, uid: Option<u32>) -> CellSpec {
        CellSpec {
            mechanisms: self.mechanisms,
            uid,
            files_bytes: self.files_bytes_max,
            readable: self.readable_by_all(),
            writable: Vec::<PathBuf>::new(),
            neighbours: self.neighbours(),
        }
    }

    /// Processes and threads that what stands ready may come to have more while a run goes on: for each
    /// slot a supervisor and a process, with the threads of an interpreter that is started.
    fn neighbours(&self) -> u64 {
        const THREADS_MAX: u64 = 24;
        let starts = self.spec.warm.as_ref().is_some_and(|it| it.by == WarmBy::Process);
        self.slots.count() as u64 * if starts { THREADS_MAX } else { 2 }
    }
}

/// There are as many places as slots, so somebody has one without a slot.
fn no_place() -> Fault {
    Fault::System(std::io::Error::other("every place for runs is taken"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let lost = |_panicked| Err(Fault::System(std::io::Error::other("making a cell broke off")));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(lost)
}
