package edgews_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/internal/park"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every socket has an ID of its own, and later ones have larger IDs, whatever makes them.
func TestSocketIDs(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
		a, b := edgews.NewPair()
		ids := []uint64{a.ID(), b.ID(), client.ID(), server.ID()}
		slices.Sort(ids)
		assert.NotZero(t, ids[0])
		assert.Len(t, slices.Compact(ids), 4)
		assert.Less(t, max(client.ID(), server.ID()), a.ID())
		acceptBoth(t, client, server)
		assert.Equal(t, client.ID(), client.Info().ID)
		require.NoError(t, client.Close(1000, ""))
		waitDone(t, client)
		assert.Equal(t, client.ID(), client.Info().ID, "after the end")
	})
}

func TestSocketIDsOfManyGoroutines(t *testing.T) {
	var all sync.Map
	var makers sync.WaitGroup
	for range 8 {
		makers.Go(func() {
			for range 200 {
				a, b := edgews.NewPair()
				for _, s := range []*edgews.Socket{a, b} {
					_, again := all.LoadOrStore(s.ID(), s)
					assert.False(t, again, "socket %d", s.ID())
				}
			}
		})
	}
	makers.Wait()
}

// What Info says agrees with the other methods at every step of a socket's life.
func TestSocketInfo(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
		agrees := func(s *edgews.Socket) edgews.SocketInfo {
			t.Helper()
			i := s.Info()
			assert.Equal(t, s.RemoteAddr().String(), i.Remote.String())
			assert.Equal(t, s.LocalAddr().String(), i.Local.String())
			assert.Equal(t, s.ReadyState(), i.State)
			assert.Equal(t, s.Protocol(), i.Protocol)
			assert.Equal(t, s.Extensions(), i.Extensions)
			assert.Equal(t, s.BufferedAmount(), i.Buffered)
			assert.Equal(t, s.URL() != "", i.Client)
			assert.Empty(t, i.Namespace)
			assert.Zero(t, i.Object)
			assert.Empty(t, i.Tags)
			return i
		}
		assert.Zero(t, agrees(server).Opened, "it is not accepted")
		before := time.Now()
		acceptBoth(t, client, server)
		i := agrees(server)
		assert.WithinRange(t, i.Opened, before.Add(-time.Millisecond), time.Now().Add(time.Millisecond))
		if client.URL() != "" {
			assert.Equal(t, "/", i.Path)
			assert.Equal(t, "/", "/"+strings.TrimPrefix(client.Info().Path, "/"))
			assert.NotEmpty(t, i.Host)
			assert.Equal(t, i.Host, client.Info().Host)
			assert.True(t, client.Info().Client)
		} else {
			assert.Empty(t, i.Host+i.Path)
			assert.False(t, client.Info().Client)
		}
		require.NoError(t, client.Close(4000, "enough"))
		waitDone(t, server)
		waitDone(t, client)
		after := agrees(server)
		assert.Equal(t, edgews.Closed, after.State)
		assert.Equal(t, i.Opened, after.Opened, "it stays")
		assert.Equal(t, i.Host+i.Path, after.Host+after.Path, "it stays")
		assert.False(t, after.Parked)
	})
}

// serveWith serves one request with the given first line and host, and returns the socket.
func serveWith(t *testing.T, target, host string) *edgews.Socket {
	t.Helper()
	ours, theirs := net.Pipe()
	sockets := make(chan *edgews.Socket, 1)
	go serveConn(theirs, upgradeInto(t, sockets, edgews.Options{}))
	p := &peer{t, ours, bufio.NewReader(ours), true}
	p.sendsBytes(fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", target, host, aKey))
	resp, err := http.ReadResponse(p.r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	s := <-sockets
	endWith(t, s, ours)
	return s
}

// A server's socket knows for which host and path its request was, without the query, and no more of them than 256 bytes.
func TestSocketInfoOfRequests(t *testing.T) {
	long := strings.Repeat("a", 255)
	cases := []struct{ name, target, host, wantHost, wantPath string }{
		{"plain", "/room/lobby", "chat.test:8080", "chat.test:8080", "/room/lobby"},
		{"root", "/", "chat.test", "chat.test", "/"},
		{"no query", "/room?token=secret", "chat.test", "chat.test", "/room"},
		{"decoded", "/caf%C3%A9", "chat.test", "chat.test", "/café"},
		{"line breaks", "/a%0d%0aevil", "chat.test", "chat.test", "/a\r\nevil"},
		{"256 bytes", "/" + long, "chat.test", "chat.test", "/" + long},
		{"long", "/" + long + "bcd", "chat.test", "chat.test", "/" + long},
		{"cut between characters", "/" + long[:254] + "%C3%A9", "chat.test", "chat.test", "/" + long[:254]},
		{"long host", "/", long + ".test", long + ".", "/"},
		{"absolute", "http://chat.test/x", "chat.test", "chat.test", "/x"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				i := serveWith(t, c.target, c.host).Info()
				assert.Equal(t, c.wantHost, i.Host)
				assert.Equal(t, c.wantPath, i.Path)
				assert.False(t, i.Client)
			})
		})
	}
}

// More paths than are cached do not get mixed up.
func TestSocketInfoOfManyPaths(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for n := range 1_100 {
			path := fmt.Sprint("/room/", n)
			s := serveWith(t, path, "chat.test")
			require.Equal(t, path, s.Info().Path)
			require.NoError(t, s.Accept())
			require.Equal(t, path, s.Info().Path)
		}
	})
}

// The same in a hub, which has a cache of its own.
func TestSocketInfoOfManyPathsInAHub(t *testing.T) {
	bubble(t, func(t *testing.T) {
		hub := edgews.NewHub(nil)
		for n := range 250 {
			path := fmt.Sprint("/room/", n)
			s := serveWith(t, path, "chat.test")
			require.NoError(t, hub.Add(s))
			require.Equal(t, path, s.Info().Path)
			require.Equal(t, 1+n, hub.Len())
		}
	})
}

// The end of a pair that gets a connection has the request of that connection, and keeps its ID.
func TestSocketInfoAfterRespond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		servers := make(chan *edgews.Socket, 1)
		_, _, httpClient := overPipe.serve(t, func(w http.ResponseWriter, r *http.Request) {
			client, server := edgews.NewPair()
			assert.NoError(t, server.Accept())
			id := server.ID()
			assert.NoError(t, edgews.Respond(w, r, client, nil))
			assert.Equal(t, id, server.ID())
			servers <- server
		})
		client, _, err := edgews.Dial(t.Context(), "ws://pipe.test/a/b?c", &edgews.DialOptions{HTTPClient: httpClient})
		require.NoError(t, err)
		server := <-servers
		endWith(t, client)
		endWith(t, server)
		require.NoError(t, client.Accept())
		i, c := server.Info(), client.Info()
		assert.Equal(t, []any{"pipe.test", "/a/b", false}, []any{i.Host, i.Path, i.Client})
		assert.Equal(t, []any{"pipe.test", "/a/b", true}, []any{c.Host, c.Path, c.Client})
		require.NoError(t, client.Close(1000, ""))
	})
}

// What an object knows of its sockets is part of Info; after a reset it is not.
func TestSocketInfoOfObjects(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		client, server, events := n.joins(id, "red", "blue")
		i := server.Info()
		assert.Equal(t, []any{"rooms", id, []string{"red", "blue"}}, []any{i.Namespace, i.Object, i.Tags})
		i.Tags[0] = "mine"
		assert.Equal(t, []string{"red", "blue"}, server.Info().Tags, "the slice is the caller's")
		assert.Equal(t, "", client.Info().Namespace)
		st := n.wake(id)
		require.NoError(t, st.SetTags(server, "green"))
		assert.Equal(t, []string{"green"}, server.Info().Tags)

		held, _ := edgews.NewPair()
		st.Hold(held)
		require.NoError(t, held.Accept())
		assert.Equal(t, []any{"rooms", id}, []any{held.Info().Namespace, held.Info().Object})

		require.NoError(t, held.Close(1000, ""))
		require.NoError(t, n.Hibernate(t.Context(), n.NewUniqueID()), "of another object")
		st.Abort(nil)
		events.wantsEnd(closed(1011, "object was aborted", true))
		assert.Equal(t, "", server.Info().Namespace)
		assert.Empty(t, server.Info().Tags)
	})
}

// A connection that is idle is parked, where there is an event loop; one with a message that has arrived in part, or whose messages wait, is
// not.
func TestParkedConnections(t *testing.T) {
	if !park.HasLoop {
		t.Skip("without the event loop, no connection is parked")
	}
	for _, where := range []network{overTCP, overTLS} {
		t.Run(where.name, func(t *testing.T) {
			s, p := where.serverAndPeer(t, edgews.Options{})
			assert.False(t, s.Info().Parked, "before Accept")
			events := record(t, s)
			require.NoError(t, s.Accept())
			parks := func(want bool, when string) {
				t.Helper()
				eventually(t, func() bool { return s.Info().Parked == want }, when)
			}
			parks(true, "idle")
			p.sends(part(text("a"), false))
			parks(false, "the rest of a message is missing")
			p.sends(continuation("b", true))
			events.wants(message("ab"))
			parks(true, "idle again")
			p.sends(closing(1000, ""))
			events.wantsEnd(closed(1000, "", true))
			assert.False(t, s.Info().Parked, "after the end")
		})
	}
}

// Asking does not disturb what arrives: no message is lost or comes late, although Info takes the turn of the connection.
func TestInfoWhileMessagesArrive(t *testing.T) {
	for _, where := range []network{overTCP, overTLS} {
		t.Run(where.name, func(t *testing.T) {
			s, p := where.serverAndPeer(t, edgews.Options{})
			s.OnMessage(func(e edgews.MessageEvent) { _ = s.SendBytes(e.Data) })
			require.NoError(t, s.Accept())
			stop := make(chan struct{})
			var asking sync.WaitGroup
			for range 2 {
				asking.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							s.Info()
							runtime.Gosched()
						}
					}
				})
			}
			for i := range 300 {
				m := strings.Repeat("m", 1+i*7)
				p.sends(part(text(m), false))
				p.sends(continuation("!", true))
				p.expects(binaryOf(m + "!"))
			}
			close(stop)
			asking.Wait()
			p.closesCleanly(1000, "")
			waitDone(t, s)
		})
	}
}

// A pair is parked if nothing waits in it.
func TestParkedPairs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		assert.False(t, a.Info().Parked, "it is not accepted")
		require.NoError(t, a.Accept())
		assert.True(t, a.Info().Parked)
		require.NoError(t, a.Send("to nobody yet"))
		assert.False(t, a.Info().Parked, "its message waits")
		got := make(chan struct{})
		b.OnMessage(func(edgews.MessageEvent) { close(got) })
		require.NoError(t, b.Accept())
		<-got
		time.Sleep(time.Second)
		assert.True(t, a.Info().Parked)
		assert.True(t, b.Info().Parked)
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error)
		go func() { _, err := b.Receive(ctx); waiting <- err }()
		time.Sleep(time.Second)
		assert.False(t, b.Info().Parked, "a goroutine waits in Receive")
		cancel()
		assert.ErrorIs(t, <-waiting, context.Canceled)
		require.NoError(t, a.Close(1000, ""))
	})
}

// groupOf returns the group websocket of each line of a JSON log, by message.
func groupsOf(t *testing.T, log io.Reader) map[string]map[string]any {
	t.Helper()
	groups := make(map[string]map[string]any)
	for lines := json.NewDecoder(log); lines.More(); {
		var line struct {
			Msg       string
			WebSocket map[string]any
		}
		require.NoError(t, lines.Decode(&line))
		groups[line.Msg] = line.WebSocket
	}
	return groups
}

// The group of an object's socket names the object, and what a peer has chosen cannot begin another line.
func TestLogGroupOfAnObjectsSocket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log lockedBuffer
		opts := &edgews.NamespaceOptions{Options: edgews.Options{
			Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}}
		n := newRooms(t, opts, func(r *room) {
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				s, err := edgews.Upgrade(w, req, &edgews.UpgradeOptions{Options: opts.Options, Protocols: []string{"chat"}})
				if assert.NoError(t, err) {
					assert.NoError(t, r.st.AcceptWebSocket(s))
				}
			}
			r.message = func(_ context.Context, _ *edgews.Socket, m edgews.Message) error {
				if m.Text() == "panic" {
					panic("as the test asked")
				}
				return io.EOF
			}
		})
		id := n.IDFromName("lobby")
		_, _, httpClient := overPipe.serve(t, n.Get(id).ServeHTTP)
		client, _, err := edgews.Dial(t.Context(), "ws://pipe.test/a%0ab", &edgews.DialOptions{HTTPClient: httpClient, Protocols: []string{"chat"}})
		require.NoError(t, err)
		require.NoError(t, client.Accept())
		synctest.Wait() // the handler accepts the socket after the client has the answer
		server := n.Sockets(id)[0]
		require.NoError(t, client.Send("fail"))
		require.NoError(t, client.Send("panic"))
		require.NoError(t, client.Close(1000, ""))
		waitDone(t, client)
		time.Sleep(time.Second)

		want := map[string]any{
			"id": float64(server.ID()), "remote": "pipe", "path": "/a\nb", "namespace": "rooms", "object": id.String(), "protocol": "chat",
		}
		assert.Equal(t, map[string]map[string]any{
			"edgews: object's handler failed":   want,
			"edgews: object's handler panicked": want,
			"edgews: socket closed":             want,
		}, groupsOf(t, strings.NewReader(log.String())))
		for line := range strings.Lines(log.String()) {
			assert.True(t, json.Valid([]byte(line)), line)
		}
	})
}

// What is empty is left out of the group.
func TestLogGroupOfAPair(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		defer slog.SetDefault(slog.Default())
		slog.SetDefault(logger)
		a, b := edgews.NewPair()
		b.OnMessage(func(edgews.MessageEvent) { panic("as the test asked") })
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("x"))
		waitDone(t, b)
		assert.Equal(t, map[string]map[string]any{
			"edgews: listener panicked": {"id": float64(b.ID()), "remote": "pair"},
		}, groupsOf(t, &log))
	})
}

// Info of a pair allocates nothing, and that of a connection little.
func TestInfoIsCheap(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	a, b := edgews.NewPair()
	acceptBoth(t, a, b)
	assert.Zero(t, testing.AllocsPerRun(100, func() { a.Info() }))
	_, s := overTCP.connect(t, edgews.Options{})
	require.NoError(t, s.Accept())
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { s.Info() }), 8.0, "the addresses")
}

func BenchmarkSocketInfo(b *testing.B) {
	_, s := overTCP.connect(b, edgews.Options{})
	require.NoError(b, s.Accept())
	b.ReportAllocs()
	for b.Loop() {
		s.Info()
	}
}

// A connection that a proxy passes through is no socket, but its lines say whose it is as well.
func TestLogGroupOfAProxy(t *testing.T) {
	var log lockedBuffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	target := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if assert.NoError(t, err) {
			_ = s.Accept()
		}
	})
	p := serveProxied(t, false, false, target, &edgews.ProxyOptions{Options: edgews.Options{Logger: logger}})
	s, _ := p.dial(t, "/room?token=secret", nil)
	require.NoError(t, s.Accept())
	remote := s.LocalAddr().String()
	require.NoError(t, s.Close(1000, ""))
	waitDone(t, s)
	const ended = "edgews: a connection that was passed through has ended"
	eventually(t, func() bool { return strings.Contains(log.String(), ended) }, "the end is logged")
	assert.Equal(t, map[string]any{"remote": remote, "path": "/room"}, groupsOf(t, strings.NewReader(log.String()))[ended])

	p.target.Close()
	conn := dialer(t, p.front)()
	raw := &peer{t, conn, bufio.NewReader(conn), true}
	raw.sendsBytes([]byte("GET /lost HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + aKey + "\r\n\r\n"))
	resp, err := http.ReadResponse(raw.r, nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadGateway, resp.StatusCode)
	assert.Equal(t, map[string]any{"remote": conn.LocalAddr().String(), "path": "/lost"},
		groupsOf(t, strings.NewReader(log.String()))["edgews: proxy: no answer from the target"])
}
