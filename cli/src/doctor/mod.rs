//! `flotilla doctor`: what isolation programs get on this host, before anything is deployed.
//!
//! It asks the same probes as an executor that starts here, so the two never say different things.

mod page;
mod report;
mod worker;

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use protocol::Level;

use crate::output::{print, say};
use crate::run::INTERNAL;
use crate::scratch;
use report::{DoctorReport, HostReport, StateDirectory};

/// The level is below the minimum.
const BELOW_MINIMUM: u8 = 1;

/// Says what isolation programs would get here, what would raise it, and what there is to run on.
///
/// Tries each mechanism in a process of its own: the forbidden thing must fail, and the allowed
/// thing must work. An executor that is started here, as the same user, comes to the same level
/// and the same guarantees. Nothing needs to be deployed for it, and nothing keeps running.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0    the level is the minimum or above it
  1    it is below the minimum, and an executor would refuse to start; or, with --worker, the
       gateway gives no jobs
  120  an option is wrong
  125  the host could not be probed")]
pub(crate) struct DoctorArguments {
    /// Exit with 1 below this level: bare, filtered, confined, separated, namespaced or bounded
    /// [default: `EXECUTOR_MIN_ISOLATION`, else separated].
    #[arg(long, value_name = "LEVEL")]
    minimum: Option<Level>,
    /// Ask the gateway of `EXECUTOR_PULL_URL` as well whether it gives jobs to whoever has
    /// `EXECUTOR_PULL_KEY`.
    #[arg(long)]
    worker: bool,
    /// Print JSON, shaped as `isolation` of an executor's `/info`, instead of tables.
    #[arg(long)]
    json: bool,
}

/// Probes this host and prints what came of it. Call it while there is one thread.
pub(crate) fn doctor(arguments: &DoctorArguments) -> ExitCode {
    match examine(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(BELOW_MINIMUM),
        Err(error) => {
            say(format_args!("flotilla: {error:#}"));
            ExitCode::from(INTERNAL)
        }
    }
}

fn examine(arguments: &DoctorArguments) -> anyhow::Result<bool> {
    let minimum = minimum(arguments.minimum, settings::variable("EXECUTOR_MIN_ISOLATION"))?;
    let state = scratch::state_directory();
    let (scratch, unwritable) = scratch::near(&state)?;
    let probe = sandbox::probe(scratch.path()).context("this host cannot be probed")?;
    drop(scratch);
    let root = Path::new("/");
    let place = host::place(&state).with_context(|| format!("cannot look at {}", state.display()));
    let host = HostReport {
        processors: host::processors(),
        memory: host::memory(root),
        processes: host::processes(root),
        state_directory: StateDirectory { place: place?, unwritable },
    };
    let worker = arguments.worker.then(worker::examine).transpose()?;
    let is_taken = worker.as_ref().is_none_or(|it| it.trouble.is_none());
    let report = DoctorReport::new(&probe, minimum, host, worker);
    if arguments.json {
        print(serde_json::to_string_pretty(&report)?);
    } else {
        let dull = settings::variable("NO_COLOR").is_some()
            || settings::variable("TERM").is_some_and(|it| it == "dumb");
        let page = page::page(&report);
        let in_colour = !dull && io::stdout().is_terminal();
        print(if in_colour { page::coloured(&page) } else { page });
    }
    Ok(report.sufficient && is_taken)
}

/// What an executor would take as its minimum, unless the command says otherwise.
fn minimum(asked: Option<Level>, variable: Option<String>) -> anyhow::Result<Level> {
    match (asked, variable) {
        (Some(level), _) => Ok(level),
        (None, Some(word)) => word.parse().context("EXECUTOR_MIN_ISOLATION"),
        (None, None) => Ok(Level::Separated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_is_what_an_executor_would_take() {
        let check = |asked, variable: Option<&str>, expected| {
            let found = minimum(asked, variable.map(str::to_owned)).unwrap();
            assert_eq!(found, expected);
        };
        check(None, None, Level::Separated);
        check(None, Some("bounded"), Level::Bounded);
        check(Some(Level::Bare), Some("bounded"), Level::Bare);
        assert!(minimum(None, Some("strong".to_owned())).is_err());
    }
}
