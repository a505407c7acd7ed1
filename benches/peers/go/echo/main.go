// The echo server on net.Conn, a goroutine a connection.
package main

import (
	"fmt"
	"net"
	"os"

	"peer/server"
)

const buffer = 1024

func main() {
	listener := server.Start()
	for {
		conn, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go serve(conn) // with TCP_NODELAY, as Go has it
	}
}

func serve(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, buffer)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}
