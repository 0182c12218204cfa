package edgews_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withoutDeadlines is a connection whose deadlines cannot be set, as those through tunnels such as SSH's.
type withoutDeadlines struct{ net.Conn }

var errNoDeadlines = errors.New("deadlines are not supported")

func (withoutDeadlines) SetDeadline(time.Time) error      { return errNoDeadlines }
func (withoutDeadlines) SetReadDeadline(time.Time) error  { return errNoDeadlines }
func (withoutDeadlines) SetWriteDeadline(time.Time) error { return errNoDeadlines }

var overTunnel = network{name: "tunnel", serve: func(t testing.TB, handler http.HandlerFunc) (func() net.Conn, string, *http.Client) {
	dial := func() net.Conn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		go serveConn(withoutDeadlines{theirs}, handler)
		return ours
	}
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return withoutDeadlines{dial()}, nil
	}}
	return dial, "ws://pipe.test/", &http.Client{Transport: transport}
}}

// A message that finds no listener waits for one until 10 ms after Accept. The end of that wait must not close a connection without
// deadlines.
func TestConnWithoutDeadlinesStaysOpen(t *testing.T) {
	overTunnel.run(t, func(t *testing.T, where network) {
		s, p := where.serverAndPeer(t, edgews.Options{})
		require.NoError(t, s.Accept())
		p.sends(text("early"))
		synctest.Wait()
		events := record(t, s)
		events.wants(message("early"))
		time.Sleep(time.Second)
		p.sends(text("later"))
		events.wants(message("later"))
		require.NoError(t, s.Send("and back"))
		p.expects(text("and back"))
		p.closesCleanly(1000, "bye")
		events.wantsEnd(closed(1000, "bye", true))
	})
	t.Run("dialed", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			client, server := overTunnel.connect(t, edgews.Options{})
			require.NoError(t, client.Accept())
			require.NoError(t, server.Accept())
			require.NoError(t, server.Send("early"))
			synctest.Wait()
			events := record(t, client)
			events.wants(message("early"))
			time.Sleep(time.Second)
			require.NoError(t, server.Send("later"))
			events.wants(message("later"))
			require.NoError(t, server.Close(1000, "bye"))
			events.wantsEnd(closed(1000, "bye", true))
		})
	})
}

// A socket ends in time although its goroutine waits in a Read that cannot be interrupted.
func TestEndWhileAReadWaits(t *testing.T) {
	halfOf := func(p *peer) {
		large := p.encode(binaryOf(strings.Repeat("x", 1<<20)))
		p.sendsBytes(large[:300<<10])
	}
	cases := []struct {
		name string
		do   func(s *edgews.Socket, p *peer)
		end  []string
	}{
		{"keep-alive", func(*edgews.Socket, *peer) {}, []string{failed("nothing for"), cut}},
		{"CloseTimeout", func(s *edgews.Socket, _ *peer) { s.Close(1000, "") }, []string{cut}},
		{"in a large message", func(_ *edgews.Socket, p *peer) { halfOf(p) }, []string{failed("nothing for"), cut}},
		{"Goexit at the end", func(s *edgews.Socket, _ *peer) {
			s.OnClose(func(edgews.CloseEvent) { runtime.Goexit() })
		}, []string{failed("nothing for"), cut}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, where := range []network{overPipe, overTunnel} {
				where.run(t, func(t *testing.T, where network) {
					s, p := where.serverAndPeer(t, edgews.Options{KeepAlive: 4 * time.Second, KeepAliveTimeout: 2 * time.Second, Logger: quiet})
					events := record(t, s)
					require.NoError(t, s.Accept())
					start := time.Now()
					p.ignores()
					c.do(s, p)
					events.wantsEnd(c.end...)
					assert.Less(t, time.Since(start), time.Minute)
					go p.writesAll(make([]byte, 1<<20))
					time.Sleep(time.Minute)
				})
			}
		})
	}
}
