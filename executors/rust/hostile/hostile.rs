//! Tries to get out, harmlessly. Whoever started it looks from outside at what came of it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, io, thread};

const LINGER: &str =
    r#"trap "" HUP TERM; n=0; while [ "$n" -lt 20 ]; do sleep 1; n=$((n + 1)); done"#;

/// The number of `SIGURG` wherever this runs.
const URGENT: i32 = 23;

extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
    fn setsid() -> i32;
}

fn fact(name: &str) -> String {
    env::var(name).expect(name)
}

fn read(path: &str) {
    if let Ok(content) = fs::read(path) {
        println!("{}", String::from_utf8_lossy(&content));
    }
}

fn connect(port: u16, word: &str) -> io::Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&address, Duration::from_secs(2))?.write_all(word.as_bytes())
}

fn leave_somebody_behind(word: &str) -> io::Result<()> {
    let mut daemon = Command::new("sh");
    daemon.args(["-c", LINGER, "sh", word]);
    daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    unsafe {
        daemon.pre_exec(|| {
            setsid();
            Ok(())
        });
    }
    daemon.spawn().map(drop)
}

fn reach(word: &str) {
    let (secret_file, descriptor) = (fact("SECRET_FILE"), fact("SERVER_DESCRIPTOR"));
    let server: i32 = fact("SERVER_PID").parse().unwrap();
    let port: u16 = fact("LISTENER_PORT").parse().unwrap();

    read(&secret_file);
    println!("tried files");
    read(&format!("/proc/{}/environ", server));
    read(&format!("/proc/{}/fd/{}", server, descriptor));
    println!("tried process_secrets");
    connect(port, word).unwrap_or_default();
    println!("tried network");
    unsafe { kill(server, URGENT) };
    println!("tried signals");
    leave_somebody_behind(word).unwrap_or_default();
    println!("tried clean_up");
}

fn memory(megabytes: usize) {
    println!("tried memory");
    let mut blocks = Vec::new();
    while blocks.len() < megabytes {
        blocks.push(vec![1_u8; 1 << 20]);
    }
    thread::sleep(Duration::from_secs(2));
    println!("kept {}", blocks.len());
}

fn main() {
    let args: Vec<String> = env::args().collect();
    if args[1] == "memory" {
        memory(args[2].parse().unwrap());
    } else {
        reach(&args[2]);
    }
}
