// Tries to get out, harmlessly. Whoever started it looks from outside at what came of it.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

const linger = `trap "" HUP TERM; n=0; while [ "$n" -lt 20 ]; do sleep 1; n=$((n + 1)); done`

func fact(name string) string {
	value, found := os.LookupEnv(name)
	if !found {
		panic(name)
	}
	return value
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return value
}

func read(path string) {
	if content, err := os.ReadFile(path); err == nil {
		fmt.Println(string(content))
	}
}

func reach(word string) {
	secretFile, descriptor := fact("SECRET_FILE"), fact("SERVER_DESCRIPTOR")
	server, port := number(fact("SERVER_PID")), number(fact("LISTENER_PORT"))

	read(secretFile)
	fmt.Println("tried files")

	for _, name := range []string{"environ", "fd/" + descriptor} {
		read(fmt.Sprintf("/proc/%d/%s", server, name))
	}
	fmt.Println("tried process_secrets")

	address := fmt.Sprintf("127.0.0.1:%d", port)
	if connection, err := net.DialTimeout("tcp", address, 2*time.Second); err == nil {
		connection.Write([]byte(word))
		connection.Close()
	}
	fmt.Println("tried network")

	syscall.Kill(server, syscall.SIGURG)
	fmt.Println("tried signals")

	daemon := exec.Command("sh", "-c", linger, "sh", word)
	daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	daemon.Start()
	fmt.Println("tried clean_up")
}

func memory(megabytes int) {
	fmt.Println("tried memory")
	var blocks [][]byte
	for len(blocks) < megabytes {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = 1
		}
		blocks = append(blocks, block)
	}
	time.Sleep(2 * time.Second)
	fmt.Println("kept", len(blocks))
}

func main() {
	if os.Args[1] == "memory" {
		memory(number(os.Args[2]))
	} else {
		reach(os.Args[2])
	}
}
