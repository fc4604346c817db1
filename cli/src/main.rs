//! `flotilla`: starts the fleet, runs files through it, measures it, and examines the host.

mod bench;
mod doctor;
mod fleet;
mod http;
mod output;
mod run;
mod scratch;
mod table;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs programs in many languages, each jailed, over HTTP.
#[derive(Debug, Parser)]
#[command(name = "flotilla", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpArguments),
    Run(run::RunArguments),
    Doctor(doctor::DoctorArguments),
    Bench(bench::BenchArguments),
    /// Takes one sample of the jail a line; the bench starts it.
    #[command(name = bench::JAIL_SAMPLER, hide = true)]
    JailSampler,
}

fn main() -> ExitCode {
    // The probes of the doctor, and the cells of the bench, are processes of this same binary.
    sandbox::enter();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    match arguments.command {
        Command::Up(arguments) => with_threads(async { finish(up::up(arguments).await) }),
        Command::Run(arguments) => {
            with_threads(async { ExitCode::from(run::run(arguments).await) })
        }
        // Its probes fork, so there must be one thread.
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        // Its cells are as an executor makes them: the spawner starts while there is one thread.
        Command::Bench(arguments) if arguments.jail => finish(bench::jail(&arguments)),
        Command::JailSampler => finish(bench::sample_jail()),
        Command::Bench(arguments) => with_threads(async { finish(bench::bench(arguments).await) }),
    }
}

fn with_threads(command: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::say(format_args!("flotilla: cannot start: {error}"));
            return ExitCode::from(run::INTERNAL);
        }
    };
    let code = runtime.block_on(command);
    // A write to a terminal that nobody reads must not hold the process back.
    runtime.shutdown_background();
    code
}

/// Help and version are no faults. A wrong option is one of our own, so that a program's exit
/// code can be told from it.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        output::say(error.render());
        return ExitCode::from(run::USAGE);
    }
    output::print(error.render());
    ExitCode::SUCCESS
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(format_args!("flotilla: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_options_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }
}
