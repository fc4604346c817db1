//! Loads settings: defaults, then a file, then environment variables; the last one wins.
//!
//! Invariant: this is the only place that reads environment variables. Secrets are typed
//! `secrecy::SecretString` by their owners, so they do not print.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, ConfigError, File};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why settings could not be loaded; names the variable or the file.
#[derive(Debug, thiserror::Error)]
#[error("settings of {prefix}: {source}")]
pub struct SettingsError {
    prefix: String,
    source: Box<ConfigError>,
}

/// Loads `T` from its own defaults, the TOML file named by `<PREFIX>_SETTINGS_FILE`, and the
/// variables `<PREFIX>_<FIELD>`. `T` should deny unknown fields: a misspelt variable is then an
/// error. Fields that are lists by default are comma-separated in variables.
pub fn load<T: Default + Serialize + DeserializeOwned>(prefix: &str) -> Result<T, SettingsError> {
    load_from(prefix, variables())
}

/// The value of one well-known variable that has no prefix, such as `PORT`. Empty is unset.
pub fn variable(name: &str) -> Option<String> {
    variables().remove(name).filter(|value| !value.is_empty())
}

/// The variables whose name ends with `suffix`: what stands before it, and the value, in the
/// order of names. Empty values are left out.
pub fn variables_ending(suffix: &str) -> Vec<(String, String)> {
    variables()
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| Some((name.strip_suffix(suffix)?.to_owned(), value)))
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

/// The directories of `PATH`, in order, or Debian's if there is none.
pub fn path_directories() -> Vec<PathBuf> {
    const DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";
    let path = variable("PATH").unwrap_or_else(|| DEFAULT.to_owned());
    path.split(':').filter(|it| it.starts_with('/')).map(|it| Path::new(it).to_owned()).collect()
}

fn load_from<T: Default + Serialize + DeserializeOwned>(
    prefix: &str,
    mut variables: BTreeMap<String, String>,
) -> Result<T, SettingsError> {
    let error = |source| SettingsError { prefix: prefix.to_owned(), source: Box::new(source) };
    let file = variables.remove(&format!("{prefix}_SETTINGS_FILE"));
    let defaults = T::default();
    let lists = lists_of(&defaults).map_err(error)?;
    let mut builder = Config::builder().add_source(Config::try_from(&defaults).map_err(error)?);
    if let Some(file) = file {
        builder = builder.add_source(File::from(Path::new(&file)));
    }
    for (name, value) in variables {
        if value.is_empty() || is_service_link(&name, &value) {
            continue;
        }
        let Some(field) = name.strip_prefix(&format!("{prefix}_")) else { continue };
        let field = field.to_lowercase();
        // Every value stays a text until its field says otherwise: a key of digits is no number.
        builder = if lists.contains(&field) {
            builder.set_override(&field, value.split(',').map(str::trim).collect::<Vec<_>>())
        } else {
            builder.set_override(&field, value)
        }
        .map_err(error)?;
    }
    builder.build().and_then(Config::try_deserialize).map_err(error)
}

/// The fields that are lists.
fn lists_of(defaults: &impl Serialize) -> Result<Vec<String>, ConfigError> {
    let fields = serde_json::to_value(defaults).map_err(|it| ConfigError::Foreign(Box::new(it)))?;
    let fields = fields.as_object().into_iter().flatten();
    Ok(fields.filter(|(_, it)| it.is_array()).map(|(name, _)| name.clone()).collect())
}

/// Whether an orchestrator made the variable up from the name of a neighbouring service, such as
/// `GATEWAY_PORT=tcp://10.0.0.1:80` for a service that is called `gateway`.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_address = value.starts_with("tcp://") || value.starts_with("udp://");
    let is_part = |part: &str| name.contains(part);
    is_address
        || ["_SERVICE_HOST", "_SERVICE_PORT"].into_iter().any(is_part)
        || (is_part("_PORT_") && (is_part("_TCP") || is_part("_UDP")))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        slots: usize,
        host: String,
        origins: Vec<String>,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self { slots: 2, host: "::1".to_owned(), origins: Vec::new() }
        }
    }

    fn load(variables: &[(&str, &str)]) -> Result<Sample, SettingsError> {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load_from("SAMPLE", variables.collect())
    }

    #[test]
    fn a_variable_wins_over_the_default() {
        let sample = load(&[("SAMPLE_SLOTS", "5"), ("OTHER_SLOTS", "9")]).unwrap();
        assert_eq!(sample, Sample { slots: 5, ..Sample::default() });
    }

    #[test]
    fn an_empty_variable_is_unset() {
        assert_eq!(load(&[("SAMPLE_SLOTS", "")]).unwrap(), Sample::default());
    }

    #[test]
    fn what_an_orchestrator_says_of_neighbours_is_no_setting() {
        let links = [
            ("SAMPLE_SLOTS", "tcp://10.0.0.1:80"),
            ("SAMPLE_A_SERVICE_HOST", "10.0.0.1"),
            ("SAMPLE_A_SERVICE_PORT_HTTP", "80"),
            ("SAMPLE_A_PORT_80_TCP_ADDR", "10.0.0.1"),
        ];
        assert_eq!(load(&links).unwrap(), Sample::default());
    }

    #[test]
    fn a_text_of_digits_stays_a_text() {
        assert_eq!(load(&[("SAMPLE_HOST", "0012")]).unwrap().host, "0012");
    }

    #[test]
    fn a_list_is_split_at_commas() {
        let sample = load(&[("SAMPLE_ORIGINS", "a,b")]).unwrap();
        assert_eq!(sample.origins, ["a", "b"]);
    }

    #[test]
    fn a_text_is_no_list() {
        assert_eq!(load(&[("SAMPLE_HOST", "a,b")]).unwrap().host, "a,b");
    }

    #[test]
    fn a_misspelt_variable_is_an_error_that_names_it() {
        let error = load(&[("SAMPLE_SLOST", "5")]).unwrap_err();
        assert!(format!("{error}").contains("slost"), "{error}");
    }

    #[test]
    fn a_file_stands_between_defaults_and_variables() {
        let file = std::env::temp_dir().join(format!("settings-{}.toml", std::process::id()));
        std::fs::write(&file, "slots = 7\nhost = \"h\"").unwrap();
        let name = file.to_str().unwrap();
        let sample = load(&[("SAMPLE_SETTINGS_FILE", name), ("SAMPLE_SLOTS", "8")]).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(sample, Sample { slots: 8, host: "h".to_owned(), origins: Vec::new() });
    }
}
