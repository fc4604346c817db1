//! What puts a worker onto a machine with systemd, and what tells whether it would get jobs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tests::{answering, binary, lonely, repository};

const SUBMIT: &str = "submit-0123456789";
const WORK: &str = "work-0123456789ab";

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Runs the script with what is built already: a cargo of its own would build all of it anew.
fn install(directory: &Path, words: &[&str]) -> Output {
    let (built, bin) = (directory.join("target/release"), directory.join("bin"));
    for path in [&built, &bin] {
        std::fs::create_dir_all(path).unwrap();
    }
    let binaries = binary("flotilla").parent().unwrap().to_owned();
    for name in ["flotilla", "executor-python", "libwarm_python.so"] {
        let (from, to) = (binaries.join(name), built.join(name));
        if from.exists() && !to.exists() {
            std::os::unix::fs::symlink(from, to).unwrap();
        }
    }
    let cargo = bin.join("cargo");
    std::fs::write(&cargo, "#!/bin/sh\necho \"$@\" > \"$CARGO_TOLD\"\n").unwrap();
    std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut script = Command::new(repository().join("scripts/install-worker"));
    script.args(words).env("PATH", path).env("CARGO_TARGET_DIR", directory.join("target"));
    script.env("CARGO_TOLD", directory.join("told")).output().unwrap()
}

#[test]
fn a_worker_is_put_below_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (root, key) = (directory.path().join("root"), directory.path().join("key"));
    std::fs::write(&key, format!("{WORK}\n")).unwrap();
    let (place, file) = (root.to_str().unwrap(), key.to_str().unwrap());
    let gateway = "https://gateway.example";
    let all = ["--gateway", gateway, "--key-file", file, "--root", place];
    let run = |words: &[&str]| install(directory.path(), words);
    for (wrong, told) in [
        (vec!["--gateway", gateway], "Makes this machine a worker"),
        ([&all[..], &["cobol"]].concat(), "there is no language `cobol`"),
        (vec!["--gateway", "gateway", "--key-file", file, "python"], "is no URL"),
    ] {
        let output = run(&wrong);
        assert!(!output.status.success(), "{wrong:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(told), "{wrong:?}: {output:?}");
    }
    assert!(!root.exists(), "nothing is put anywhere before all is right");
    let output = run(&[&all[..], &["python"]].concat());
    assert!(output.status.success(), "{output:?}");
    let told = std::fs::read_to_string(directory.path().join("told")).unwrap();
    assert!(
        told.contains("build --release") && told.contains("-p cli -p executor-python"),
        "{told}"
    );
    for name in ["flotilla", "executor-python"] {
        assert_eq!(mode(&root.join("opt/flotilla").join(name)), 0o755, "{name}");
    }
    let settings = root.join("etc/flotilla/worker.env");
    assert_eq!((mode(&settings), mode(settings.parent().unwrap())), (0o600, 0o700));
    let lines = std::fs::read_to_string(&settings).unwrap();
    let expected = format!("EXECUTOR_PULL_URL={gateway}\nEXECUTOR_PULL_KEY={WORK}\n");
    assert!(lines.starts_with(&expected), "{lines}");
    assert!(root.join("etc/systemd/system/flotilla-worker@.service").exists());
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("SKIPPED: there is no systemd-analyze on this machine");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let units = std::fs::read_dir(repository().join("railway/systemd")).unwrap();
    for unit in units.map(|it| it.unwrap().path()) {
        // What it starts is installed elsewhere.
        let text = std::fs::read_to_string(&unit).unwrap();
        let text = text.replace("/opt/flotilla/executor-%i", "/bin/true");
        let name = unit.file_name().unwrap().to_str().unwrap().replace("@.", "@python.");
        let copy = directory.path().join(&name);
        std::fs::write(&copy, text).unwrap();
        let output = Command::new("systemd-analyze").arg("verify").arg(&copy).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {told}");
        let ours: Vec<&str> = told.lines().filter(|it| it.contains("flotilla-worker")).collect();
        assert!(ours.is_empty(), "{ours:?}");
    }
}

#[tokio::test]
async fn the_doctor_says_whether_a_worker_would_get_jobs() {
    let directory = tempfile::tempdir().unwrap();
    let keys = format!("sam:{SUBMIT},wanda:{WORK} role=work");
    let gateway = answering(lonely(directory.path(), &[("GATEWAY_KEYS", &keys)])).await;
    let url = gateway.url("");
    let doctor = async |url: &str, key: &str| {
        let mut doctor = tokio::process::Command::new(binary("flotilla"));
        doctor.args(["doctor", "--worker", "--json", "--minimum", "bare"]).env("NO_COLOR", "1");
        doctor.env("EXECUTOR_PULL_URL", url).env("EXECUTOR_PULL_KEY", key);
        let output = doctor.output().await.unwrap();
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.code(), told["worker"]["trouble"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(doctor(&url, WORK).await, (Some(0), String::new()));
    let (code, trouble) = doctor(&url, SUBMIT).await;
    assert!(code == Some(1) && trouble.contains("role `work`"), "{code:?}: {trouble}");
    let (code, trouble) = doctor(&url, "nobody-0123456789").await;
    assert!(code == Some(1) && trouble.to_lowercase().contains("key"), "{code:?}: {trouble}");
    let (code, trouble) = doctor("http://127.0.0.1:9", WORK).await;
    assert!(code == Some(1) && trouble.contains("cannot be reached"), "{code:?}: {trouble}");
}
