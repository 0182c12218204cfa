package server

import (
	"context"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

func serveCoder(l net.Listener, c Config) error { return coder(l, c, coderEcho) }

// serveCoderTuned reuses its read buffer.
func serveCoderTuned(l net.Listener, c Config) error { return coder(l, c, coderEchoTuned) }

func coder(l net.Listener, c Config, serve func(context.Context, *websocket.Conn)) error {
	opts := &websocket.AcceptOptions{CompressionMode: coderCompression(c.Deflate)}
	switch {
	case c.Work == Broadcast:
		serve = coderBroadcast(new(broadcastGroup[*websocket.Conn]))
	case c.Work.mixed():
		serve = coderMixed(c.Work)
	}
	return serveHTTP(l, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, opts)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(-1)
		serve(context.Background(), conn)
	})
}

func coderCompression(d Deflate) websocket.CompressionMode {
	switch d {
	case Reset:
		return websocket.CompressionNoContextTakeover
	case Takeover:
		return websocket.CompressionContextTakeover
	}
	return websocket.CompressionDisabled
}

func coderEcho(ctx context.Context, conn *websocket.Conn) {
	for {
		typ, p, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if err := conn.Write(ctx, typ, p); err != nil {
			return
		}
	}
}

func coderEchoTuned(ctx context.Context, conn *websocket.Conn) {
	var kept []byte
	for {
		typ, r, err := conn.Reader(ctx)
		if err != nil {
			return
		}
		if kept, err = readInto(kept, r); err != nil {
			return
		}
		if err := conn.Write(ctx, typ, kept); err != nil {
			return
		}
	}
}

func coderMixed(w Work) func(context.Context, *websocket.Conn) {
	return func(ctx context.Context, conn *websocket.Conn) {
		for {
			typ, p, err := conn.Read(ctx)
			if err != nil {
				return
			}
			if !w.answers(typ == websocket.MessageText) {
				continue
			}
			if err := conn.Write(ctx, typ, p); err != nil {
				return
			}
		}
	}
}

func coderBroadcast(all *broadcastGroup[*websocket.Conn]) func(context.Context, *websocket.Conn) {
	return func(ctx context.Context, conn *websocket.Conn) {
		all.add(conn)
		for {
			typ, p, err := conn.Read(ctx)
			if err != nil {
				return
			}
			all.send(func(conn *websocket.Conn) { _ = conn.Write(ctx, typ, p) })
		}
	}
}
