//! One run, from its admission to its report: compile once, run each case, collect files.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{
    CompileReport, CompileStatus, Diagnostic, OutputFile, RunEvent, RunReport, RunRequest, Stage,
    Status, Timings,
};
use sandbox::{Assignment, Policy};
use tokio::sync::watch;

use crate::cache::{Artifact, Sharing};
use crate::cells::Workspace;
use crate::compile::{Compiled, Sources};
use crate::core::{Admitted, Allowance, Command, Core, Runtime};
use crate::diagnostics;
use crate::language::Program;
use crate::live::Live;
use crate::log::Log;
use crate::outcome::{CaseOutcome, add_case, fill, millis, output_file};
use crate::pool::Kind;
use crate::process::{Fault, Finished, Start, Traffic};
use crate::slots::Slot;
use crate::template::UnknownPlaceholder;
use crate::tree::{self, WalkBounds};
use crate::verdict;
use crate::workspace::Directories;

/// Why we could not finish a run: never the program's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunFault {
    /// A process could not be run.
    #[error(transparent)]
    Process(#[from] Fault),
    /// Files of a run could not be handled.
    #[error("the run's files could not be handled: {0}")]
    Files(#[from] std::io::Error),
    /// A command of the language is wrong.
    #[error("the language's data is wrong: {0}")]
    Spec(#[from] UnknownPlaceholder),
}

/// What programs take their terminal for.
const TERMINAL: &str = "xterm-256color";

/// Most files that a run hands back.
const FILES_MAX: usize = 100;

/// What a run needs to be done.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) request_id: String,
    pub(crate) request: RunRequest,
    pub(crate) admitted: Admitted,
    /// When the request came in.
    pub(crate) arrived: Instant,
    /// How long it waited for its slot.
    pub(crate) queued: Duration,
    pub(crate) sharing: Sharing,
    /// Whoever takes part in it.
    pub(crate) live: Option<Live>,
}

/// Does what `order` says in `slot`, and writes the log. The slot comes free when everything of
/// the run is gone, or goes out of service if that fails.
pub(crate) async fn run(
    core: Arc<Core>,
    mut order: Order,
    slot: Slot,
    log: Log,
    cancelled: watch::Receiver<bool>,
) {
    let live = order.live.take();
    let outcome = order.run(&core, &log, &cancelled, live).await;
    match &outcome {
        Err(RunFault::Process(Fault::Unclean)) => slot.quarantine(),
        _ => drop(slot),
    }
    match outcome {
        Ok(report) => {
            core.metrics.finished(&report);
            tracing::info!(
                run.id = %report.request_id,
                runtime = %report.language,
                status = report.status.as_str(),
                wall_ms = report.timings.run,
                total_ms = report.timings.total,
                "finished a run"
            );
            log.add(RunEvent::Exit { report: Box::new(report) }).await;
        }
        Err(fault) => {
            let problem = crate::error::problem_of_fault(&fault, &order.request_id);
            tracing::error!(run.id = %order.request_id, error = %fault, "a run failed");
            log.add(RunEvent::Fault { problem: Box::new(problem) }).await;
        }
    }
}

impl Order {
    async fn run(
        &self,
        core: &Arc<Core>,
        log: &Log,
        cancelled: &watch::Receiver<bool>,
        mut live: Option<Live>,
    ) -> Result<RunReport, RunFault> {
        let mut report = self.blank_report(core);
        let Some(runtime) = core.runtimes.get(self.admitted.runtime) else {
            return Err(RunFault::Files(std::io::Error::other("the runtime is gone")));
        };
        if core.spec.compile.is_some() {
            log.add(RunEvent::Stage { stage: Stage::Compile, case: None }).await;
        }
        let compiling = Instant::now();
        let prepared = prepare(core, self.admitted.program.clone());
        let compiled = match &prepared {
            Ok(program) => {
                let options = &self.request.compiler_options;
                let sources = Sources { runtime, program, options, sharing: &self.sharing };
                core.compile(sources, cancelled.clone()).await?
            }
            Err(found) => Compiled::Refused(refused(diagnostics::lines_of(found))),
        };
        report.timings.compile = millis(compiling.elapsed());
        let findings = match &prepared {
            Ok(_) => core.readers.of_compiler(compiled.output()),
            Err(found) => (found.clone(), Vec::new()),
        };
        diagnostics::tell(log, findings).await;
        let artifact = match compiled {
            Compiled::NotNeeded => None,
            Compiled::Ready(artifact, compile) => {
                report.compile = Some(compile);
                Some(artifact)
            }
            Compiled::Refused(compile) => {
                let unwanted = *cancelled.borrow();
                return Ok(self.refuse(report, compile, log, unwanted).await);
            }
        };
        let Ok(program) = prepared else { return Ok(report) };
        let request = &self.request;
        // Interpreters look at what their streams are when they start.
        let kind = match live.as_ref().and_then(|it| it.terminal) {
            Some(_) => Kind::Cell,
            None => {
                core.kind_for(self.admitted.runtime, &program, &request.env, request.memory_bytes)
            }
        };
        let mut running = Running {
            kind,
            live: live.as_mut(),
            order: self,
            core,
            runtime,
            program: &program,
            artifact: artifact.as_deref(),
            log,
            cancelled,
        };
        running.all_cases(&mut report).await?;
        report.timings.total = millis(self.arrived.elapsed());
        Ok(report)
    }

    fn blank_report(&self, core: &Core) -> RunReport {
        let runtime = core.runtimes.get(self.admitted.runtime);
        RunReport {
            request_id: self.request_id.clone(),
            status: Status::Success,
            output: String::new(),
            error: String::new(),
            output_base64: None,
            output_truncated: false,
            error_truncated: false,
            execution_time: 0.0,
            cpu_time: 0.0,
            memory_used: 0,
            approximate: false,
            exit_code: None,
            signal: None,
            compile: None,
            cases: Vec::new(),
            files: Vec::new(),
            timings: Timings { queue: millis(self.queued), ..Timings::default() },
            warm: false,
            isolation: core.isolation.level,
            language: self.admitted.program.language.clone(),
            version: runtime.map(|it| it.toolchain.version.clone()).unwrap_or_default(),
        }
    }

    /// The report of a program that its compiler refused. What it said goes into the log as
    /// standard error.
    async fn refuse(
        &self,
        mut report: RunReport,
        compile: CompileReport,
        log: &Log,
        cancelled: bool,
    ) -> RunReport {
        let data = compile.output.clone();
        if !data.is_empty() {
            log.add(RunEvent::Stderr { data, b64: None, case: None }).await;
        }
        report.status = if cancelled { Status::Cancelled } else { Status::CompileError };
        report.compile = Some(compile);
        report.timings.total = millis(self.arrived.elapsed());
        report
    }
}

/// Turns the sources into what is compiled or run.
fn prepare(core: &Core, program: Program) -> Result<Program, Vec<Diagnostic>> {
    match core.language.prepare {
        Some(prepare) => prepare(program),
        None => Ok(program),
    }
}

fn refused(output: String) -> CompileReport {
    CompileReport { status: CompileStatus::Error, output, time: 0.0, cached: false }
}

/// The run phase of an order.
struct Running<'a> {
    /// What its programs start from, if it is ready.
    kind: Kind,
    live: Option<&'a mut Live>,
    order: &'a Order,
    core: &'a Arc<Core>,
    runtime: &'a Runtime,
    program: &'a Program,
    artifact: Option<&'a Artifact>,
    log: &'a Log,
    cancelled: &'a watch::Receiver<bool>,
}

impl Running<'_> {
    async fn all_cases(&mut self, report: &mut RunReport) -> Result<(), RunFault> {
        let order = self.order;
        let request = &order.request;
        let running = Instant::now();
        if request.cases.is_empty() {
            let input = Bytes::from(request.input.clone());
            let outcome = self.case(None, input, &request.args).await?;
            report.timings.start = millis(outcome.finished.start);
            report.warm = outcome.warm;
            fill(report, &outcome, request.output_base64);
            report.files = outcome.files;
        }
        for (index, case) in request.cases.iter().enumerate() {
            if *self.cancelled.borrow() {
                report.status = Status::Cancelled;
                break;
            }
            let input = if case.input.is_empty() { &request.input } else { &case.input };
            let args = case.args.as_ref().unwrap_or(&request.args);
            let mut outcome = self.case(Some(index), Bytes::from(input.clone()), args).await?;
            if let Some(expected) = &case.expected_output {
                let output = String::from_utf8_lossy(&outcome.finished.stdout.head);
                outcome.status = verdict::compare(outcome.status, &output, expected);
            }
            report.timings.start += millis(outcome.finished.start);
            report.warm = outcome.warm && (report.warm || index == 0);
            let name = case.name.clone().unwrap_or_else(|| (index + 1).to_string());
            add_case(report, name, &outcome);
            report.files.extend(outcome.files);
        }
        report.timings.run = millis(running.elapsed());
        Ok(())
    }

    /// Runs the program once, in a work directory of its own. A run whose supervisor died before
    /// it had done anything, or whose process was gone, is launched once more, from cold.
    async fn case(
        &mut self,
        case: Option<usize>,
        input: Bytes,
        args: &[String],
    ) -> Result<CaseOutcome, RunFault> {
        self.log.add(RunEvent::Stage { stage: Stage::Run, case }).await;
        let first = self.attempt(self.kind, case, input.clone(), args).await;
        let (finished, workspace) = match first {
            Err(RunFault::Process(Fault::LostEarly | Fault::Gone)) => {
                self.attempt(Kind::Cell, case, input, args).await?
            }
            outcome => outcome?,
        };
        let memory = &self.core.spec.memory;
        let status = verdict::status(&finished.ended, &finished.stderr.tail, &memory.exhausted);
        let files = self.files(&workspace.directories)?;
        let warm = workspace.is_warm();
        workspace.close();
        Ok(CaseOutcome { finished, warm, status, files })
    }

    async fn attempt(
        &mut self,
        kind: Kind,
        case: Option<usize>,
        input: Bytes,
        args: &[String],
    ) -> Result<(Finished, Workspace), RunFault> {
        let mut workspace = self.core.workspace(kind, &self.program.files).await?;
        let start = if workspace.kind == Kind::Cell || self.core.forks(workspace.kind) {
            let policy = self.policy(&workspace.directories, args)?;
            match self.live.as_ref().and_then(|it| it.terminal) {
                Some(size) => Start::OnTerminal(policy, size),
                None => Start::Launch(policy),
            }
        } else {
            Start::HandOver(self.assignment(&workspace.directories, args)?)
        };
        let sink = || match self.live {
            Some(_) => self.log.exact_sink(case),
            None => self.log.sink(case),
        };
        let sinks = (sink(), sink());
        let (output, cancelled) = (self.core.output, self.cancelled.clone());
        let gauge = self.live.is_some().then(|| self.log.gauge(case, self.core.isolation.level));
        let live = self.live.as_deref_mut();
        let traffic = Traffic { input, live, gauge, output, cancelled };
        Ok((workspace.run(&start, traffic, sinks).await?, workspace))
    }

    /// What a waiting process is told. It cannot be shown the artifact any more, so it gets a copy.
    fn assignment(
        &self,
        directories: &Directories,
        args: &[String],
    ) -> Result<Assignment, RunFault> {
        let request = &self.order.request;
        if let Some(artifact) = self.artifact {
            directories.take_in(artifact.path())?;
        }
        let memory_bytes = request.memory_bytes;
        let values = self.core.values(self.runtime, self.program, directories, memory_bytes);
        let mut words = self.core.words_for(&values)?;
        words.extend(args.iter().cloned());
        let env = request.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let allowance = Allowance { wall: request.timeout, cpu: request.cpu_time, memory_bytes };
        Ok(Assignment { words, env, limits: self.core.limits(allowance) })
    }

    fn policy(&self, directories: &Directories, args: &[String]) -> Result<Policy, RunFault> {
        let request = &self.order.request;
        let run = &self.core.spec.run;
        let memory_bytes = request.memory_bytes;
        let mut values = self.core.values(self.runtime, self.program, directories, memory_bytes);
        let artifact = self.artifact.map(|it| it.path().to_owned());
        if let Some(artifact) = &artifact {
            values.set("out", artifact.to_string_lossy());
        }
        let mut words = values.words(&run.command)?;
        words.extend(args.iter().cloned());
        let argv0 = run.argv0.as_ref().map(|it| values.fill(it)).transpose()?;
        let mut env = self.core.environment(&values, directories, &run.env, &request.env)?;
        let has_terminal = self.live.as_ref().is_some_and(|it| it.terminal.is_some());
        if has_terminal && env.iter().all(|(name, _)| name != "TERM") {
            env.push(("TERM".to_owned(), TERMINAL.to_owned()));
        }
        let readable = artifact.into_iter().collect();
        let command = Command { words, argv0, env, readable, writable: Vec::new() };
        let allowance = Allowance { wall: request.timeout, cpu: request.cpu_time, memory_bytes };
        Ok(self.core.policy(self.runtime, directories, command, allowance))
    }

    /// The files of the work directory that the request asked for. Everything that could write
    /// there is dead.
    fn files(&self, directories: &Directories) -> Result<Vec<OutputFile>, RunFault> {
        let patterns = &self.order.admitted.patterns;
        if patterns.is_empty() {
            return Ok(Vec::new());
        }
        let bounds = WalkBounds { entries: 10_000, depth: 32, bytes: u64::MAX };
        let mut left = self.core.output_files_bytes_max;
        let mut files = Vec::new();
        let directory = directories.open_work()?;
        tree::walk(directory.as_fd(), directories.owner(), bounds, &mut |found| {
            if patterns.is_match(&found.path) && found.size <= left && files.len() < FILES_MAX {
                left -= found.size;
                let bytes = tree::read_file(&found.file, found.size)?;
                files.push(output_file(found.path, bytes));
            }
            Ok(())
        })?;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }
}
