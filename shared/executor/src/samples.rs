//! A runtime that cannot run its language's samples is not advertised.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{
    ExampleFile, LanguageInfo, ProgramExample, RunReport, RunRequest, SampleResult, Status,
};
use serde::Deserialize;
use tokio::sync::watch;

use crate::cache::Sharing;
use crate::core::{Core, Wanted};
use crate::language::Language;
use crate::log::{self, Log};
use crate::run::{self, Order};
use crate::spec::{LanguageSpec, RuntimeSpec};

/// A sample: a request and what must come of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sample {
    name: String,
    request: toml::Table,
    expect: Expectation,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    status: Status,
    output: Option<String>,
    #[serde(rename = "errorContains")]
    error_contains: Option<String>,
}

/// The samples of a language.
pub(crate) fn all(language: &Language) -> anyhow::Result<Vec<Sample>> {
    language.samples.iter().map(|text| Sample::parse(text)).collect()
}

/// What is told of the languages of a family, each with its samples as programs to start from.
pub(crate) fn languages(
    language: &Language,
    spec: &RuntimeSpec,
) -> anyhow::Result<Vec<LanguageInfo>> {
    let samples = all(language)?;
    let told = spec.languages.iter().enumerate().map(|(index, it)| LanguageInfo {
        id: it.id.clone(),
        aliases: it.aliases.clone(),
        entry: it.entry.clone(),
        example: it.example.clone(),
        examples: examples(&samples, it, index == 0),
        syntax: it.syntax.clone(),
    });
    Ok(told.collect())
}

/// The samples of one language of a family as programs to start from. Those that name no language are
/// of the main one.
fn examples(samples: &[Sample], of: &LanguageSpec, is_main: bool) -> Vec<ProgramExample> {
    let names = |it: &&Sample| match it.request.get("language").and_then(toml::Value::as_str) {
        Some(language) => language == of.id,
        None => is_main,
    };
    samples.iter().filter(names).filter_map(|it| it.example(&of.entry)).collect()
}

impl Sample {
    /// The same to be shown; none if its sources are not all texts.
    fn example(&self, entry: &str) -> Option<ProgramExample> {
        let text = |value: &toml::Value| value.as_str().map(str::to_owned);
        let file = |table: &toml::Value| {
            let content = table.get("content").and_then(text)?;
            Some(ExampleFile { path: table.get("path").and_then(text)?, content: tidy(&content) })
        };
        let files = match (self.request.get("code").and_then(text), self.request.get("files")) {
            (Some(code), _) => vec![ExampleFile { path: entry.to_owned(), content: tidy(&code) }],
            (None, Some(files)) => files.as_array()?.iter().map(file).collect::<Option<_>>()?,
            (None, None) => return None,
        };
        let args = self.request.get("args").and_then(toml::Value::as_array);
        let args = args.into_iter().flatten().filter_map(text).collect();
        let input_data = self.request.get("inputData").and_then(text).unwrap_or_default();
        Some(ProgramExample { name: self.name.clone(), files, args, input_data })
    }

    /// Parses the text of a sample.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// Runs the sample on one runtime, through the path of every run.
    pub(crate) async fn run(&self, core: &Arc<Core>, runtime: usize) -> SampleResult {
        let version = core.runtimes.get(runtime).map(|it| it.toolchain.version.as_str());
        let name = format!("{} ({})", self.name, version.unwrap_or_default());
        let detail = self.fault(core, runtime).await.err().map(|error| error.to_string());
        SampleResult { name, passed: detail.is_none(), detail }
    }

    async fn fault(&self, core: &Arc<Core>, runtime: usize) -> anyhow::Result<()> {
        let body = serde_json::to_vec(&self.request)?;
        let mut request = RunRequest::parse(&body, &core.bounds)?;
        let sources = std::mem::take(&mut request.sources);
        let mut admitted = core.admit(Wanted {
            language: request.language.as_deref(),
            version: None,
            sources,
            options: &request.compiler_options,
            output_files: &request.output_files,
        })?;
        admitted.runtime = runtime;
        let slot = core.slots.take().await?;
        let request_id = format!("sample-{}", self.name);
        let order = Order {
            request_id,
            request,
            admitted,
            arrived: Instant::now(),
            queued: Duration::ZERO,
            // A sample proves the compiler, too.
            sharing: Sharing::Nobody,
            live: None,
        };
        let (log, events) = Log::new();
        let (_never, cancelled) = watch::channel(false);
        let running = run::run(Arc::clone(core), order, slot, log, cancelled);
        let ((), folded) = tokio::join!(running, log::fold(events));
        let report = folded.map_err(|problem| {
            anyhow::anyhow!("{}", problem.map_or("no report".to_owned(), |it| it.detail))
        })?;
        self.expect.check(&report)
    }
}

impl Expectation {
    fn check(&self, report: &RunReport) -> anyhow::Result<()> {
        let told = format!(
            "status {}, exit {:?}, signal {:?}, stderr `{}`",
            report.status.as_str(),
            report.exit_code,
            report.signal,
            tail(&report.error)
        );
        anyhow::ensure!(report.status == self.status, "it ended with {told}");
        if let Some(output) = &self.output {
            let printed = tail(&report.output);
            anyhow::ensure!(report.output == *output, "it printed `{printed}` ({told})");
        }
        if let Some(text) = &self.error_contains {
            anyhow::ensure!(report.error.contains(text), "it does not say `{text}` ({told})");
        }
        Ok(())
    }
}

/// A source as people write it: it ends with a line.
fn tidy(source: &str) -> String {
    format!("{}\n", source.trim_end())
}

/// The last part of a text, for people.
fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(500);
    let start = (start..text.len()).find(|it| text.is_char_boundary(*it)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}
