//! Cells: what surrounds a run, made before the run is known. Each slot keeps one ready, and has
//! the next one made as soon as a run takes it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::SourceFile;
use sandbox::{Cell, CellSpec, LaunchError, Policy};

use crate::core::Core;
use crate::process::{self, Fault, Finished, Sink, Traffic};
use crate::slots::Slot;
use crate::workspace::Directories;

/// How long a run has the processors to itself before the cell of the next one is made.
const HEAD_START: Duration = Duration::from_millis(1);

/// Where a slot keeps the cell of its next run.
#[derive(Debug, Clone, Default)]
pub(crate) struct NextCell(Arc<Mutex<Option<Cell>>>);

impl NextCell {
    /// Takes it, if it is ready.
    pub(crate) fn take(&self) -> Option<Cell> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, cell: Cell) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cell);
    }
}

/// A cell with the files of one run. When it is dropped, everything in it is gone or on its way.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Programs run in here, one after the other. Goes first, so that nothing writes any more.
    cell: Option<Cell>,
    /// What they read and write.
    pub(crate) directories: Directories,
}

impl Workspace {
    /// Runs one process in it to its end. After a fault, this returns when nothing of it can be
    /// left, and the workspace takes no other process.
    pub(crate) async fn run<S: Sink>(
        &mut self,
        policy: &Policy,
        traffic: Traffic,
        sinks: (S, S),
    ) -> Result<Finished, Fault> {
        let Some(cell) = &mut self.cell else { return Err(Fault::Lost) };
        let outcome = process::run(cell, policy, traffic, sinks).await;
        match outcome {
            // A supervisor that lives says itself whether all is gone.
            Err(fault @ (Fault::Lost | Fault::LostEarly)) => {
                let cell = self.cell.take();
                let settled = move || cell.is_none_or(Cell::settle);
                match tokio::task::spawn_blocking(settled).await {
                    Ok(true) => Err(fault),
                    Ok(false) | Err(_) => Err(Fault::Unclean),
                }
            }
            outcome => outcome,
        }
    }

    /// Gives everything back, off the path of whoever waits for the run.
    pub(crate) async fn close(self) {
        drop(tokio::task::spawn_blocking(move || drop(self)).await);
    }
}

impl Core {
    /// A workspace in `slot` that holds `files`.
    pub(crate) async fn workspace(
        &self,
        slot: &Slot,
        files: &[SourceFile],
    ) -> Result<Workspace, Fault> {
        let spec = self.cell_spec(slot);
        let cell = match slot.next_cell().and_then(NextCell::take) {
            Some(cell) => cell,
            None => self.make_cell(spec.clone()).await?,
        };
        self.keep_one_ready(slot, spec);
        self.furnish(cell, slot, files)
    }

    /// A workspace in a cell of its own kind, where programs may also change the directory
    /// `writable`, which counts as theirs.
    pub(crate) async fn workspace_for(
        &self,
        slot: &Slot,
        writable: &Path,
        files_bytes: u64,
    ) -> Result<Workspace, Fault> {
        let writable = vec![writable.to_owned()];
        let spec = CellSpec { writable, files_bytes, ..self.cell_spec(slot) };
        let cell = self.make_cell(spec).await?;
        self.furnish(cell, slot, &[])
    }

    fn furnish(&self, cell: Cell, slot: &Slot, files: &[SourceFile]) -> Result<Workspace, Fault> {
        let owner = slot.uid();
        let directories = match cell.files() {
            Some(root) => Directories::in_memory(root, owner)?,
            None => self.state.directories(owner)?,
        };
        directories.write(files)?;
        Ok(Workspace { cell: Some(cell), directories })
    }

    fn cell_spec(&self, slot: &Slot) -> CellSpec {
        CellSpec {
            mechanisms: self.mechanisms,
            uid: slot.uid(),
            files_bytes: self.files_bytes_max,
            readable: self.readable_by_all(),
            writable: Vec::<PathBuf>::new(),
        }
    }

    fn make_cell(
        &self,
        spec: CellSpec,
    ) -> impl Future<Output = Result<Cell, LaunchError>> + Send + use<> {
        let (spawner, limits) = (self.spawner.clone(), self.likely_limits());
        let make = move || {
            let mut cell = spawner.cell(&spec)?;
            cell.limit(limits)?;
            Ok(cell)
        };
        async { tokio::task::spawn_blocking(make).await.unwrap_or(Err(LaunchError::Lost)) }
    }

    /// Has the cell of the slot's next run made, without waiting for it.
    fn keep_one_ready(&self, slot: &Slot, spec: CellSpec) {
        let Some(next) = slot.next_cell().cloned() else { return };
        let made = self.make_cell(spec);
        drop(tokio::spawn(async move {
            tokio::time::sleep(HEAD_START).await;
            // If it fails, the next run tries again and tells why.
            if let Ok(cell) = made.await {
                next.put(cell);
            }
        }));
    }
}
