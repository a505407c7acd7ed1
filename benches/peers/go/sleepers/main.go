// Many goroutines that sleep: sleeps.rs in Go.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const sleeps = 5

var late atomic.Int64

func main() {
	tasks, procs := 0, 0
	if len(os.Args) == 3 {
		tasks, _ = strconv.Atoi(os.Args[1])
		procs, _ = strconv.Atoi(os.Args[2])
	}
	if tasks <= 0 || procs <= 0 {
		fmt.Fprintln(os.Stderr, "usage: PROGRAM TASKS PROCS")
		os.Exit(2)
	}
	runtime.GOMAXPROCS(procs)
	start := time.Now()
	var wg sync.WaitGroup
	for task := range tasks {
		wg.Go(func() {
			var own time.Duration
			for sleep := range sleeps {
				start, wanted := time.Now(), duration(uint64(task), uint64(sleep))
				time.Sleep(wanted)
				own += time.Since(start) - wanted
			}
			late.Add(int64(own))
		})
	}
	wg.Wait()
	wall := time.Since(start)
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	ms := func(t syscall.Timeval) float64 { return float64(t.Sec)*1e3 + float64(t.Usec)/1e3 }
	fmt.Printf("late µs %.1f\n", float64(late.Load())/1e3/float64(tasks*sleeps))
	fmt.Printf("cpu ms %.1f\n", ms(used.Utime)+ms(used.Stime))
	fmt.Printf("wall ms %.1f\n", wall.Seconds()*1e3)
}

func duration(task, sleep uint64) time.Duration {
	mixed := (task*sleeps + sleep + 1) * 0x9e37_79b9_7f4a_7c15
	return time.Duration(1+(mixed>>40)%100) * time.Millisecond
}
