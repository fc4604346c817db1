//! Which service listens where: planned purely, then looked at before anything is started.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};

use anyhow::{Context as _, bail};

/// The gateway's name among the services.
pub(crate) const GATEWAY: &str = "gateway";
/// The gateway's port when nothing names one.
const GATEWAY_PORT: u16 = 8000;

/// How ports are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortChoice {
    /// Each service's own, or the one in its variable.
    Own,
    /// The gateway's, the executors' following.
    Base(u16),
    /// Any that are free.
    Free,
}

impl PortChoice {
    /// What `--port-base` says: 0 stands for free ports.
    pub(crate) fn from_base(base: Option<u16>) -> Self {
        match base {
            None => Self::Own,
            Some(0) => Self::Free,
            Some(base) => Self::Base(base),
        }
    }
}

/// A service that wants a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortWish {
    /// The service's name.
    pub(crate) service: String,
    /// The address it listens on.
    pub(crate) host: IpAddr,
    /// Its own port.
    pub(crate) port: u16,
    /// The variable that names another.
    pub(crate) variable: String,
    /// What the variable says.
    pub(crate) value: Option<String>,
}

impl PortWish {
    /// The gateway's wish.
    pub(crate) fn gateway(host: IpAddr) -> Self {
        let (variable, port) = ("PORT".to_owned(), GATEWAY_PORT);
        let value = settings::variable(&variable);
        Self { service: GATEWAY.to_owned(), host, port, variable, value }
    }

    /// The wish of the executor `name`.
    pub(crate) fn executor(name: &str, port: u16) -> Self {
        let variable = format!("{}_EXECUTOR_PORT", variable_name(name));
        let value = settings::variable(&variable);
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { service: name.to_owned(), host, port, variable, value }
    }
}

/// A service's name as the first part of a variable.
pub(crate) fn variable_name(service: &str) -> String {
    service.to_uppercase().replace('-', "_")
}

/// The port of each service, none twice and each free now.
pub(crate) fn choose(
    choice: PortChoice,
    wishes: &[PortWish],
) -> anyhow::Result<BTreeMap<String, u16>> {
    match choice {
        PortChoice::Own => check_free(wishes, plan_own(wishes)?),
        PortChoice::Base(base) => check_free(wishes, plan_from(base, wishes)?),
        PortChoice::Free => free(wishes),
    }
}

fn plan_own(wishes: &[PortWish]) -> anyhow::Result<BTreeMap<String, u16>> {
    let mut owners = BTreeMap::new();
    let mut ports = BTreeMap::new();
    for wish in wishes {
        let port = match &wish.value {
            None => wish.port,
            Some(text) => match text.parse() {
                Ok(port) if port > 0 => port,
                _ => bail!("{} must be a port from 1 to 65535, not `{text}`", wish.variable),
            },
        };
        if let Some(other) = owners.insert(port, wish) {
            bail!(
                "{} and {} would both listen on port {port}; set {} or {}",
                other.service,
                wish.service,
                other.variable,
                wish.variable,
            );
        }
        ports.insert(wish.service.clone(), port);
    }
    Ok(ports)
}

fn plan_from(base: u16, wishes: &[PortWish]) -> anyhow::Result<BTreeMap<String, u16>> {
    let ports = base..=u16::MAX;
    if ports.len() < wishes.len() {
        bail!("from port {base} on there are not {} ports; use a lower base", wishes.len());
    }
    Ok(wishes.iter().map(|wish| wish.service.clone()).zip(ports).collect())
}

fn check_free(
    wishes: &[PortWish],
    ports: BTreeMap<String, u16>,
) -> anyhow::Result<BTreeMap<String, u16>> {
    let mut taken = Vec::new();
    for wish in wishes {
        let Some(&port) = ports.get(&wish.service) else { continue };
        if let Err(error) = TcpListener::bind((wish.host, port)) {
            let (service, variable) = (&wish.service, &wish.variable);
            taken.push(format!("port {port} for {service} ({variable}): {error}"));
        }
    }
    if taken.is_empty() {
        return Ok(ports);
    }
    bail!(
        "cannot listen; nothing was started:\n  {}\nfree the ports, set the variables in \
         parentheses, or use `--port-base N` (0: any free ports)",
        taken.join("\n  "),
    )
}

/// Asks the system. The ports are let go before the services take them, so another program
/// could come in between; the service then says so.
fn free(wishes: &[PortWish]) -> anyhow::Result<BTreeMap<String, u16>> {
    let mut listeners = Vec::new();
    let mut ports = BTreeMap::new();
    for wish in wishes {
        let listener = TcpListener::bind((wish.host, 0))
            .with_context(|| format!("no free port on {}", wish.host))?;
        ports.insert(wish.service.clone(), listener.local_addr()?.port());
        listeners.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(service: &str, port: u16, value: Option<&str>) -> PortWish {
        PortWish {
            service: service.to_owned(),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port,
            variable: format!("{}_PORT", variable_name(service)),
            value: value.map(str::to_owned),
        }
    }

    fn check(planned: anyhow::Result<BTreeMap<String, u16>>, expected: &[(&str, u16)]) {
        let expected = expected.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
        assert_eq!(planned.unwrap(), expected);
    }

    #[test]
    fn a_variable_wins_over_a_service_s_own_port() {
        let wishes = [wish("gateway", 8000, None), wish("a", 8001, Some("9000"))];
        check(plan_own(&wishes), &[("gateway", 8000), ("a", 9000)]);
    }

    #[test]
    fn the_executors_follow_the_base() {
        let wishes = [wish("gateway", 8000, None), wish("a", 8001, Some("9000"))];
        check(plan_from(5000, &wishes), &[("gateway", 5000), ("a", 5001)]);
        assert!(plan_from(65535, &wishes).is_err());
    }

    #[test]
    fn two_services_on_one_port_are_an_error_that_names_both() {
        let wishes = [wish("gateway", 8000, Some("8001")), wish("a", 8001, None)];
        let error = plan_own(&wishes).unwrap_err().to_string();
        assert!(error.contains("gateway and a") && error.contains("A_PORT"), "{error}");
    }

    #[test]
    fn a_variable_that_is_no_port_is_an_error() {
        for value in ["0", "http", "65536", "-1"] {
            let error = plan_own(&[wish("a", 1, Some(value))]).unwrap_err().to_string();
            assert!(error.contains("A_PORT") && error.contains(value), "{error}");
        }
    }

    #[test]
    fn a_taken_port_is_named_with_the_variable_that_changes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = choose(PortChoice::Own, &[wish("x-y", port, None)]).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("X_Y_PORT"), "{error}");
    }

    #[test]
    fn free_ports_differ() {
        let wishes = [wish("a", 1, None), wish("b", 1, None)];
        let ports = choose(PortChoice::Free, &wishes).unwrap();
        assert_ne!(ports["a"], ports["b"]);
    }
}
