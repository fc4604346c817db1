//! A run cannot signal, trace, limit or read the service or other runs.

use crate::attack::{Ends, attack};
use crate::promise::{CPU, KERNEL_SURFACE, SIGNALS};
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "a run touches no other process",
    against: &[SIGNALS],
    scenarios: &[],
    attacks: &[
        attack(
            "signal the server, the spawner, a supervisor and another run",
            "Landlock (signal scope), Identity",
            r#"
def group_of(pid):
    try: return os.getpgid(pid)
    except ProcessLookupError: return pid
TARGETS = (SERVER, SPAWNER, REAPER, VICTIM, os.getppid(), 1, SERVER + 1)
for pid in TARGETS:
    for number in (0, signal.SIGCONT, signal.SIGIO, signal.SIGUSR1, signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        attempt(f"kill {pid} {number}", lambda: os.kill(pid, number))
        attempt(f"tgkill {pid} {number}", lambda: call("tgkill", pid, pid, number))
        attempt(f"sigqueue {pid} {number}", lambda: call("sigqueue", pid, number, None))
        attempt(f"pidfd {pid} {number}", lambda: signal.pidfd_send_signal(os.pidfd_open(pid), number))
    # Group 0 would be our own, and 1 is everybody.
    for group in {group_of(pid), pid} - {0, 1}:
        attempt(f"group {pid}", lambda: os.killpg(group, signal.SIGTERM))
print("done")
"#,
        ),
        attack(
            "signal everybody",
            "Landlock (signal scope), Identity",
            r#"
# Nobody but the caller is in its domain, so there is nobody to signal.
child = os.fork()
if child == 0:
    signal.pause()
for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
    try: os.kill(-1, number)
    except ProcessLookupError: pass
os.waitpid(child, 0)
print("done")
"#,
        ),
        attack(
            "limit, slow down and move others",
            "Seccomp (the process named must be the caller)",
            r#"
for pid in (SERVER, SPAWNER, REAPER, VICTIM):
    for kind in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC, resource.RLIMIT_AS):
        attempt(f"limit {pid}", lambda: resource.prlimit(pid, kind, (0, 0)))
        attempt(f"its limits told {pid}", lambda: resource.prlimit(pid, kind))
    attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
    attempt("priority of its group", lambda: os.setpriority(os.PRIO_PGRP, os.getpgid(pid), 19))
    attempt("processors", lambda: os.sched_setaffinity(pid, {0}))
    attempt("scheduler", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))
    attempt("parameters", lambda: os.sched_setparam(pid, os.sched_param(0)))
    attempt("group", lambda: os.setpgid(pid, pid))
    owner = os.open(".", os.O_RDONLY)
    attempt("owner of a pipe", lambda: fcntl.fcntl(0, 8, pid))
    attempt("owner of a file", lambda: fcntl.fcntl(owner, 8, -pid))
    one, other = socket.socketpair()
    attempt("owner of a socket", lambda: fcntl.ioctl(one, 0x8901, struct.pack("i", pid)))
    attempt("group of a socket", lambda: fcntl.ioctl(one, 0x8902, struct.pack("i", pid)))
    attempt("owner of a thread", lambda: fcntl.fcntl(one, 15, struct.pack("ii", 1, pid)))
for who in (0, os.getuid()):
    attempt("priority of all of the user", lambda: os.setpriority(os.PRIO_USER, who, 19))
# The allowed things work.
os.setpriority(os.PRIO_PROCESS, 0, 5)
os.sched_setaffinity(0, os.sched_getaffinity(0))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
print("done")
"#,
        )
        .against(&[KERNEL_SURFACE, SIGNALS]),
        attack(
            "trace others and take what is theirs",
            "Seccomp (calls on other processes)",
            r#"
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/resource.h>
int main() {
    const pid_t targets[] = {SERVER, SPAWNER, REAPER, VICTIM, getppid()};
    for (pid_t pid : targets) {
        char byte = 0;
        iovec here{&byte, 1}, there{reinterpret_cast<void*>(0x400000), 1};
        forbidden("attach", syscall(SYS_ptrace, PTRACE_ATTACH, pid, 0, 0));
        forbidden("seize", syscall(SYS_ptrace, PTRACE_SEIZE, pid, 0, 0));
        forbidden("read memory", syscall(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0));
        forbidden("write memory", syscall(SYS_process_vm_writev, pid, &here, 1, &there, 1, 0));
        for (int type = 0; type < 7; type++) forbidden("compare", syscall(SYS_kcmp, getpid(), pid, type, 0, 0));
        void* head; size_t length;
        forbidden("robust list", syscall(SYS_get_robust_list, pid, &head, &length));
        int handle = syscall(SYS_pidfd_open, pid, 0);
        if (handle >= 0) for (int number = 0; number < 16; number++)
            forbidden("take a descriptor", syscall(SYS_pidfd_getfd, handle, number, 0));
        forbidden("advise its memory", syscall(SYS_process_madvise, handle, &there, 1, 21, 0));
        forbidden("release its memory", syscall(SYS_process_mrelease, handle, 0));
        if (handle >= 0) forbidden("enter its namespaces", syscall(SYS_setns, handle, 0x00020000));
        unsigned long nodes = 1; void* page = &byte; int status;
        forbidden("move its pages", syscall(SYS_move_pages, pid, 1, &page, nullptr, &status, 0));
        forbidden("migrate its pages", syscall(SYS_migrate_pages, pid, 8, &nodes, &nodes));
        forbidden("its disk priority", syscall(SYS_ioprio_set, 1, pid, 3 << 13));
        forbidden("disk priority of the user", syscall(SYS_ioprio_set, 3, getuid(), 3 << 13));
        struct { unsigned size, policy; uint64_t flags; int nice; unsigned priority; uint64_t rest[4]; } scheduling{48, 5, 0, 0, 0, {}};
        forbidden("its scheduling", syscall(SYS_sched_setattr, pid, &scheduling, 0));
        struct rlimit64 { uint64_t soft, hard; } none{0, 0};
        forbidden("its limits", syscall(SYS_prlimit64, pid, RLIMIT_CPU, &none, nullptr));
    }
    forbidden("trace itself", syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0));
    std::puts("done");
}
"#,
        )
        .in_language("cpp")
        .against(&[KERNEL_SURFACE, SIGNALS]),
        attack(
            "be signalled out of the kernel's hand",
            "Landlock (signal scope)",
            r#"
# A timer, a dying child or a parent's death may signal us, never somebody else.
PR_SET_PDEATHSIG = 1
call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
for pid in (SERVER, VICTIM):
    event = struct.pack("Qiii", 0, signal.SIGKILL, 4, pid)
    buffer, timer = ctypes.create_string_buffer(event, 64), ctypes.c_int()
    attempt("a timer for another", lambda: call("timer_create", 1, buffer, ctypes.byref(timer)))
    attempt("wait for another", lambda: os.waitid(os.P_PIDFD, os.pidfd_open(pid), os.WEXITED | os.WNOHANG))
print("done")
"#,
        ),
        attack(
            "kill the supervisor by exhausting what it shares with the run",
            "the reaper, which has limits of its own",
            r#"
for number in range(1, 65):
    if number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGXCPU): continue
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
for _ in range(1000):
    try: call("sigqueue", os.getpid(), signal.SIGRTMIN, None)
    except OSError: break
else: print("ESCAPED the limit of pending signals")
while True: pass
"#,
        )
        .with(r#"{"cpuTime": 1, "timeout": 20}"#)
        .ends(Ends::As(&["timeout"]))
        .against(&[CPU]),
    ],
};
