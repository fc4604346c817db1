package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func must(err error) { if err != nil { panic(err) } }

func main() {
	directory, err := os.MkdirTemp("", "x")
	must(err)
	if !strings.HasPrefix(directory, os.Getenv("TMPDIR")) { panic(directory) }
	file, err := os.CreateTemp(directory, "*.txt")
	must(err)
	_, err = file.WriteString("text")
	must(err)
	must(file.Sync())
	must(file.Close())
	must(os.MkdirAll("a/b", 0o755))
	must(os.WriteFile("a/b/c", []byte("c"), 0o600))
	must(os.Rename("a/b/c", "a/moved"))
	seen := 0
	must(filepath.WalkDir("a", func(string, fs.DirEntry, error) error { seen++; return nil }))
	text, err := os.ReadFile(file.Name())
	must(err)
	must(os.RemoveAll(directory))
	if seen != 3 || string(text) != "text" { panic(seen) }
	fmt.Println("works")
}
