// The HTTP server of Go's library.
package main

import (
	"io"
	"net/http"

	"peer/server"
)

func main() {
	listener := server.Start()
	http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		// The same bytes as the others: no date.
		header := w.Header()
		header["Date"] = nil
		header["Content-Length"] = []string{"13"}
		header["Content-Type"] = []string{"text/plain"}
		io.WriteString(w, "Hello, World!")
	}))
}
