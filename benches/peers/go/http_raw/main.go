// The HTTP server by hand on net.Conn, as the others are: http.rs in Go.
package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"

	"peer/server"
)

const longestHead = 8 << 10

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
	input := make([]byte, longestHead)
	output := make([]byte, 0, 256)
	filled, bodyLeft := 0, 0
	for {
		n, err := conn.Read(input[filled:])
		if err != nil {
			return
		}
		lookedAt := max(filled-3, 0)
		filled += n
		start, goesOn := 0, true
		for goesOn {
			skipped := min(bodyLeft, filled-start)
			bodyLeft -= skipped
			start += skipped
			rest := input[start:filled]
			lookedAt = min(lookedAt, len(rest))
			end := bytes.Index(rest[lookedAt:], []byte("\r\n\r\n"))
			if end < 0 {
				if len(rest) == longestHead {
					output, goesOn = refuse(output, "431 Request Header Fields Too Large"), false
				}
				break
			}
			end += lookedAt + 4
			request, refused := parse(rest[:end])
			if refused != "" {
				output, goesOn = refuse(output, refused), false
				break
			}
			output, goesOn = respond(output, request), request.keepAlive
			bodyLeft = request.body
			start += end
			lookedAt = 0
		}
		filled = copy(input, input[start:filled])
		if len(output) > 0 {
			if _, err := conn.Write(output); err != nil {
				return
			}
			output = output[:0]
		}
		if !goesOn {
			return
		}
	}
}

type request struct {
	method    []byte
	keepAlive bool
	body      int
}

func parse(head []byte) (request, string) {
	const bad = "400 Bad Request"
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	method, after, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return request{}, bad
	}
	_, version, _ := bytes.Cut(after, []byte(" "))
	r := request{method: method}
	switch string(version) {
	case "HTTP/1.1":
		r.keepAlive = true
	case "HTTP/1.0":
	default:
		return r, "505 HTTP Version Not Supported"
	}
	for {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if len(line) == 0 {
			return r, ""
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return r, bad
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			body, err := strconv.ParseUint(string(value), 10, 62)
			if err != nil {
				return r, bad
			}
			r.body = int(body)
		case bytes.EqualFold(name, []byte("connection")):
			if bytes.EqualFold(value, []byte("close")) {
				r.keepAlive = false
			} else if bytes.EqualFold(value, []byte("keep-alive")) {
				r.keepAlive = true
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			return r, "501 Not Implemented"
		}
	}
}

const hello = "Hello, World!"

func respond(out []byte, r request) []byte {
	out = append(out, "HTTP/1.1 200 OK\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(hello)), 10)
	out = append(out, "\r\nContent-Type: text/plain\r\n"...)
	if !r.keepAlive {
		out = append(out, "Connection: close\r\n"...)
	}
	out = append(out, "\r\n"...)
	if string(r.method) != "HEAD" {
		out = append(out, hello...)
	}
	return out
}

func refuse(out []byte, status string) []byte {
	return append(out, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"...)
}
