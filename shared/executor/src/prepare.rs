//! What is made once a toolchain, out of the toolchain alone, and kept across restarts: such as
//! the compiled standard library of a language that ships it as source.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::cache::Key;
use crate::cells::Workspace;
use crate::core::{Allowance, Command, Core, Runtime};
use crate::language::Program;
use crate::log::Log;
use crate::pool::Kind;
use crate::process::{OutputBounds, Traffic};
use crate::spec::PrepareSpec;
use crate::{toolchain, tree};

/// How long one command may take.
const TIMEOUT: Duration = Duration::from_mins(10);

/// What one command may use, in bytes.
const MEMORY_BYTES: u64 = 2 << 30;

/// What one command may write to memory, in bytes, where it has a file system there.
const FILES_BYTES: u64 = 2 << 30;

/// Deepest directory that a command may make.
const DEPTH_MAX: usize = 32;

/// Marks a directory as finished.
pub(crate) const COMPLETE: &str = ".complete";

/// What a trusted command printed.
struct Told {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Told {
    fn all(mut self) -> Vec<u8> {
        self.stdout.push(b'\n');
        self.stdout.append(&mut self.stderr);
        self.stdout
    }
}

impl Core {
    /// Asks the toolchain of `runtime` for its version once more, in the jail: one that was laid
    /// out elsewhere may find the libraries of another there.
    pub(crate) async fn confirm(self: &Arc<Self>, runtime: &Runtime) -> anyhow::Result<()> {
        let toolchain = &self.spec.toolchain;
        let Some(program) =
            toolchain.confirm.as_ref().and_then(|name| runtime.toolchain.programs.get(name))
        else {
            return Ok(());
        };
        let mut told = Vec::new();
        for arguments in &toolchain.probe {
            let program = std::iter::once(program.to_string_lossy().into_owned());
            let words = program.chain(arguments.iter().cloned()).collect();
            let command = Command { words, ..Command::default() };
            let workspace = self.workspace(Kind::Cell, &[]).await?;
            told.extend(self.run_trusted(runtime, workspace, command, None).await?.all());
        }
        let told = String::from_utf8_lossy(&told);
        let version = &runtime.toolchain.version;
        let same = toolchain::tells_version(toolchain, version, &told);
        anyhow::ensure!(same, "in the jail it tells another version");
        Ok(())
    }

    /// Makes what the language needs made for `runtime` below `parent`, unless it is there.
    pub(crate) async fn prepare(
        self: &Arc<Self>,
        runtime: &Runtime,
        parent: &Path,
    ) -> anyhow::Result<Option<PathBuf>> {
        if self.spec.prepare.is_empty() {
            return Ok(None);
        }
        let toolchain = &runtime.toolchain;
        let spec = format!("{:?}", self.spec.prepare);
        // What is made may name its own place, and depends on every program that makes it, and on
        // when it was installed: Go's index of its library knows each file's time.
        let installed = toolchain.installed()?;
        let mut parts = vec![
            spec.as_bytes(),
            toolchain.identity.as_bytes(),
            &installed,
            toolchain.root.as_os_str().as_encoded_bytes(),
            parent.as_os_str().as_encoded_bytes(),
        ];
        parts.extend(self.language.support.iter().map(|(_, text)| text.as_bytes()));
        let key = Key::of(parts);
        let name = format!("{}-{}-{}", self.spec.name, toolchain.version, key.short());
        let directory = parent.join(&name);
        // What an image brings along may stand where no lock can be made. While somebody else
        // makes it, it is nobody's whom we trust; the lock waits for the end of that.
        if is_finished(&directory).unwrap_or(false) {
            return Ok(Some(directory));
        }
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        let lock = File::create(parent.join(format!("{name}.lock")))?;
        let _lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
        if is_finished(&directory)? {
            return Ok(Some(directory));
        }
        tracing::info!(directory = %directory.display(), "preparing a toolchain, once");
        self.fill(runtime, parent, &name).await?;
        Ok(Some(directory))
    }

    /// Makes the directory `name` of `parent` from scratch.
    async fn fill(
        self: &Arc<Self>,
        runtime: &Runtime,
        parent: &Path,
        name: &str,
    ) -> anyhow::Result<()> {
        let parent_fd = tree::open_directory(parent)?;
        tree::erase(parent_fd.as_fd(), name)?;
        let made = tree::make_directory(parent_fd.as_fd(), name, 0o755)?;
        let mut place = self.place()?;
        tree::give(made.as_fd(), place.uid())?;
        let directory = parent.join(name);
        let runtime = Runtime { prepared: Some(directory.clone()), ..runtime.clone() };
        let mut outputs = Vec::new();
        for spec in &self.spec.prepare {
            let output = match self.carry_out(spec, &runtime, &directory, place.uid()).await {
                Ok(output) => output,
                Err(error) => {
                    // Perhaps something of it is left.
                    place.forsake();
                    return Err(error);
                }
            };
            outputs.extend(spec.stdout.clone().map(|file| (file, output)));
        }
        tree::take_over(made.as_fd(), DEPTH_MAX)?;
        for (file, output) in outputs {
            tree::write_file(made.as_fd(), &file, &output, None)?;
        }
        tree::write_file(made.as_fd(), COMPLETE, b"", None)?;
        Ok(tree::take_over(made.as_fd(), DEPTH_MAX)?)
    }

    /// Runs one command, confined, and returns its standard output.
    async fn carry_out(
        self: &Arc<Self>,
        spec: &PrepareSpec,
        runtime: &Runtime,
        directory: &Path,
        uid: Option<u32>,
    ) -> anyhow::Result<Vec<u8>> {
        let workspace = self.workspace_for(uid, directory, FILES_BYTES).await?;
        let directories = &workspace.directories;
        let values = self.values(runtime, &Program::none(), directories, MEMORY_BYTES);
        let command = Command {
            words: values.words(&spec.command)?,
            argv0: None,
            env: self.environment(&values, directories, &spec.env, &BTreeMap::new())?,
            readable: Vec::new(),
            writable: vec![directory.to_owned()],
        };
        let work_dir = Some(directory);
        Ok(self.run_trusted(runtime, workspace, command, work_dir).await?.stdout)
    }

    /// Asks the toolchain something, in the jail.
    pub(crate) async fn ask_toolchain(
        &self,
        runtime: &Runtime,
        workspace: Workspace,
        command: Command,
    ) -> anyhow::Result<Vec<u8>> {
        Ok(self.run_trusted(runtime, workspace, command, None).await?.stdout)
    }

    /// Runs a command of the toolchain's own, confined but with wide limits, and returns what it
    /// printed. It must exit with 0.
    async fn run_trusted(
        &self,
        runtime: &Runtime,
        mut workspace: Workspace,
        command: Command,
        work_dir: Option<&Path>,
    ) -> anyhow::Result<Told> {
        let allowance = Allowance { wall: TIMEOUT, cpu: TIMEOUT * 8, memory_bytes: MEMORY_BYTES };
        let mut policy = self.policy(runtime, &workspace.directories, command, allowance);
        policy.work_dir = work_dir.map_or(policy.work_dir, Path::to_owned);
        policy.limits.processes = policy.limits.processes.max(256);
        policy.limits.open_files = policy.limits.open_files.max(1024);
        policy.limits.file_bytes = policy.limits.file_bytes.max(512 << 20);
        let (_never, cancelled) = watch::channel(false);
        let output = OutputBounds { keep: 4 << 20, kill: 64 << 20 };
        let traffic = Traffic { input: Bytes::new(), live: None, gauge: None, output, cancelled };
        let sinks = (Log::no_sink(), Log::no_sink());
        let finished = workspace.execute(policy, traffic, sinks).await?;
        anyhow::ensure!(
            finished.ended.exit == sandbox::Exit::Code(0),
            "a command of the toolchain failed ({:?}, {:?}): {}",
            finished.ended.reason,
            finished.ended.exit,
            String::from_utf8_lossy(&finished.stderr.tail)
        );
        Ok(Told { stdout: finished.stdout.head, stderr: finished.stderr.head })
    }
}

/// Whether the directory was finished, by us or by somebody whom we need not distrust. One that
/// was not, such as after a killed start, is made again.
pub(crate) fn is_finished(directory: &Path) -> io::Result<bool> {
    let metadata = match fs::symlink_metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        metadata => metadata?,
    };
    let trusted = metadata.uid() == sandbox::current_uid() || metadata.uid() == 0;
    let sealed = metadata.is_dir() && metadata.mode() & 0o022 == 0;
    Ok(trusted && sealed && directory.join(COMPLETE).exists())
}
