// The cases in Go.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	many     = 1_000_000
	parked   = 100_000
	yielders = 1_000
)

func main() {
	procs := 0
	if len(os.Args) == 3 {
		procs, _ = strconv.Atoi(os.Args[2])
	}
	if procs == 0 {
		fmt.Fprintln(os.Stderr, "usage: PROGRAM CASE PROCS")
		os.Exit(2)
	}
	runtime.GOMAXPROCS(procs)
	switch os.Args[1] {
	case "spawn_join":
		nsEach(spawnJoin)
	case "spawn_many":
		nsOnce(many, spawnMany)
	case "yield_two":
		nsEach(func(n int) { yielding(2, n) })
	case "yield_many":
		nsEach(func(n int) { yielding(yielders, n) })
	case "chan_rendezvous":
		nsEach(rendezvous)
	case "chan_one_one":
		nsEach(buffered)
	case "chan_four_four":
		nsEach(fourToFour)
	case "select_rendezvous":
		nsEach(func(n int) { selecting(0, n) })
	case "select_buffered":
		nsEach(func(n int) { selecting(capacity, n) })
	case "after_func":
		nsEach(func(n int) { onAll(procs, n, afterFunc) })
	case "timer_new":
		nsEach(func(n int) { onAll(procs, n, newTimer) })
	case "parked_bytes":
		before := residentBytes()
		parkAll()
		report("bytes", float64(residentBytes()-before)/parked)
	case "parked_ns":
		nsOnce(parked, parkAll)
	case "skynet":
		nsOf(leaves, skynet)
	case "mutex_eight":
		nsEach(mutexEight)
	case "fib":
		nsOf(spawns, fib)
	case "sha1":
		msToNull(sha1Two)
	case "sha1_many":
		msToNull(sha1Many)
	case "blocking":
		msOnce(blocked)
	case "parked_million_bytes", "parked_million_create", "parked_million_wake":
		parkedMillion(os.Args[1])
	default:
		fmt.Println("none")
	}
}

func report(unit string, value float64) {
	fmt.Printf("%s %.1f\n", unit, value)
}

// As measure.rs: n is doubled until it takes long enough.
func nsEach(work func(n int)) {
	doubled(2*yielders, 1, work)
}

// As measure.rs: the n operations that work does together; once to warm up.
func nsOf(n int, work func()) {
	work()
	doubled(1, n, func(times int) {
		for range times {
			work()
		}
	})
}

func doubled(n, operations int, work func(n int)) {
	for ; ; n *= 2 {
		start := time.Now()
		work(n)
		elapsed := time.Since(start)
		if elapsed >= 300*time.Millisecond {
			report("ns", float64(elapsed.Nanoseconds())/float64(n*operations))
			return
		}
	}
}

func msOnce(work func()) {
	start := time.Now()
	work()
	report("ms", milliseconds(time.Since(start)))
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1e6
}

func nsOnce(n int, work func()) {
	start := time.Now()
	work()
	report("ns", float64(time.Since(start).Nanoseconds())/float64(n))
}

func residentBytes() int {
	statm, _ := os.ReadFile("/proc/self/statm")
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		panic(err)
	}
	return pages * 4096
}

func spawnJoin(n int) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {})
		wg.Wait()
	}
}

func spawnMany() {
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {})
	}
	wg.Wait()
}

func yielding(tasks, n int) {
	var wg sync.WaitGroup
	for range tasks {
		wg.Go(func() {
			for range n / tasks {
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
}

// All wait at the gate, which never opens, until the process ends.
func parkAll() {
	var started, gate sync.WaitGroup
	started.Add(parked)
	gate.Add(1)
	for range parked {
		go waitAt(&started, &gate)
	}
	started.Wait()
}

//go:noinline
func waitAt(started, gate *sync.WaitGroup) {
	held := hold()
	started.Done()
	gate.Wait()
	runtime.KeepAlive(held)
}

//go:noinline
func hold() *[64]byte {
	held := new([64]byte)
	held[0] = 1
	return held
}
