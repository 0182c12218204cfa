package server

import (
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

func serveGorilla(l net.Listener, c Config) error {
	return gorilla(l, c, websocket.Upgrader{}, gorillaEcho)
}

// serveGorillaTuned reuses its read buffer and pools write buffers, as gorilla's documentation suggests for servers with many
// connections.
func serveGorillaTuned(l net.Listener, c Config) error {
	return gorilla(l, c, websocket.Upgrader{WriteBufferPool: &sync.Pool{}}, gorillaEchoTuned)
}

func gorilla(l net.Listener, c Config, upgrader websocket.Upgrader, serve func(*websocket.Conn)) error {
	upgrader.EnableCompression = c.Deflate == Reset
	switch {
	case c.Work == Broadcast:
		serve = gorillaBroadcast(new(broadcastGroup[*websocket.Conn]))
	case c.Work.mixed():
		serve = gorillaMixed(c.Work)
	}
	return serveHTTP(l, func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		serve(conn)
	})
}

func gorillaEcho(conn *websocket.Conn) {
	for {
		typ, p, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err := conn.WriteMessage(typ, p); err != nil {
			return
		}
	}
}

func gorillaEchoTuned(conn *websocket.Conn) {
	var kept []byte
	for {
		typ, r, err := conn.NextReader()
		if err != nil {
			return
		}
		if kept, err = readInto(kept, r); err != nil {
			return
		}
		if err := conn.WriteMessage(typ, kept); err != nil {
			return
		}
	}
}

func gorillaMixed(w Work) func(*websocket.Conn) {
	return func(conn *websocket.Conn) {
		for {
			typ, p, err := conn.ReadMessage()
			if err != nil {
				return
			}
			if !w.answers(typ == websocket.TextMessage) {
				continue
			}
			if err := conn.WriteMessage(typ, p); err != nil {
				return
			}
		}
	}
}

func gorillaBroadcast(all *broadcastGroup[*websocket.Conn]) func(*websocket.Conn) {
	return func(conn *websocket.Conn) {
		all.add(conn)
		for {
			typ, p, err := conn.ReadMessage()
			if err != nil {
				return
			}
			m, err := websocket.NewPreparedMessage(typ, p)
			if err != nil {
				return
			}
			all.send(func(conn *websocket.Conn) { _ = conn.WritePreparedMessage(m) })
		}
	}
}

// readInto is io.ReadAll into a buffer that is reused.
func readInto(p []byte, r io.Reader) ([]byte, error) {
	p = p[:0]
	for {
		if len(p) == cap(p) {
			p = append(p, make([]byte, max(512, len(p)))...)[:len(p)]
		}
		n, err := r.Read(p[len(p):cap(p)])
		p = p[:len(p)+n]
		if err == io.EOF {
			return p, nil
		}
		if err != nil {
			return p, err
		}
	}
}
