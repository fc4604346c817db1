//! The compile phase: as confined as a run, and skipped when the cache has its result.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{CompileReport, CompileStatus};
use sandbox::EndReason;
use tokio::sync::watch;

use crate::cache::{Artifact, Key};
use crate::cells::Workspace;
use crate::core::{Allowance, Command, Core, Runtime};
use crate::language::Program;
use crate::log::Log;
use crate::pool::Kind;
use crate::process::{Captured, Finished, Traffic};
use crate::run::RunFault;
use crate::spec::CompileSpec;

/// What came of the compile phase.
#[derive(Debug)]
pub(crate) enum Compiled {
    /// The language does not compile.
    NotNeeded,
    /// There is a program to run.
    Ready(Arc<Artifact>, CompileReport),
    /// There is none, for the reason told.
    Refused(CompileReport),
}

/// What is compiled, with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) program: &'a Program,
    /// The client's compiler options.
    pub(crate) options: &'a [String],
}

/// How one compile ended that did not fail by a fault of ours.
struct Outcome {
    status: CompileStatus,
    output: String,
}

impl Core {
    /// Compiles `program`, or finds it compiled.
    pub(crate) async fn compile(
        self: &Arc<Self>,
        sources: Sources<'_>,
        cancelled: watch::Receiver<bool>,
    ) -> Result<Compiled, RunFault> {
        let Some(spec) = &self.spec.compile else { return Ok(Compiled::NotNeeded) };
        let started = Instant::now();
        let key = self.key(sources);
        let report = |status, output: &str, cached| CompileReport {
            status,
            output: output.to_owned(),
            time: started.elapsed().as_secs_f64(),
            cached,
        };
        if let Some(artifact) = self.cache.find(&key) {
            let report = report(CompileStatus::Success, &artifact.output, true);
            return Ok(Compiled::Ready(artifact, report));
        }
        let mut workspace = self.workspace(Kind::Cell, &sources.program.files).await?;
        let mut job = Job { core: self, sources, spec, workspace: &mut workspace };
        let outcome = job.run(started, cancelled).await?;
        if outcome.status != CompileStatus::Success {
            workspace.close().await;
            return Ok(Compiled::Refused(report(outcome.status, &outcome.output, false)));
        }
        let out = workspace.directories.open_out()?;
        let artifact =
            self.cache.insert(key, out.as_fd(), workspace.directories.owner(), outcome.output)?;
        let report = report(CompileStatus::Success, &artifact.output, false);
        workspace.close().await;
        Ok(Compiled::Ready(artifact, report))
    }

    /// Everything that the result depends on.
    fn key(&self, sources: Sources<'_>) -> Key {
        let Sources { runtime, program, options } = sources;
        let toolchain = &runtime.toolchain;
        let mut parts: Vec<&[u8]> = vec![
            self.language.spec.as_bytes(),
            toolchain.version.as_bytes(),
            toolchain.root.as_os_str().as_encoded_bytes(),
            program.language.as_bytes(),
            program.entry.as_bytes(),
        ];
        for (name, value) in &program.variables {
            parts.extend([name.as_bytes(), value.as_bytes()]);
        }
        parts.push(b"options");
        parts.extend(options.iter().map(String::as_bytes));
        parts.push(b"files");
        for file in &program.files {
            parts.extend([file.path.as_bytes(), file.content.as_slice()]);
        }
        Key::of(parts)
    }
}

/// One compile that has to be done.
struct Job<'a> {
    core: &'a Core,
    sources: Sources<'a>,
    spec: &'a CompileSpec,
    workspace: &'a mut Workspace,
}

impl Job<'_> {
    async fn run(
        &mut self,
        started: Instant,
        cancelled: watch::Receiver<bool>,
    ) -> Result<Outcome, RunFault> {
        let mut output = String::new();
        for command in commands_for(self.sources.program, &self.spec.commands, &self.spec.with_file)
        {
            let left = Duration::from_secs(self.spec.timeout_seconds)
                .checked_sub(started.elapsed())
                .filter(|left| !left.is_zero());
            let Some(left) = left else {
                return Ok(Outcome { status: CompileStatus::Timeout, output });
            };
            let finished = self.command(command, left, cancelled.clone()).await?;
            output += &text(&finished.stdout);
            output += &text(&finished.stderr);
            if let Some(status) = failure(&finished) {
                if output.is_empty() {
                    output =
                        format!("the compiler ended without a word ({:?})", finished.ended.exit);
                }
                return Ok(Outcome { status, output: self.without_paths(&output) });
            }
        }
        Ok(Outcome { status: CompileStatus::Success, output: self.without_paths(&output) })
    }

    async fn command(
        &mut self,
        command: &[String],
        left: Duration,
        cancelled: watch::Receiver<bool>,
    ) -> Result<Finished, RunFault> {
        let memory_bytes = self.spec.memory_mb << 20;
        let (core, Sources { runtime, program, options }) = (self.core, self.sources);
        let directories = &self.workspace.directories;
        let mut values = core.values(runtime, program, directories, memory_bytes);
        values.set_several("options", core.options_in_force(options));
        let none = BTreeMap::new();
        let command = Command {
            words: values.words(command)?,
            argv0: None,
            env: core.environment(&values, directories, &self.spec.env, &none)?,
            readable: Vec::new(),
            writable: vec![directories.out()],
        };
        // Compilers may use several processors, so processor time is not what bounds them.
        let allowance = Allowance { wall: left, cpu: left * 4, memory_bytes };
        let policy = core.policy(runtime, directories, command, allowance);
        let traffic = Traffic { input: Bytes::new(), output: core.output, cancelled };
        let sinks = (Log::no_sink(), Log::no_sink());
        Ok(self.workspace.execute(policy, traffic, sinks).await?)
    }

    /// Diagnostics name files as the client did, not where they happen to lie.
    fn without_paths(&self, output: &str) -> String {
        let mut output = output.to_owned();
        let directories = &self.workspace.directories;
        for directory in [directories.work_dir(), directories.out()] {
            output = output.replace(&format!("{}/", directory.display()), "");
        }
        output
    }
}

/// The commands for a program: its own, if one of its files asks for them.
pub(crate) fn commands_for<'a>(
    program: &Program,
    usual: &'a [Vec<String>],
    with_file: &'a BTreeMap<String, Vec<Vec<String>>>,
) -> &'a [Vec<String>] {
    let asked = program.files.iter().find_map(|file| with_file.get(&file.path));
    asked.map_or(usual, Vec::as_slice)
}

fn text(captured: &Captured) -> String {
    String::from_utf8_lossy(&captured.head).into_owned()
}

/// How a command failed; none if it did not.
fn failure(finished: &Finished) -> Option<CompileStatus> {
    match finished.ended.reason {
        EndReason::WallTime | EndReason::CpuTime | EndReason::Cancelled => {
            Some(CompileStatus::Timeout)
        }
        EndReason::Memory => Some(CompileStatus::MemoryLimit),
        EndReason::Exited if finished.ended.exit == sandbox::Exit::Code(0) => None,
        EndReason::Exited | EndReason::Output => Some(CompileStatus::Error),
    }
}
