//! Interpreters that are forked: those of this machine pass their own check, and it can fail.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tests::{binary, repository};

/// Interpreters of a machine that has them beside each other.
const INTERPRETERS: &[&str] = &["python3", "/usr/bin/python3"];

/// What a run's environment has; a zygote starts with the same.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("LANG", "C.UTF-8"),
    ("TZ", "UTC"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

fn folder() -> std::path::PathBuf {
    repository().join("executors/python/warm")
}

/// Starts the zygote of a folder; none if there is no such interpreter.
fn start(interpreter: &str, folder: &Path, arguments: &[&str]) -> Option<Output> {
    let child = Command::new(interpreter)
        .arg(folder.join("zygote.py"))
        .arg(binary("libwarm_python.so"))
        .args(arguments)
        .env_clear()
        .envs(ENVIRONMENT.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    Some(child.wait_with_output().unwrap())
}

#[test]
fn programs_cannot_tell_a_fork_from_a_new_interpreter() {
    for interpreter in INTERPRETERS {
        let Some(output) = start(interpreter, &folder(), &["--check"]) else { continue };
        let faults = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{interpreter}:\n{faults}");
    }
}

/// A zygote that was changed for the worse does not pass.
#[track_caller]
fn check_refused(right: &str, wrong: &str) {
    let copy = tempfile::tempdir().unwrap();
    for name in ["zygote.py", "life.py", "check.py"] {
        let text = fs::read_to_string(folder().join(name)).unwrap();
        fs::write(copy.path().join(name), text.replace(right, wrong)).unwrap();
    }
    for interpreter in INTERPRETERS {
        let Some(output) = start(interpreter, copy.path(), &["--check"]) else { continue };
        let faults = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{interpreter}: {wrong}:\n{faults}");
        assert!(faults.starts_with("zygote: "), "{interpreter}: {wrong}:\n{faults}");
    }
}

#[test]
fn a_fork_that_looks_for_modules_elsewhere_is_refused() {
    check_refused("sys.path[0] = directory", "sys.path[0] = self.here");
}

#[test]
fn a_fork_that_says_too_little_at_its_end_is_refused() {
    check_refused("return self.has_finalisers or", "os._exit(0)\n        return");
}

#[test]
fn a_fork_that_shows_what_it_comes_from_is_refused() {
    check_refused("sys.excepthook = sys.__excepthook__", "pass");
}

#[test]
fn the_names_that_a_program_must_not_have_are_those_that_were_not_there() {
    for interpreter in INTERPRETERS {
        let Some(output) = start(interpreter, &folder(), &["--list"]) else { continue };
        let text = String::from_utf8(output.stdout).unwrap();
        let names: Vec<&str> = text.lines().collect();
        for name in ["json", "argparse", "dataclasses"] {
            assert!(names.contains(&name), "{interpreter}: {name} is not in {names:?}");
        }
        for name in ["os", "sys", "__main__", "zygote", "life"] {
            assert!(!names.contains(&name), "{interpreter}: {name} is in {names:?}");
        }
    }
}

#[test]
fn a_zygote_without_any_of_its_packages_is_refused() {
    for interpreter in INTERPRETERS {
        let packages = ["--with=nobody_has_this", "--with=nor_this", "--list"];
        let Some(output) = start(interpreter, &folder(), &packages) else { continue };
        assert_eq!(output.status.code(), Some(1), "{interpreter}");
        let told = String::from_utf8_lossy(&output.stderr);
        let wanted = "zygote: none of nobody_has_this, nor_this is installed\n";
        assert_eq!(told, wanted, "{interpreter}");
    }
}
