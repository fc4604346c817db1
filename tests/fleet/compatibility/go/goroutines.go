package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	var total atomic.Int64
	var group sync.WaitGroup
	for n := 0; n < 1000; n++ {
		group.Add(1)
		go func(n int) { defer group.Done(); total.Add(int64(n)) }(n)
	}
	group.Wait()
	numbers, squares := make(chan int), make(chan int)
	for worker := 0; worker < 4; worker++ {
		go func() { for n := range numbers { squares <- n * n } }()
	}
	go func() { for n := 0; n < 10; n++ { numbers <- n }; close(numbers) }()
	sum := 0
	for n := 0; n < 10; n++ { sum += <-squares }
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	func() {
		defer func() { if recover() == nil { panic("nothing to recover") } }()
		var none []int
		_ = none[sum]
	}()
	if total.Load() != 499500 || sum != 285 { panic(fmt.Sprint(total.Load(), sum)) }
	fmt.Println("works")
}
