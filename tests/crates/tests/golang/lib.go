// A library for C programs, built with -buildmode=c-shared: Go's whole runtime, with its own threads, stacks, signals
// and collector, in a process that has ours.
package main

import "C"
import (
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The sum of 0 to n-1, computed by n goroutines of Go's.
//
//export GoSum
func GoSum(n C.int) C.long {
	var all sync.WaitGroup
	var sum int64
	for i := 0; i < int(n); i++ {
		all.Add(1)
		go func(i int) {
			x := 0
			for j := 0; j < 20000; j++ {
				x += j % 7
			}
			runtime.Gosched()
			atomic.AddInt64(&sum, int64(i))
			all.Done()
		}(i)
	}
	all.Wait()
	return C.long(sum)
}

//export GoSleep
func GoSleep(ms C.int) { time.Sleep(time.Duration(ms) * time.Millisecond) }

// Whether a nil pointer's use is a panic that is caught.
//
//export GoFault
func GoFault() (caught C.int) {
	defer func() {
		if recover() != nil {
			caught = 1
		}
	}()
	var p *int
	return C.int(*p)
}

//export GoCollect
func GoCollect() { runtime.GC() }

var got int64

//export GoNotify
func GoNotify() {
	signals := make(chan os.Signal, 1024)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for range signals {
			atomic.AddInt64(&got, 1)
		}
	}()
}

//export GoGot
func GoGot() C.long { return C.long(atomic.LoadInt64(&got)) }

func main() {}
