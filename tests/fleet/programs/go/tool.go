// What a program can do to its executor, by the first argument.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func sh(script string) {
	command := exec.Command("sh", "-c", script)
	command.Stdout = os.Stdout
	check(command.Run())
}

func input() []byte {
	read, err := io.ReadAll(os.Stdin)
	check(err)
	return read
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func write() {
	check(os.Mkdir("out", 0o700))
	check(os.WriteFile("out/a.txt", []byte("größe\n"), 0o600))
	check(os.WriteFile("out/b.bin", []byte{0xff, 0, 1}, 0o600))
	check(os.Symlink("/etc/passwd", "out/link.txt"))
	if os.Link("/etc/passwd", "out/hard.txt") == nil {
		fmt.Fprintln(os.Stderr, "linked")
	}
	check(syscall.Mkfifo("out/fifo.txt", 0o600))
	fmt.Println("written")
}

func memory(verb string) {
	if verb == "giant" {
		held := make([]byte, 3<<30)
		for i := 0; i < len(held); i += 4096 {
			held[i] = 1
		}
		fmt.Println("survived", len(held))
		return
	}
	var held [][]byte
	for i := 0; i < 2048; i++ {
		held = append(held, bytes.Repeat([]byte("x"), 1<<20))
	}
	fmt.Println("survived", len(held))
}

func main() {
	verb, rest := os.Args[1], os.Args[2:]
	switch verb {
	case "count":
		fmt.Println(len(input()))
	case "echo":
		os.Stdout.Write(input())
	case "nothing":
		fmt.Println("ok")
	case "exit":
		os.Exit(number(rest[0]))
	case "signal":
		check(syscall.Kill(os.Getpid(), syscall.Signal(number(rest[0]))))
		time.Sleep(time.Minute)
	case "spin":
		for {
		}
	case "sleep":
		fmt.Println("asleep")
		seconds, err := strconv.ParseFloat(rest[0], 64)
		check(err)
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		fmt.Println("awake")
	case "hog", "giant":
		memory(verb)
	case "print":
		out := bufio.NewWriter(os.Stdout)
		line := append(bytes.Repeat([]byte("x"), 1023), '\n')
		for i := 0; i < number(rest[0])/1024; i++ {
			out.Write(line)
		}
		out.Flush()
	case "bytes":
		os.Stdout.WriteString("\xff\xfe\x00\x41\x00\xc3\x28\xf0\x9f\x98\x80\x0a")
	case "env":
		for _, name := range rest {
			value, found := os.LookupEnv(name)
			if !found {
				value = "(unset)"
			}
			fmt.Println(value)
		}
	case "args":
		for _, argument := range rest {
			fmt.Printf("[%s]\n", argument)
		}
	case "write":
		write()
	case "hold":
		sh("setsid sleep 300 & (sleep 300 &)")
		fmt.Println("done")
	case "flush":
		fmt.Println("first")
		time.Sleep(2 * time.Second)
		fmt.Println("second")
		fmt.Fprintln(os.Stderr, "problem")
	}
}
