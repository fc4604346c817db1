//! What programs need of a machine works inside the jail: with every capability, as a container's
//! root, and as an unprivileged user whose runs share the executor's own. What needs more than the
//! weakest rung is told by a table here, and by the same one in README.md.

use anyhow::{Result, ensure};
use protocol::Level;
use serde_json::{Value, json};
use tests::{ServerBuilder, binary, repository};

use crate::checks::{Checks, short};
use crate::target::{Target, get};

/// With whose rights an executor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// As root with every capability.
    Everything,
    /// As root with what a container leaves it, under a container's filter.
    ContainerRoot,
    /// As a user without rights under that filter: runs share the executor's user.
    Shared,
    /// As whoever runs the tests, where that is not root.
    Own,
}

/// What a program works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Shared memory by name, which only a jail with a `/dev/shm` of its own has.
    SharedMemory,
    /// A `/tmp`, which only a jail with one of its own has.
    Temporary,
    /// Modes of files, which are without effect where runs share the executor's user and see its
    /// files.
    Modes,
}

impl Need {
    /// The weakest level that always has it.
    fn level(self) -> Level {
        match self {
            Self::SharedMemory | Self::Temporary | Self::Modes => Level::Namespaced,
        }
    }

    /// Whether a user of their own gives it to runs at lower levels too.
    fn comes_with_a_user(self) -> bool {
        self == Self::Modes
    }

    fn is_met(self, level: Level, rights: Rights) -> bool {
        let has_users = matches!(rights, Rights::Everything | Rights::ContainerRoot);
        level >= self.level() || (self.comes_with_a_user() && has_users)
    }

    /// What a program is told that does not have it.
    fn complaint(self) -> &'static str {
        match self {
            Self::SharedMemory => "PermissionError",
            Self::Temporary => "Permission denied",
            // Languages have words of their own for it.
            Self::Modes => "ermission",
        }
    }
}

/// Programs that need more than every rung gives: how README.md calls what they do, and the file.
const NEEDS: &[(&str, &str, Need)] = &[
    ("`multiprocessing.Pool`", "python/pool.py", Need::SharedMemory),
    ("`multiprocessing.Queue` and `Lock`", "python/queue.py", Need::SharedMemory),
    ("`multiprocessing.shared_memory`", "python/shared_memory.py", Need::SharedMemory),
    ("`concurrent.futures.ProcessPoolExecutor`", "python/process_pool.py", Need::SharedMemory),
    ("`/tmp` by its name, as C's `tmpfile` does", "cpp/tmpfile.cpp", Need::Temporary),
    ("`os.chmod` that takes effect", "python/executable.py", Need::Modes),
    ("`std::filesystem::copy` of what is read then", "cpp/copies.cpp", Need::Modes),
];

/// No program of these works longer; one that hangs is stopped by it.
const SECONDS_MAX: u64 = 30;

impl Rights {
    /// Those that can be had here.
    fn all() -> &'static [Self] {
        if rustix::process::geteuid().is_root() {
            &[Self::Everything, Self::ContainerRoot, Self::Shared]
        } else {
            &[Self::Own]
        }
    }

    /// An executor with these rights. Its users are those of this process and language alone.
    fn builder(self, folder: &str) -> ServerBuilder {
        let number = tests::executors().iter().position(|it| it == folder).unwrap_or_default();
        let first =
            200_000 + std::process::id() % 20_000 * 100 + u32::try_from(number).unwrap() * 10;
        let container = binary("container").to_string_lossy().into_owned();
        let wrap = |user: &str| [container.as_str(), "--user", user, "--"].map(str::to_owned);
        let words = match self {
            Self::Everything | Self::Own => Vec::new(),
            Self::ContainerRoot => wrap("0").to_vec(),
            Self::Shared => wrap(&first.to_string()).to_vec(),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let builder = ServerBuilder::new(&format!("executor-{folder}"));
        let builder = builder.set("EXECUTOR_UID_BASE", &(first + 1).to_string());
        // One version is enough, and the system's own is within everybody's reach.
        let builder = match folder {
            "python" => builder.set("PATH", "/usr/local/bin:/usr/bin:/bin"),
            _ => builder,
        };
        builder.set("EXECUTOR_SLOTS", "2").wrapped(&words)
    }
}

/// The programs of a language: file and text.
fn programs(language: &str) -> Vec<(String, String)> {
    let folder = repository().join("tests/fleet/compatibility").join(language);
    let mut programs: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (format!("{language}/{name}"), std::fs::read_to_string(path).unwrap())
        })
        .collect();
    programs.sort();
    programs
}

/// Runs every program of an executor's languages with whatever rights there are.
async fn check(folder: &str, languages: &[&str]) {
    for rights in Rights::all() {
        let server = match rights.builder(folder).try_start().await {
            Ok(server) => server,
            Err(log) if log.contains("no toolchain was found") => {
                println!("SKIPPED: {folder} has no toolchain within reach ({rights:?})");
                continue;
            }
            Err(log) => panic!("executor-{folder} ended ({rights:?}):\n{log}"),
        };
        let info = get(&server, "/info").await.body;
        let level = level_of(&info);
        let targets: Vec<(&str, Target)> =
            languages.iter().map(|it| (*it, Target::executor_for(&server, it))).collect();
        let mut checks = Checks::default();
        for (language, target) in &targets {
            for (file, code) in programs(language) {
                let name = format!("{file} at {level}, {rights:?}");
                checks.add(
                    name,
                    async move { try_program(target, &file, &code, level, *rights).await },
                );
            }
        }
        checks.make(&format!("{folder}, {rights:?}, {level}"), 2).await;
    }
}

fn level_of(info: &Value) -> Level {
    info["isolation"]["level"].as_str().unwrap().parse().unwrap()
}

async fn try_program(
    target: &Target,
    file: &str,
    code: &str,
    level: Level,
    rights: Rights,
) -> Result<()> {
    let report = target.run(&json!({"code": code, "timeout": SECONDS_MAX})).await?;
    let output = report["output"].as_str().unwrap_or_default();
    if output.starts_with("skipped: ") {
        println!("SKIPPED: {file}: {}", output.trim());
        return Ok(());
    }
    let need = NEEDS.iter().find(|(_, it, _)| *it == file).map(|(_, _, need)| *need);
    match need.filter(|it| !it.is_met(level, rights)) {
        None => {
            let works = report["status"] == "success" && output == "works\n";
            ensure!(works, "it should work: {}", short(&report));
        }
        Some(need) => {
            let error = report["error"].as_str().unwrap_or_default();
            let is_told = report["status"] == "runtime_error" && error.contains(need.complaint());
            ensure!(is_told, "it should fail, and say so at once: {}", short(&report));
        }
    }
    Ok(())
}

#[tokio::test]
async fn python_programs_have_what_they_need() {
    check("python", &["python"]).await;
}

#[tokio::test]
async fn javascript_and_typescript_programs_have_what_they_need() {
    check("javascript", &["javascript", "typescript"]).await;
}

#[tokio::test]
async fn java_programs_have_what_they_need() {
    check("java", &["java"]).await;
}

#[tokio::test]
async fn cpp_programs_have_what_they_need() {
    check("cpp", &["cpp"]).await;
}

#[tokio::test]
async fn go_programs_have_what_they_need() {
    check("go", &["go"]).await;
}

#[tokio::test]
async fn rust_programs_have_what_they_need() {
    check("rust", &["rust"]).await;
}

/// README.md has a table with a row for each need: what, from which level, and whether a user of
/// a run's own is enough.
#[test]
fn the_readme_lists_what_needs_which_rung() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    for (what, _, need) in NEEDS {
        let level = format!("L{} `{}`", need.level().rung(), need.level().as_str());
        let or = if need.comes_with_a_user() { ", or a user for each slot" } else { "" };
        let row = format!("| {what} | {level}{or} |");
        assert!(readme.contains(&row), "README.md lacks the row {row}");
    }
    let rows = readme.lines().skip_while(|it| *it != "| what | from |").skip(2);
    let rows = rows.take_while(|it| it.starts_with('|')).count();
    assert_eq!(rows, NEEDS.len(), "README.md has other rows");
}
