//! The basics once in every language: its own ways of reading, writing, connecting, signalling
//! and staying.

use crate::attack::{Attack, attack};

const STEPS: &str = "Landlock (files, scope), Seccomp, the reaper";

const BASICS: &[Attack] = &[
    attack(
        "the basics in JavaScript",
        STEPS,
        r#"
const fs = require("fs"), net = require("net"), dgram = require("dgram"), child = require("child_process");
const attempt = (what, action) => {
    try { const result = action(); console.log("ESCAPED", what, result); }
    catch (error) { console.log("held", what, error.code); }
};
const FILES = ["@PRIVATE@", "@PUBLIC@", "@OPEN@", "@VICTIM_DIR@/secret.txt", "/etc/passwd", "/proc/@SERVER@/environ", "/proc/self/environ"];
for (const path of FILES) {
    attempt("read " + path, () => fs.readFileSync(path, "utf8"));
    attempt("copy " + path, () => fs.copyFileSync(path, "copy"));
    attempt("require " + path, () => require(path));
}
for (const path of ["@OPEN@", "@DROP@/x", "@STATE@/cache/x", "/tmp/x", "/dev/shm/x", "../x"]) {
    attempt("write " + path, () => fs.writeFileSync(path, "x"));
    attempt("directory " + path, () => fs.mkdirSync(path + "d"));
}
for (const pid of [@SERVER@, @SPAWNER@, @REAPER@, @VICTIM@, process.ppid])
    for (const signal of [0, "SIGTERM", "SIGKILL", "SIGUSR1"]) attempt("kill " + pid, () => process.kill(pid, signal));
attempt("priority", () => require("os").setPriority(@SERVER@, 19));
attempt("an add-on of another", () => process.dlopen({ exports: {} }, "@PUBLIC@"));
attempt("the inspector", () => { const it = require("inspector"); it.open(0, "127.0.0.1"); if (!it.url()) throw Object.assign(new Error, { code: "not open" }); });
for (const name of Object.keys(process.env)) if (/EXECUTOR|TOKEN|VICTIM/.test(name)) console.log("ESCAPED", name);
const stayer = child.spawn("setsid", ["sleep", "1000"], { detached: true, stdio: "ignore" });
stayer.unref();
let left = 4;
const ended = () => { if (--left === 0) { console.log("done"); process.exit(0); } };
const watch = (what, socket, event) => {
    let once = false;
    const end = (reached) => { if (!once) { once = true; console.log(reached ? "ESCAPED" : "held", what); ended(); } };
    socket.on("error", () => end(false)); socket.on(event, () => end(true));
};
watch("tcp", net.connect(@TCP@, "127.0.0.1"), "connect");
watch("unix", net.connect("@STREAM@"), "connect");
watch("listen", net.createServer().listen(0, "127.0.0.1"), "listening");
try {
    const udp = dgram.createSocket("udp4");
    watch("udp", udp, "listening");
    udp.send("x", @UDP@, "127.0.0.1");
} catch { ended(); }
"#,
    )
    .in_language("javascript"),
    attack(
        "the basics in Java",
        STEPS,
        r#"
import java.net.*;
import java.nio.channels.*;
import java.nio.file.*;
import java.util.concurrent.*;

public class Main {
    static void attempt(String what, Callable<?> action) {
        try { System.out.println("ESCAPED " + what + " " + action.call()); }
        catch (Throwable error) { System.out.println("held " + what + " " + error); }
    }
    public static void main(String[] arguments) throws Exception {
        for (String path : new String[] {"@PRIVATE@", "@PUBLIC@", "@OPEN@", "@VICTIM_DIR@/secret.txt", "/etc/passwd", "/proc/@SERVER@/environ"}) {
            attempt("read " + path, () -> Files.readString(Path.of(path)));
            attempt("copy " + path, () -> Files.copy(Path.of(path), Path.of("copy")));
            attempt("map " + path, () -> FileChannel.open(Path.of(path)).map(FileChannel.MapMode.READ_ONLY, 0, 4));
            attempt("load " + path, () -> { System.load(path); return ""; });
        }
        for (String path : new String[] {"@OPEN@", "@DROP@/x", "@STATE@/cache/x", "/tmp/x", "/dev/shm/x", "../x"}) {
            attempt("write " + path, () -> Files.writeString(Path.of(path), "x"));
            attempt("directory " + path, () -> Files.createDirectory(Path.of(path + "d")));
        }
        for (long pid : new long[] {@SERVER@, @SPAWNER@, @REAPER@, @VICTIM@})
            for (boolean hard : new boolean[] {false, true})
                ProcessHandle.of(pid).ifPresent(it -> { if (hard ? it.destroyForcibly() : it.destroy()) System.out.println("told " + pid); });
        attempt("tcp", () -> new Socket("127.0.0.1", @TCP@));
        attempt("listen", () -> new ServerSocket(0));
        attempt("udp", () -> { new DatagramSocket().send(new DatagramPacket(new byte[1], 1, InetAddress.getByName("127.0.0.1"), @UDP@)); return ""; });
        attempt("unix", () -> SocketChannel.open(UnixDomainSocketAddress.of("@STREAM@")));
        attempt("http", () -> new URL("http://127.0.0.1:@PORT@/health").openStream().read());
        System.getenv().keySet().forEach(name -> { if (name.matches(".*(EXECUTOR|TOKEN|VICTIM).*")) System.out.println("ESCAPED " + name); });
        new ProcessBuilder("setsid", "sleep", "1000").redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        Thread stayer = new Thread(() -> { while (true) Thread.onSpinWait(); });
        stayer.setDaemon(true);
        stayer.start();
        System.out.println("done");
    }
}
"#,
    )
    .in_language("java"),
    attack(
        "the basics in Go",
        STEPS,
        r#"
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"unsafe"
)

func attempt(what string, action func() error) {
	if err := action(); err == nil {
		fmt.Println("ESCAPED", what)
	} else {
		fmt.Println("held", what, err)
	}
}

func main() {
	for _, path := range []string{"@PRIVATE@", "@PUBLIC@", "@OPEN@", "@VICTIM_DIR@/secret.txt", "/etc/passwd", "/proc/@SERVER@/environ"} {
		attempt("read "+path, func() error { text, err := os.ReadFile(path); fmt.Print(string(text)); return err })
	}
	for _, path := range []string{"@OPEN@", "@DROP@/x", "@STATE@/cache/x", "/tmp/x", "/dev/shm/x", "../x"} {
		attempt("write "+path, func() error { return os.WriteFile(path, []byte("x"), 0o666) })
		attempt("directory "+path, func() error { return os.Mkdir(path+"d", 0o777) })
		attempt("truncate "+path, func() error { return os.Truncate(path, 0) })
	}
	for _, pid := range []int{@SERVER@, @SPAWNER@, @REAPER@, @VICTIM@, os.Getppid()} {
		for _, signal := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGSTOP} {
			attempt("kill", func() error { return syscall.Kill(pid, signal) })
		}
		attempt("trace", func() error { return syscall.PtraceAttach(pid) })
		attempt("limit", func() error {
			none := syscall.Rlimit{}
			_, _, err := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), 0, uintptr(unsafe.Pointer(&none)), 0, 0, 0)
			if err != 0 { return err }
			return nil
		})
	}
	for _, address := range [][2]string{{"tcp", "127.0.0.1:@TCP@"}, {"tcp", "127.0.0.1:@PORT@"}, {"unix", "@STREAM@"}, {"unixgram", "@DATAGRAM@"}, {"unix", "@@ABSTRACT@-stream"}} {
		attempt("connect "+address[0], func() error { _, err := net.Dial(address[0], address[1]); return err })
	}
	attempt("udp", func() error {
		connection, err := net.Dial("udp", "127.0.0.1:@UDP@")
		if err != nil { return err }
		_, err = connection.Write([]byte("x"))
		return err
	})
	attempt("listen", func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err })
	for _, variable := range os.Environ() {
		if strings.Contains(variable, "TOKEN") || strings.Contains(variable, "EXECUTOR_") || strings.Contains(variable, "VICTIM") { fmt.Println("ESCAPED", variable) }
	}
	stayer := exec.Command("sleep", "1000")
	stayer.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := stayer.Start(); err != nil { fmt.Println(err) }
	caged := exec.Command("true")
	caged.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	attempt("namespace", caged.Run)
	fmt.Println("done")
}
"#,
    )
    .in_language("go"),
    attack(
        "the basics in Rust",
        STEPS,
        r#"
use std::io::Result;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

fn attempt<T: std::fmt::Debug>(what: &str, outcome: Result<T>) {
    match outcome {
        Ok(value) => println!("ESCAPED {what} {value:?}"),
        Err(error) => println!("held {what} {error}"),
    }
}

fn main() {
    for path in ["@PRIVATE@", "@PUBLIC@", "@OPEN@", "@VICTIM_DIR@/secret.txt", "/etc/passwd", "/proc/@SERVER@/environ"] {
        attempt("read", std::fs::read_to_string(path));
        attempt("copy", std::fs::copy(path, "copy"));
        attempt("link", std::fs::hard_link(path, "link"));
    }
    for path in ["@OPEN@", "@DROP@/x", "@STATE@/cache/x", "/tmp/x", "/dev/shm/x", "../x"] {
        attempt("write", std::fs::write(path, "x"));
        attempt("directory", std::fs::create_dir(format!("{path}d")));
    }
    for pid in [@SERVER@, @SPAWNER@, @REAPER@, @VICTIM@] {
        for signal in [0, 9, 15, 19] {
            // SAFETY: `kill` has no memory preconditions.
            if unsafe { kill(pid, signal) } == 0 { println!("ESCAPED kill {pid}"); }
        }
    }
    attempt("tcp", std::net::TcpStream::connect(("127.0.0.1", @TCP@)));
    attempt("listen", std::net::TcpListener::bind("127.0.0.1:0"));
    attempt("udp", std::net::UdpSocket::bind("127.0.0.1:0").and_then(|it| it.send_to(b"x", ("127.0.0.1", @UDP@))));
    attempt("stream", UnixStream::connect("@STREAM@"));
    attempt("datagram", UnixDatagram::unbound().and_then(|it| it.send_to(b"x", "@DATAGRAM@")));
    attempt("pair", UnixDatagram::pair().and_then(|it| it.0.send_to(b"x", "@DATAGRAM@")));
    for (name, _) in std::env::vars() {
        if name.contains("TOKEN") || name.contains("EXECUTOR") || name.contains("VICTIM") { println!("ESCAPED {name}"); }
    }
    let stayer = Command::new("setsid").args(["sleep", "1000"]).process_group(0).stdout(Stdio::null()).spawn();
    println!("{}", stayer.is_ok());
    std::thread::spawn(|| loop { std::hint::spin_loop() });
    println!("done");
}
"#,
    )
    .in_language("rust"),
];

#[tokio::test]
async fn every_language_is_held() {
    crate::hold(&["python", "javascript", "java", "go", "rust"], BASICS).await;
}
