//! `railway/railway.ts` is type-checked and evaluated, without Railway, and agrees with the table.
//! Its packages come by `npm ci` into the target directory once, and again when the lock changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::repository::{read, root};
use crate::service_files::{Build, Deploy};
use crate::services::{Service, services};

/// What is copied beside the packages, and where to.
const COPIES: &[(&str, &str)] = &[
    (".railway/package.json", ".railway/package.json"),
    (".railway/railway.ts", ".railway/railway.ts"),
    ("railway/package-lock.json", "railway/package-lock.json"),
    ("railway/package.json", "railway/package.json"),
    ("railway/railway.ts", "railway/railway.ts"),
    ("railway/services.json", "railway/services.json"),
    ("railway/tsconfig.json", "railway/tsconfig.json"),
    ("tests/tidy/evaluate.mts", "railway/evaluate.mts"),
];

const DOMAIN: &str = "run.example.com";

/// What the program describes.
#[derive(Debug, Deserialize)]
struct Project {
    name: String,
    /// What Railway's own check of the graph says.
    faults: Vec<String>,
    resources: Vec<Resource>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    name: String,
    build: Build,
    deploy: LimitedDeploy,
    #[serde(default)]
    networking: Networking,
    variables: BTreeMap<String, Variable>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LimitedDeploy {
    #[serde(flatten)]
    deploy: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Networking {
    custom_domains: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Variable {
    Literal { value: String },
    Preserve,
    Reference { resource: String, output: String },
}

#[test]
fn the_project_is_the_table_in_every_environment() {
    let folder = prepare();
    run(&folder, "tsc", &["-p", "railway"]);
    for environment in ["production", "pr-1"] {
        let printed = run(&folder, "tsx", &["railway/evaluate.mts", environment]);
        let project: Project = serde_json::from_str(&printed).expect("evaluate.mts prints JSON");
        check(project);
    }
}

#[test]
fn railway_finds_the_project_and_nothing_else() {
    let text = read(".railway/railway.ts");
    let code: Vec<&str> = text.lines().filter(|it| !it.starts_with("//")).collect();
    assert_eq!(code, ["export { default } from \"../railway/railway.ts\";"]);
}

#[track_caller]
fn check(project: Project) {
    assert_eq!(project.name, "flotilla");
    assert_eq!(project.faults, Vec::<String>::new());
    let services = services();
    assert_eq!(project.resources.len(), services.len());
    for (resource, service) in project.resources.into_iter().zip(&services) {
        let name = &service.name;
        assert_eq!(resource.name, *name);
        assert_eq!(resource.build, Build::of(service), "{name}");
        check_deploy(resource.deploy, service);
        let domains: Vec<String> = resource.networking.custom_domains.into_keys().collect();
        let expected: &[&str] = if service.public { &[DOMAIN] } else { &[] };
        assert_eq!(domains, expected, "{name}: only the gateway is public");
        check_variables(&resource.variables, service, &services);
    }
}

#[track_caller]
fn check_deploy(deploy: LimitedDeploy, service: &Service) {
    let mut fields = deploy.deploy;
    let limit = fields.remove("limitOverride").unwrap_or_default();
    let bytes = limit.pointer("/containers/memoryBytes").and_then(serde_json::Value::as_u64);
    assert_eq!(bytes, Some(service.memory_mb << 20), "{}", service.name);
    let fields = serde_json::to_value(fields).expect("it was JSON");
    let deploy: Deploy = serde_json::from_value(fields).expect("these fields and no other");
    assert_eq!(deploy, Deploy::of(service), "{}", service.name);
}

#[track_caller]
fn check_variables(variables: &BTreeMap<String, Variable>, service: &Service, all: &[Service]) {
    let literal = |value: String| Some(Variable::Literal { value });
    let mut expected = BTreeMap::from([("PORT".to_owned(), literal(service.port.to_string()))]);
    let prefix = service.name.split('-').next().unwrap_or_default().to_uppercase();
    expected.insert(format!("{prefix}_HOST"), literal("::".to_owned()));
    expected.insert(format!("{prefix}_DRAIN_SECONDS"), literal(service.own_drain()));
    if service.public {
        for it in all {
            let Some(variable) = it.address_variable() else { continue };
            let host = format!("${{{{{}.RAILWAY_PRIVATE_DOMAIN}}}}", it.name);
            expected.insert(variable, literal(format!("http://{host}:{}", it.port)));
        }
    } else {
        let token = Variable::Reference {
            resource: "service.gateway".to_owned(),
            output: "GATEWAY_EXECUTOR_TOKEN".to_owned(),
        };
        expected.insert("EXECUTOR_TOKEN".to_owned(), Some(token));
    }
    for (name, value) in &expected {
        assert_eq!(variables.get(name), value.as_ref(), "{}: {name}", service.name);
    }
    for (name, value) in variables {
        let is_secret = ["KEY", "TOKEN", "SECRET"].iter().any(|it| name.contains(it));
        let is_written = matches!(value, Variable::Literal { .. });
        assert!(!(is_secret && is_written), "{}: {name} is a written secret", service.name);
    }
}

/// A folder with copies of the sources and with the packages.
fn prepare() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("railway-project");
    for (from, to) in COPIES {
        let to = folder.join(to);
        fs::create_dir_all(to.parent().expect("it is below the folder")).expect("a folder");
        fs::copy(root().join(from), &to).unwrap_or_else(|error| panic!("{from}: {error}"));
    }
    let lock = read("railway/package-lock.json");
    let stamp = folder.join("railway/node_modules/.installed");
    if fs::read_to_string(&stamp).is_ok_and(|it| it == lock) {
        return folder;
    }
    // No scripts: nothing of these packages needs one. A slow registry ends in an error.
    let status = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"])
        .args(["--fetch-timeout=60000", "--fetch-retries=2", "--loglevel=error"])
        .current_dir(folder.join("railway"))
        .status()
        .unwrap_or_else(|error| panic!("npm: {error}; install Node.js 20 or newer with npm"));
    assert!(status.success(), "npm ci of railway/package-lock.json: {status}");
    fs::write(&stamp, lock).expect("node_modules can be written");
    folder
}

/// Runs a program of the packages; what it printed.
#[track_caller]
fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(folder.join("railway/node_modules/.bin").join(program))
        .args(arguments)
        .current_dir(folder)
        .env("FLOTILLA_DOMAIN", DOMAIN)
        .env("FLOTILLA_REPOSITORY", "example/flotilla")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}:\n{printed}{complaints}");
    printed
}
