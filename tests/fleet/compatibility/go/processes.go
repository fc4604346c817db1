package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	upper := exec.Command("tr", "a-z", "A-Z")
	upper.Stdin = strings.NewReader("abc")
	text, err := upper.Output()
	if err != nil || string(text) != "ABC" { panic(fmt.Sprint(string(text), err)) }
	shell := exec.Command("sh", "-c", "echo $WORD; exit 3")
	shell.Env = append(os.Environ(), "WORD=told")
	text, err = shell.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || string(text) != "told\n" { panic(err) }
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if exec.CommandContext(ctx, "sleep", "60").Run() == nil { panic("it slept") }
	reader, writer, err := os.Pipe()
	if err != nil { panic(err) }
	echo := exec.Command("echo", "piped")
	echo.Stdout = writer
	if err := echo.Run(); err != nil { panic(err) }
	writer.Close()
	buffer := make([]byte, 16)
	if n, _ := reader.Read(buffer); string(buffer[:n]) != "piped\n" { panic(n) }
	fmt.Println("works")
}
