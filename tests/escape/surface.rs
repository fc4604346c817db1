//! What a run may ask of the kernel: little, and nothing that gives rights.

use crate::attack::attack;
use crate::promise::{FILES, KERNEL_SURFACE};
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "a run has few calls and no rights",
    against: &[KERNEL_SURFACE],
    scenarios: &[],
    attacks: &[
        attack(
            "calls that programs go without",
            "Seccomp",
            r#"
#include <sched.h>
#include <sys/prctl.h>
int main() {
    char buffer[256] = {};
    int pair[2];
    forbidden("io_uring_setup", syscall(SYS_io_uring_setup, 8, buffer), ENOSYS);
    forbidden("io_uring_enter", syscall(SYS_io_uring_enter, 0, 1, 0, 0, 0, 0));
    forbidden("io_uring_register", syscall(SYS_io_uring_register, 0, 0, 0, 0));
    forbidden("clone3", syscall(SYS_clone3, buffer, 64), ENOSYS);
    const int namespaces[] = {0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00000080};
    for (int flag : namespaces) {
        forbidden("unshare", syscall(SYS_unshare, flag));
        if (flag != 0x80) forbidden("clone", syscall(SYS_clone, flag | SIGCHLD, 0, 0, 0, 0));
    }
    forbidden("unshare several", syscall(SYS_unshare, 0x10020000));
    forbidden("clone several", syscall(SYS_clone, 0x30000000 | SIGCHLD, 0, 0, 0, 0));
    forbidden("clone with high bits", syscall(SYS_clone, (1L << 40) | 0x10000000 | SIGCHLD, 0, 0, 0, 0));
    forbidden("setns", syscall(SYS_setns, 0, 0));
    forbidden("keyctl", syscall(SYS_keyctl, 0, -3, 0, 0, 0));
    forbidden("add_key", syscall(SYS_add_key, "user", "escape", "x", 1, -3));
    forbidden("request_key", syscall(SYS_request_key, "user", "escape", nullptr, -3));
    for (int command = 0; command < 40; command++) forbidden("bpf", syscall(SYS_bpf, command, buffer, sizeof buffer));
    forbidden("perf_event_open", syscall(SYS_perf_event_open, buffer, 0, -1, -1, 0));
    forbidden("userfaultfd", syscall(SYS_userfaultfd, 1));
    forbidden("mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0));
    forbidden("mount here", syscall(SYS_mount, "none", ".", "tmpfs", 0, 0));
    forbidden("umount", syscall(SYS_umount2, "/", 2));
    forbidden("move_mount", syscall(SYS_move_mount, -1, "/", -1, "/", 0));
    forbidden("open_tree", syscall(SYS_open_tree, -100, "/", 1));
    forbidden("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    forbidden("fsconfig", syscall(SYS_fsconfig, 0, 0, 0, 0, 0));
    forbidden("fsmount", syscall(SYS_fsmount, 0, 0, 0));
    forbidden("fspick", syscall(SYS_fspick, -100, "/", 0));
    forbidden("mount_setattr", syscall(442, -100, "/", 0, buffer, 32));
    forbidden("statmount", syscall(457, buffer, buffer, 100, 0));
    forbidden("listmount", syscall(458, buffer, buffer, 10, 0));
    forbidden("pivot_root", syscall(SYS_pivot_root, ".", "."));
    forbidden("chroot", syscall(SYS_chroot, "."));
    forbidden("open_by_handle_at", syscall(SYS_open_by_handle_at, -100, buffer, 0));
    forbidden("name_to_handle_at", syscall(SYS_name_to_handle_at, -100, ".", buffer, pair, 0));
    forbidden("init_module", syscall(SYS_init_module, buffer, 1, ""));
    forbidden("finit_module", syscall(SYS_finit_module, 0, "", 0));
    forbidden("delete_module", syscall(SYS_delete_module, "x", 0));
    forbidden("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
    forbidden("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, 0));
    forbidden("swapon", syscall(SYS_swapon, "/", 0));
    forbidden("acct", syscall(SYS_acct, "file"));
    forbidden("quotactl", syscall(SYS_quotactl, 0, 0, 0, 0));
    forbidden("vhangup", syscall(SYS_vhangup));
    forbidden("sethostname", syscall(SYS_sethostname, "x", 1));
    forbidden("setdomainname", syscall(SYS_setdomainname, "x", 1));
    forbidden("settimeofday", syscall(SYS_settimeofday, buffer, 0));
    forbidden("clock_settime", syscall(SYS_clock_settime, 0, buffer));
    forbidden("adjtimex", syscall(SYS_adjtimex, buffer));
    forbidden("syslog", syscall(SYS_syslog, 3, buffer, sizeof buffer));
    if (!COUNTED) forbidden("memfd_create", syscall(SYS_memfd_create, "x", 0));
    forbidden("memfd_secret", syscall(447, 0));
    forbidden("mq_open", syscall(SYS_mq_open, "escape", O_CREAT | O_RDWR, 0600, 0));
    forbidden("semget", syscall(SYS_semget, 0, 1, 0600));
    forbidden("msgget", syscall(SYS_msgget, 0, 0600));
    forbidden("socketpair", syscall(SYS_socketpair, AF_INET, SOCK_STREAM, 0, pair));
    forbidden("a wish to type", syscall(SYS_ioctl, 0, 0x5412, "x"));
    forbidden("personality", syscall(SYS_personality, 0x0400000));
    unsigned header[2] = {0x20080522, 0}, every[6] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
    forbidden("capset", syscall(SYS_capset, header, every));
    // A user namespace that does not know root calls it invalid.
    long again = syscall(SYS_setresuid, 0, 0, 0);
    forbidden("root again", again, errno == EINVAL ? EINVAL : EPERM);
    again = syscall(SYS_setresgid, 0, 0, 0);
    forbidden("root's group again", again, errno == EINVAL ? EINVAL : EPERM);
    forbidden("groups", syscall(SYS_setgroups, 0, 0));
    for (long number = 463; number < 1000; number++) forbidden("an unknown call", syscall(number, 0, 0, 0, 0, 0, 0), ENOSYS);
    forbidden("a call beyond all numbers", syscall(0x3fffffff), ENOSYS);
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0) std::puts("ESCAPED no new privileges");
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2) std::puts("ESCAPED the filter");
    for (int capability = 0; capability < 41; capability++)
        if (getuid() != 0 && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1) std::puts("ESCAPED a capability is left");
    if (getuid() == 0 || geteuid() == 0 || getgid() == 0) std::puts("ESCAPED we are root");
    std::puts("done");
}
"#,
        )
        .in_language("cpp"),
        #[cfg(target_arch = "x86_64")]
        attack(
            "calls under foreign conventions",
            "Seccomp (convention guard)",
            r#"
#include <ucontext.h>
int main() {
    fatal("getpid of i386", [] { long number = 20; asm volatile("int $0x80" : "+a"(number) : : "memory"); });
    fatal("socketcall of i386", [] { long number = 102, which = 1; asm volatile("int $0x80" : "+a"(number) : "b"(which), "c"(0) : "memory"); });
    fatal("getpid of x32", [] { syscall(0x40000000L | SYS_getpid); });
    fatal("socket of x32", [] { syscall(0x40000000L | SYS_socket, AF_INET, SOCK_STREAM, 0); });
    fatal("ptrace of x32", [] { syscall(0x40000000L | 521, 0, 0, 0, 0); });
    std::puts("done");
}
"#,
        )
        .in_language("cpp"),
        attack(
            "programs that carry rights",
            "NoNewPrivileges",
            r#"
import glob
carriers = [path for directory in ("/usr/bin", "/usr/sbin", "/usr/lib/openssh") for path in glob.glob(directory + "/*")
            if os.path.isfile(path) and os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID)]
for path in carriers:
    if os.path.basename(path) in ("su", "mount", "umount", "newgrp", "passwd", "chsh", "gpasswd"):
        # No password is asked for without a terminal; with rights, its user would be root's.
        found = subprocess.run([path, "-c", "id -u"] if path.endswith("/su") else [path], input=b"\n", capture_output=True, timeout=10)
        if found.stdout.strip() == b"0": print("ESCAPED", path)
with open("copy", "wb") as copy: copy.write(open("/usr/bin/id", "rb").read())
try: os.chmod("copy", 0o6755)
except OSError: pass
if os.access("copy", os.X_OK):
    found = subprocess.run(["./copy", "-u"], capture_output=True)
    if found.stdout.strip() != str(os.getuid()).encode(): print("ESCAPED", found)
if os.getresuid() != (os.getuid(),) * 3 or os.getgroups() not in ([], [os.getgid()]): print("ESCAPED", os.getresuid(), os.getgroups())
for path in ("sudo", "su"):
    try: attempt(path, lambda: subprocess.run([path, "-n", "true"], check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=10))
    except FileNotFoundError: pass
print("done")
"#,
        ),
        attack(
            "change what it is to the kernel",
            "Seccomp, NoNewPrivileges",
            r#"
#include <linux/securebits.h>
#include <sys/prctl.h>
int main() {
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    forbidden("a capability", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
    forbidden("its bits", prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0));
    forbidden("its map", prctl(PR_SET_MM, 1, 0x10000, 0, 0));
    forbidden("strict mode undone", prctl(PR_SET_SECCOMP, 0, 0, 0, 0), EINVAL);
    forbidden("no new privileges undone", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
    long shared = prctl(62, 2, SERVER, 0, 0);
    forbidden("scheduling core of another", shared, errno);
    forbidden("clock", syscall(SYS_clock_adjtime, 0, 0));
    forbidden("ports", syscall(SYS_iopl, 3));
    forbidden("local descriptors", syscall(SYS_modify_ldt, 1, 0, 0));
    forbidden("kernel pages", syscall(SYS_move_pages, 0, 0, 0, 0, 0, 0));
    forbidden("chown", chown("file", 0, 0));
    forbidden("user", syscall(SYS_setfsuid, 0) == 0 ? 0 : -1, errno);
    std::puts("done");
}
"#,
        )
        .in_language("cpp"),
        attack(
            "execute what is no file",
            "Seccomp (memfd), Landlock",
            r#"
int main() {
    // Where its memory is counted, it is as good as a file of the run.
    if (!COUNTED) forbidden("a file in memory", syscall(SYS_memfd_create, "x", 0));
    if (!COUNTED) forbidden("a file in memory, sealed", syscall(SYS_memfd_create, "x", 3));
    forbidden("its own interpreter", syscall(SYS_execveat, -1, "", nullptr, nullptr, 0x1000), EBADF);
    forbidden("a library outside", syscall(SYS_uselib, PUBLIC));
    std::puts("done");
}
"#,
        )
        .in_language("cpp")
        .against(&[KERNEL_SURFACE, FILES]),
        attack(
            "another filter, to deceive what it starts",
            "Seccomp (ours stays beneath)",
            r#"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
int main() {
    // It may add filters; they can only take more away, and allow nothing that ours denies.
    sock_filter allow[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
    sock_fprog program{1, allow};
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
    forbidden("a listener for its children", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | 0x10, nullptr), EFAULT);
    forbidden("socket", socket(AF_INET, SOCK_STREAM, 0));
    forbidden("unshare", syscall(SYS_unshare, 0x10000000));
    std::puts("done");
}
"#,
        )
        .in_language("cpp"),
    ],
};
