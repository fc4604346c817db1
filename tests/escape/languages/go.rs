//! Go.

use crate::attack::{Attack, Ends, attack};
use crate::promise::{
    CLEAN_UP, FILES, KERNEL_SURFACE, MEMORY_TOTAL, NETWORK, PROCESS_SECRETS, SIGNALS,
};
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "Go is held",
    against: &[],
    scenarios: &[],
    attacks: &[
        go(
            "read and write files outside in Go",
            "Landlock (files)",
            r#"
package main

import (
	"fmt"
	"os"
	"plugin"
)

func main() {
	for _, path := range []string{"@PRIVATE@", "@PUBLIC@", "@OPEN@", "@VICTIM_DIR@/secret.txt", "/etc/shadow", "/proc/@SERVER@/environ"} {
		attempt("read "+path, func() error { text, err := os.ReadFile(path); fmt.Print(string(text)); return err })
		attempt("list above "+path, func() error { _, err := os.ReadDir(path + "/.."); return err })
		attempt("plugin "+path, func() error { _, err := plugin.Open(path); return err })
		attempt("link "+path, func() error { return os.Link(path, "link") })
	}
	for _, path := range []string{"@OPEN@", "@DROP@/x", "@STATE@/cache/x", "@PREPARED@/x", "@PREPARED@/cache/x"} {
		attempt("write "+path, func() error { return os.WriteFile(path, []byte("x"), 0o666) })
		attempt("directory "+path, func() error { return os.Mkdir(path+"d", 0o777) })
		attempt("truncate "+path, func() error { return os.Truncate(path, 0) })
	}
	fmt.Println("done")
}
"#,
        )
        .against(&[FILES]),
        go(
            "connect and listen in Go",
            "Seccomp (socket)",
            r#"
package main

import (
	"fmt"
	"net"
)

func main() {
	for _, address := range [][2]string{{"tcp", "127.0.0.1:@TCP@"}, {"tcp", "127.0.0.1:@PORT@"}, {"unix", "@STREAM@"}, {"unixgram", "@DATAGRAM@"}, {"unix", "@@ABSTRACT@-stream"}, {"ip4:icmp", "127.0.0.1"}} {
		attempt("connect "+address[0], func() error { _, err := net.Dial(address[0], address[1]); return err })
	}
	attempt("udp", func() error {
		connection, err := net.Dial("udp", "127.0.0.1:@UDP@")
		if err != nil { return err }
		_, err = connection.Write([]byte("x"))
		return err
	})
	attempt("listen", func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err })
	attempt("interfaces", func() error { _, err := net.Interfaces(); return err })
	fmt.Println("done")
}
"#,
        )
        .against(&[NETWORK]),
        go(
            "signal, trace and limit others in Go",
            "Landlock (signal scope), Identity, Seccomp",
            r#"
package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

func main() {
	targets := []int{@SERVER@, @SPAWNER@, @REAPER@, @VICTIM@}
	if @NAMESPACED@ == 0 { targets = append(targets, os.Getppid()) }
	for _, pid := range targets {
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
		attempt("priority", func() error { return syscall.Setpriority(syscall.PRIO_PROCESS, pid, 19) })
	}
	fmt.Println("done")
}
"#,
        )
        .against(&[SIGNALS]),
        go(
            "start programs in namespaces and as others, in Go",
            "Seccomp (clone with namespaces)",
            r#"
package main

import (
	"fmt"
	"os/exec"
	"syscall"
)

func main() {
	for _, flag := range []uintptr{syscall.CLONE_NEWUSER, syscall.CLONE_NEWPID, syscall.CLONE_NEWNET, syscall.CLONE_NEWNS, syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS} {
		caged := exec.Command("true")
		caged.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flag}
		attempt("namespace", caged.Run)
	}
	other := exec.Command("true")
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 0}}
	attempt("root", other.Run)
	elsewhere := exec.Command("true")
	elsewhere.SysProcAttr = &syscall.SysProcAttr{Chroot: "/"}
	attempt("chroot", elsewhere.Run)
	traced := exec.Command("true")
	traced.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	attempt("trace", traced.Start)
	fmt.Println("done")
}
"#,
        )
        .against(&[KERNEL_SURFACE]),
        go(
            "find the server's secrets in Go",
            "the spawner (empty environment)",
            r#"
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	for _, variable := range append(os.Environ(), os.Args...) {
		if strings.Contains(variable, "TOKEN") || strings.Contains(variable, "EXECUTOR_") || strings.Contains(variable, "VICTIM") { fmt.Println("ESCAPED", variable) }
	}
	for number := 3; number < 256; number++ {
		file := os.NewFile(uintptr(number), "")
		if _, err := file.Stat(); err != nil { continue }
		name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", number))
		if !strings.Contains(name, "eventpoll") && !strings.Contains(name, "eventfd") && !strings.HasPrefix(name, "/sys/fs/cgroup/") && name != "" { fmt.Println("ESCAPED", number, name) }
	}
	fmt.Println("done")
}
"#,
        )
        .against(&[PROCESS_SECRETS]),
        go(
            "stay on in Go",
            "the reaper",
            r#"
package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func main() {
	for _, quiet := range []bool{true, false} {
		stayer := exec.Command("sleep", "1000")
		stayer.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if !quiet { stayer.Stdout = os.Stdout }
		if err := stayer.Start(); err != nil { fmt.Println(err) }
	}
	go func() { for {} }()
	fmt.Println("done")
}
"#,
        )
        .against(&[CLEAN_UP]),
        go(
            "take memory behind the back of Go's own limit",
            "the reaper (memory of the tree), Data",
            r#"
package main

import "syscall"

func main() {
	for {
		block, err := syscall.Mmap(-1, 0, 8<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
		if err != nil { panic(err) }
		for at := 0; at < len(block); at += 4096 { block[at] = 1 }
	}
}
"#,
        )
        .ends(Ends::As(&["memory_limit", "runtime_error"]))
        .against(&[MEMORY_TOTAL]),
    ],
};

const fn go(name: &'static str, stopped_by: &'static str, code: &'static str) -> Attack {
    attack(name, stopped_by, code).in_language("go")
}
