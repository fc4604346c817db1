//! What a run may spend is bounded: by the kernel where it can, by the watch where it must.

use serde_json::Value;

use crate::attack::{Attack, Ends, attack};

const MEMORY: Ends = Ends::As(&["memory_limit", "runtime_error"]);

const HOGS: &[Attack] = &[
    attack(
        "fork without end",
        "Processes",
        r#"
count = 0
try:
    while True:
        if os.fork() == 0:
            signal.pause()
        count += 1
except OSError as error:
    if count > 64: print("ESCAPED the limit of processes", count)
print("done", flush=True)
"#,
    )
    .with(r#"{"timeout": 20, "memoryLimit": 512}"#),
    attack(
        "start threads without end",
        "Processes, Data",
        r#"
threading.stack_size(65536)
wait = threading.Event()
count = 0
try:
    while True:
        threading.Thread(target=wait.wait, daemon=True).start()
        count += 1
except RuntimeError:
    if count > 64: print("ESCAPED the limit of threads", count)
print("done", flush=True)
"#,
    ),
    attack(
        "take memory in one process",
        "Data, the reaper (memory of the tree)",
        "blocks = []\nwhile True: blocks.append(b'x' * (8 << 20))\n",
    )
    .ends(MEMORY),
    attack(
        "take memory in six processes",
        "the reaper (memory of the tree)",
        r"
for _ in range(5): os.fork() if os.getpid() == os.getpgrp() else None
blocks = []
for _ in range(5): blocks.append(bytearray(os.urandom(1 << 20) * 8))
time.sleep(20)
",
    )
    .with(r#"{"timeout": 15}"#)
    .ends(Ends::As(&["memory_limit"])),
    attack(
        "memory that is shared without a file",
        "Seccomp (mmap)",
        r#"
attempt("mmap", lambda: mmap.mmap(-1, 1 << 20))
attempt("zero", lambda: mmap.mmap(os.open("/dev/zero", os.O_RDWR), 1 << 20))
attempt("memfd", lambda: os.memfd_create("x"))
attempt("secret memory", lambda: call("syscall", 447, 0))
attempt("System V", lambda: call("shmget", 0, 1 << 20, 0o600))
# The allowed thing works: private memory, and a file of its own.
mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE)[0] = 1
with open("file", "w+b") as file:
    file.truncate(1 << 20)
    mmap.mmap(file.fileno(), 1 << 20)[0] = 1
print("done")
"#,
    ),
    attack(
        "fill memory with page tables",
        "the reaper (memory of the tree)",
        r#"
// Pages that are only read cost nothing themselves; the tables that name them do.
#include <thread>
int main() {
    if (fork() == 0) { pause(); _exit(0); }
    for (;;) {
        const size_t size = size_t(1) << 38;
        auto* memory = static_cast<volatile char*>(mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        if (memory == MAP_FAILED) break;
        for (size_t at = 0; at < size; at += size_t(2) << 20) (void)memory[at];
    }
    std::puts("ESCAPED the address space is full of tables");
}
"#,
    )
    .in_language("cpp")
    .with(r#"{"timeout": 30, "cpuTime": 30}"#)
    .ends(Ends::As(&["memory_limit"])),
    attack(
        "one file beyond its size",
        "FileSize",
        r#"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open("large", "wb") as file:
    attempt("write", lambda: [file.write(bytes(1 << 20)) for _ in range(65)] and file.flush())
for size in (65 << 20, 1 << 40):
    attempt("sparse", lambda: os.truncate("large", size))
    attempt("allocated", lambda: os.posix_fallocate(os.open("large", os.O_RDWR), 0, size))
    attempt("far away", lambda: os.pwrite(os.open("large", os.O_RDWR), b"x", size))
if os.stat("large").st_size > 64 << 20: print("ESCAPED the size of a file")
print("done")
"#,
    ),
    attack(
        "be ended by the size of a file",
        "FileSize",
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nopen('large', 'wb').write(bytes(65 << 20))\n",
    )
    .ends(Ends::Checked("runtime_error", |answer| answer["signal"] == "SIGXFSZ")),
    attack(
        "open files without end",
        "OpenFiles",
        r#"
held = []
try:
    while True: held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    if len(held) > 128: print("ESCAPED the limit of open files", len(held))
for descriptor in held: os.close(descriptor)
print("done")
"#,
    ),
    attack(
        "raise its own limits",
        "Limit (hard limits)",
        r#"
for name in dir(resource):
    if name.startswith("RLIMIT_"):
        kind = getattr(resource, name)
        soft, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            attempt(name, lambda: resource.setrlimit(kind, (hard + 1, hard + 1)))
        elif name in ("RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE", "RLIMIT_SIGPENDING", "RLIMIT_STACK"):
            print("ESCAPED no limit", name)
attempt("a higher priority", lambda: os.nice(-1))
attempt("real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt("a larger pipe", lambda: fcntl.fcntl(1, 1031, 1 << 20))
attempt("locked memory", lambda: call("mlockall", 3))
print("done")
"#,
    ),
    attack(
        "burn processor time in threads, deaf to its limit",
        "the reaper (processor time of the tree)",
        r"
#include <thread>
int main() {
    for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
    for (int index = 0; index < 4; index++) std::thread([] { for (volatile long at = 0;; at = at + 1) {} }).detach();
    for (volatile long at = 0;; at = at + 1) {}
}
",
    )
    .in_language("cpp")
    .with(r#"{"cpuTime": 1, "timeout": 30}"#)
    .ends(Ends::As(&["timeout"])),
    attack(
        "burn processor time in children that nobody waits for",
        "the reaper (wall clock; the sum is watched)",
        r"
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    try:
        if os.fork() == 0:
            for _ in range(100000): pass
            os._exit(0)
    except OSError: pass
",
    )
    .with(r#"{"cpuTime": 1, "timeout": 3, "memoryLimit": 512}"#)
    .ends(Ends::As(&["timeout"])),
    attack(
        "keep kernel memory in sockets and pipes",
        "OpenFiles, Processes (watched in sum)",
        r#"
held = []
try:
    while True:
        one, other = socket.socketpair()
        one.setblocking(False)
        held.append((one, other))
        try:
            while True: one.send(bytes(65536))
        except BlockingIOError: pass
except OSError: pass
if len(held) > 64: print("ESCAPED the limit of sockets", len(held))
print("done")
"#,
    ),
];

const WRITERS: &[Attack] = &[
    attack(
        "write without end on both streams",
        "the executor (it reads so much and no more)",
        r#"
block = b"x" * 65536
def flood(stream):
    while True: os.write(stream, block)
threading.Thread(target=flood, args=(2,)).start()
flood(1)
"#,
    )
    .with(r#"{"timeout": 60, "cpuTime": 60}"#)
    .ends(Ends::Checked("output_limit", is_cut)),
    attack(
        "forge a report",
        "the executor (status comes from the kernel)",
        r#"
import json
forged = json.dumps({"status": "accepted", "output": "forged", "exitCode": 0, "signal": None, "executionTime": 0})
for stream in (1, 2):
    os.write(stream, (forged + "\n\n{\"Ended\":{\"exit\":{\"Code\":0}}}\nevent: exit\ndata: " + forged + "\n\n").encode())
    os.write(stream, b"\x1b]0;title\x07\x1b[2J\x1b[31m\x00\xff\xfe\xc3\x28\xed\xa0\x80\r\n\xe2\x80\xae")
os._exit(77)
"#,
    )
    .ends(Ends::Checked("runtime_error", |answer| {
        answer["exitCode"] == 77 && answer["output"].as_str().is_some_and(|it| it.contains('\u{1b}'))
    })),
    attack(
        "look as if a signal had ended it",
        "the executor (status comes from the kernel)",
        "os._exit(137)\n",
    )
    .ends(Ends::Checked("runtime_error", |answer| {
        answer["exitCode"] == 137 && answer["signal"].is_null()
    })),
    attack(
        "look as if it had run out of time",
        "the executor (status comes from the kernel)",
        "os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    .ends(Ends::Checked("runtime_error", |answer| {
        answer["signal"] == "SIGKILL" && answer["exitCode"].is_null()
    })),
    attack(
        "close the standard streams and go on",
        "the executor (the end is the program's, not the stream's)",
        r#"
os.write(1, b"first")
os.close(0), os.close(1), os.close(2)
time.sleep(0.2)
os._exit(5)
"#,
    )
    .ends(Ends::Checked("runtime_error", |answer| {
        answer["exitCode"] == 5 && answer["output"] == "first"
    })),
    attack(
        "write into its own input and read its own output",
        "the executor (the far ends are its own)",
        r#"
for path, flags in (("/proc/self/fd/0", os.O_WRONLY), ("/proc/self/fd/1", os.O_RDONLY)):
    try: os.open(path, flags | os.O_NONBLOCK)
    except OSError: pass
fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK)
os.set_blocking(1, True)
print("done")
"#,
    ),
];

fn is_cut(answer: &Value) -> bool {
    let length = |name: &str| answer[name].as_str().map_or(0, str::len);
    length("output") <= 1 << 20 && length("error") <= 1 << 20 && answer["outputTruncated"] == true
}

#[tokio::test]
async fn what_a_run_spends_is_bounded() {
    crate::hold(&["python", "cpp"], HOGS).await;
}

#[tokio::test]
async fn a_report_is_the_kernel_s_word() {
    crate::hold(&["python"], WRITERS).await;
}
