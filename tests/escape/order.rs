//! The promises that are about time and order rather than about one attack: a run ends, the
//! service answers, and no result depends on an earlier run.

use std::io::ErrorKind;

use futures::FutureExt as _;
use serde_json::{Value, json};
use tests::client;

use crate::ground::{Ground, TOKEN};
use crate::machine;
use crate::promise::FILES;
use crate::rights::is_root;
use crate::table::{Scenario, Table};

pub(crate) static TABLE: Table = Table {
    promise: "runs end, the service answers, and nothing depends on an earlier run",
    against: &[],
    attacks: &[],
    scenarios: &[
        Scenario {
            name: "outstay the time limit by every recipe",
            stopped_by: "the reaper (wall clock)",
            against: &[],
            play: |ground| outstay(ground).boxed_local(),
        },
        Scenario {
            name: "keep the service from answering",
            stopped_by: "the reaper and the executor (bounds)",
            against: &[],
            play: |ground| storm(ground).boxed_local(),
        },
        Scenario {
            name: "hold so many descriptors in flight that others can send none",
            stopped_by: "the server (a bound on descriptors beyond what runs can have)",
            against: &[],
            play: |ground| fly(ground).boxed_local(),
        },
        Scenario {
            name: "change what the next run finds",
            stopped_by: "the work directory, and a process of its own for each run",
            against: &[FILES],
            play: |ground| change(ground).boxed_local(),
        },
        Scenario {
            name: "find secrets with whoever launches runs",
            stopped_by: "the spawner (empty environment)",
            against: &[],
            play: |ground| async { look_at_launchers(ground) }.boxed_local(),
        },
        Scenario {
            name: "guess what the next run draws by chance",
            stopped_by: "a process of its own for each run",
            against: &[],
            play: |ground| guess(ground).boxed_local(),
        },
        Scenario {
            name: "keep locks, leases and watches on files that runs share",
            stopped_by: "the reaper (locks go with their holders), Seccomp (leases, watches)",
            against: &[],
            play: |ground| lock(ground).boxed_local(),
        },
    ],
};

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
for place in ("/tmp", "/var/tmp", "/dev/shm"):
    try: print(place, os.listdir(place))
    except OSError as error: print(place, error.errno)
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

async fn outstay(ground: &mut Ground) -> Vec<String> {
    let mut faults = Vec::new();
    let limits = json!({ "timeout": 1, "cpuTime": 60, "memoryLimit": 512 });
    for code in STAYERS {
        let mut fault = None;
        // Whoever outstays does so each time, and a machine that stands still for a moment does not.
        for _ in 0..3 {
            let answer = ground.run("python", code, &limits).await;
            let time = answer["executionTime"].as_f64().unwrap_or_default();
            let is_ended = answer["status"] == "timeout";
            let is_in_time = is_ended && (1.0..2.0).contains(&time);
            fault = (!is_in_time).then(|| format!("{code}: {answer}"));
            if is_in_time || !is_ended {
                break;
            }
        }
        faults.extend(fault);
    }
    faults
}

async fn storm(ground: &mut Ground) -> Vec<String> {
    // Where one run goes on at a time, they follow each other.
    let limits = json!({ "timeout": 3, "cpuTime": 60, "memoryLimit": 512 });
    let storm = ground.run("python", STAYERS[2], &limits);
    // However slow the machine is, its output ends it.
    let limits = json!({ "timeout": 60, "cpuTime": 60, "memoryLimit": 512 });
    let flood = ground.run("python", "while True: print('x' * 65536)", &limits);
    let health = async {
        let mut unwell = 0;
        for _ in 0..50 {
            let asked = client().get(ground.server("python").url("/health")).send().await;
            unwell += u32::from(!asked.is_ok_and(|it| it.status().is_success()));
        }
        unwell
    };
    let (storm, flood, unwell) = tokio::join!(storm, flood, health);
    let mut faults = Vec::new();
    if unwell > 0 {
        faults.push(format!("the service was unwell {unwell} times"));
    }
    // Its many small processes may be too much for the memory before the time is over.
    if !["timeout", "memory_limit"].iter().any(|it| storm["status"] == *it) {
        faults.push(format!("the storm ended otherwise: {storm}"));
    }
    if flood["status"] != "output_limit" {
        faults.push(format!("the flood ended otherwise: {}", flood["status"]));
    }
    faults
}

/// Messages with descriptors that nobody takes, from as many processes as it may have. The kernel
/// counts them by user, and refuses to send more than the sender may have open.
const FLY: &str = r#"
import os, socket, time
for _ in range(20):
    try:
        if os.fork() == 0: break
    except OSError: break
files = [os.open("main.py", os.O_RDONLY) for _ in range(60)]
pairs = [socket.socketpair() for _ in range(20)]
end = time.monotonic() + 3
while time.monotonic() < end:
    for one, _ in pairs:
        one.setblocking(False)
        try: socket.send_fds(one, [b"x"], files)
        except OSError: pass
    time.sleep(0.01)
"#;

async fn fly(ground: &mut Ground) -> Vec<String> {
    let limits = json!({ "timeout": 10, "memoryLimit": 512 });
    let flight = ground.run("python", FLY, &limits);
    let others = async {
        let mut faults = Vec::new();
        for _ in 0..15 {
            let answer = ground.run("python", "print('well')", &Value::Null).await;
            if answer["output"] != "well\n" {
                faults.push(format!("another run was kept from starting: {answer}"));
            }
        }
        faults
    };
    let (flight, mut faults) = tokio::join!(flight, others);
    if flight["status"] != "success" {
        faults.push(format!("the flight ended otherwise: {flight}"));
    }
    faults
}

async fn change(ground: &mut Ground) -> Vec<String> {
    let before = ground.run("python", LOOK, &Value::Null).await;
    let mut faults = Vec::new();
    if before["status"] != "success" {
        faults.push(format!("{before}"));
    }
    // Several slots are changed, and several are looked at.
    for _ in 0..2 {
        let change = || ground.run("python", CHANGE, &Value::Null);
        let (one, other) = tokio::join!(change(), change());
        let look = || ground.run("python", LOOK, &Value::Null);
        let (first, second) = tokio::join!(look(), look());
        for answer in [one, other] {
            if answer["exitCode"] != 9 {
                faults.push(format!("the change did not end: {answer}"));
            }
        }
        for answer in [first, second] {
            if answer["output"] != before["output"] {
                faults.push(format!("{} became {}", before["output"], answer["output"]));
            }
        }
    }
    faults
}

fn look_at_launchers(ground: &Ground) -> Vec<String> {
    // Only root may look into processes that hide themselves.
    if !is_root() {
        return Vec::new();
    }
    let server = ground.server("python").pid();
    let mut processes = vec![machine::spawner_of(server)];
    processes.extend(ground.victim.iter().flat_map(crate::victim::Victim::processes));
    let mut faults = Vec::new();
    for pid in processes {
        for file in ["environ", "cmdline"] {
            let bytes = match std::fs::read(format!("/proc/{pid}/{file}")) {
                Ok(bytes) => bytes,
                // One that has ended since tells nothing.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => panic!("{error}"),
            };
            let text = String::from_utf8_lossy(&bytes);
            if text.contains(TOKEN) || text.contains("EXECUTOR_") {
                faults.push(format!("the {file} of {pid} tells {text}"));
            }
        }
    }
    let words = std::fs::read(format!("/proc/{server}/cmdline")).unwrap();
    if String::from_utf8_lossy(&words).contains(TOKEN) {
        faults.push("the server's own words tell the token".to_owned());
    }
    faults
}

/// Programs that print what they drew, in each language that draws by chance at its start.
const DRAWS: &[(&str, &str)] = &[
    (
        "python",
        "import random, uuid\nprint(random.random(), uuid.uuid4(), random.SystemRandom().random())",
    ),
    ("javascript", "console.log(Math.random(), require('crypto').randomUUID())"),
    (
        "java",
        "public class Main { public static void main(String[] a) { System.out.println(new java.util.Random().nextLong() + \" \" + java.util.UUID.randomUUID() + Math.random()); } }",
    ),
    (
        "cpp",
        "#include <cstdio>\n#include <cstdlib>\n#include <random>\nint main() { std::printf(\"%u %p\\n\", std::random_device{}(), std::malloc(1)); }",
    ),
    (
        "go",
        "package main\n\nimport (\n\t\"fmt\"\n\t\"hash/maphash\"\n)\n\nfunc main() { fmt.Println(maphash.String(maphash.MakeSeed(), \"x\")) }",
    ),
    (
        "rust",
        "use std::hash::BuildHasher;\nfn main() { println!(\"{}\", std::hash::RandomState::new().hash_one(1)); }",
    ),
];

async fn guess(ground: &mut Ground) -> Vec<String> {
    let mut faults = Vec::new();
    for (language, code) in DRAWS.iter().filter(|(language, _)| ground.has(language)) {
        let one = ground.run(language, code, &Value::Null).await;
        let other = ground.run(language, code, &Value::Null).await;
        if one["status"] != "success" || one["output"] == other["output"] {
            faults.push(format!("{language} drew the same twice: {one} {other}"));
        }
    }
    faults
}

/// Both runs find the same files free, the second while the first one's user has just held them.
const LOCK: &str = r#"
import fcntl, os, signal, time
for path in ("/usr/bin/env", "/bin/sh", os.__file__):
    try: file = os.open(path, os.O_RDONLY)
    except OSError: continue
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
        try: fcntl.fcntl(file, fcntl.F_SETLEASE, kind), print("ESCAPED a lease")
        except OSError: pass
if os.fork() == 0:
    os.setsid()
    time.sleep(100)
print("held", flush=True)
"#;

async fn lock(ground: &mut Ground) -> Vec<String> {
    let mut faults = Vec::new();
    for _ in 0..3 {
        let answer = ground.run("python", LOCK, &Value::Null).await;
        if answer["output"] != "held\n" {
            faults.push(format!("a lock was found held, or a lease taken: {answer}"));
        }
    }
    faults
}
