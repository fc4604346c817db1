//! Everything an executor is, save its language.
//!
//! A language folder hands a [`Language`] to [`main`]: data, samples, and the few hooks that data
//! cannot say. From there: [`boot`] probes the host and finds toolchains, [`serve`] takes
//! requests, [`core`] decides what they mean here, [`compile`] and [`run`] do it, each command
//! one confined [`process`], and [`log`] tells it as it happens.
//!
//! Nothing in here names a language or knows of queues.

mod admission;
mod boot;
mod cache;
mod cells;
mod compile;
mod core;
mod diagnostics;
mod error;
mod flags;
mod house_rules;
mod language;
mod live;
mod log;
mod messages;
mod metrics;
mod mirror;
mod outcome;
mod pool;
mod prepare;
mod process;
mod resident;
mod run;
mod samples;
mod selftest;
mod serve;
mod settings;
mod shortcut;
mod slots;
mod spec;
mod supervisor;
mod surroundings;
mod template;
mod text;
mod toolchain;
mod tree;
mod validate;
mod verdict;
mod version;
mod warm;
mod workspace;
mod world;

use std::process::ExitCode;

pub use language::{Language, Prepare, Program, Validate};
pub use spec::{InvalidSpec, RuntimeSpec};

use service::Mode;
use settings::Settings;
use warm::Makers;

/// Becomes the executor of `language`, or one of its helpers, and returns when it ends.
pub fn main(language: &Language) -> ExitCode {
    sandbox::enter();
    match start(*language) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            flags::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn start(language: Language) -> anyhow::Result<()> {
    let spec = RuntimeSpec::parse(language.spec)?;
    match Mode::parse(std::env::args().skip(1))? {
        Mode::Help => flags::help(&spec),
        Mode::Describe => flags::describe(&spec),
        Mode::HealthCheck => flags::check_health(&Settings::load()?, spec.port),
        Mode::Serve { end_with_stdin } => {
            let settings = Settings::load()?;
            telemetry::start_logs(&settings.log);
            let listener = serve::listen(&settings, spec.port)?;
            let core = boot::prepare_host(language, spec, &settings)?;
            actix_web::rt::System::new().block_on(async move {
                let core = Box::pin(boot::prove_runtimes(core)).await?;
                let core = core.prove_warmth(settings.warm).await?;
                let makers = Makers::start(&core);
                selftest::at_boot(&core).await?;
                serve::serve(core, &settings, listener, end_with_stdin, makers).await
            })
        }
    }
}
