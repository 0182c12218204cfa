package edgews_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// idleDeadlines accepts deadlines and ignores them, as many wrappers do.
type idleDeadlines struct{ net.Conn }

func (idleDeadlines) SetDeadline(time.Time) error      { return nil }
func (idleDeadlines) SetReadDeadline(time.Time) error  { return nil }
func (idleDeadlines) SetWriteDeadline(time.Time) error { return nil }

// tunnels returns networks in a bubble where the deadlines of both ends of a connection do not work.
func tunnels(t *testing.T) []network {
	config, trust := certificate(t)
	wraps := map[string]func(net.Conn) net.Conn{
		"no deadlines":   func(c net.Conn) net.Conn { return withoutDeadlines{c} },
		"idle deadlines": func(c net.Conn) net.Conn { return idleDeadlines{c} },
	}
	var places []network
	for name, wrap := range wraps {
		places = append(places,
			tunnelPlace(name, wrap, wrap),
			tunnelPlace(name+", tls",
				func(c net.Conn) net.Conn { return tls.Server(wrap(c), config) },
				func(c net.Conn) net.Conn { return tls.Client(wrap(c), trust) }))
	}
	return places
}

func certificate(t *testing.T) (server, client *tls.Config) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	client = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	client.ServerName = "example.com"
	return &tls.Config{Certificates: s.TLS.Certificates}, client
}

func tunnelPlace(name string, server, client func(net.Conn) net.Conn) network {
	return network{name: name, serve: func(t testing.TB, handler http.HandlerFunc) (func() net.Conn, string, *http.Client) {
		dial := func() net.Conn {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { ours.Close(); theirs.Close() })
			go serveConn(server(theirs), handler)
			return client(ours)
		}
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(), nil }}
		return dial, "ws://pipe.test/", &http.Client{Transport: transport}
	}}
}

// The connection of a peer that takes nothing is closed after WriteTimeout, although only Close interrupts a Write.
func TestWriteTimeoutWithoutDeadlines(t *testing.T) {
	opts := edgews.Options{WriteTimeout: 4 * time.Second, CloseTimeout: 2 * time.Second, KeepAlive: -1, Logger: quiet}
	late := []string{failed("takes no data for 4s"), cut}
	cases := []struct {
		name string
		do   func(t *testing.T, s *edgews.Socket, p *peer)
		end  []string
	}{
		{"a message", func(*testing.T, *edgews.Socket, *peer) {}, late},
		{"Close behind it", func(t *testing.T, s *edgews.Socket, _ *peer) { require.NoError(t, s.Close(1000, "")) }, late},
		{"the peer's Close", func(_ *testing.T, _ *edgews.Socket, p *peer) { p.sends(closing(1000, "")) }, []string{closed(1000, "", true)}},
		{"a broken frame", func(_ *testing.T, _ *edgews.Socket, p *peer) { p.sends(aFrame{bits: 0x70, opcode: 1}) },
			[]string{failed("RSV bits"), closed(1002, "received frame had RSV bits 2 or 3 set", false)}},
		{"a blocking listener", func(t *testing.T, s *edgews.Socket, p *peer) {
			s.OnMessage(func(edgews.MessageEvent) { assert.ErrorIs(t, s.Flush(context.Background()), edgews.ErrClosed) })
			p.sends(text("go"))
		}, append([]string{message("go")}, late...)},
	}
	for _, where := range tunnels(t) {
		for _, c := range cases {
			t.Run(where.name+", "+c.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s, p := where.serverAndPeer(t, opts)
					events := record(t, s)
					require.NoError(t, s.Accept())
					start := time.Now()
					require.NoError(t, s.SendBytes(make([]byte, 1<<20)))
					c.do(t, s, p)
					events.wantsEnd(c.end...)
					assert.Less(t, time.Since(start), 10*time.Second)
					assert.ErrorIs(t, s.Flush(context.Background()), edgews.ErrClosed)
					assert.Less(t, time.Since(start), 20*time.Second)
				})
			})
		}
	}
}

// WriteTimeout works in the same way for a client.
func TestWriteTimeoutOfADialedTunnel(t *testing.T) {
	for _, where := range tunnels(t) {
		where.run(t, func(t *testing.T, where network) {
			opts := edgews.Options{WriteTimeout: 4 * time.Second, KeepAlive: -1, Logger: quiet}
			client, server := where.connect(t, opts)
			events := record(t, client)
			require.NoError(t, client.Accept())
			start := time.Now()
			require.NoError(t, client.SendBytes(make([]byte, 1<<20)))
			events.wantsEnd(failed("takes no data for 4s"), cut)
			assert.Less(t, time.Since(start), 10*time.Second)
			require.NoError(t, server.Accept())
		})
	}
}

// A peer that takes something within each WriteTimeout stays connected.
func TestSlowReaderWithoutDeadlines(t *testing.T) {
	for _, where := range tunnels(t) {
		where.run(t, func(t *testing.T, where network) {
			s, p := where.serverAndPeer(t, edgews.Options{WriteTimeout: 4 * time.Second, KeepAlive: -1})
			require.NoError(t, s.Accept())
			require.NoError(t, s.SendBytes(make([]byte, 100_000)))
			for left := 100_000 + 10; left > 0; {
				time.Sleep(3 * time.Second)
				n, err := p.r.Discard(min(left, 16<<10))
				require.NoError(t, err)
				left -= n
			}
			require.NoError(t, s.Flush(t.Context()))
			time.Sleep(time.Minute)
			require.NoError(t, s.Send("still there"))
			p.expects(text("still there"))
			p.hangsUp()
		})
	}
}

// A client that does not read the answer to its handshake blocks the handler for little more than WriteTimeout.
func TestHandshakeThatIsNeverReadWithoutDeadlines(t *testing.T) {
	for _, where := range tunnels(t) {
		where.run(t, func(t *testing.T, where network) {
			errs := make(chan error, 1)
			dial, _, _ := where.serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, err := edgews.Upgrade(w, r, nil)
				errs <- err
			})
			conn := dial()
			start := time.Now()
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", aKey)
			require.Error(t, <-errs)
			assert.Less(t, time.Since(start), 15*time.Second)
			bufio.NewReader(conn).ReadByte()
		})
	}
}

// WriteTimeout applies to a half-open socket, too, whose peer has sent its Close frame and takes nothing afterwards.
func TestHalfOpenSocketWhosePeerTakesNothing(t *testing.T) {
	opts := edgews.Options{WriteTimeout: 200 * time.Millisecond, CloseTimeout: patience, KeepAlive: -1, Logger: quiet}
	isClosed := func(t *testing.T, s *edgews.Socket) {
		assert.ErrorIs(t, s.Flush(within(t)), edgews.ErrClosed)
		assert.Equal(t, edgews.Closed, s.ReadyState())
		assert.ErrorIs(t, s.Send("x"), edgews.ErrClosed)
		assert.ErrorIs(t, s.Close(1000, ""), edgews.ErrClosed)
	}
	end := closed(1000, "bye", true)
	for _, where := range append(tunnels(t), overPipe, slowTCP, slowTLS, slowWrapped) {
		where.run(t, func(t *testing.T, where network) {
			s, p := where.serverAndPeer(t, opts)
			events := record(t, s)
			require.NoError(t, s.AcceptHalfOpen())
			p.sends(closing(1000, "bye"))
			events.wantsEnd(end)
			require.NoError(t, s.SendBytes(make([]byte, bulk)))
			isClosed(t, s)
			p.conn.SetReadDeadline(time.Now().Add(patience))
			_, err := io.Copy(io.Discard, p.r)
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection is still open")
		})
		t.Run(where.name+", in the listener", func(t *testing.T) {
			where.run(t, func(t *testing.T, where network) {
				s, p := where.serverAndPeer(t, opts)
				s.OnClose(func(edgews.CloseEvent) {
					assert.NoError(t, s.SendBytes(make([]byte, bulk)))
					isClosed(t, s)
				})
				require.NoError(t, s.AcceptHalfOpen())
				p.sends(closing(1000, "bye"))
				waitDone(t, s)
			})
		})
	}
	t.Run("dialed", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s, p := clientAndPeer(t, opts)
			events := record(t, s)
			require.NoError(t, s.AcceptHalfOpen())
			p.sends(closing(1000, "bye"))
			events.wantsEnd(end)
			require.NoError(t, s.SendBytes(make([]byte, bulk)))
			isClosed(t, s)
			p.expectsEOF()
		})
	})
}
