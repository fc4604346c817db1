//! The table of services, `railway/services.json`, which every deployment file is held against.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::repository::{exists, folders, hold, read, read_toml};

/// One deployed service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Service {
    /// Its name, which is that of its package, its binary and its host.
    pub(crate) name: String,
    /// Its folder, which holds its `Dockerfile`.
    pub(crate) folder: String,
    pub(crate) port: u16,
    /// Whether strangers may reach it.
    pub(crate) public: bool,
    /// What answers 200 when it can serve.
    pub(crate) health: String,
    /// What a platform waits between SIGTERM and SIGKILL.
    pub(crate) drain_seconds: u64,
    pub(crate) memory_mb: u64,
}

impl Service {
    pub(crate) fn dockerfile(&self) -> String {
        format!("{}/Dockerfile", self.folder)
    }

    /// What a change of must build it anew, in gitignore's notation.
    pub(crate) fn watch_patterns(&self) -> [String; 4] {
        let own = format!("/{}/**", self.folder);
        [own, "/shared/**".to_owned(), "/Cargo.toml".to_owned(), "/Cargo.lock".to_owned()]
    }

    /// What the service must be told to drain in, which leaves it time to say good-bye.
    pub(crate) fn own_drain(&self) -> String {
        (self.drain_seconds - 5).to_string()
    }

    /// The gateway's variable for an executor; none for the gateway.
    pub(crate) fn address_variable(&self) -> Option<String> {
        let family = self.name.strip_prefix("executor-")?;
        Some(format!("{}_EXECUTOR_URL", family.to_uppercase()))
    }
}

/// Every service, the gateway first.
#[track_caller]
pub(crate) fn services() -> Vec<Service> {
    serde_json::from_str(&read("railway/services.json"))
        .unwrap_or_else(|error| panic!("railway/services.json: {error}"))
}

/// The longest run, in seconds: a drain is longer.
const RUN_SECONDS_MAX: u64 = 60;

#[test]
fn there_is_one_gateway_and_one_executor_a_language() {
    let services = services();
    let mut expected: BTreeSet<String> =
        folders("executors").iter().map(|it| format!("executors/{it}")).collect();
    expected.insert("gateway".to_owned());
    let folders: BTreeSet<String> = services.iter().map(|it| it.folder.clone()).collect();
    assert_eq!(folders, expected, "railway/services.json and the folders differ");
    let public: Vec<&str> =
        services.iter().filter(|it| it.public).map(|it| it.name.as_str()).collect();
    assert_eq!(public, ["gateway"], "only the gateway is public");
    let ports: BTreeSet<u16> = services.iter().map(|it| it.port).collect();
    assert_eq!(ports.len(), services.len(), "two services have one port");
}

#[test]
fn a_service_is_what_its_folder_says() {
    let mut faults = Vec::new();
    for service in services() {
        let manifest = read_toml(&format!("{}/Cargo.toml", service.folder));
        let package = manifest.get("package").and_then(|it| it.get("name")?.as_str());
        if package != Some(&service.name) {
            faults.push(format!("{}: its package is {package:?}", service.name));
        }
        let spec = format!("{}/runtime.toml", service.folder);
        let port =
            exists(&spec).then(|| read_toml(&spec)).and_then(|it| it.get("port")?.as_integer());
        if port.is_some_and(|it| it != i64::from(service.port)) {
            faults.push(format!("{}: runtime.toml has another port", service.name));
        }
        if service.drain_seconds < RUN_SECONDS_MAX + 5 {
            faults.push(format!("{}: it must outlast a run", service.name));
        }
    }
    hold("railway/services.json and the crates differ", faults);
}

#[test]
fn the_gateway_drains_longer_than_the_executors_whose_answers_it_holds() {
    let (gateways, executors): (Vec<Service>, Vec<Service>) =
        services().into_iter().partition(|it| it.public);
    let shortest = gateways.iter().map(|it| it.drain_seconds).min();
    assert!(shortest > executors.iter().map(|it| it.drain_seconds).max());
}
