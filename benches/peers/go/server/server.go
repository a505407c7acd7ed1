// Package server is what the servers share.
package server

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
)

// Start reads the command line, listens, says where, and starts the goroutines that burn CPU.
func Start() net.Listener {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	procs := flag.Int("procs", 2, "GOMAXPROCS")
	hogs := flag.Int("hogs", 0, "goroutines that burn CPU and never yield")
	flag.Parse()
	runtime.GOMAXPROCS(*procs)
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening on", listener.Addr())
	for range *hogs {
		go func() {
			for {
			}
		}()
	}
	return listener
}
