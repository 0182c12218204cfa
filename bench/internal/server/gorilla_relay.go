package server

import (
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

// serveGorillaRelay parses each message and sends it on, with two goroutines for each pair of connections. The write buffers have
// room for a whole message and are pooled, and each goroutine reuses its read buffer.
func serveGorillaRelay(l net.Listener, c Config) error {
	const writeBuffer = 64<<10 + 14 // the largest message, and the largest header of a frame
	pool := &sync.Pool{}
	upgrader := websocket.Upgrader{WriteBufferSize: writeBuffer, WriteBufferPool: pool}
	dialer := websocket.Dialer{WriteBufferSize: writeBuffer, WriteBufferPool: pool}
	return serveHTTP(l, func(w http.ResponseWriter, r *http.Request) {
		upstream, _, err := dialer.DialContext(r.Context(), "ws://"+c.Upstream+r.URL.RequestURI(), nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer upstream.Close()
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		go gorillaForward(conn, upstream)
		gorillaForward(upstream, conn)
	})
}

// gorillaForward sends the messages of one connection on another one. When one fails, it closes both.
func gorillaForward(to, from *websocket.Conn) {
	defer to.Close()
	defer from.Close()
	var kept []byte
	for {
		kind, r, err := from.NextReader()
		if err != nil {
			return
		}
		if kept, err = readInto(kept, r); err != nil {
			return
		}
		if err := to.WriteMessage(kind, kept); err != nil {
			return
		}
	}
}
