//! A run cannot read the service's secrets, nor files outside its work directory and toolchain.

use crate::attack::{Attack, attack};
use crate::promise::{FILES, KERNEL_SURFACE, PROCESS_SECRETS};
use crate::table::Table;

/// The plainest of all.
pub(crate) const BY_NAME: Attack = attack(
    "read files outside by every kind of name",
    "Landlock (files)",
    r#"
for path in (PRIVATE, PUBLIC, OPEN):
    attempt("open", lambda: read(path))
    attempt("relative", lambda: read(os.path.relpath(path)))
    attempt("through /proc", lambda: read("/proc/self/root" + path))
    attempt("through the current directory", lambda: read("/proc/self/cwd/" + os.path.relpath(path)))
    os.symlink(path, "link")
    attempt("symbolic link", lambda: read("link"))
    os.unlink("link")
    attempt("hard link", lambda: (os.link(path, "hard"), read("hard")))
    attempt("descriptor of a path", lambda: os.read(os.open(path, os.O_PATH), 10))
    attempt("descriptor opened again", lambda: read(f"/proc/self/fd/{os.open(path, os.O_PATH)}"))
    attempt("descriptor of a directory", lambda: os.open(os.path.basename(path), os.O_RDONLY, dir_fd=os.open(os.path.dirname(path), os.O_PATH)))
    attempt("as a program", lambda: subprocess.run([path], check=True))
    attempt("as an argument of a tool", lambda: subprocess.run(["/usr/bin/cat", path], check=True, stderr=subprocess.DEVNULL))
    attempt("for writing", lambda: os.open(path, os.O_RDWR))
    attempt("from its directory", lambda: (os.chdir(os.path.dirname(path)), read(os.path.basename(path))))
    os.chdir(os.environ["HOME"])
    attempt("copied by the kernel", lambda: os.sendfile(1, os.open(path, os.O_RDONLY), 0, 10))
attempt("tmpfile next to it", lambda: os.open(os.path.dirname(PUBLIC), os.O_TMPFILE | os.O_RDWR))
print("done")
"#,
);

pub(crate) static TABLE: Table = Table {
    promise: "a run reads no secret and no file outside",
    against: &[FILES],
    scenarios: &[],
    attacks: &[
        attack(
            "look into the processes of the server, the spawner, a supervisor and another run",
            "Landlock (processes outside the domain cannot be inspected)",
            r#"
import itertools
FILES = ("environ mem maps smaps smaps_rollup auxv stack syscall wchan cmdline status stat statm io "
         "limits mountinfo mounts cgroup comm root/etc/passwd cwd/. cwd/secret.txt cwd/main.py "
         "task fd fdinfo map_files ns/mnt oom_score_adj personality pagemap").split()
# Where the supervisor is process 1 of the run's own, it is no secret what everybody may know of any process.
TOLD = "wchan cmdline status stat statm limits mountinfo mounts cgroup comm task oom_score_adj".split() if NAMESPACED else ()
if NAMESPACED and read("/proc/1/cmdline").rstrip(b"\0") != b"/proc/self/exe\0sandbox-spawner":
    print("ESCAPED the words of the supervisor", read("/proc/1/cmdline"))
for pid, file in itertools.product((SERVER, SPAWNER, REAPER, VICTIM, os.getppid(), 1), FILES):
    if pid == 1 and file in TOLD: continue
    path = f"/proc/{pid}/{file}"
    attempt(path, lambda: os.listdir(path) if file in ("task", "fd", "fdinfo", "map_files") else read(path))
    attempt(path + " by path only", lambda: os.open(os.open(path, os.O_PATH) and path, os.O_RDONLY))
for pid, link in itertools.product((SERVER, SPAWNER, REAPER, VICTIM), ("exe", "cwd", "root", "fd/0", "fd/3", "ns/mnt")):
    attempt(f"link {pid} {link}", lambda: os.readlink(f"/proc/{pid}/{link}"))
    attempt(f"open {pid} {link}", lambda: os.open(f"/proc/{pid}/{link}", os.O_RDONLY))
print("done")
"#,
        )
        .against(&[FILES, PROCESS_SECRETS]),
        BY_NAME,
        attack(
            "read what the system keeps",
            "Landlock (files)",
            r#"
# Where processes, network and host name are the run's own, so is what the system tells of them.
OWN = """/proc /proc/version /proc/mounts /proc/self/mountinfo /proc/self/environ /proc/self/maps /proc/self/status
    /proc/self/cgroup /proc/self/task /proc/self/fd /proc/net/tcp /proc/net/unix /proc/sysvipc/shm
    /proc/sys/kernel/random/boot_id /proc/sys/kernel/hostname /dev/shm /tmp""".split() if NAMESPACED else ()
def look(path):
    if path in OWN: raise OSError("it may be seen")
    found = os.listdir(path) if os.path.isdir(path) else read(path)
    if not found: raise OSError("it is empty")
    return found
for path in """/etc/passwd /etc/shadow /etc/hostname /etc/hosts /etc/resolv.conf /etc/machine-id /etc/ssh
        /proc/version /proc/mounts /proc/self/mountinfo /proc/self/environ /proc/self/maps /proc/self/mem
        /proc/self/status /proc/self/cgroup /proc/net/tcp /proc/net/unix /proc/kallsyms /proc/kmsg /proc/cmdline
        /proc/config.gz /proc/modules /proc/partitions /proc/sysvipc/shm /proc/keys /proc/locks /proc/sched_debug
        /proc/timer_list /proc/interrupts /proc/sys/kernel/random/boot_id /proc/sys/kernel/hostname
        /dev/mem /dev/kmsg /dev/tty /dev/ptmx /dev/full /dev/zero /dev/console /dev/fuse /dev/kvm
        /dev/net/tun /dev/vsock /dev/userfaultfd /sys/kernel/vmcoreinfo /sys/class/dmi/id/product_name
        /run/secrets /var/run/secrets/kubernetes.io/serviceaccount/token /.dockerenv /root/.bashrc
        /root/.ssh/id_rsa /root/.cargo/credentials.toml""".split():
    attempt(path, lambda: look(path))
for directory in "/ /etc /proc /proc/self/task /proc/self/fd /dev /dev/shm /tmp /var /var/lib /var/log /run /home /root /srv /opt /mnt /sys /sys/class /sys/fs/cgroup".split():
    attempt(directory, lambda: look(directory))
if NAMESPACED and open("/proc/sys/kernel/hostname").read() != "flotilla\n": print("ESCAPED the host's name")
if NAMESPACED and len(os.listdir("/dev/shm") + os.listdir("/tmp")) > 0: print("ESCAPED files of others")
named = [line for line in open("/proc/net/unix").readlines()[1:] if len(line.split()) > 7] if NAMESPACED else []
if named: print("ESCAPED sockets of others", named)
print("done")
"#,
        ),
        attack(
            "read another run and the server's own directories",
            "Landlock (files)",
            r#"
for path in ("main.py", "secret.txt"):
    attempt(path, lambda: read(os.path.join(VICTIM_DIR, path)))
attempt("its directory", lambda: os.listdir(VICTIM_DIR))
attempt("its directory by descriptor", lambda: os.listdir(os.open(VICTIM_DIR, os.O_PATH)))
for path in (".", "work", "cache", "lock"):
    full = os.path.join(STATE, path)
    attempt(full, lambda: os.listdir(full) if os.path.isdir(full) else read(full))
attempt("the directory of runs", lambda: os.listdir("../.."))
attempt("the run's own parent", lambda: os.listdir(".."))
print("done")
"#,
        ),
        attack(
            "learn the names of other runs from watches",
            "Seccomp (inotify and fanotify)",
            r#"
for start in (lambda: call("inotify_init"), lambda: call("inotify_init1", 0)):
    attempt("a watch", start)
attempt("a watch of everything", lambda: call("fanotify_init", 0, 0))
attempt("a notice of a directory", lambda: fcntl.fcntl(os.open(".", os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_CREATE))
print("done")
"#,
        )
        .against(&[FILES, KERNEL_SURFACE]),
        attack(
            "find secrets in its own process",
            "the spawner (empty environment, no secret in its memory)",
            r#"
import re
# Whatever the supervisor left in memory that we inherit would be in our stack or environment.
names = "HOME LANG OMP_NUM_THREADS OPENBLAS_NUM_THREADS PATH PYTHONDONTWRITEBYTECODE TMPDIR TZ".split()
if sorted(os.environ) != names: print("ESCAPED environment", sorted(os.environ))
expected = dict(LANG="C.UTF-8", TZ="UTC", PATH="/usr/local/bin:/usr/bin:/bin", HOME=os.getcwd())
for name, value in expected.items():
    if os.environ[name] != value: print("ESCAPED", name, os.environ[name])
if sys.argv != ["main.py"]: print("ESCAPED arguments", sys.argv)
print("done")
"#,
        )
        .against(&[]),
        attack(
            "use descriptors that were left open",
            "NewSession (close-on-exec above standard error)",
            r#"
found = []
for number in range(4096):
    try: fcntl.fcntl(number, fcntl.F_GETFD)
    except OSError: continue
    found.append(number)
if found != [0, 1, 2]: print("ESCAPED descriptors", found)
for number in (0, 1, 2):
    if not stat.S_ISFIFO(os.fstat(number).st_mode): print("ESCAPED a stream that is no pipe", number)
attempt("input of the terminal", lambda: fcntl.ioctl(0, 0x5412, b"x"))
if os.getsid(0) != os.getpid(): print("ESCAPED our session", os.getsid(0))
print("done")
"#,
        )
        .against(&[]),
    ],
};
