package edgews_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
)

// FuzzServer feeds a server's socket with whatever the fuzzer thinks of. In the bubble every time-out passes at once: a
// socket that hangs, and a goroutine that is left, fail the test.
func FuzzServer(f *testing.F) {
	client := &peer{client: true}
	for _, seed := range [][]aFrame{
		{text("hello"), binaryOf("\x00\xff"), ping("p"), pong("q"), closing(1000, "bye")},
		{part(text("a"), false), ping(""), continuation("b", true), closing(0, "")},
		{{bits: fin | rsv1, opcode: 1, payload: deflated(strings.Repeat("compressed ", 20))}, {bits: rsv1, opcode: 2, payload: "\x00"}, continuation("\x00", true)},
		{{bits: fin | rsv1, opcode: 2, payload: deflated(strings.Repeat("\x00", 100_000))}},
		{part(binaryOf(strings.Repeat("x", 70_000)), false), continuation(strings.Repeat("y", 70_000), true)},
	} {
		for mode := range byte(len(fuzzStyles) * 2) {
			f.Add(mode, client.encode(seed...))
		}
	}
	for i, v := range edgewstest.Violations() {
		var seed []byte
		for _, frame := range v.Frames {
			seed = frame.Append(seed, true)
		}
		f.Add(byte(i), seed)
	}
	f.Add(byte(0), []byte{})
	f.Add(byte(1), bytes.Repeat(client.encode(continuation("", false)), 100))
	f.Fuzz(func(t *testing.T, mode byte, input []byte) {
		bubble(t, func(t *testing.T) { fuzzServer(t, mode, input) })
	})
}

// fuzzStyles are the ways to take messages.
var fuzzStyles = []func(t *testing.T, s *edgews.Socket){
	func(t *testing.T, s *edgews.Socket) {
		s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data) })
		s.Accept()
	},
	func(t *testing.T, s *edgews.Socket) {
		go func() {
			for m, err := range s.Messages(t.Context()) {
				if err == nil {
					s.Write(t.Context(), m.Kind, m.Data)
				}
			}
		}()
	},
	func(t *testing.T, s *edgews.Socket) {
		go func() {
			for {
				_, r, err := s.NextReader(t.Context())
				if err != nil {
					return
				}
				io.CopyN(io.Discard, r, 10_000) // and abandons the rest
			}
		}()
	},
	func(t *testing.T, s *edgews.Socket) { s.Accept() },
}

func fuzzServer(t *testing.T, mode byte, input []byte) {
	var offers []string
	if mode&1 != 0 {
		offers = []string{"permessage-deflate"}
	}
	s, p := overPipe.serverAndPeer(t, edgews.Options{MaxMessageSize: 1 << 20}, offers...)
	var closes, errs int
	s.OnError(func(edgews.ErrorEvent) {
		errs++
		if closes > 0 {
			t.Error("error event behind the close event")
		}
	})
	s.OnClose(func(edgews.CloseEvent) { closes++ })
	fuzzStyles[int(mode>>1)%len(fuzzStyles)](t, s)
	p.ignores()
	go func() {
		p.writesAll(input)
		p.conn.SetDeadline(time.Time{})
	}()
	time.Sleep(time.Second)
	p.hangsUp()
	<-s.Done()
	if closes != 1 || errs > 1 {
		t.Errorf("%d close events and %d error events", closes, errs)
	}
	if state := s.ReadyState(); state != edgews.Closed {
		t.Errorf("the socket is %v", state)
	}
}
