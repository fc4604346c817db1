//! What a run may spend is bounded: by the kernel where it can, by the watch where it must.

use crate::attack::{Ends, attack};
use crate::promise::{
    CPU, DISK, FILES, KERNEL_SURFACE, MEMORY_PER_PROCESS, MEMORY_TOTAL, PROCESSES,
};
use crate::table::Table;

const MEMORY: Ends = Ends::As(&["memory_limit", "runtime_error"]);

pub(crate) static TABLE: Table = Table {
    promise: "what a run spends is bounded",
    against: &[],
    scenarios: &[],
    attacks: &[
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
    if count > 64 + 8: print("ESCAPED the limit of processes", count)
print("done", flush=True)
"#,
        )
        .with(r#"{"timeout": 20, "memoryLimit": 512}"#)
        .against(&[PROCESSES]),
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
    if count > 64 + 8: print("ESCAPED the limit of threads", count)
print("done", flush=True)
"#,
        )
        .against(&[PROCESSES]),
        attack(
            "take memory in one process",
            "Data, the reaper (memory of the tree)",
            "blocks = []\nwhile True: blocks.append(b'x' * (8 << 20))\n",
        )
        .ends(MEMORY)
        .against(&[MEMORY_PER_PROCESS]),
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
        .ends(Ends::As(&["memory_limit"]))
        .against(&[MEMORY_TOTAL]),
        attack(
            "take memory in processes whose first thread has ended",
            "the reaper (memory of the tree)",
            r#"
#include <thread>
#include <vector>
int main() {
    for (int index = 0; index < 8; index++) {
        if (fork() > 0) continue;
        std::thread([] {
            std::vector<char> block(48 << 20, 'x');
            sleep(10);
        }).detach();
        pthread_exit(nullptr);
    }
    sleep(5);
    std::puts("done");
}
"#,
        )
        .in_language("cpp")
        .with(r#"{"timeout": 15}"#)
        .ends(Ends::As(&["memory_limit"]))
        .against(&[MEMORY_TOTAL]),
        attack(
            "memory that is shared without a file",
            "Seccomp (mmap)",
            r#"
# Where the kernel counts such memory against the run, it may have some.
if not COUNTED: attempt("mmap", lambda: mmap.mmap(-1, 1 << 20))
attempt("zero", lambda: mmap.mmap(os.open("/dev/zero", os.O_RDWR), 1 << 20))
if not COUNTED: attempt("memfd", lambda: os.memfd_create("x"))
attempt("secret memory", lambda: call("syscall", 447, 0))
attempt("System V", lambda: call("shmget", 0, 1 << 20, 0o600))
# The allowed thing works: private memory, and a file of its own.
mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE)[0] = 1
with open("file", "w+b") as file:
    file.truncate(1 << 20)
    mmap.mmap(file.fileno(), 1 << 20)[0] = 1
print("done")
"#,
        )
        .against(&[FILES, KERNEL_SURFACE]),
        attack(
            "fill memory with page tables",
            "the reaper (memory of the tree)",
            r#"
// Pages that are only read cost nothing themselves; the tables that name them do. One process may
// have few by its address space, several have too many.
int main() {
    void* whole = mmap(nullptr, size_t(1) << 38, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (whole != MAP_FAILED) std::puts("ESCAPED its address space is boundless");
    std::fflush(stdout);
    for (int child = 0; child < 40; child++) {
        if (fork() != 0) continue;
        const size_t size = size_t(1) << 30;
        for (;;) {
            auto* memory = static_cast<volatile char*>(mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
            if (memory == MAP_FAILED) break;
            for (size_t at = 0; at < size; at += size_t(2) << 20) (void)memory[at];
        }
        pause();
    }
    pause();
}
"#,
        )
        .in_language("cpp")
        .with(r#"{"timeout": 30, "cpuTime": 30}"#)
        .ends(Ends::As(&["memory_limit"]))
        .against(&[MEMORY_TOTAL]),
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
        )
        .against(&[DISK]),
        attack(
            "be ended by the size of a file",
            "FileSize",
            "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nopen('large', 'wb').write(bytes(65 << 20))\n",
        )
        .ends(Ends::Checked("runtime_error", |answer| answer["signal"] == "SIGXFSZ"))
        .against(&[DISK]),
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
        )
        .against(&[KERNEL_SURFACE]),
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
        .ends(Ends::As(&["timeout"]))
        .against(&[CPU]),
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
        .ends(Ends::As(&["timeout"]))
        .against(&[CPU]),
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
        )
        .against(&[PROCESSES]),
    ],
};
