package main

import (
	"fmt"
	"runtime"
)

type node struct {
	left, right *node
	payload     [64]byte
}

func tree(depth int) *node {
	if depth == 0 { return &node{} }
	return &node{left: tree(depth - 1), right: tree(depth - 1)}
}

func (n *node) count() int {
	if n == nil { return 0 }
	return 1 + n.left.count() + n.right.count()
}

func main() {
	kept, total := tree(15), 0
	for round := 0; round < 100; round++ { total += tree(12).count() }
	var text []byte
	for round := 0; round < 300; round++ { text = make([]byte, 1<<20); text[round] = 1 }
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if total != 100*8191 || kept.count() != 65535 || stats.NumGC == 0 || len(text) == 0 { panic(total) }
	fmt.Println("works")
}
