//! The promises that are about time and order rather than about one attack. The others have their
//! tests beside the attacks on them.

use serde_json::{Value, json};
use tests::client;

use crate::ground::{Ground, Rights, TOKEN};
use crate::machine;

const STAYERS: &[&str] = &[
    "while True: pass",
    "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: signal.pause()",
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "import os, subprocess\nsubprocess.Popen(['sleep', '100'], start_new_session=True)\nos.kill(os.getpid(), 19)",
];

/// Everything that a program can see of the world it was started in, its own names left out.
const LOOK: &str = r#"
import os, resource, signal, stat
own = os.environ["HOME"], os.environ["TMPDIR"]
print(sorted(os.listdir(own[0])), os.listdir(own[1]))
print([stat.filemode(os.stat(path).st_mode) for path in own], os.getcwd() == own[0])
print([(name, value) for name, value in sorted(os.environ.items()) if value not in own])
print([resource.getrlimit(kind) for kind in range(16) if kind != resource.RLIMIT_NPROC])
print(os.umask(0), os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0)), os.sched_getscheduler(0))
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), [signal.getsignal(number) for number in range(1, 32)])
print(os.getresuid() == (os.getuid(),) * 3, os.getgroups() in ([], [os.getgid()]), os.getsid(0) == os.getpid())
"#;

/// Changes whatever a run can change.
const CHANGE: &str = r#"
import os, resource, signal, subprocess
for place in (os.environ["HOME"], os.environ["TMPDIR"], "/tmp", "/dev/shm", "/var/tmp", ".."):
    for name in ("left", "sitecustomize.py", "os.py"):
        try: open(os.path.join(place, name), "w").write("raise SystemExit('poisoned')")
        except OSError: pass
for path in (os.environ["HOME"], os.environ["TMPDIR"], "..", "../.."):
    try: os.chmod(path, 0o777)
    except OSError: pass
os.umask(0o777)
os.nice(19)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
os._exit(9)
"#;

#[tokio::test]
async fn a_run_ends_by_its_limit_and_a_second() {
    for rights in Rights::all() {
        let ground = Ground::start(*rights, &["python"]).await;
        for code in STAYERS {
            let limits = json!({ "timeout": 1, "cpuTime": 60, "memoryLimit": 512 });
            let answer = ground.run("python", code, &limits).await;
            let time = answer["executionTime"].as_f64().unwrap();
            assert_eq!(answer["status"], "timeout", "{rights:?}, {code}: {answer}");
            assert!((1.0..2.0).contains(&time), "{rights:?}, {code}: {answer}");
        }
    }
}

#[tokio::test]
async fn the_service_says_how_it_is_during_an_attack_on_every_slot() {
    for rights in Rights::all() {
        let ground = Ground::start(*rights, &["python"]).await;
        let limits = json!({ "timeout": 3, "cpuTime": 60, "memoryLimit": 512 });
        let storm = ground.run("python", STAYERS[2], &limits);
        let flood = ground.run("python", "while True: print('x' * 65536)", &limits);
        let health = async {
            for _ in 0..50 {
                let asked = client().get(ground.server("python").url("/health")).send().await;
                assert!(asked.is_ok_and(|it| it.status().is_success()), "{rights:?}");
            }
        };
        let (storm, flood, ()) = tokio::join!(storm, flood, health);
        assert_eq!(storm["status"], "timeout", "{rights:?}: {storm}");
        assert_eq!(flood["status"], "output_limit", "{rights:?}: {flood}");
    }
}

#[tokio::test]
async fn no_result_depends_on_an_earlier_run() {
    for rights in Rights::all() {
        let ground = Ground::start(*rights, &["python"]).await;
        let before = ground.run("python", LOOK, &Value::Null).await;
        assert_eq!(before["status"], "success", "{before}");
        // Both slots are changed, and both are looked at.
        for _ in 0..2 {
            let change = || ground.run("python", CHANGE, &Value::Null);
            let (one, other) = tokio::join!(change(), change());
            assert_eq!((&one["exitCode"], &other["exitCode"]), (&json!(9), &json!(9)), "{one}");
            let look = || ground.run("python", LOOK, &Value::Null);
            let (one, other) = tokio::join!(look(), look());
            assert_eq!(one["output"], before["output"], "{rights:?}");
            assert_eq!(other["output"], before["output"], "{rights:?}");
        }
    }
}

#[tokio::test]
async fn whoever_launches_runs_holds_no_secret() {
    // Only root may look into processes that hide themselves.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for rights in Rights::all() {
        let ground = Ground::with_victim(*rights, &["python"]).await;
        let spawner = machine::spawner_of(ground.server("python").pid());
        let victim = ground.victim.as_ref().unwrap();
        for pid in [spawner, victim.reaper(), victim.pid()] {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
            for bytes in [environment, words] {
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains(TOKEN) && !text.contains("EXECUTOR_"), "{rights:?}: {text}");
            }
        }
        let server = std::fs::read(format!("/proc/{}/cmdline", ground.server("python").pid()));
        assert!(!String::from_utf8_lossy(&server.unwrap()).contains(TOKEN));
    }
}
