package main

import (
	"crypto/sha1"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	leaves   = 1_000_000
	children = 10
	lockers  = 8
	fibOf    = 30
	spawns   = 1_346_268 // the 31st Fibonacci number less one
	hashes   = 50_000
	calls    = 64
)

func skynet() {
	ch := make(chan int, 1)
	tree(ch, 0, leaves)
	if <-ch != leaves*(leaves-1)/2 {
		panic("another sum")
	}
}

func tree(parent chan<- int, first, leaves int) {
	if leaves == 1 {
		parent <- first
		return
	}
	ch := make(chan int, children)
	each := leaves / children
	for i := range children {
		go tree(ch, first+i*each, each)
	}
	sum := 0
	for range children {
		sum += <-ch
	}
	parent <- sum
}

func mutexEight(n int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	count := 0
	for range lockers {
		wg.Go(func() {
			for range n / lockers {
				mu.Lock()
				count++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if count != n {
		panic("another count")
	}
}

func fib() {
	if forkJoin(fibOf) != 832_040 {
		panic("another number")
	}
}

func forkJoin(n int) int {
	if n < 2 {
		return n
	}
	other := make(chan int, 1)
	go func() { other <- forkJoin(n - 1) }()
	return forkJoin(n-2) + <-other
}

// Hashes numbers, and prints each hash.
func printHashes(prefix string, from, to int) {
	for i := from; i <= to; i++ {
		num := strconv.Itoa(i)
		sum := sha1.Sum([]byte(num))
		fmt.Printf("%s: %05d: %x\n", prefix, i, sum)
	}
}

func sha1Two() {
	var wg sync.WaitGroup
	for _, prefix := range []string{"A", "B"} {
		wg.Go(func() { printHashes(prefix, 1, hashes) })
	}
	wg.Wait()
}

func sha1Many() {
	var wg sync.WaitGroup
	for i := 1; i <= hashes; i++ {
		wg.Go(func() { printHashes("A", i, i) })
	}
	wg.Wait()
}

// As load.rs: what work prints goes to /dev/null.
func msToNull(work func()) {
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	stdout := os.Stdout
	msOnce(func() {
		os.Stdout = null
		work()
		os.Stdout = stdout
	})
}

func blocked() {
	var wg sync.WaitGroup
	for range calls {
		wg.Go(foreignCall)
	}
	wg.Wait()
}

// As load.rs: blocks its thread for 100 ms.
func foreignCall() {
	left := syscall.NsecToTimespec((100 * time.Millisecond).Nanoseconds())
	for syscall.Nanosleep(&left, &left) != nil {
	}
}

// As million.rs: all wait until the gate is closed, and then end.
func parkedMillion(name string) {
	before := residentBytes()
	start := time.Now()
	var started, ended sync.WaitGroup
	gate := make(chan struct{})
	started.Add(many)
	for range many {
		ended.Go(func() { waitFor(&started, gate) })
	}
	started.Wait()
	switch name {
	case "parked_million_bytes":
		report("bytes", float64(residentBytes()-before)/many)
		return
	case "parked_million_wake":
		start = time.Now()
		close(gate)
		ended.Wait()
	}
	report("ms", milliseconds(time.Since(start)))
}

//go:noinline
func waitFor(started *sync.WaitGroup, gate <-chan struct{}) {
	held := hold()
	started.Done()
	<-gate
	runtime.KeepAlive(held)
}
