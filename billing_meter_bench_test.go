package edgews_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// BenchmarkMeter is a message of 64 bytes to a listener, without a network, on as many connections as there are
// processors: without a meter, with one meter for all, with a tenant of 10,000 for each, and with a quota that is far from used up.
func BenchmarkMeter(b *testing.B) {
	one, many := edgews.NewMeter(nil), edgews.NewMeter(nil)
	bounded := edgews.NewMeter(nil)
	bounded.SetQuota(edgews.Plan{MessagesIn: edgews.Rate{Included: 1 << 50}, Bytes: edgews.Rate{Included: 1 << 55}})
	cases := []struct {
		name  string
		meter func(i int) *edgews.Meter
	}{
		{"none", func(int) *edgews.Meter { return nil }},
		{"one", func(int) *edgews.Meter { return one }},
		{"tenants", func(i int) *edgews.Meter { return many.Tenant(fmt.Sprint(i)) }},
		{"quota", func(i int) *edgews.Meter { return bounded.Tenant(fmt.Sprint(i)) }},
		{"recorded", func(int) *edgews.Meter { return edgews.NewMeter(&edgews.MeterOptions{Record: func(edgews.Record) {}}) }},
	}
	for i := range 10_000 {
		many.Tenant(fmt.Sprint(i))
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			var over sync.WaitGroup
			conns := runtime.GOMAXPROCS(0)
			sockets := make([]*edgews.Socket, conns)
			for i := range conns {
				s := upgraded(b, &flood{frames: b.N/conns + 1}, c.meter(i))
				s.OnMessage(func(edgews.MessageEvent) {})
				sockets[i] = s
			}
			b.ReportAllocs()
			b.ResetTimer()
			for _, s := range sockets {
				over.Go(func() { s.Accept(); <-s.Done() })
			}
			over.Wait()
		})
	}
}

// BenchmarkUsage reads a meter with 10,000 tenants, each with a connection that has received something.
func BenchmarkUsage(b *testing.B) {
	m := edgews.NewMeter(nil)
	var conns []*flood
	for i := range 10_000 {
		f := &flood{frames: 1, stay: make(chan struct{})}
		s := upgraded(b, f, m.Tenant(fmt.Sprint(i)))
		s.OnMessage(func(edgews.MessageEvent) {})
		require.NoError(b, s.Accept())
		conns = append(conns, f)
	}
	for b.Loop() {
		m.Usage()
	}
	for _, f := range conns {
		close(f.stay)
	}
}

// flood is a connection on which a number of messages arrive, and then nothing, or EOF.
type flood struct {
	net.Conn
	frames int
	stay   chan struct{}
}

var floodFrame = text(strings.Repeat("x", 64)).appendTo(nil, true)

func (f *flood) Read(p []byte) (n int, err error) {
	for f.frames > 0 && len(p)-n >= len(floodFrame) {
		n += copy(p[n:], floodFrame)
		f.frames--
	}
	if n > 0 {
		return n, nil
	}
	if f.stay != nil {
		<-f.stay
	}
	return 0, io.EOF
}

func (f *flood) Close() error { return nil }

// upgraded returns a socket over conn.
func upgraded(b *testing.B, conn net.Conn, m *edgews.Meter) *edgews.Socket {
	ours, theirs := net.Pipe()
	go io.Copy(io.Discard, theirs)
	lines := "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + aKey + "\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(lines)))
	require.NoError(b, err)
	rw := bufio.NewReadWriter(bufio.NewReader(strings.NewReader("")), bufio.NewWriter(ours))
	s, err := edgews.Upgrade(&pipeWriter{floodConn{ours, conn}, rw, make(http.Header)}, r, &edgews.UpgradeOptions{Options: edgews.Options{Meter: m, KeepAlive: -1}})
	require.NoError(b, err)
	return s
}

// floodConn reads from one connection and writes to another.
type floodConn struct {
	net.Conn
	from net.Conn
}

func (c floodConn) Read(p []byte) (int, error) { return c.from.Read(p) }
