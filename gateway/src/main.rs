//! Starts the gateway: settings, app, serve, drain.

use std::process::ExitCode;

use gateway::{Executors, Settings, app};

#[actix_web::main]
async fn main() -> ExitCode {
    let settings = match Settings::load() {
        Ok(settings) => settings,
        Err(error) => {
            telemetry::start_logs("info");
            tracing::error!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    telemetry::start_logs(&settings.log);
    match serve(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let gateway = app::build(settings, &Executors::from_environment()).await?;
    gateway.serve().await?;
    Ok(())
}
