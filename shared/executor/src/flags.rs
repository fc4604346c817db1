//! What an executor prints when it is asked instead of started.

use std::io::Write as _;

use service::Mode;

use crate::settings::Settings;
use crate::spec::RuntimeSpec;

/// Prints what an executor takes.
pub(crate) fn help(spec: &RuntimeSpec) -> anyhow::Result<()> {
    print(&format!(
        "executor-{}: runs programs sent to POST /execute, each in a jail.\n\n{}\n\
         Settings are variables, such as PORT (default {}), EXECUTOR_HOST, EXECUTOR_TOKEN,\n\
         EXECUTOR_SLOTS, EXECUTOR_MIN_ISOLATION; README.md lists all.\n",
        spec.name,
        Mode::HELP,
        spec.port
    ))
}

/// Prints what the executor is, for whoever starts it.
pub(crate) fn describe(spec: &RuntimeSpec) -> anyhow::Result<()> {
    let languages: Vec<&str> = spec.languages.iter().map(|it| it.id.as_str()).collect();
    let description =
        serde_json::json!({"name": spec.name, "port": spec.port, "languages": languages});
    print(&format!("{description}\n"))
}

/// Asks the executor on this port for its health.
pub(crate) fn check_health(settings: &Settings, default_port: u16) -> anyhow::Result<()> {
    let port = if settings.port == 0 { default_port } else { settings.port };
    anyhow::ensure!(
        service::is_well(&settings.host.to_string(), port)?,
        "the executor is not well"
    );
    Ok(())
}

/// Says why the executor ended: logs may not have started yet, and an operator must see it.
pub(crate) fn complain(error: &anyhow::Error) {
    tracing::error!("{error:#}");
    writeln!(std::io::stderr(), "error: {error:#}").unwrap_or_default();
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
