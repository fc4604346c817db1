//! A run changes nothing outside its own directories: no content, no name, no right, no time.

use crate::attack::attack;
use crate::promise::FILES;
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "a run changes nothing outside",
    against: &[FILES],
    scenarios: &[],
    attacks: &[
        attack(
            "write, make and remove files outside",
            "Landlock (files)",
            r#"
OWN = ("/tmp", "/dev/shm") if NAMESPACED else ()
NEW = [os.path.join(place, "flotilla-escape") for place in (
    DROP, STATE, STATE + "/work", STATE + "/cache", STATE + "/support", PREPARED, VICTIM_DIR,
    "..", "../..", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run", "/run/lock", "/etc", "/usr/bin",
    "/usr/lib", "/var/lib", "/", "/proc", "/sys/fs/cgroup", "/root", "/home", "/opt") if place not in OWN]
for path in NEW:
    attempt("write " + path, lambda: open(path, "w"))
    attempt("directory " + path, lambda: os.mkdir(path))
    attempt("fifo " + path, lambda: os.mkfifo(path))
    attempt("node " + path, lambda: os.mknod(path, stat.S_IFREG | 0o600))
    attempt("symbolic link " + path, lambda: os.symlink("/", path))
    attempt("socket " + path, lambda: os.mknod(path, stat.S_IFSOCK | 0o600))
    open("own", "w").close()
    attempt("rename to " + path, lambda: os.rename("own", path))
    attempt("link to " + path, lambda: os.link("own", path))
    attempt("temporary file in " + path, lambda: os.open(os.path.dirname(path) or ".", os.O_TMPFILE | os.O_WRONLY))
for path in (PRIVATE, PUBLIC, OPEN, STATE + "/lock", VICTIM_DIR + "/main.py", "/usr/bin/python3", "/usr/bin/env", "/etc/passwd"):
    attempt("write " + path, lambda: open(path, "r+"))
    attempt("append " + path, lambda: open(path, "a"))
    attempt("truncate " + path, lambda: os.truncate(path, 0))
    attempt("remove " + path, lambda: os.unlink(path))
    attempt("rename " + path, lambda: os.rename(path, "stolen"))
    attempt("link in " + path, lambda: os.link(path, "linked"))
    attempt("replace " + path, lambda: os.replace("own", path))
for path in (DROP, VICTIM_DIR, STATE + "/work", STATE + "/cache", ".", "../out", "../tmp"):
    attempt("remove " + path, lambda: os.rmdir(os.path.abspath(path)))
    attempt("rename " + path, lambda: os.rename(os.path.abspath(path), os.path.abspath(path) + "-gone"))
for path in ("/proc/self/oom_score_adj", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname",
             "/proc/sysrq-trigger", "/proc/self/uid_map", "/proc/self/setgroups", "/proc/self/attr/current"):
    attempt("write " + path, lambda: open(path, "w").write("0"))
print("done")
"#,
        ),
        attack(
            "change rights, owners, times and attributes of files outside",
            "Identity, or Seccomp where the user is shared",
            r#"
SUPPORT = STATE + "/support/validate.py"
for path in (PRIVATE, PUBLIC, OPEN, DROP, VICTIM_DIR, VICTIM_DIR + "/main.py", STATE, STATE + "/work",
             STATE + "/cache", STATE + "/lock", SUPPORT, PREPARED, "..", "/usr/bin/python3.11", "/var/tmp"):
    attempt_change("chmod", path, lambda: os.chmod(path, 0o777))
    attempt_change("closing", path, lambda: os.chmod(path, 0))
    attempt_change("chmod by path only", path, lambda: os.chmod(f"/proc/self/fd/{os.open(path, os.O_PATH)}", 0o777))
    attempt_change("fchmodat2", path, lambda: call("syscall", 452, os.open(path, os.O_PATH), b"", 0o777, 0x1000))
    attempt_change("chown", path, lambda: os.chown(path, os.getuid(), 12345))
    attempt_change("lchown", path, lambda: os.lchown(path, 12345, -1))
    attempt_change("times", path, lambda: os.utime(path, (1, 1)))
    attempt_change("times of a descriptor", path, lambda: call("futimens", os.open(path, os.O_RDONLY), None))
    attempt_change("rights of a descriptor", path, lambda: os.fchmod(os.open(path, os.O_RDONLY), 0o777))
    attempt("attribute", lambda: os.setxattr(path, "user.escape", b"x"))
    attempt("attribute of the link", lambda: os.setxattr(path, "user.escape", b"x", follow_symlinks=False))
    attempt("attribute removed", lambda: os.removexattr(path, "user.escape"))
for path in (SUPPORT, "/usr/bin/env"):
    own = os.open(path, os.O_RDONLY)
    attempt("attribute of a descriptor", lambda: os.setxattr(own, "user.escape", b"x"))
    attempt("a lease", lambda: fcntl.fcntl(own, fcntl.F_SETLEASE, fcntl.F_RDLCK))
    attempt("a write lease", lambda: fcntl.fcntl(own, fcntl.F_SETLEASE, fcntl.F_WRLCK))
    attempt("a lock for writing", lambda: fcntl.lockf(own, fcntl.LOCK_EX | fcntl.LOCK_NB))
    attempt("flags", lambda: fcntl.ioctl(own, 0x40086602, struct.pack("l", 0x20)))
    attempt("a mapping for writing", lambda: mmap.mmap(own, 4096, mmap.MAP_SHARED, mmap.PROT_WRITE))
print("done")
"#,
        ),
        attack(
            "leave something for the next run",
            "the work directory, which is the run's own and is deleted",
            r#"
for place in (os.environ["HOME"], os.environ["TMPDIR"]):
    open(place + "/left", "w").write("left")
    os.makedirs(place + "/.local/lib/python3.11/site-packages")
    open(place + "/.local/lib/python3.11/site-packages/usercustomize.py", "w").write("print('poisoned')")
    os.symlink("/", place + "/root")
for name in ("site-packages", "__pycache__"):
    import json
    attempt(name, lambda: open(os.path.join(os.path.dirname(json.__file__), name, "x"), "w"))
for number, size in ((29, 4096), ):
    attempt("shared memory that stays", lambda: call("shmget", 0x5151, size, 0o1666))
attempt("a semaphore that stays", lambda: call("semget", 0x5151, 1, 0o1666))
attempt("a queue that stays", lambda: call("msgget", 0x5151, 0o1666))
# What is in `/dev/shm` goes with the run, where that is its own.
for name in ("mq_open",) if NAMESPACED else ("mq_open", "shm_open", "sem_open"):
    try: function = getattr(ctypes.CDLL("librt.so.1", use_errno=True), name)
    except (OSError, AttributeError): continue
    ctypes.set_errno(0)
    result = function(b"/flotilla-escape", os.O_CREAT | os.O_RDWR, 0o666, 1 if name == "sem_open" else 0)
    if ctypes.get_errno() == 0: print("ESCAPED", name, result)
print("done")
"#,
        ),
        // Twice, since the second run is of what the first one left in the cache.
            attack(
        "change its own compiled program for the next run",
        "Landlock (files); Identity, or Seccomp where the user is shared",
        r#"
int main() {
    char path[4096] = {};
    if (readlink("/proc/self/exe", path, sizeof path - 1) <= 0) std::puts("where are we?");
    struct stat before = {}, after = {};
    stat(path, &before);
    std::string directory = std::string(path).substr(0, std::string(path).rfind('/'));
    auto barred = [](const char* what, int result) { std::printf("%s %s: %m\n", result == -1 ? "held" : "ESCAPED", what); };
    barred("write", open(path, O_RDWR));
    barred("truncate", truncate(path, 0));
    barred("unlink", unlink(path));
    barred("rename", rename(path, "main"));
    barred("a neighbour", open((directory + "/x").c_str(), O_CREAT | O_WRONLY, 0600));
    barred("a list of all programs", open((directory + "/..").c_str(), O_RDONLY));
    int itself = open(path, O_RDONLY);
    for (int result : {chmod(path, 0), fchmod(itself, 0), fchmodat(AT_FDCWD, path, 0, 0), futimens(itself, nullptr)})
        std::printf("%d\n", result);
    stat(path, &after);
    if (std::memcmp(&before.st_mode, &after.st_mode, sizeof before.st_mode) || before.st_mtime != after.st_mtime)
        std::puts("ESCAPED rights or times");
    std::puts("done");
}
"#,
    )
    .in_language("cpp")
            .twice(),
    ],
};
