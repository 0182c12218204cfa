package server

import (
	"net"
	"net/http"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
)

// serveGobwas is the server of the README: wsutil, and wsflate's helper, on the connection itself.
func serveGobwas(l net.Listener, c Config) error {
	serve := gobwasEcho
	switch {
	case c.Work == Broadcast:
		serve = gobwasBroadcast(new(broadcastGroup[net.Conn]))
	case c.Work.mixed() && c.Deflate == Plain:
		serve = gobwasMixed(c.Work)
	case c.Work.mixed():
		serve = gobwasMixedDeflate(c.Work)
	case c.Deflate != Plain:
		serve = gobwasEchoDeflate
	}
	return serveHTTP(l, func(w http.ResponseWriter, r *http.Request) {
		upgrader := ws.HTTPUpgrader{}
		if c.Deflate != Plain {
			extension := wsflate.Extension{Parameters: wsflate.DefaultParameters}
			upgrader.Negotiate = extension.Negotiate
		}
		conn, _, _, err := upgrader.Upgrade(r, w)
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			serve(conn)
		}()
	})
}

func gobwasEcho(conn net.Conn) {
	for {
		p, op, err := wsutil.ReadClientData(conn)
		if err != nil {
			return
		}
		if err := wsutil.WriteServerMessage(conn, op, p); err != nil {
			return
		}
	}
}

func gobwasEchoDeflate(conn net.Conn) {
	for {
		//lint:ignore SA1019 the library's README uses it for compression, and the load is trusted
		f, err := ws.ReadFrame(conn)
		if err != nil || f.Header.OpCode.IsControl() {
			return
		}
		f = ws.UnmaskFrameInPlace(f)
		if f, err = wsflate.DecompressFrame(f); err != nil {
			return
		}
		answer := ws.NewFrame(f.Header.OpCode, true, f.Payload)
		if answer, err = wsflate.CompressFrame(answer); err != nil {
			return
		}
		if err := ws.WriteFrame(conn, answer); err != nil {
			return
		}
	}
}

func gobwasMixed(w Work) func(net.Conn) {
	return func(conn net.Conn) {
		for {
			p, op, err := wsutil.ReadClientData(conn)
			if err != nil {
				return
			}
			if !w.answers(op == ws.OpText) {
				continue
			}
			if err := wsutil.WriteServerMessage(conn, op, p); err != nil {
				return
			}
		}
	}
}

// gobwasMixedDeflate sends nothing back compressed: the text messages come from a connection without compression.
func gobwasMixedDeflate(w Work) func(net.Conn) {
	return func(conn net.Conn) {
		for {
			//lint:ignore SA1019 the library's README uses it for compression, and the load is trusted
			f, err := ws.ReadFrame(conn)
			if err != nil || f.Header.OpCode.IsControl() {
				return
			}
			f = ws.UnmaskFrameInPlace(f)
			if f.Header.Rsv1() {
				if f, err = wsflate.DecompressFrame(f); err != nil {
					return
				}
			}
			if !w.answers(f.Header.OpCode == ws.OpText) {
				continue
			}
			if err := wsutil.WriteServerMessage(conn, f.Header.OpCode, f.Payload); err != nil {
				return
			}
		}
	}
}

func gobwasBroadcast(all *broadcastGroup[net.Conn]) func(net.Conn) {
	return func(conn net.Conn) {
		all.add(conn)
		for {
			p, op, err := wsutil.ReadClientData(conn)
			if err != nil {
				return
			}
			frame, err := ws.CompileFrame(ws.NewFrame(op, true, p))
			if err != nil {
				return
			}
			all.send(func(conn net.Conn) { _, _ = conn.Write(frame) })
		}
	}
}
