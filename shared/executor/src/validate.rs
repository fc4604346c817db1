//! Looks at sources with the language's own front end, confined like a run and without running
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::{Diagnostic, ValidateReport};
use tokio::sync::watch;

use crate::cells::Workspace;
use crate::compile::{SHORTCUT_PART, commands_for, places};
use crate::core::{Admitted, Allowance, Command, Core, Runtime};
use crate::diagnostics::{DIAGNOSTICS_MAX, Findings, Reader};
use crate::language::Program;
use crate::log::Log;
use crate::pool::Kind;
use crate::process::{Finished, Traffic};
use crate::run::RunFault;
use crate::spec::ValidateSpec;
use crate::template::Values;

/// How long a front end may take, in seconds, where the language does not compile.
const SECONDS_MAX: u64 = 20;

/// What a front end may use, in MiB, where the language does not compile.
const MEMORY_MB: u64 = 512;

impl Core {
    /// Validates the program of `admitted` .
    pub(crate) async fn validate(
        self: &Arc<Self>,
        admitted: Admitted,
        cancelled: watch::Receiver<bool>,
        request_id: &str,
    ) -> Result<ValidateReport, RunFault> {
        let original = admitted.program.clone();
        let house_rules = self.house_rules.warnings(&original);
        let (mut errors, mut warnings) = match self.language.validate {
            Some(validate) => validate(&original),
            None => match self.language.prepare.map_or(Ok(original.clone()), |it| it(original)) {
                Err(errors) => (errors, Vec::new()),
                Ok(program) => self.ask_front_end(admitted.runtime, &program, cancelled).await?,
            },
        };
        warnings.splice(..0, house_rules);
        errors.truncate(DIAGNOSTICS_MAX);
        warnings.truncate(DIAGNOSTICS_MAX);
        let request_id = request_id.to_owned();
        Ok(ValidateReport { request_id, is_valid: errors.is_empty(), errors, warnings })
    }

    /// What the compiler that stays finds; none if another front end has to look.
    async fn find_by_resident(&self, index: usize, program: &Program) -> Option<Findings> {
        let (spec, reader) = (self.spec.validate.as_ref()?, self.readers.validate.as_ref()?);
        let (resident, how) = (self.resident.as_ref()?, self.spec.resident()?);
        let has_own = program.files.iter().any(|it| spec.with_file.contains_key(&it.path));
        if how.validate_options.is_empty() || has_own {
            return None;
        }
        let files = self.compiled_files(program);
        let answer = resident.compile((index, how), &how.validate_options, &files).await?;
        let mut findings = Findings::default();
        reader.read(&answer.output, &mut findings);
        // What was refused without any diagnostic that we can read, the other front end tells.
        (answer.is_compiled || !findings.0.is_empty()).then_some(findings)
    }

    async fn ask_front_end(
        self: &Arc<Self>,
        index: usize,
        program: &Program,
        cancelled: watch::Receiver<bool>,
    ) -> Result<Findings, RunFault> {
        let (Some(spec), Some(reader)) = (&self.spec.validate, &self.readers.validate) else {
            return Ok((Vec::new(), Vec::new()));
        };
        let Some(runtime) = self.runtimes.get(index) else {
            return Err(RunFault::Files(std::io::Error::other("the runtime is gone")));
        };
        if let Some(findings) = self.find_by_resident(index, program).await {
            return Ok(findings);
        }
        let kind = self.kind_of_front_end(index, spec, program);
        let mut workspace = self.workspace(kind, &program.files).await?;
        let values = self.values(runtime, program, &workspace.directories, self.front_end_bytes());
        let shortcuts = &self.shortcuts.validate;
        let options = self.options_in_force(&[]);
        if let Some(taken) = self.shortcut(shortcuts, program, &options, &values) {
            let mut values = values.clone();
            values.set_all(&taken.variables);
            let mut asked =
                Asked { runtime, values, cancelled: cancelled.clone(), part: SHORTCUT_PART };
            let said = self.ask(&mut workspace, taken.commands, &mut asked).await?;
            workspace.close();
            let is_usual = |it: &Finished| {
                let places = places(&asked.values);
                [&it.stdout, &it.stderr]
                    .into_iter()
                    .all(|it| taken.is_usual(&String::from_utf8_lossy(&it.head), &places))
            };
            if said.iter().all(|it| succeeded(it) && is_usual(it)) {
                return self.findings(reader, &said, &asked.values);
            }
            workspace = self.workspace(kind, &program.files).await?;
        }
        let values = self.values(runtime, program, &workspace.directories, self.front_end_bytes());
        let commands = commands_for(program, &spec.commands, &spec.with_file);
        let mut asked = Asked { runtime, values, cancelled, part: 1 };
        let said = self.ask(&mut workspace, commands, &mut asked).await?;
        workspace.close();
        self.findings(reader, &said, &asked.values)
    }

    fn front_end_bytes(&self) -> u64 {
        let without = MEMORY_MB.min(self.bounds.memory_max_mb);
        self.spec.compile.as_ref().map_or(without, |it| it.memory_mb) << 20
    }

    /// Runs `commands` until one fails, and returns what they said.
    async fn ask(
        &self,
        workspace: &mut Workspace,
        commands: &[Vec<String>],
        asked: &mut Asked<'_>,
    ) -> Result<Vec<Finished>, RunFault> {
        let Asked { runtime, values, cancelled, part } = asked;
        let compile = self.spec.compile.as_ref();
        // Without a compiler, it is the interpreter of runs, which may stand ready.
        let phase = compile.map_or(&self.spec.run.env, |it| &it.env);
        let env = self.environment(values, &workspace.directories, phase, &BTreeMap::new())?;
        let seconds = compile.map_or(SECONDS_MAX, |it| it.timeout_seconds);
        let wall = Duration::from_secs(seconds) / *part;
        let memory_bytes = self.front_end_bytes();
        let mut said = Vec::new();
        for command in commands {
            let command = Command {
                words: values.words(command)?,
                argv0: None,
                env: env.clone(),
                readable: Vec::new(),
                writable: vec![workspace.directories.out()],
            };
            let allowance = Allowance { wall, cpu: wall * 4, memory_bytes };
            let policy = self.policy(runtime, &workspace.directories, command, allowance);
            let traffic = Traffic {
                input: Bytes::new(),
                live: None,
                gauge: None,
                output: self.output,
                cancelled: cancelled.clone(),
            };
            let sinks = (Log::no_sink(), Log::no_sink());
            said.push(workspace.execute(policy, traffic, sinks).await?);
            if !said.last().is_some_and(succeeded) {
                break;
            }
        }
        Ok(said)
    }

    /// What the commands found.
    fn findings(
        &self,
        reader: &Reader,
        said: &[Finished],
        values: &Values,
    ) -> Result<Findings, RunFault> {
        let mut findings = Findings::default();
        let prefix = values.fill("{work}/")?;
        for finished in said {
            for stream in [&finished.stdout, &finished.stderr] {
                let text = String::from_utf8_lossy(&stream.head).replace(&prefix, "");
                let text = self.messages.apply(text, |it| values.fill(it))?;
                reader.read(&text, &mut findings);
            }
        }
        let failed = said.iter().find(|it| !succeeded(it));
        findings.0.extend(failed.filter(|_| findings.0.is_empty()).map(without_words));
        Ok(findings)
    }

    /// What the front end can go on from.
    fn kind_of_front_end(&self, index: usize, spec: &ValidateSpec, program: &Program) -> Kind {
        match commands_for(program, &spec.commands, &spec.with_file) {
            [command] => {
                let kind = self.kind_for(index, program, &BTreeMap::new(), 0);
                self.kind_for_command(kind, command)
            }
            _ => Kind::Cell,
        }
    }
}

/// What a front end is asked with.
struct Asked<'a> {
    runtime: &'a Runtime,
    values: Values,
    cancelled: watch::Receiver<bool>,
    /// It may take one such part of the phase's time.
    part: u32,
}

fn succeeded(finished: &Finished) -> bool {
    finished.ended.exit == sandbox::Exit::Code(0)
}

/// What a front end said that failed without any diagnostic that we can read.
fn without_words(finished: &Finished) -> Diagnostic {
    let text = String::from_utf8_lossy(&finished.stderr.tail);
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    let message = first.map_or_else(
        || format!("the front end gave up ({:?})", finished.ended.reason),
        str::to_owned,
    );
    Diagnostic { message, line: 0, column: 0, code: None, file: None }
}
