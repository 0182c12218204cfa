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

// served returns the client's end of a TCP connection to a server that treats its sockets as listen says. The client is a
// bare connection, so that what is measured is one edgews and not two.
func served(tb testing.TB, listen func(*edgews.Socket)) net.Conn {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			tb.Error(err)
			return
		}
		listen(s)
		if err := s.Accept(); err != nil {
			tb.Error(err)
		}
	}))
	tb.Cleanup(server.Close)
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	if err != nil {
		tb.Fatal(err)
	}
	head := make([]byte, 0, 1<<10)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		n, err := c.Read(head[len(head):cap(head)])
		if err != nil {
			tb.Fatal(err)
		}
		head = head[:len(head)+n]
	}
	return c
}

// BenchmarkEcho is a message, or several in one write, there and back over TCP.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{32, 128, 1 << 10, 16 << 10} {
		for _, window := range []int{1, 16} {
			b.Run(fmt.Sprintf("size=%d/outstanding=%d", size, window), func(b *testing.B) {
				c := served(b, func(s *edgews.Socket) {
					s.OnMessage(func(e edgews.MessageEvent) { _ = e.Target.SendBytes(e.Data) })
				})
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
			})
		}
	}
}

// BenchmarkSend is messages from a server whose client just reads.
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

// BenchmarkPair is a message there and back between two ends in memory.
func BenchmarkPair(b *testing.B) {
	for _, size := range []int{32, 1 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			client, server := edgews.NewPair()
			server.OnMessage(func(e edgews.MessageEvent) { _ = e.Target.SendBytes(e.Data) })
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
