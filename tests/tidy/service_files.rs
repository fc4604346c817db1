//! Railway's older configuration files, one a service, agree with the table of services.

use globset::Glob;
use serde::Deserialize;

use crate::repository::{exists, files, files_ending, hold, read};
use crate::services::{Service, services};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    build: Build,
    deploy: Deploy,
}

/// How an image is made; the same words in the project as code.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Build {
    builder: String,
    dockerfile_path: String,
    watch_patterns: Vec<String>,
}

/// How it runs; the same words in the project as code.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Deploy {
    healthcheck_path: String,
    healthcheck_timeout: u64,
    restart_policy_type: String,
    restart_policy_max_retries: u64,
    draining_seconds: u64,
}

impl Build {
    pub(crate) fn of(service: &Service) -> Self {
        Self {
            builder: "DOCKERFILE".to_owned(),
            dockerfile_path: service.dockerfile(),
            watch_patterns: service.watch_patterns().into(),
        }
    }
}

impl Deploy {
    pub(crate) fn of(service: &Service) -> Self {
        Self {
            healthcheck_path: service.health.clone(),
            healthcheck_timeout: 300,
            restart_policy_type: "ON_FAILURE".to_owned(),
            restart_policy_max_retries: 10,
            draining_seconds: service.drain_seconds,
        }
    }
}

#[test]
fn every_service_has_a_file_that_agrees_with_the_table() {
    for service in services() {
        let path = format!("railway/{}.toml", service.name);
        let file: File =
            toml::from_str(&read(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(file.build, Build::of(&service), "{path}");
        assert_eq!(file.deploy, Deploy::of(&service), "{path}");
    }
}

#[test]
fn every_file_is_of_a_service() {
    let names: Vec<String> =
        services().iter().map(|it| format!("railway/{}.toml", it.name)).collect();
    let strays = files_ending(".toml")
        .filter(|it| it.starts_with("railway/") && !names.iter().any(|name| name == it));
    hold("railway/ has a file of no service", strays.map(str::to_owned));
}

#[test]
fn what_the_table_points_at_exists() {
    let mut faults = Vec::new();
    for service in services() {
        if !exists(&service.dockerfile()) {
            faults.push(format!("{}: no {}", service.name, service.dockerfile()));
        }
        for pattern in service.watch_patterns() {
            let glob = Glob::new(pattern.trim_start_matches('/')).expect("a pattern is a glob");
            let matcher = glob.compile_matcher();
            if !files().any(|it| matcher.is_match(it)) {
                faults.push(format!("{}: no file matches {pattern}", service.name));
            }
        }
    }
    hold("a service points at what is not there", faults);
}
