//! `railway/compose.yaml` agrees with the table of services, and gives no service more than it needs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::repository::{hold, read};
use crate::services::{Service, services};

#[derive(Debug, Deserialize)]
struct Compose {
    services: BTreeMap<String, Container>,
    networks: BTreeMap<String, Network>,
}

#[derive(Debug, Deserialize)]
struct Container {
    build: Build,
    #[serde(default)]
    ports: Vec<String>,
    networks: BTreeSet<String>,
    read_only: bool,
    cap_drop: Vec<String>,
    security_opt: Vec<String>,
    tmpfs: Vec<String>,
    mem_limit: String,
    pids_limit: u64,
    stop_grace_period: String,
    restart: String,
    environment: BTreeMap<String, String>,
    healthcheck: Healthcheck,
    #[serde(default)]
    privileged: bool,
}

#[derive(Debug, Deserialize)]
struct Build {
    context: String,
    dockerfile: String,
}

#[derive(Debug, Deserialize)]
struct Healthcheck {
    test: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    internal: bool,
}

#[track_caller]
fn compose() -> Compose {
    let text = read("railway/compose.yaml");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("railway/compose.yaml: {error}"))
}

/// Services of the table with their containers.
#[track_caller]
fn pairs() -> Vec<(Service, Container)> {
    let mut containers = compose().services;
    let pair = |it: Service| {
        let container = containers.remove(&it.name);
        (it.clone(), container.unwrap_or_else(|| panic!("compose.yaml has no {}", it.name)))
    };
    services().into_iter().map(pair).collect()
}

#[test]
fn the_services_are_those_of_the_table() {
    let names: BTreeSet<String> = services().into_iter().map(|it| it.name).collect();
    assert_eq!(compose().services.into_keys().collect::<BTreeSet<_>>(), names);
}

#[test]
fn a_container_is_what_the_table_says() {
    for (service, container) in pairs() {
        let name = &service.name;
        assert_eq!(container.build.context, "..", "{name}");
        assert_eq!(container.build.dockerfile, service.dockerfile(), "{name}");
        assert_eq!(container.mem_limit, format!("{}m", service.memory_mb), "{name}");
        assert_eq!(container.stop_grace_period, format!("{}s", service.drain_seconds), "{name}");
        assert_eq!(container.restart, "on-failure:10", "{name}");
        assert_eq!(container.healthcheck.test, ["CMD", name, "--healthcheck"], "{name}");
        let prefix = name.split('-').next().unwrap_or_default().to_uppercase();
        let drain = container.environment.get(&format!("{prefix}_DRAIN_SECONDS"));
        assert_eq!(drain, Some(&service.own_drain()), "{name}");
    }
}

#[test]
fn every_container_is_jailed() {
    for (service, container) in pairs() {
        let name = service.name;
        assert!(container.read_only, "{name}: read_only");
        assert!(!container.privileged, "{name}: privileged");
        assert_eq!(container.cap_drop, ["ALL"], "{name}: cap_drop");
        assert_eq!(container.security_opt, ["no-new-privileges:true"], "{name}: security_opt");
        assert!(container.pids_limit > 0, "{name}: pids_limit");
        assert!(container.tmpfs.iter().all(|it| it.contains("size=")), "{name}: bounded tmpfs");
    }
}

#[test]
fn only_the_gateway_can_be_reached_or_reach_out() {
    let networks = compose().networks;
    let is_internal = |it: &String| networks.get(it).is_some_and(|it| it.internal);
    for (service, container) in pairs() {
        assert_eq!(!container.ports.is_empty(), service.public, "{}: ports", service.name);
        let is_closed = container.networks.iter().all(is_internal);
        assert_eq!(!is_closed, service.public, "{}: networks", service.name);
    }
    let published = compose().services.into_values().filter(|it| !it.ports.is_empty()).count();
    assert_eq!(published, 1);
}

#[test]
fn the_gateway_knows_every_executor() {
    let pairs = pairs();
    let (_, gateway) = pairs.iter().find(|(it, _)| it.public).expect("there is a gateway");
    for (service, _) in &pairs {
        let Some(variable) = service.address_variable() else { continue };
        let address = format!("http://{}:{}", service.name, service.port);
        assert_eq!(gateway.environment.get(&variable), Some(&address), "{variable}");
    }
}

#[test]
fn secrets_come_from_the_environment_and_must_be_set() {
    let mut faults = Vec::new();
    for (service, container) in pairs() {
        let secrets = container
            .environment
            .iter()
            .filter(|(name, _)| ["KEY", "TOKEN", "SECRET"].iter().any(|it| name.contains(it)))
            .filter(|(_, value)| !(value.starts_with("${") && value.contains(":?")));
        faults.extend(secrets.map(|(name, _)| format!("{}: {name}", service.name)));
    }
    hold("write ${NAME:?what to set}", faults);
}
