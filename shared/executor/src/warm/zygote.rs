//! Zygotes: interpreters that have read what most programs need, and that are replaced now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sandbox::{Preload, Spawner};

use super::AGE_MAX;
use crate::cells::Workspace;
use crate::core::{Command, Core, Runtime};
use crate::house_rules::HouseRules;
use crate::language::Program;
use crate::pool::Kind;
use crate::process::Fault;
use crate::spec::WarmSpec;
use crate::template::{UnknownPlaceholder, Values};
use crate::workspace::Directories;
use crate::world;

/// Programs that are forked from one zygote at most: they share its hash seed and the places of
/// what it has in memory.
const FORKS_MAX: u64 = 500;

/// A zygote, and the next one.
#[derive(Debug)]
pub(crate) struct Zygote {
    preload: Preload,
    /// Finds programs that need this one; none for the first.
    pub(super) imports: Option<HouseRules>,
    /// What it has read ahead.
    names: BTreeSet<String>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    spawner: Spawner,
    since: Instant,
    forks: u64,
}

impl Zygote {
    /// The process to fork from.
    pub(super) fn spawner(&self) -> Spawner {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.forks += 1;
        current.spawner.clone()
    }

    /// Replaces the process by a fresh one if it was used for long enough.
    pub(super) fn renew(&self, beside: &Spawner) -> Result<(), Fault> {
        let is_due = {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            let is_old = current.forks > 0 && current.since.elapsed() > AGE_MAX;
            is_old || current.forks >= FORKS_MAX
        };
        if is_due {
            let fresh = start_zygote(beside, &self.preload)?;
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }
}

/// Starts a zygote and waits until it has read everything.
fn start_zygote(beside: &Spawner, preload: &Preload) -> Result<Current, Fault> {
    let spawner = beside.zygote(preload.clone())?;
    if !spawner.answers() {
        return Err(Fault::System(io::Error::other("the zygote does not answer")));
    }
    Ok(Current { spawner, since: Instant::now(), forks: 0 })
}

impl Core {
    /// A zygote that has read `modules`, too; none if the runtime has none of them.
    pub(super) async fn zygote(
        self: &Arc<Self>,
        spec: &WarmSpec,
        runtime: usize,
        modules: &[String],
    ) -> anyhow::Result<Option<Zygote>> {
        let Some(runtime) = self.runtimes.get(runtime) else { return Ok(None) };
        let workspace = self.workspace(Kind::Cell, &[]).await?;
        let values = self.zygote_values(spec, runtime, modules, &workspace.directories)?;
        let preload = self.preload(spec, &values)?;
        // One that has none of the modules says so by failing.
        let names = match self.ask_zygote(&spec.names, runtime, &values, workspace).await {
            Err(_) if !modules.is_empty() => return Ok(None),
            names => names?,
        };
        let names = String::from_utf8_lossy(&names).lines().map(str::to_owned).collect();
        if !spec.check.is_empty() {
            let workspace = self.workspace(Kind::Cell, &[]).await?;
            let values = self.zygote_values(spec, runtime, modules, &workspace.directories)?;
            self.ask_zygote(&spec.check, runtime, &values, workspace).await?;
        }
        let imports = (!modules.is_empty())
            .then(|| HouseRules::new(self.spec.modules.as_ref(), modules))
            .transpose()?;
        let (beside, wanted) = (self.spawner.clone(), preload.clone());
        let current = tokio::task::spawn_blocking(move || start_zygote(&beside, &wanted)).await??;
        Ok(Some(Zygote { preload, imports, names, current: Mutex::new(current) }))
    }

    /// Runs a command of a zygote's in the jail, and returns what it printed.
    async fn ask_zygote(
        &self,
        command: &[String],
        runtime: &Runtime,
        values: &Values,
        workspace: Workspace,
    ) -> anyhow::Result<Vec<u8>> {
        let none = BTreeMap::new();
        let env = self.environment(values, &workspace.directories, &self.spec.run.env, &none)?;
        let command = Command { words: values.words(command)?, env, ..Command::default() };
        self.ask_toolchain(runtime, workspace, command).await
    }

    fn preload(&self, spec: &WarmSpec, values: &Values) -> Result<Preload, UnknownPlaceholder> {
        let mut env = BTreeMap::new();
        for (name, template) in self.spec.env.iter().chain(&self.spec.run.env) {
            env.insert(name.clone(), values.fill(template)?);
        }
        let mut words = values.words(&spec.command)?.into_iter();
        Ok(Preload {
            program: words.next().unwrap_or_default().into(),
            arguments: words.collect(),
            env: world::without_places(env),
        })
    }

    fn zygote_values(
        &self,
        spec: &WarmSpec,
        runtime: &Runtime,
        modules: &[String],
        directories: &Directories,
    ) -> anyhow::Result<Values> {
        let mut values = self.values(runtime, &Program::none(), directories, 0);
        values.set_several("modules", modules.to_vec());
        if let Some(name) = &spec.library {
            let path = self.state.join("support").join(file_name(name));
            anyhow::ensure!(path.exists(), "{} is not beside the executor", file_name(name));
            values.set("library", path.to_string_lossy());
        }
        Ok(values)
    }
}

impl Zygote {
    /// Whether a file of a program would be found under a name that was read ahead.
    pub(super) fn has(&self, path: &str) -> bool {
        // Programs look for modules in whatever folder they like.
        path.split('/').any(|it| self.names.contains(it.split('.').next().unwrap_or(it)))
    }
}

/// The file of a shared object.
fn file_name(name: &str) -> String {
    format!("lib{name}.so")
}

/// Puts the shared object of that name where runs can read it, if it stands beside the executor's
/// own binary.
pub(crate) fn lay_out_library(name: &str, directory: &Path) -> io::Result<()> {
    let beside = std::env::current_exe()?.with_file_name(file_name(name));
    if !beside.exists() {
        return Ok(());
    }
    let path = directory.join(file_name(name));
    fs::copy(beside, &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
}
