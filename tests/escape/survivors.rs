//! A run leaves no process behind and always ends, whatever it does to stay.

use crate::attack::{Ends, attack};
use crate::promise::{CLEAN_UP, PROCESSES};
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "a run ends and nothing of it survives",
    against: &[CLEAN_UP],
    scenarios: &[],
    attacks: &[
        attack(
            "daemons by every recipe",
            "the reaper (kill inside the scope)",
            r#"
def daemon(prepare):
    if os.fork() == 0:
        prepare()
        while True: signal.pause()
def double():
    os.setsid()
    if os.fork(): os._exit(0)
def deaf():
    for number in range(1, 32):
        try: signal.signal(number, signal.SIG_IGN)
        except OSError: pass
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
def group():
    os.setpgid(0, 0)
def stopped():
    os.kill(os.getpid(), signal.SIGSTOP)
def silent():
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2): os.dup2(null, number)
def holds():
    # It keeps standard output open, which must not delay the answer.
    pass
def subreaper():
    call("prctl", 36, 1, 0, 0, 0)
    if os.fork() == 0 and os.fork() == 0: signal.pause()
def undumpable():
    call("prctl", 4, 0, 0, 0, 0)
for recipe in (os.setsid, double, deaf, group, stopped, silent, holds, subreaper, undumpable):
    daemon(recipe)
    daemon(lambda: (os.setsid(), double(), deaf(), recipe()))
print("done", flush=True)
"#,
        )
        // Each of them is a fork that takes memory of its own.
        .with(r#"{"timeout": 20, "memoryLimit": 512}"#),
        attack(
            "a storm of forks for a second",
            "the reaper (kill inside the scope), Processes",
            r#"
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def storm():
    until = time.monotonic() + 60
    os.setsid()
    while time.monotonic() < until:
        try:
            if os.fork(): os._exit(0)
        except OSError: pass
for _ in range(30):
    try:
        if os.fork() == 0: storm()
    except OSError: break
until = time.monotonic() + 1
while time.monotonic() < until: pass
print("done", flush=True)
"#,
        )
        .with(r#"{"timeout": 20, "memoryLimit": 512}"#),
        attack(
            "children of the supervisor",
            "the reaper (it waits for everybody)",
            r#"
#include <sched.h>
int main() {
    // CLONE_PARENT: our parent's child, not ours; CLONE_VFORK: we stand still until it executes.
    for (int index = 0; index < 5; index++)
        if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) == 0) { setsid(); for (;;) pause(); }
    for (int index = 0; index < 5; index++)
        if (syscall(SYS_clone, CLONE_PARENT, 0, 0, 0, 0) == 0) { if (fork()) _exit(0); for (;;) pause(); }
    if (fork() == 0) { if (vfork() == 0) for (;;) pause(); for (;;) pause(); }
    // One that stops all the others again and again.
    if (fork() == 0) for (;;) { kill(-1, SIGSTOP); }
    std::puts("done"); std::fflush(stdout);
    for (;;) pause();
}
"#,
        )
        .in_language("cpp")
        .with(r#"{"timeout": 2}"#)
        .ends(Ends::As(&["timeout"])),
        attack(
            "ignore every signal and sleep for ever",
            "the reaper (wall clock)",
            r"
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
os.close(1), os.close(2), os.close(0)
while True: time.sleep(1000)
",
        )
        .with(r#"{"timeout": 1}"#)
        .ends(Ends::As(&["timeout"]))
        .against(&[]),
        attack(
            "stop itself for ever",
            "the reaper (wall clock)",
            "os.kill(os.getpid(), signal.SIGSTOP)\n",
        )
        .with(r#"{"timeout": 1}"#)
        .ends(Ends::As(&["timeout"]))
        .against(&[]),
        attack(
            "end the first thread and go on in another",
            "the reaper (wall clock)",
            r"
threading.Thread(target=lambda: time.sleep(1000)).start()
libc.pthread_exit(None)
",
        )
        .with(r#"{"timeout": 1}"#)
        // Frames of ours below the main thread's do not let it go away.
        .ends(Ends::As(&["timeout", "runtime_error"]))
        .against(&[]),
        attack(
            "never read a large standard input",
            "the executor (feeding ends with the run)",
            "print('done')\n",
        )
        .with(r#"{"inputData": "0123456789abcdef0123456789abcdef"}"#)
        .against(&[]),
        attack(
            "a bomb that shells know",
            "Processes, the reaper (kill inside the scope)",
            "subprocess.run(['bash', '-c', ':(){ :|:& };:; sleep 1'], stderr=subprocess.DEVNULL)\nprint('done', flush=True)\n",
        )
        .with(r#"{"timeout": 20, "memoryLimit": 512}"#)
        .against(&[CLEAN_UP, PROCESSES]),
        attack(
            "hold the output open beyond the end",
            "the reaper (everybody is killed before the pipes are drained)",
            r#"
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            try: os.write(1, b"")
            except OSError: pass
            time.sleep(0.01)
    os._exit(0)
print("done", flush=True)
"#,
        )
        .with(r#"{"timeout": 20}"#)
        .against(&[]),
        attack(
            "daemons that start others whenever they are killed",
            "the reaper (kill inside the scope)",
            r#"
def keep(depth):
    while True:
        try: child = os.fork()
        except OSError: continue
        if child == 0:
            os.setsid()
            if depth: keep(depth - 1)
            while True: signal.pause()
        os.waitpid(child, 0)
if os.fork() == 0:
    os.setsid()
    keep(4)
time.sleep(0.3)
print("done", flush=True)
"#,
        ),
        attack(
            "stay behind by way of timers, alarms and deaths",
            "the reaper (kill inside the scope)",
            r#"
for number in (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF): signal.signal(number, signal.SIG_IGN)
for kind in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF): signal.setitimer(kind, 0.001, 0.001)
if os.fork() == 0:
    signal.signal(signal.SIGUSR1, lambda *_: os.fork())
    call("prctl", 1, signal.SIGUSR1, 0, 0, 0)
    while True: signal.pause()
time.sleep(0.1)
print("done", flush=True)
"#,
        ),
    ],
};
