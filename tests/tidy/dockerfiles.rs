//! Every `Dockerfile`: pinned bases, one toolchain, no root, and the binary and port of the table.

use std::collections::BTreeSet;

use crate::repository::{exists, hold, read};
use crate::services::{Service, services};

/// What a build of any member needs, as cargo reads all of the workspace.
const WORKSPACE: &[&str] =
    &["Cargo.toml", "Cargo.lock", "cli", "executors", "gateway", "shared", "tests"];

/// One instruction, its continued lines joined.
#[derive(Debug, PartialEq, Eq)]
struct Instruction {
    name: String,
    arguments: String,
}

fn parse(text: &str) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    let mut pending = String::new();
    for line in text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#')) {
        let Some(part) = line.strip_suffix('\\') else {
            pending.push_str(line);
            let (name, arguments) = pending.split_once(' ').unwrap_or((&pending, ""));
            let (name, arguments) = (name.to_uppercase(), arguments.trim().to_owned());
            instructions.push(Instruction { name, arguments });
            pending.clear();
            continue;
        };
        pending.push_str(part);
    }
    instructions
}

#[track_caller]
fn check(rule: &str, faults_of: fn(&Service, &[Instruction]) -> Vec<String>) {
    let mut faults = Vec::new();
    for service in services() {
        let path = service.dockerfile();
        if !exists(&path) {
            faults.push(format!("{path} is missing"));
            continue;
        }
        let found = faults_of(&service, &parse(&read(&path)));
        faults.extend(found.into_iter().map(|it| format!("{path}: {it}")));
    }
    hold(rule, faults);
}

#[test]
fn bases_are_pinned() {
    check("name a base with its full version", |_, instructions| {
        let mut stages = BTreeSet::new();
        let mut faults = Vec::new();
        for it in instructions {
            let words: Vec<&str> = it.arguments.split_whitespace().collect();
            let image = match (it.name.as_str(), words.as_slice()) {
                ("FROM", [image, ..]) => Some(*image),
                ("COPY", [first, ..]) => first.strip_prefix("--from="),
                _ => None,
            };
            if let Some(image) = image.filter(|it| !stages.contains(*it) && !is_pinned(it)) {
                faults.push(image.to_owned());
            }
            if let ("FROM", [_, "AS", stage]) = (it.name.as_str(), words.as_slice()) {
                stages.insert(*stage);
            }
        }
        faults
    });
}

#[test]
fn the_final_stage_is_not_root() {
    check(
        "end with a numeric `USER`, so that a platform can tell that it is not root",
        |_, all| {
            let user = final_stage(all).iter().rfind(|it| it.name == "USER");
            let is_user = |text: &str| text.parse::<u32>().is_ok_and(|it| it > 0);
            let is_ours = user
                .and_then(|it| it.arguments.split_once(':'))
                .is_some_and(|(user, group)| is_user(user) && is_user(group));
            if is_ours { Vec::new() } else { vec![format!("{user:?}")] }
        },
    );
}

#[test]
fn the_command_is_the_services_binary_without_a_shell() {
    check("a shell would keep SIGTERM to itself; write `CMD [\"…\"]`", |service, all| {
        let commands = final_stage(all)
            .iter()
            .filter(|it| matches!(it.name.as_str(), "CMD" | "ENTRYPOINT"))
            .map(|it| serde_json::from_str::<Vec<String>>(&it.arguments).ok());
        let commands: Vec<Option<Vec<String>>> = commands.collect();
        if commands == [Some(vec![service.name.clone()])] {
            Vec::new()
        } else {
            vec![format!("{commands:?}")]
        }
    });
}

#[test]
fn the_port_is_that_of_the_table() {
    check("`EXPOSE` the port of railway/services.json", |service, all| {
        let exposed: Vec<&str> = arguments(final_stage(all), "EXPOSE").collect();
        if exposed == [service.port.to_string()] {
            Vec::new()
        } else {
            vec![format!("{exposed:?}")]
        }
    });
}

#[test]
fn what_is_copied_is_there() {
    let ignore = read(".dockerignore");
    let kept: BTreeSet<&str> = ignore.lines().filter_map(|it| it.strip_prefix('!')).collect();
    let mut faults = Vec::new();
    for service in services().iter().filter(|it| exists(&it.dockerfile())) {
        let path = service.dockerfile();
        let sources = copied(&parse(&read(&path)));
        for it in &sources {
            let top = it.split('/').next().unwrap_or_default();
            if !exists(it) || !kept.contains(top) {
                faults.push(format!("{path}: {it} is not there or ignored by .dockerignore"));
            }
        }
        let lacking = WORKSPACE.iter().filter(|it| !sources.contains(**it));
        faults.extend(lacking.map(|it| format!("{path}: cargo needs {it} as well")));
    }
    hold("`COPY` what the repository has", faults);
}

#[test]
fn the_build_is_of_the_service_and_locked() {
    check("build with `--release --locked -p NAME`", |service, all| {
        let wanted = format!("cargo build --release --locked -p {}", service.name);
        let is_built = arguments(all, "RUN").any(|it| it == wanted);
        if is_built { Vec::new() } else { vec![wanted] }
    });
}

#[test]
fn nothing_is_fetched_or_kept_beside_the_toolchain() {
    check("keep images to what they need", |_, all| {
        let mut faults = Vec::new();
        for it in final_stage(all) {
            let text = &it.arguments;
            let installs = text.contains("apt-get install");
            if it.name == "ADD" || text.contains("curl ") || text.contains("wget ") {
                faults.push(format!("fetches without a checksum: {text}"));
            }
            if installs && !text.ends_with("rm -rf /var/lib/apt/lists/*") {
                faults.push(format!("keeps the lists of packages: {text}"));
            }
            if installs && !text.contains("--no-install-recommends") {
                faults.push(format!("brings what is only recommended: {text}"));
            }
            let is_secret =
                |name: &&str| ["KEY", "TOKEN", "SECRET"].iter().any(|it| name.contains(it));
            if matches!(it.name.as_str(), "ENV" | "ARG")
                && text.split(['=', ' ']).any(|it| is_secret(&it))
            {
                faults.push(format!("has a secret: {text}"));
            }
        }
        faults
    });
}

fn arguments<'a>(all: &'a [Instruction], name: &'static str) -> impl Iterator<Item = &'a str> {
    all.iter().filter(move |it| it.name == name).map(|it| it.arguments.as_str())
}

fn final_stage(all: &[Instruction]) -> &[Instruction] {
    let start = all.iter().rposition(|it| it.name == "FROM").unwrap_or(0);
    all.get(start..).unwrap_or_default()
}

/// What is copied out of the repository.
fn copied(all: &[Instruction]) -> BTreeSet<String> {
    let mut sources = BTreeSet::new();
    for line in arguments(all, "COPY").filter(|it| !it.contains("--from=")) {
        let mut words: Vec<&str> =
            line.split_whitespace().filter(|it| !it.starts_with("--")).collect();
        words.pop();
        sources.extend(words.into_iter().map(str::to_owned));
    }
    sources
}

/// Whether an image is named by digest, or by a tag with at least two numbers, such as `12.12-slim`.
fn is_pinned(image: &str) -> bool {
    if image.contains("@sha256:") {
        return true;
    }
    let tag = image.rsplit('/').next().unwrap_or_default().split_once(':').map(|(_, tag)| tag);
    let version = tag.unwrap_or_default().split('-').next().unwrap_or_default();
    let numbers: Vec<bool> = version.split('.').map(|it| it.parse::<u32>().is_ok()).collect();
    numbers.len() >= 2 && numbers.into_iter().all(|it| it)
}

#[test]
fn a_tag_is_a_full_version_or_no_pin() {
    for image in ["debian:12.12-slim", "registry.example:5000/a/b:1.2.3", "a@sha256:00"] {
        assert!(is_pinned(image), "{image}");
    }
    for image in ["debian", "debian:latest", "debian:12", "debian:bookworm-slim", "host:5000/a"] {
        assert!(!is_pinned(image), "{image}");
    }
}

#[test]
fn continued_lines_are_one_instruction() {
    let instructions = parse("# why\nrun a \\\n    # within\n    && b\n\nUSER 1:1\n");
    let told: Vec<(&str, &str)> =
        instructions.iter().map(|it| (it.name.as_str(), it.arguments.as_str())).collect();
    assert_eq!(told, [("RUN", "a && b"), ("USER", "1:1")]);
}
