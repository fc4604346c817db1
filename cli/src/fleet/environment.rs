//! The variables that each service is started with.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use protocol::Level;

use super::ports::variable_name;

/// What all services of one start have in common.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    /// Our own variables; a service gets those that are not another service's.
    pub(crate) inherited: Vec<(String, String)>,
    /// Shared by the gateway and its executors; empty lets everybody on this machine ask them.
    pub(crate) token: String,
    /// The weakest isolation that an executor may start with, if the fleet has a say in it.
    pub(crate) min_isolation: Option<Level>,
    /// Where executors keep what they made out of their toolchains.
    pub(crate) prepared: PathBuf,
    /// Where executors look for programs beside the path.
    pub(crate) toolchains: Vec<PathBuf>,
}

/// The gateway's environment: it listens on `host` and `port`, and its executors on `executors`.
/// Where nothing else was set, it keeps jobs in the file `store`.
pub(crate) fn of_gateway(
    common: &Common,
    (host, port): (IpAddr, u16),
    store: &Path,
    executors: &BTreeMap<String, u16>,
) -> Vec<(String, String)> {
    let mut variables = inherit(common, "EXECUTOR_");
    let url = format!("sqlite:{}", store.display());
    variables.entry("GATEWAY_STORE_URL".to_owned()).or_insert(url);
    set(&mut variables, "GATEWAY_HOST", host.to_string());
    set(&mut variables, "GATEWAY_EXECUTOR_TOKEN", common.token.clone());
    set(&mut variables, "PORT", port.to_string());
    for (name, port) in executors {
        let variable = format!("{}_EXECUTOR_URL", variable_name(name));
        set(&mut variables, &variable, format!("http://127.0.0.1:{port}"));
    }
    variables.into_iter().collect()
}

/// The environment of an executor, whose own directory is `state`. The gateway's secrets stay
/// with the gateway. What the user has set wins, save for where it listens, the token, and its
/// directory, as no two executors may share one.
pub(crate) fn of_executor(common: &Common, state: &Path, port: u16) -> Vec<(String, String)> {
    let mut variables = inherit(common, "GATEWAY_");
    set(&mut variables, "EXECUTOR_HOST", "127.0.0.1".to_owned());
    set(&mut variables, "EXECUTOR_TOKEN", common.token.clone());
    set(&mut variables, "EXECUTOR_STATE_DIR", state.display().to_string());
    set(&mut variables, "PORT", port.to_string());
    let mut otherwise = |name: &str, value: String| {
        variables.entry(name.to_owned()).or_insert(value);
    };
    otherwise("EXECUTOR_PREPARED_DIR", common.prepared.display().to_string());
    if let Some(level) = common.min_isolation {
        otherwise("EXECUTOR_MIN_ISOLATION", level.as_str().to_owned());
    }
    if !common.toolchains.is_empty() {
        let path: Vec<String> =
            common.toolchains.iter().map(|it| it.display().to_string()).collect();
        otherwise("EXECUTOR_TOOLCHAIN_PATH", path.join(":"));
    }
    variables.into_iter().collect()
}

fn inherit(common: &Common, but: &str) -> BTreeMap<String, String> {
    let kept = common.inherited.iter().filter(|(name, _)| !name.starts_with(but));
    kept.cloned().collect()
}

fn set(variables: &mut BTreeMap<String, String>, name: &str, value: String) {
    variables.insert(name.to_owned(), value);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn common(inherited: &[(&str, &str)]) -> Common {
        let inherited = inherited.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Common {
            inherited: inherited.collect(),
            token: "secret".to_owned(),
            min_isolation: Some(Level::Bare),
            prepared: PathBuf::from("/prepared"),
            toolchains: vec![PathBuf::from("/one/bin"), PathBuf::from("/two/bin")],
        }
    }

    fn check(variables: &[(String, String)], name: &str, expected: Option<&str>) {
        let found = variables.iter().find(|(it, _)| it == name);
        assert_eq!(found.map(|(_, value)| value.as_str()), expected, "{name}");
    }

    #[test]
    fn an_executor_gets_its_place_and_none_of_the_gateway_s_secrets() {
        let common = common(&[("GATEWAY_KEYS", "k"), ("HOME", "/h"), ("PORT", "8000")]);
        let variables = of_executor(&common, Path::new("/state/a"), 8001);
        check(&variables, "GATEWAY_KEYS", None);
        check(&variables, "HOME", Some("/h"));
        check(&variables, "PORT", Some("8001"));
        check(&variables, "EXECUTOR_STATE_DIR", Some("/state/a"));
        check(&variables, "EXECUTOR_TOOLCHAIN_PATH", Some("/one/bin:/two/bin"));
        check(&variables, "EXECUTOR_MIN_ISOLATION", Some("bare"));
    }

    #[test]
    fn what_the_user_has_set_stays() {
        let common = common(&[("EXECUTOR_MIN_ISOLATION", "bounded"), ("EXECUTOR_SLOTS", "3")]);
        let variables = of_executor(&common, Path::new("/state/a"), 8001);
        check(&variables, "EXECUTOR_MIN_ISOLATION", Some("bounded"));
        check(&variables, "EXECUTOR_SLOTS", Some("3"));
    }

    #[test]
    fn the_gateway_learns_every_executor() {
        let executors = BTreeMap::from([("a-b".to_owned(), 8001)]);
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let common = common(&[("EXECUTOR_SLOTS", "3")]);
        let store = Path::new("/kept/jobs.db");
        let variables = of_gateway(&common, (host, 8000), store, &executors);
        check(&variables, "GATEWAY_STORE_URL", Some("sqlite:/kept/jobs.db"));
        check(&variables, "A_B_EXECUTOR_URL", Some("http://127.0.0.1:8001"));
        check(&variables, "GATEWAY_EXECUTOR_TOKEN", Some("secret"));
        check(&variables, "EXECUTOR_SLOTS", None);
    }
}
