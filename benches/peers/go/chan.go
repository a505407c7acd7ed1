package main

import (
	"sync"
	"time"
)

const (
	capacity = 128
	four     = 4
	later    = time.Hour
)

func rendezvous(n int) {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for i := range ping {
			pong <- i
		}
	}()
	for i := range n {
		ping <- i
		if <-pong != i {
			panic("another message")
		}
	}
	close(ping)
}

func sendAll(ch chan<- int, n int) {
	for i := range n {
		ch <- i
	}
}

func buffered(n int) {
	ch := make(chan int, capacity)
	go func() {
		sendAll(ch, n)
		close(ch)
	}()
	count := 0
	for range ch {
		count++
	}
	if count != n {
		panic("another number of messages")
	}
}

func fourToFour(n int) {
	ch := make(chan int, capacity)
	var senders, receivers sync.WaitGroup
	for range four {
		senders.Go(func() { sendAll(ch, n/four) })
		receivers.Go(func() {
			for range ch {
			}
		})
	}
	senders.Wait()
	close(ch)
	receivers.Wait()
}

func selecting(capacity, n int) {
	var chans [four]chan int
	for i := range chans {
		chans[i] = make(chan int, capacity)
		go sendAll(chans[i], n/four)
	}
	a, b, c, d := chans[0], chans[1], chans[2], chans[3]
	for range n {
		select {
		case <-a:
		case <-b:
		case <-c:
		case <-d:
		}
	}
}

// Shares n calls among as many goroutines as there are processors.
func onAll(procs, n int, f func()) {
	var wg sync.WaitGroup
	for range procs {
		wg.Go(func() {
			for range n / procs {
				f()
			}
		})
	}
	wg.Wait()
}

func afterFunc() {
	if !time.AfterFunc(later, func() {}).Stop() {
		panic("it was not stopped")
	}
}

func newTimer() {
	if !time.NewTimer(later).Stop() {
		panic("it was not stopped")
	}
}
