//! Rust.

use crate::attack::{Attack, Ends, attack};
use crate::promise::{CLEAN_UP, FILES, MEMORY_TOTAL, NETWORK, PROCESS_SECRETS, SIGNALS};
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "Rust is held",
    against: &[],
    scenarios: &[],
    attacks: &[
        rust(
            "read and write files outside in Rust",
            "Landlock (files)",
            r#"
fn main() {
    for path in ["@PRIVATE@", "@PUBLIC@", "@OPEN@", "@VICTIM_DIR@/secret.txt", "/etc/shadow", "/proc/@SERVER@/environ"] {
        attempt("read", std::fs::read_to_string(path));
        attempt("copy", std::fs::copy(path, "copy"));
        attempt("link", std::fs::hard_link(path, "link"));
    }
    for path in ["@OPEN@", "@DROP@/x", "@STATE@/cache/x", "@STATE@/work/x"] {
        attempt("write", std::fs::write(path, "x"));
        attempt("directory", std::fs::create_dir(format!("{path}d")));
    }
    println!("done");
}
"#,
        )
        .against(&[FILES]),
        rust(
            "connect and listen in Rust",
            "Seccomp (socket)",
            r#"
use std::os::unix::net::{UnixDatagram, UnixStream};

fn main() {
    attempt("tcp", std::net::TcpStream::connect(("127.0.0.1", @TCP@)));
    attempt("listen", std::net::TcpListener::bind("127.0.0.1:0"));
    attempt("udp", std::net::UdpSocket::bind("127.0.0.1:0").and_then(|it| it.send_to(b"x", ("127.0.0.1", @UDP@))));
    attempt("stream", UnixStream::connect("@STREAM@"));
    attempt("datagram", UnixDatagram::unbound().and_then(|it| it.send_to(b"x", "@DATAGRAM@")));
    attempt("pair", UnixDatagram::pair().and_then(|it| it.0.send_to(b"x", "@DATAGRAM@")));
    println!("done");
}
"#,
        )
        .against(&[NETWORK]),
        rust(
            "signal others in Rust",
            "Landlock (signal scope), Identity",
            r#"
extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
    fn killpg(group: i32, signal: i32) -> i32;
}

fn main() {
    for pid in [@SERVER@, @SPAWNER@, @REAPER@, @VICTIM@] {
        for signal in [0, 9, 15, 19] {
            // SAFETY: `kill` has no memory preconditions.
            if unsafe { kill(pid, signal) } == 0 { println!("ESCAPED kill {pid}"); }
            // SAFETY: as above.
            if unsafe { killpg(pid, signal) } == 0 { println!("ESCAPED killpg {pid}"); }
        }
    }
    println!("done");
}
"#,
        )
        .against(&[SIGNALS]),
        rust(
            "find the server's secrets in Rust",
            "the spawner (empty environment)",
            r#"
fn main() {
    for (name, value) in std::env::vars() {
        if name.contains("TOKEN") || name.contains("EXECUTOR") || value.contains("escape-") { println!("ESCAPED {name}"); }
    }
    for place in [option_env!("EXECUTOR_TOKEN"), option_env!("VICTIM_SECRET"), option_env!("EXECUTOR_STATE_DIR")] {
        if place.is_some() { println!("ESCAPED {place:?} from the compiler"); }
    }
    println!("done");
}
"#,
        )
        .against(&[PROCESS_SECRETS]),
        rust(
            "stay on in Rust",
            "the reaper",
            r#"
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

fn main() {
    for quiet in [true, false] {
        let mut stayer = Command::new("setsid");
        stayer.args(["sleep", "1000"]).process_group(0);
        if quiet { stayer.stdout(Stdio::null()); }
        println!("{}", stayer.spawn().is_ok());
    }
    std::thread::spawn(|| loop { std::hint::spin_loop() });
    println!("done");
}
"#,
        )
        .against(&[CLEAN_UP]),
        rust(
            "take memory that Rust forgets",
            "the reaper (memory of the tree), Data",
            "fn main() { loop { std::mem::forget(vec![1_u8; 8 << 20]); } }\n",
        )
        .ends(Ends::As(&["memory_limit", "runtime_error"]))
        .against(&[MEMORY_TOTAL]),
    ],
};

const fn rust(name: &'static str, stopped_by: &'static str, code: &'static str) -> Attack {
    attack(name, stopped_by, code).in_language("rust")
}
