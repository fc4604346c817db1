//! The few things that an executor can be told on its command line; the rest are settings.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::settings::Settings;
use crate::spec::RuntimeSpec;

/// What this process is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Serve runs.
    Serve {
        /// Drain when standard input ends too: whoever started us is gone then.
        drain_on_stdin_eof: bool,
    },
    /// Tell name, port and languages, and end.
    Describe,
    /// Ask the executor that runs on the same port whether it is well, and end.
    HealthCheck,
    /// Tell what there is to tell, and end.
    Help,
}

/// Parses the command line.
pub(crate) fn parse() -> anyhow::Result<Mode> {
    let mut mode = Mode::Serve { drain_on_stdin_eof: false };
    for argument in std::env::args().skip(1) {
        mode = match argument.as_str() {
            "--drain-on-stdin-eof" => Mode::Serve { drain_on_stdin_eof: true },
            "--describe" => Mode::Describe,
            "--healthcheck" => Mode::HealthCheck,
            "--help" | "-h" => Mode::Help,
            other => anyhow::bail!("unknown argument `{other}`; try --help"),
        };
    }
    Ok(mode)
}

/// Prints what an executor takes.
pub(crate) fn help(spec: &RuntimeSpec) -> anyhow::Result<()> {
    print(&format!(
        "executor-{}: runs programs sent to POST /execute, each in a jail.\n\n\
         --describe             print name, port and languages as JSON\n\
         --healthcheck          exit 0 if the executor on this port is well\n\
         --drain-on-stdin-eof   drain when standard input ends\n\n\
         Settings are variables, such as PORT (default {}), EXECUTOR_HOST, EXECUTOR_TOKEN,\n\
         EXECUTOR_SLOTS, EXECUTOR_MIN_ISOLATION; README.md lists all.\n",
        spec.name, spec.port
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
    const PATIENCE: Duration = Duration::from_secs(5);
    let port = if settings.port == 0 { default_port } else { settings.port };
    let host = match settings.host {
        host if !host.is_unspecified() => host,
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(host, port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    anyhow::ensure!(head.ends_with(b" 200"), "the executor is not well");
    Ok(())
}

/// Tells when standard input ends, if that matters; otherwise it never does.
pub(crate) fn watch_stdin(matters: bool) -> oneshot::Receiver<()> {
    let (ended, receiver) = oneshot::channel();
    // Nobody waits for this thread: it ends with the process.
    std::thread::spawn(move || {
        if !matters {
            std::thread::park();
        }
        let mut ignored = [0; 512];
        while std::io::stdin().read(&mut ignored).is_ok_and(|count| count > 0) {}
        ended.send(()).unwrap_or_default();
    });
    receiver
}

/// Says why the executor ended.
pub(crate) fn complain(error: &anyhow::Error) {
    tracing::error!("{error:#}");
    writeln!(std::io::stderr(), "error: {error:#}").unwrap_or_default();
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
