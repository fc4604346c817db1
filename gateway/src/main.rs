//! Starts the gateway: settings, app, serve, drain.

use std::io::Write as _;
use std::process::ExitCode;

use gateway::{Executors, Settings, app};
use service::{Ending, Mode};

fn main() -> ExitCode {
    // Before any thread is.
    if documents::is_document(std::env::args()) {
        return documents::serve_document();
    }
    actix_web::rt::System::new().block_on(run())
}

async fn run() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where no settings were read, logs have not started either.
            telemetry::start_logs("info");
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> anyhow::Result<()> {
    match Mode::parse(std::env::args().skip(1))? {
        Mode::Serve { end_with_stdin } => serve(end_with_stdin).await,
        Mode::HealthCheck => {
            let settings = Settings::load()?;
            let well = service::is_well(&settings.host, settings.port)?;
            anyhow::ensure!(well, "the gateway is not well");
            Ok(())
        }
        Mode::Describe | Mode::Help => print(&format!(
            "gateway: the one door to a fleet of executors.\n\n{}\nSettings are variables, such as \
             PORT (default 8000), GATEWAY_HOST, GATEWAY_KEYS and <NAME>_EXECUTOR_URL;\n\
             README.md lists all.\n",
            Mode::HELP
        )),
    }
}

async fn serve(end_with_stdin: bool) -> anyhow::Result<()> {
    let settings = Settings::load()?;
    telemetry::start_logs(&settings.log);
    let gateway = app::build(settings, &Executors::from_environment()).await?;
    gateway.serve(Ending::listen(end_with_stdin)?).await?;
    Ok(())
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
