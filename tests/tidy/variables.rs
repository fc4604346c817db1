//! Every variable that a deployment file sets is one that a service reads: a misspelt one stops it.

use crate::repository::{exists, files, hold, read};
use crate::services::{Service, services};

/// Variables' prefixes and the settings that they fill.
const SETTINGS: &[(&str, &str)] =
    &[("GATEWAY_", "gateway/src/settings.rs"), ("EXECUTOR_", "shared/executor/src/settings.rs")];

#[test]
fn every_variable_of_a_deployment_is_a_setting() {
    let dockerfiles: Vec<String> = services().iter().map(Service::dockerfile).collect();
    let is_deployment =
        |it: &str| it.starts_with("railway/") || dockerfiles.iter().any(|path| path == it);
    let mut faults = Vec::new();
    for path in files().filter(|it| is_deployment(it)) {
        let text = read(path);
        for word in text.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_')) {
            let found = SETTINGS.iter().find_map(|(prefix, source)| {
                Some((word.strip_prefix(prefix).filter(|it| !it.is_empty())?, *source))
            });
            let Some((field, source)) = found else { continue };
            if !has_field(source, &field.to_lowercase()) {
                faults.push(format!("{path}: {word} is no field of {source}"));
            }
        }
    }
    faults.dedup();
    hold("a deployment sets a variable that nobody reads", faults);
}

fn has_field(source: &str, field: &str) -> bool {
    let wanted = [format!("pub {field}:"), format!("pub(crate) {field}:")];
    let is_it = |line: &str| wanted.iter().any(|it| line.trim_start().starts_with(it));
    exists(source) && read(source).lines().any(is_it)
}
