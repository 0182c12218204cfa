package edgews_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sink is a connection that sends nothing, and takes what is sent to it.
type sink struct {
	closed chan struct{}
	once   *sync.Once // a connection may be closed twice
}

func (c sink) Read([]byte) (int, error)       { <-c.closed; return 0, io.EOF }
func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (c sink) Close() error                   { c.once.Do(func() { close(c.closed) }); return nil }
func (sink) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (sink) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (sink) SetDeadline(time.Time) error      { return nil }
func (sink) SetReadDeadline(time.Time) error  { return nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }

// upgradeToSink returns a socket of a server, not accepted, whose connection is a sink.
func upgradeToSink(t testing.TB, opts *edgews.UpgradeOptions) *edgews.Socket {
	r := refusedRequest(func(r *http.Request) {
		if opts != nil && len(opts.Protocols) > 0 {
			r.Header.Set("Sec-WebSocket-Protocol", opts.Protocols[0])
		}
	})
	s, err := edgews.Upgrade(&pipeWriter{conn: sink{make(chan struct{}), new(sync.Once)}, header: make(http.Header)}, r, opts)
	require.NoError(t, err)
	return s
}

// TestHubMemory measures what a hub needs for sockets without tags, beyond the sockets.
func TestHubMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n, most = 100_000, 40
	pairs := func(t *testing.T) (all []*edgews.Socket) {
		for range n {
			_, server := edgews.NewPair()
			all = append(all, server)
		}
		return all
	}
	wires := func(t *testing.T) (all []*edgews.Socket) {
		protocols := [][]string{nil, {"chat"}, {"news"}}
		for i := range n {
			all = append(all, upgradeToSink(t, &edgews.UpgradeOptions{Protocols: protocols[i%len(protocols)]}))
		}
		return all
	}
	for name, open := range map[string]func(*testing.T) []*edgews.Socket{"pairs": pairs, "connections": wires} { // each socket is in two hubs
		sockets := open(t)
		for _, opts := range []*edgews.HubOptions{nil, {MaxSockets: n, MaxLifetime: time.Hour, IdleTimeout: time.Minute}} {
			h := edgews.NewHub(opts)
			t.Run(fmt.Sprint(name, "/limits ", opts != nil), func(t *testing.T) {
				before := heapInUse()
				check := func(when string) {
					grown := heapInUse() - before
					t.Logf("%.1f bytes for each socket %s", float64(grown)/n, when)
					assert.LessOrEqual(t, grown, most*n)
				}
				for _, s := range sockets {
					require.NoError(t, h.Add(s))
				}
				check("after all were added")
				for range n { // others come and go
					i := rand.IntN(n)
					require.True(t, h.Remove(sockets[i]))
					require.NoError(t, h.Add(sockets[i]))
				}
				check("after some have left and come back")
				for _, s := range sockets {
					h.Remove(s)
				}
				assert.Zero(t, h.Len())
			})
		}
		runtime.KeepAlive(sockets)
	}
}

// A socket that moves from hub to hub does not keep those that it has left.
func TestHubsThatWereLeft(t *testing.T) {
	connection := upgradeToSink(t, nil)
	require.NoError(t, connection.Accept())
	for name, s := range map[string]*edgews.Socket{"pair": edgewsSockets(t, 1)[0], "connection": connection} {
		t.Run(name, func(t *testing.T) {
			stays := edgews.NewHub(nil)
			require.NoError(t, stays.Add(s))
			grown := heapGrowth(func() {
				for range 10_000 {
					h := edgews.NewHub(&edgews.HubOptions{IdleTimeout: time.Hour})
					require.NoError(t, h.Add(s))
					require.Equal(t, 1, h.Len())
					require.True(t, h.Remove(s))
				}
			})
			assert.Less(t, grown, 100<<10)
			last := edgews.NewHub(nil)
			require.NoError(t, last.Add(s))
			edgews.Lose(s)
			eventually(t, func() bool { return stays.Len()+last.Len() == 0 }, "it leaves both when it ends")
		})
	}
}

func TestHubBroadcastAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h := edgews.NewHub(&edgews.HubOptions{IdleTimeout: time.Hour, MaxLifetime: time.Hour})
	const members = 20
	var peers []*peer
	for i := range members {
		s, p := overTCP.serverAndPeer(t, edgews.Options{})
		require.NoError(t, s.Accept())
		require.NoError(t, h.Add(s, "all", fmt.Sprint(i)))
		peers = append(peers, p)
	}
	m := edgews.Prepare(edgews.Binary, make([]byte, 128))
	answer := make([]byte, len(binaryOf(string(make([]byte, 128))).appendTo(nil, false)))
	for _, tags := range [][]string{nil, {"all"}} {
		each := mallocs(200, func() {
			if took := h.Broadcast(m, tags...); took != members {
				t.Error(took)
			}
			for _, p := range peers {
				if _, err := io.ReadFull(p.r, answer); err != nil {
					t.Error(err)
				}
			}
		})
		t.Logf("%.4f allocations for each broadcast with tags %q", each, tags)
		assert.Less(t, each, 0.5)
	}
}

// BenchmarkHubBroadcast sends a message to 10 000 connections: with a hub, and with a map that holds nothing but the sockets. The connections
// take at once what is written to them.
func BenchmarkHubBroadcast(b *testing.B) {
	const n = 10_000
	m := edgews.Prepare(edgews.Text, slices.Repeat([]byte("x"), 100))
	h, plain := edgews.NewHub(nil), make(map[*edgews.Socket]struct{})
	for i := range n {
		s := upgradeToSink(b, nil)
		require.NoError(b, s.Accept())
		require.NoError(b, h.Add(s, fmt.Sprint("tenth ", i%10)))
		plain[s] = struct{}{}
	}
	b.Run("hub", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if took := h.Broadcast(m); took != n {
				b.Fatal(took)
			}
		}
	})
	b.Run("map", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for s := range plain {
				if err := s.SendPrepared(m); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("hub/tag", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if took := h.Broadcast(m, "tenth 3"); took != n/10 {
				b.Fatal(took)
			}
		}
	})
}
