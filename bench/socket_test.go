//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edgews/edgews"
)

// served returns the client's end of a TCP connection to a server that calls listen for its socket. The client is a plain
// connection, so that only the server is measured.
func served(tb testing.TB, listen func(*edgews.Socket)) net.Conn {
	return dialed(tb, serve(tb, accepting(tb, listen)))
}

// accepting returns a handler that upgrades the connection to a socket.
func accepting(tb testing.TB, listen func(*edgews.Socket)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			tb.Error(err)
			return
		}
		listen(s)
		if err := s.Accept(); err != nil {
			tb.Error(err)
		}
	}
}

// piping returns a handler that responds with one end of a pair; listen is called for the other one.
func piping(tb testing.TB, listen func(*edgews.Socket)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		client, s := edgews.NewPair()
		listen(s)
		if err := s.Accept(); err != nil {
			tb.Error(err)
		}
		if err := edgews.Respond(w, r, client, nil); err != nil {
			tb.Error(err)
		}
	}
}

// serve starts a server and returns its address.
func serve(tb testing.TB, h http.HandlerFunc) string {
	server := httptest.NewServer(h)
	tb.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func dialed(tb testing.TB, addr string) net.Conn {
	c, err := dialAndUpgrade(addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

func dialAndUpgrade(addr string) (net.Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	head := make([]byte, 0, 1<<10)
	for err == nil && !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		var n int
		n, err = c.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
	}
	if err != nil {
		c.Close()
	}
	return c, err
}

// BenchmarkUpgrade opens a connection, makes the handshake and closes it. It includes the small share of the client.
func BenchmarkUpgrade(b *testing.B) {
	addr := serve(b, accepting(b, func(*edgews.Socket) {}))
	b.ReportAllocs()
	for b.Loop() {
		c, err := dialAndUpgrade(addr)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.(*net.TCPConn).SetLinger(0); err != nil { // otherwise the ports run out
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkEcho sends messages over TCP, one or several in a write, and reads the echoes.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{32, 128, 1 << 10, 16 << 10} {
		for _, window := range []int{1, 16} {
			b.Run(fmt.Sprintf("size=%d/outstanding=%d", size, window), func(b *testing.B) {
				echoes(b, accepting(b, echoing), size, window)
			})
		}
	}
}

// BenchmarkPipe does the same with a pair between the connection and the listener.
func BenchmarkPipe(b *testing.B) {
	for _, window := range []int{1, 16} {
		b.Run(fmt.Sprintf("size=128/outstanding=%d", window), func(b *testing.B) {
			echoes(b, piping(b, echoing), 128, window)
		})
	}
}

func echoing(s *edgews.Socket) {
	s.OnMessage(func(e edgews.MessageEvent) { _ = e.Target.SendBytes(e.Data) })
}

func echoes(b *testing.B, h http.HandlerFunc, size, window int) {
	c := dialed(b, serve(b, h))
	request := bytes.Repeat(clientFrame(size), window)
	answer := make([]byte, len(request)-4*window) // without the masking keys
	b.ReportAllocs()
	b.SetBytes(int64(size * window))
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSend sends messages to a client that only reads.
func BenchmarkSend(b *testing.B) {
	payload := bytes.Repeat([]byte{'x'}, 128)
	prepared := edgews.Prepare(edgews.Binary, payload)
	for _, call := range []struct {
		name string
		send func(*edgews.Socket) error
	}{
		{"Write", func(s *edgews.Socket) error { return s.Write(context.Background(), edgews.Binary, payload) }},
		{"SendPrepared", func(s *edgews.Socket) error { return s.SendPrepared(prepared) }},
	} {
		b.Run("call="+call.name+"/size=128", func(b *testing.B) {
			sockets := make(chan *edgews.Socket, 1)
			c := served(b, func(s *edgews.Socket) { sockets <- s })
			go io.Copy(io.Discard, c)
			s := <-sockets
			b.ReportAllocs()
			b.SetBytes(128)
			for b.Loop() {
				for {
					err := call.send(s)
					if err == nil {
						break
					}
					if err := s.Flush(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkPair sends a message through a pair in memory and reads the echo.
func BenchmarkPair(b *testing.B) {
	for _, size := range []int{32, 1 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			client, server := edgews.NewPair()
			echoing(server)
			if err := server.Accept(); err != nil {
				b.Fatal(err)
			}
			payload := make([]byte, size)
			ctx := context.Background()
			if err := client.Accept(); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if err := client.SendBytes(payload); err != nil {
					b.Fatal(err)
				}
				if _, err := client.Receive(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
