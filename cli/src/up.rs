//! `flotilla up`: the whole fleet on this machine, until a signal ends it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use protocol::Level;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::fleet::{Fleet, FleetChoices, PortChoice, Ready};
use crate::output::{print, say};
use crate::table::table;

/// The weakest isolation that a fleet beyond loopback, or without a word about it, may have.
const LEVEL_MIN: Level = Level::Separated;

/// Starts the fleet on this machine: the gateway and every executor built beside this program.
///
/// Waits until all are healthy, then prints what runs and a first request. A service that dies is
/// started again. Ctrl-C, SIGTERM or SIGHUP drains: running programs finish, and no process and no
/// file is left; a second one kills.
///
/// On loopback the fleet takes whatever isolation this machine gives, and says so when it is weak;
/// `EXECUTOR_MIN_ISOLATION` demands more. Variables `EXECUTOR_…` and `GATEWAY_…` reach the services.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Address to listen on [default: `GATEWAY_HOST`, else 127.0.0.1]; beyond loopback it
    /// needs `GATEWAY_KEYS` or `GATEWAY_KEYS_FILE`, and full isolation.
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Gateway on port N, executors on those that follow; 0 takes any free ports. Without it the
    /// gateway is on `PORT` or 8000, an executor on `<NAME>_EXECUTOR_PORT` or its own.
    #[arg(long, value_name = "N")]
    port_base: Option<u16>,
    /// Start only these executors, by name or language, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Seconds that a service may take to become healthy; the first start prepares toolchains.
    #[arg(long, value_name = "SECONDS", default_value_t = 300,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    /// Print one line of JSON instead of a table when the fleet is ready.
    #[arg(long)]
    json: bool,
    /// Pass the services' logs on to standard error.
    #[arg(long, short)]
    verbose: bool,
}

/// Runs the fleet until a signal.
pub(crate) async fn up(arguments: UpArguments) -> anyhow::Result<()> {
    let mut interrupts = Interrupts::listen()?;
    let named = arguments.host.or_else(|| settings::variable("GATEWAY_HOST"));
    let host = named.as_deref().map_or(Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)), parse_host)?;
    let has_keys =
        ["GATEWAY_KEYS", "GATEWAY_KEYS_FILE"].iter().any(|it| settings::variable(it).is_some());
    let demanded = settings::variable("EXECUTOR_MIN_ISOLATION");
    let choices = FleetChoices {
        host,
        ports: PortChoice::from_base(arguments.port_base),
        only: arguments.only,
        min_isolation: min_isolation(host, demanded.as_deref(), has_keys)?,
        gateway: Vec::new(),
        executors: Vec::new(),
        verbose: arguments.verbose,
        boot_max: Duration::from_secs(arguments.wait),
    };
    let fleet = Fleet::start(&choices).await?;
    let served = serve(&fleet, arguments.json, &mut interrupts).await;
    say("draining; once more to kill");
    let stopped = fleet.stop(interrupts.next()).await;
    served.and(stopped)
}

/// Signals that end the fleet.
#[derive(Debug)]
pub(crate) struct Interrupts([Signal; 3]);

impl Interrupts {
    /// Listens from now on.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

async fn serve(fleet: &Fleet, json: bool, interrupts: &mut Interrupts) -> anyhow::Result<()> {
    let ready = tokio::select! {
        ready = fleet.ready() => ready?,
        () = interrupts.next() => return Ok(()),
    };
    warn(&ready);
    if json {
        print(ready_line(&fleet.url, &ready));
    } else {
        print(welcome(&fleet.url, &ready));
    }
    tokio::select! {
        () = fleet.broken() => bail!("the gateway is gone"),
        () = interrupts.next() => Ok(()),
    }
}

fn parse_host(text: &str) -> anyhow::Result<IpAddr> {
    if text == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let address = text.trim_start_matches('[').trim_end_matches(']');
    address.parse().with_context(|| format!("`--host {text}` is no address; use one such as ::"))
}

/// The minimum that executors are given; none leaves them what is demanded, or their default.
fn min_isolation(
    host: IpAddr,
    demanded: Option<&str>,
    has_keys: bool,
) -> anyhow::Result<Option<Level>> {
    let demanded: Option<Level> =
        demanded.map(str::parse).transpose().context("EXECUTOR_MIN_ISOLATION")?;
    if host.is_loopback() {
        return Ok(demanded.is_none().then_some(Level::Bare));
    }
    if !has_keys {
        bail!(
            "{host} is beyond loopback, where everyone could run programs; set GATEWAY_KEYS \
             (name:key,…) or GATEWAY_KEYS_FILE first"
        );
    }
    if let Some(level) = demanded.filter(|it| *it < LEVEL_MIN) {
        bail!(
            "EXECUTOR_MIN_ISOLATION is {level}, and {host} is beyond loopback, where it must be \
             {LEVEL_MIN} at least"
        );
    }
    Ok(None)
}

fn warn(ready: &Ready) {
    for executor in ready.executors.iter().filter(|it| it.info.isolation.level < LEVEL_MIN) {
        let isolation = &executor.info.isolation;
        say(format_args!(
            "WARNING: {} isolates programs only as `{}`, below `{LEVEL_MIN}`: do not run \
             programs of people you do not trust.",
            executor.name, isolation.level,
        ));
        for grant in &isolation.raise {
            say(format_args!("    {grant}"));
        }
    }
    for failure in &ready.failures {
        say(format_args!("WARNING: without {}: {}", failure.name, failure.detail));
    }
}

fn welcome(url: &str, ready: &Ready) -> String {
    let rows: Vec<Vec<String>> = ready
        .executors
        .iter()
        .map(|it| {
            let info = &it.info;
            let languages: Vec<&str> = info.languages.iter().map(|it| it.id.as_str()).collect();
            let versions: Vec<&str> = info.runtimes.iter().map(|it| it.version.as_str()).collect();
            vec![
                languages.join(", "),
                versions.join(", "),
                it.port.to_string(),
                info.isolation.level.to_string(),
            ]
        })
        .collect();
    let table = table(&["LANGUAGE", "VERSION", "PORT", "ISOLATION"], &rows);
    let first = ready.executors.iter().find_map(|it| it.info.languages.first());
    let first = first.map(|it| first_request(url, &it.id, &it.example)).unwrap_or_default();
    let seconds = ready.start_time.as_secs_f64();
    format!(
        "\n{table}\nThe fleet is ready at {url} after {seconds:.1} s. Ctrl-C ends it. A first request:\n\n{first}\n"
    )
}

/// A `curl` for a shell, whatever the program holds.
fn first_request(url: &str, language: &str, code: &str) -> String {
    let body = json!({ "language": language, "code": code }).to_string();
    // Inside single quotes a shell leaves all as it is, save for the quote itself.
    let body = body.replace('\'', "\\u0027");
    format!("curl -s {url}/v1/execute -H 'content-type: application/json' -d '{body}'")
}

fn ready_line(url: &str, ready: &Ready) -> String {
    let executors: Vec<_> = ready
        .executors
        .iter()
        .map(|it| {
            let languages: Vec<&str> = it.info.languages.iter().map(|it| it.id.as_str()).collect();
            let versions: Vec<&str> =
                it.info.runtimes.iter().map(|it| it.version.as_str()).collect();
            json!({
                "name": it.name,
                "url": format!("http://127.0.0.1:{}", it.port),
                "pid": it.pid,
                "languages": languages,
                "versions": versions,
                "isolation": it.info.isolation.level,
            })
        })
        .collect();
    let failures: Vec<_> =
        ready.failures.iter().map(|it| json!({ "name": it.name, "detail": it.detail })).collect();
    json!({
        "url": url,
        "pid": std::process::id(),
        "gatewayPid": ready.gateway_pid,
        "startSeconds": ready.start_time.as_secs_f64(),
        "executors": executors,
        "failures": failures,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        host: &str,
        demanded: Option<&str>,
        has_keys: bool,
        expected: Result<Option<Level>, ()>,
    ) {
        let host = parse_host(host).unwrap();
        let minimum = min_isolation(host, demanded, has_keys).map_err(drop);
        assert_eq!(minimum, expected, "{host} {demanded:?}");
    }

    #[test]
    fn loopback_takes_any_isolation_unless_more_is_demanded() {
        check("127.0.0.1", None, false, Ok(Some(Level::Bare)));
        check("localhost", None, false, Ok(Some(Level::Bare)));
        check("::1", Some("namespaced"), false, Ok(None));
        check("::1", Some("nonsense"), false, Err(()));
    }

    #[test]
    fn beyond_loopback_needs_keys_and_isolation() {
        check("0.0.0.0", None, false, Err(()));
        check("0.0.0.0", None, true, Ok(None));
        check("[::]", Some("bounded"), true, Ok(None));
        check("::", Some("confined"), true, Err(()));
    }

    #[test]
    fn a_quote_in_the_example_does_not_end_the_shell_s_word() {
        let command = first_request("http://localhost:8000", "a", "print('hello')\n");
        assert_eq!(command.matches('\'').count(), 4, "{command}");
        assert!(command.contains(r"print(\u0027hello\u0027)\n"), "{command}");
    }
}
