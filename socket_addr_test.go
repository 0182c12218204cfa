package edgews_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// overTCP6 is TCP where the server's addresses are IPv6 addresses, of which some stand for IPv4 ones.
var overTCP6 = network{name: "tcp6", real: true, serve: serveListener("tcp", "[::]:0")}

// overUnix is a Unix socket.
func overUnix(t *testing.T) network {
	return network{name: "unix", real: true, serve: serveListener("unix", filepath.Join(t.TempDir(), "s"))}
}

// serveListener serves plain HTTP at an address.
func serveListener(kind, addr string) func(testing.TB, http.HandlerFunc) (func() net.Conn, string, *http.Client) {
	return func(t testing.TB, handler http.HandlerFunc) (func() net.Conn, string, *http.Client) {
		listener, err := net.Listen(kind, addr)
		if err != nil {
			t.Skipf("no %s here: %v", kind, err)
		}
		server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
		server.Start()
		t.Cleanup(server.Close)
		at := listener.Addr().String()
		if tcp, ok := listener.Addr().(*net.TCPAddr); ok {
			at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(tcp.Port)).String()
		}
		return func() net.Conn {
			conn, err := net.Dial(kind, at)
			require.NoError(t, err)
			t.Cleanup(func() { conn.Close() })
			return conn
		}, "", nil
	}
}

// addrsOf returns what LocalAddr and RemoteAddr of s return.
func addrsOf(s *edgews.Socket) [4]string {
	local, remote := s.LocalAddr(), s.RemoteAddr()
	return [4]string{local.Network(), local.String(), remote.Network(), remote.String()}
}

// hasAddrs checks that s has the addresses of the peer's connection, in exchange.
func hasAddrs(t *testing.T, p *peer, s *edgews.Socket, when string) {
	t.Helper()
	if p.conn.RemoteAddr().Network() == "unix" {
		assert.Equal(t, [4]string{"unix", p.conn.RemoteAddr().String(), "unix", "@"}, addrsOf(s), when)
		return
	}
	assert.Equal(t, [4]string{
		p.conn.RemoteAddr().Network(), p.conn.RemoteAddr().String(), p.conn.LocalAddr().Network(), p.conn.LocalAddr().String(),
	}, addrsOf(s), when)
}

// The addresses are the same before Accept, while the socket is open, in its last events and when everything is over, however it ends, and
// also for a goroutine that asks at any moment.
func TestAddrsStayTheSame(t *testing.T) {
	ends := map[string]func(t *testing.T, s *edgews.Socket, p *peer){
		"the peer closes": func(t *testing.T, _ *edgews.Socket, p *peer) { p.closesCleanly(1000, "") },
		"the socket closes": func(t *testing.T, s *edgews.Socket, p *peer) {
			require.NoError(t, s.Close(1000, ""))
			p.expects(closing(1000, ""))
			p.sends(closing(1000, ""))
			p.expectsEOF()
			p.hangsUp()
		},
		"the peer is gone": func(t *testing.T, _ *edgews.Socket, p *peer) { p.hangsUp() },
		"reset":            func(t *testing.T, _ *edgews.Socket, p *peer) { resets(p) },
		"a reset behind Close": func(t *testing.T, s *edgews.Socket, p *peer) {
			require.NoError(t, s.Close(1000, ""))
			p.expects(closing(1000, ""))
			p.sends(closing(1000, ""))
			p.expectsEOF()
			resets(p)
		},
		"cut": func(t *testing.T, s *edgews.Socket, p *peer) {
			require.NoError(t, s.Close(1000, "")) // and the peer does not answer within CloseTimeout
			p.expects(closing(1000, ""))
			p.expectsEOF()
		},
		"broken frame": func(t *testing.T, s *edgews.Socket, p *peer) {
			p.sends(aFrame{bits: fin, opcode: 1, bare: true})
			p.expectsClose(1002)
			p.expectsEOF()
			p.hangsUp()
		},
	}
	for _, where := range []network{overPipe, overTCP, overTCP6, overTLS, slowWrapped, overUnix(t)} {
		for name, end := range ends {
			t.Run(where.name+", "+name, func(t *testing.T) {
				where.run(t, func(t *testing.T, where network) {
					s, p := where.serverAndPeer(t, edgews.Options{CloseTimeout: 50 * time.Millisecond})
					hasAddrs(t, p, s, "before Accept")
					inClose := make(chan [4]string, 1)
					s.OnClose(func(edgews.CloseEvent) { inClose <- addrsOf(s) })
					require.NoError(t, s.Accept())
					hasAddrs(t, p, s, "open")
					want := addrsOf(s)

					var all sync.WaitGroup
					all.Go(func() { // until long after the end
						for done := 0; done < 1000; {
							if got := addrsOf(s); got != want {
								t.Errorf("at some moment the addresses are %v instead of %v", got, want)
								return
							}
							select {
							case <-s.Done():
								done++
							case <-time.After(50 * time.Microsecond): // the clock of a bubble needs goroutines that wait
							}
						}
					})
					end(t, s, p)
					waitDone(t, s)
					all.Wait()
					assert.Equal(t, want, <-inClose)
					hasAddrs(t, p, s, "after the end")
					p.conn.Close()
				})
			})
		}
	}
}

// A connection that is lost before Accept, when the event loop has not taken it over yet, is known afterwards all the same.
func TestAddrsOfASocketLostBeforeAccept(t *testing.T) {
	for _, where := range []network{overPipe, overTCP, overTCP6, overTLS} {
		where.run(t, func(t *testing.T, where network) {
			s, p := where.serverAndPeer(t, edgews.Options{})
			resets(p)
			hasAddrs(t, p, s, "before Accept")
			require.NoError(t, s.Accept())
			waitDone(t, s)
			hasAddrs(t, p, s, "after the end")
		})
	}
}

// resets ends the peer's connection by a reset, where that exists.
func resets(p *peer) {
	if tcp, ok := p.conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	p.conn.Close()
}

func TestAddrsOfAPair(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		pair := [4]string{"pair", "pair", "pair", "pair"}
		assert.Equal(t, pair, addrsOf(a))
		acceptBoth(t, a, b)
		assert.Equal(t, pair, addrsOf(b))
		require.NoError(t, a.Close(1000, ""))
		waitDone(t, a)
		waitDone(t, b)
		assert.Equal(t, pair, addrsOf(a))
		assert.Equal(t, pair, addrsOf(b))
	})
}

// After Respond, the other end of the pair has the addresses of the connection.
func TestAddrsAfterRespond(t *testing.T) {
	for _, where := range []network{overPipe, overTCP, overTLS} {
		for name, accept := range map[string]func(s *edgews.Socket) error{
			"accepted before": (*edgews.Socket).Accept,
			"accepted later":  func(*edgews.Socket) error { return nil },
		} {
			t.Run(name, func(t *testing.T) {
				where.run(t, func(t *testing.T, where network) {
					ends := make(chan *edgews.Socket, 2)
					dial, _, _ := where.serve(t, func(w http.ResponseWriter, r *http.Request) {
						client, server := edgews.NewPair()
						assert.NoError(t, accept(server))
						assert.NoError(t, edgews.Respond(w, r, client, nil))
						ends <- client
						ends <- server
					})
					conn := dial()
					p := &peer{t, conn, bufio.NewReader(conn), true}
					p.upgrades()
					client, server := <-ends, <-ends
					hasAddrs(t, p, server, "after Respond")
					assert.Equal(t, "pair", client.RemoteAddr().String(), "the end that is used up")
					require.NoError(t, server.Accept())
					p.closesCleanly(1000, "")
					waitDone(t, server)
					hasAddrs(t, p, server, "after the end")
				})
			})
		}
	}
}

// A dialed socket whose connection Respond has taken still has the addresses of its connection.
func TestAddrsOfADialedSocketGivenToRespond(t *testing.T) {
	sockets := make(chan *edgews.Socket, 1)
	_, upstream, _ := overTCP.serve(t, upgradeInto(t, sockets, edgews.Options{}))
	dialed := make(chan *edgews.Socket, 1)
	dial, _, _ := overTCP.serve(t, func(w http.ResponseWriter, r *http.Request) {
		s, _, err := edgews.Dial(r.Context(), upstream, nil)
		if assert.NoError(t, err) {
			assert.NoError(t, edgews.Respond(w, r, s, nil))
			dialed <- s
		}
	})
	conn := dial()
	p := &peer{t, conn, bufio.NewReader(conn), true}
	p.upgrades()
	s, behind := <-dialed, <-sockets
	want := [4]string{"tcp", behind.RemoteAddr().String(), "tcp", behind.LocalAddr().String()}
	assert.Equal(t, want, addrsOf(s))
	require.NoError(t, behind.Accept())
	p.closesCleanly(1000, "")
	waitDone(t, behind)
	assert.Equal(t, want, addrsOf(s))
}

// A socket that an object has accepted has the addresses of its connection, also in the object's events and when the object has hibernated.
func TestAddrsInAnObject(t *testing.T) {
	overWires(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
		n := newRooms(t, nil, nil)
		id := n.NewUniqueID()
		st := n.wake(id)
		want := addrsOf(server)
		require.NoError(t, st.AcceptWebSocket(server))
		require.NoError(t, client.Accept())
		require.NoError(t, n.Hibernate(t.Context(), id))
		assert.Equal(t, want, addrsOf(server))
		require.NoError(t, client.Close(1000, ""))
		waitDone(t, server)
		assert.Equal(t, want, addrsOf(server))
	})
}

// The two ends of a connection have each other's addresses, whichever function has made the sockets.
func TestAddrsOfTheTwoEnds(t *testing.T) {
	overWires(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
		swap := func(a [4]string) [4]string { return [4]string{a[2], a[3], a[0], a[1]} }
		assert.Equal(t, swap(addrsOf(server)), addrsOf(client))
		acceptBoth(t, client, server)
		want := addrsOf(client)
		assert.Equal(t, swap(addrsOf(server)), want)
		require.NoError(t, client.Close(1000, ""))
		waitDone(t, client)
		waitDone(t, server)
		assert.Equal(t, want, addrsOf(client))
		assert.Equal(t, swap(want), addrsOf(server))
	})
}

func TestAddrsWhileConnecting(t *testing.T) {
	unconnected := [4]string{"unconnected", "unconnected", "unconnected", "unconnected"}
	t.Run("refused", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		defer server.Close()
		s, err := edgews.NewWebSocket("ws" + strings.TrimPrefix(server.URL, "http"))
		require.NoError(t, err)
		assert.Equal(t, unconnected, addrsOf(s))
		waitDone(t, s)
		assert.Equal(t, unconnected, addrsOf(s))
	})
	t.Run("connected", func(t *testing.T) {
		sockets := make(chan *edgews.Socket, 1)
		_, url, _ := overTCP.serve(t, upgradeInto(t, sockets, edgews.Options{}))
		s, err := edgews.NewWebSocket("ws" + strings.TrimPrefix(url, "http"))
		require.NoError(t, err)
		open := make(chan [4]string, 1)
		s.OnOpen(func(edgews.OpenEvent) { open <- addrsOf(s) })
		server := <-sockets
		endWith(t, server)
		assert.Equal(t, [4]string{"tcp", server.RemoteAddr().String(), "tcp", server.LocalAddr().String()}, <-open)
		require.NoError(t, server.Accept())
		want := addrsOf(s)
		require.NoError(t, s.Close(1000, ""))
		waitDone(t, s)
		assert.Equal(t, want, addrsOf(s))
	})
}

// strangeConn is a connection of the program's own that knows its addresses only while it is open, or never.
type strangeConn struct {
	net.Conn
	mu            sync.Mutex
	local, remote net.Addr
}

func (c *strangeConn) LocalAddr() net.Addr  { c.mu.Lock(); defer c.mu.Unlock(); return c.local }
func (c *strangeConn) RemoteAddr() net.Addr { c.mu.Lock(); defer c.mu.Unlock(); return c.remote }
func (c *strangeConn) Close() error {
	c.mu.Lock()
	c.local, c.remote = nil, nil
	c.mu.Unlock()
	return c.Conn.Close()
}

func TestAddrsOfAnotherKindOfConn(t *testing.T) {
	known := &net.UnixAddr{Name: "/tmp/x", Net: "unixpacket"}
	for name, c := range map[string]struct {
		local, remote net.Addr
		want          [4]string
	}{
		"both known":    {known, known, [4]string{"unixpacket", "/tmp/x", "unixpacket", "/tmp/x"}},
		"remote only":   {nil, known, [4]string{"unknown", "unknown", "unixpacket", "/tmp/x"}},
		"local only":    {known, nil, [4]string{"unixpacket", "/tmp/x", "unknown", "unknown"}},
		"neither known": {nil, nil, [4]string{"unknown", "unknown", "unknown", "unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer ours.Close()
				sockets := make(chan *edgews.Socket, 1)
				go serveConn(&strangeConn{Conn: theirs, local: c.local, remote: c.remote}, upgradeInto(t, sockets, edgews.Options{}))
				p := &peer{t, ours, bufio.NewReader(ours), true}
				p.upgrades()
				s := <-sockets
				assert.Equal(t, c.want, addrsOf(s))
				require.NoError(t, s.Accept())
				assert.Equal(t, c.want, addrsOf(s))
				p.closesCleanly(1000, "")
				waitDone(t, s)
				time.Sleep(time.Minute)
				assert.Equal(t, c.want, addrsOf(s), "although the connection has forgotten them")
			})
		})
	}
}

// Every line of a socket's log tells whose it is.
func TestLogsTellThePeersAddress(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(p *peer)
		want []string
	}{
		"closed": {func(p *peer) { p.closesCleanly(1000, "") }, []string{"edgews: socket closed"}},
		"refused": {func(p *peer) { p.sends(text("1")); p.expectsClose(1011); p.hangsUp() },
			[]string{"edgews: message refused", "edgews: socket closed"}},
		"panic": {func(p *peer) { p.sends(text("0")); p.expectsClose(1011); p.hangsUp() },
			[]string{"edgews: listener panicked", "edgews: message refused", "edgews: socket failed", "edgews: socket closed"}},
		"broken": {func(p *peer) { p.sends(aFrame{bits: fin, opcode: 3}); p.expectsClose(1002); p.hangsUp() },
			[]string{"edgews: socket failed", "edgews: socket closed"}},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			handler := slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
			s, p := overTCP.serverAndPeer(t, edgews.Options{Logger: slog.New(handler)})
			s.OnMessage(func(e edgews.MessageEvent) {
				if e.Text() == "0" {
					panic("as the test asked")
				}
			})
			edgews.OnJSON(s, func(int) error { return errors.New("not this one") })
			require.NoError(t, s.Accept())
			c.do(p)
			waitDone(t, s)
			var messages []string
			for lines := json.NewDecoder(&log); lines.More(); {
				var line struct {
					Msg       string
					WebSocket struct{ Remote string }
				}
				require.NoError(t, lines.Decode(&line))
				messages = append(messages, line.Msg)
				assert.Equal(t, p.conn.LocalAddr().String(), line.WebSocket.Remote, line.Msg)
			}
			assert.Equal(t, c.want, messages)
		})
	}
}
