//! Structured logs on standard error: readable on a terminal, JSON anywhere else.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging with `filter`, such as `info` or `gateway=debug,info`. A filter that does not
/// parse counts as `info`. Calling it twice changes nothing.
pub fn start_logs(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let started = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging had been started before");
    }
}
