package edgews_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hubServer is a hub behind a server, over one kind of connection. Its handler upgrades each request, with the tags in the header X-Tag.
type hubServer struct {
	*edgews.Hub
	t       testing.TB
	url     string
	client  *http.Client
	sockets chan *edgews.Socket // the server's ends, not accepted
	bare    bool                // the server of a pipe writes no header into its answers
}

func serveHub(t testing.TB, where network, opts *edgews.HubOptions) *hubServer {
	h := &hubServer{Hub: edgews.NewHub(opts), t: t, sockets: make(chan *edgews.Socket, 1<<10), bare: !where.real}
	_, h.url, h.client = where.serve(t, func(w http.ResponseWriter, r *http.Request) {
		if s, err := h.Upgrade(w, r, nil, r.Header.Values("X-Tag")...); err == nil {
			h.sockets <- s
		}
	})
	return h
}

// dial connects as a user, and returns the answer if it is not a connection.
func (h *hubServer) dial(user string, tags ...string) (*edgews.Socket, *http.Response, error) {
	header := http.Header{"X-User": {user}, "X-Tag": tags}
	return edgews.Dial(within(h.t), h.url, &edgews.DialOptions{Header: header, HTTPClient: h.client})
}

// connects returns both ends of a new connection, not accepted.
func (h *hubServer) connects(user string, tags ...string) (client, server *edgews.Socket) {
	h.t.Helper()
	client, _, err := h.dial(user, tags...)
	require.NoError(h.t, err)
	server = <-h.sockets
	endWith(h.t, client)
	endWith(h.t, server)
	return client, server
}

// refuses expects a refusal with that status and text.
func (h *hubServer) refuses(user string, status int, text string) {
	h.t.Helper()
	_, resp, err := h.dial(user)
	require.Error(h.t, err)
	require.NotNil(h.t, resp, "%v", err)
	body, _ := io.ReadAll(resp.Body)
	assert.Equal(h.t, status, resp.StatusCode)
	assert.Equal(h.t, text, strings.TrimSpace(string(body)))
	if !h.bare {
		assert.Equal(h.t, "10", resp.Header.Get("Retry-After"))
	}
}

func userOf(r *http.Request) string { return r.Header.Get("X-User") }

// everyNetwork runs f over a pipe, TCP and TLS.
func everyNetwork(t *testing.T, f func(t *testing.T, where network)) {
	t.Helper()
	for _, where := range []network{overPipe, overTCP, overTLS} {
		where.run(t, f)
	}
}

func TestHubLimits(t *testing.T) {
	everyNetwork(t, func(t *testing.T, where network) {
		h := serveHub(t, where, &edgews.HubOptions{MaxSockets: 3, MaxPerKey: 2, Key: userOf})
		ada, adas := h.connects("ada")
		h.connects("ada")
		h.refuses("ada", http.StatusTooManyRequests, "connection limit exceeded: 2 open, the limit is 2")
		h.connects("bob")
		h.refuses("eve", http.StatusServiceUnavailable, "connection limit exceeded: 3 open, the limit is 3")
		_, server := edgews.NewPair()
		err := h.Add(server)
		assert.ErrorIs(t, err, edgews.ErrConnectionLimit)
		assert.EqualError(t, err, "edgews: connection limit exceeded: 3 open, the limit is 3 (see HubOptions.MaxSockets)")

		acceptBoth(t, ada, adas)
		require.NoError(t, ada.Close(1000, ""))
		waitDone(t, adas)
		assert.Equal(t, 2, h.Len(), "a socket leaves the hub before it is done")
		h.connects("ada")
	})
}

func TestHubKeys(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := serveHub(t, overPipe, &edgews.HubOptions{MaxPerKey: 1, Key: userOf})
		for range 3 {
			h.connects("")
		}
		assert.Equal(t, 3, h.Len(), "the key \"\" has no limit")
	})
	h := serveHub(t, overTCP, &edgews.HubOptions{MaxPerKey: 1})
	h.connects("ada")
	h.refuses("bob", http.StatusTooManyRequests, "connection limit exceeded: 1 open, the limit is 1")
}

// What a handshake that fails has reserved is free again.
func TestHubHandshakeFails(t *testing.T) {
	for name, edit := range refusedRequests {
		t.Run(name, func(t *testing.T) {
			h := edgews.NewHub(&edgews.HubOptions{MaxSockets: 1, MaxPerKey: 1})
			for range 3 {
				_, err := h.Upgrade(httptest.NewRecorder(), refusedRequest(edit), nil)
				require.Error(t, err)
				assert.NotErrorIs(t, err, edgews.ErrConnectionLimit)
			}
			assert.Zero(t, h.Len())
			assert.NoError(t, h.Shutdown(within(t)), "nothing is reserved")
		})
	}
}

// hijackPanic is a ResponseWriter with a fault.
type hijackPanic struct{ *pipeWriter }

func (hijackPanic) Hijack() (net.Conn, *bufio.ReadWriter, error) { panic("a fault of the server") }

func TestHubHandshakePanics(t *testing.T) {
	h := edgews.NewHub(&edgews.HubOptions{MaxSockets: 1})
	r := refusedRequest(func(*http.Request) {})
	w := hijackPanic{&pipeWriter{header: make(http.Header)}}
	assert.Panics(t, func() { _, _ = h.Upgrade(w, r, nil) })
	_, server := edgews.NewPair()
	assert.NoError(t, h.Add(server))
}

func TestHubOptionsAreChecked(t *testing.T) {
	cases := map[string]edgews.HubOptions{
		"edgews: NewHub: HubOptions.MaxSockets: -1: it cannot be negative; 0 is no limit":                                    {MaxSockets: -1},
		"edgews: NewHub: HubOptions.MaxPerKey: -2: it cannot be negative; 0 is no limit":                                     {MaxPerKey: -2},
		"edgews: NewHub: HubOptions.MaxLifetime: -1s: it cannot be negative; 0 is no limit":                                  {MaxLifetime: -time.Second},
		"edgews: NewHub: HubOptions.IdleTimeout: -1s: it cannot be negative; 0 is no limit":                                  {IdleTimeout: -time.Second},
		"edgews: NewHub: HubOptions.IdleCode: 1006 may not be sent; use 1000 to 4999 except 1004, 1005, 1006 and 1015":       {IdleCode: 1006},
		"edgews: NewHub: HubOptions.ShutdownCode: 999 may not be sent; use 1000 to 4999 except 1004, 1005, 1006 and 1015":    {ShutdownCode: 999},
		"edgews: NewHub: HubOptions.CloseTimeout: -1s: it cannot be negative, since a socket may not wait for ever to close": {Options: edgews.Options{CloseTimeout: -time.Second}},
	}
	for want, opts := range cases {
		assert.PanicsWithValue(t, want, func() { edgews.NewHub(&opts) })
	}
	assert.PanicsWithValue(t, "edgews: NewNamespace: NamespaceOptions.MaxPerKey: -1: it cannot be negative; 0 is no limit", func() {
		newRooms(t, &edgews.NamespaceOptions{MaxPerKey: -1}, nil)
	})
}

func TestHubAdd(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
		h, other := edgews.NewHub(nil), edgews.NewHub(nil)
		require.NoError(t, h.Add(client, "client", "x", "client"))
		require.NoError(t, h.Add(server, "server", "x"))
		assert.ErrorIs(t, h.Add(server, "again"), edgews.ErrInHub)
		assert.Equal(t, []*edgews.Socket{client, server}, slices.Collect(h.Sockets()))
		acceptBoth(t, client, server)
		require.NoError(t, other.Add(server), "in several hubs")
		tags, err := h.Tags(client)
		require.NoError(t, err)
		assert.Equal(t, []string{"client", "x"}, tags)

		require.NoError(t, client.Close(1000, ""))
		waitDone(t, server)
		waitDone(t, client)
		assert.Zero(t, h.Len())
		assert.Zero(t, other.Len())
		assert.Empty(t, slices.Collect(h.Sockets("x")))
		assert.ErrorIs(t, h.Add(server), edgews.ErrClosed)
		assert.ErrorIs(t, h.SetTags(server, "x"), edgews.ErrNotInHub)
		_, err = h.Tags(server)
		assert.ErrorIs(t, err, edgews.ErrNotInHub)
	})
	h := edgews.NewHub(nil)
	assert.Error(t, h.Add(nil))
	assert.False(t, h.Remove(nil))
	assert.ErrorIs(t, h.SetTags(nil), edgews.ErrNotInHub)
}

// A socket stays in the hub when Respond or the end of a handshake gives it a connection.
func TestHubSocketsGetAConnection(t *testing.T) {
	everyNetwork(t, func(t *testing.T, where network) {
		h := edgews.NewHub(nil)
		servers := make(chan *edgews.Socket, 1)
		_, url, httpClient := where.serve(t, func(w http.ResponseWriter, r *http.Request) {
			client, server := edgews.NewPair()
			assert.NoError(t, h.Add(client))
			assert.NoError(t, h.Add(server))
			assert.NoError(t, server.Accept())
			assert.NoError(t, edgews.Respond(w, r, client, nil))
			assert.ErrorIs(t, h.Add(client), edgews.ErrUsed)
			servers <- server
		})
		client, _, err := edgews.Dial(within(t), url, &edgews.DialOptions{HTTPClient: httpClient})
		require.NoError(t, err)
		server := <-servers
		assert.Equal(t, []*edgews.Socket{server}, slices.Collect(h.Sockets()), "the end that Respond has used has left")
		events := record(t, client)
		require.NoError(t, client.Accept())
		assert.Equal(t, 1, h.Broadcast(edgews.Prepare(edgews.Text, []byte("news"))))
		events.wants(message("news"))
		require.NoError(t, client.Close(1000, "bye"))
		waitDone(t, server)
		assert.Zero(t, h.Len())
	})
	h := edgews.NewHub(nil)
	url := newEchoServer(t)
	s, err := edgews.NewWebSocket(url)
	require.NoError(t, err)
	require.NoError(t, h.Add(s), "while it connects")
	opened := make(chan struct{})
	s.OnOpen(func(edgews.OpenEvent) { close(opened) })
	<-opened
	assert.Equal(t, 1, h.Len())
	assert.Equal(t, url, s.URL())
	require.NoError(t, s.Close(1000, ""))
	waitDone(t, s)
	assert.Zero(t, h.Len())
}

func newEchoServer(t testing.TB) (url string) {
	_, url, _ = overTCP.serve(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if assert.NoError(t, err) {
			s.OnMessage(func(e edgews.MessageEvent) { _ = s.Send(e.Text()) })
			assert.NoError(t, s.Accept())
		}
	})
	return strings.Replace(url, "http", "ws", 1)
}

// However a socket is used, it leaves the hub when it ends, and only then.
func TestHubSocketsLeave(t *testing.T) {
	styles := map[string]func(t *testing.T, s *edgews.Socket){
		"listeners": func(t *testing.T, s *edgews.Socket) {
			s.OnMessage(func(edgews.MessageEvent) {})
			assert.NoError(t, s.Accept())
		},
		"no listeners": func(t *testing.T, s *edgews.Socket) { assert.NoError(t, s.Accept()) },
		"half open": func(t *testing.T, s *edgews.Socket) {
			s.OnClose(func(edgews.CloseEvent) { _ = s.Close(1000, "") })
			assert.NoError(t, s.AcceptHalfOpen())
		},
		"Receive": func(t *testing.T, s *edgews.Socket) {
			for _, err := range s.Messages(context.Background()) {
				if err != nil {
					return
				}
			}
		},
		"NextReader": func(t *testing.T, s *edgews.Socket) {
			for {
				_, r, err := s.NextReader(context.Background())
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r)
			}
		},
		"object": func(t *testing.T, s *edgews.Socket) {
			n := newRooms(t, nil, nil)
			assert.NoError(t, n.wake(n.IDFromName("a")).AcceptWebSocket(s))
		},
		"panic": func(t *testing.T, s *edgews.Socket) {
			s.OnMessage(func(edgews.MessageEvent) { panic("a fault") })
			assert.NoError(t, s.Accept())
		},
	}
	ends := map[string]func(client, server *edgews.Socket){
		"Close": func(client, _ *edgews.Socket) { _ = client.Close(1000, "bye") },
		"cut": func(client, server *edgews.Socket) {
			if client.RemoteAddr().String() == "pair" { // whose ends do not notice that the other is lost
				client = server
			}
			edgews.Lose(client)
		},
	}
	for style, use := range styles {
		for end, endIt := range ends {
			t.Run(style+"/"+end, func(t *testing.T) {
				both(t, edgews.Options{Logger: quiet, CloseTimeout: time.Second}, func(t *testing.T, client, server *edgews.Socket) {
					h := edgews.NewHub(&edgews.HubOptions{IdleTimeout: time.Hour})
					require.NoError(t, h.Add(server, "tag"))
					require.NoError(t, client.Accept())
					go use(t, server)
					assert.Equal(t, 1, h.Len())
					_ = client.Send("hello") // after a panic, what follows cannot be sent
					_ = client.SendBytes(make([]byte, 200<<10))
					_ = client.Flush(within(t))
					endIt(client, server)
					waitDone(t, server)
					assert.Zero(t, h.Len())
					assert.NoError(t, h.Shutdown(within(t)))
				})
			})
		}
	}
}

func TestHubBroadcast(t *testing.T) {
	everyNetwork(t, func(t *testing.T, where network) {
		h := serveHub(t, where, nil)
		tags := [][]string{nil, {"a"}, {"a", "b"}, {"b"}}
		var events []*recorder
		for _, carried := range tags {
			client, server := h.connects("ada", carried...)
			events = append(events, record(t, client))
			acceptBoth(t, client, server)
		}
		unaccepted, unacceptedServer := h.connects("eve", "a", "b")
		require.NoError(t, unaccepted.Accept())
		send := func(text string, tags ...string) int {
			return h.Broadcast(edgews.Prepare(edgews.Text, []byte(text)), tags...)
		}
		assert.Equal(t, 4, send("all"))
		assert.Equal(t, 2, send("a", "a"))
		assert.Equal(t, 1, send("b and a", "b", "a"))
		assert.Equal(t, 0, send("c", "a", "c"))
		assert.Equal(t, 0, send("c", "c"))
		assert.Equal(t, 0, h.Broadcast(nil))
		assert.Equal(t, 0, h.Broadcast(edgews.Prepare(edgews.Text, []byte{0xff})))

		first := slices.Collect(h.Sockets())[0]
		require.NoError(t, h.SetTags(first, "c", "c", "d"))
		assert.Equal(t, 1, send("c now", "c"))
		require.NoError(t, h.SetTags(first))
		assert.Equal(t, 0, send("c again", "c"))
		assert.True(t, h.Remove(first))
		assert.False(t, h.Remove(first))
		assert.Equal(t, 3, send("last"))

		events[0].wants(message("all"), message("c now"))
		events[1].wants(message("all"), message("a"), message("last"))
		events[2].wants(message("all"), message("a"), message("b and a"), message("last"))
		events[3].wants(message("all"), message("last"))
		require.NoError(t, h.Add(first), "again")
		assert.Equal(t, 5, h.Len())
		require.NoError(t, unacceptedServer.Accept())
	})
}

// A message that OverflowDrop drops does not count as queued.
func TestBroadcastCountsWhoHasQueuedIt(t *testing.T) {
	overPipe.run(t, func(t *testing.T, where network) {
		meter := edgews.NewMeter(nil)
		opts := edgews.Options{SendBuffer: 1000, Overflow: edgews.OverflowDrop, KeepAlive: -1, Meter: meter, Compression: &edgews.Compression{Disable: true}}
		h := edgews.NewHub(nil)
		n := newRooms(t, nil, nil)
		st := n.wake(n.IDFromName("a"))
		_, plain := where.connect(t, opts)
		require.NoError(t, h.Add(plain))
		require.NoError(t, plain.Accept())
		_, inObject := where.connect(t, opts)
		require.NoError(t, st.AcceptWebSocket(inObject))
		m := edgews.Prepare(edgews.Binary, make([]byte, 400))
		for _, broadcast := range []func() int{
			func() int { return h.Broadcast(m) },
			func() int { return st.Broadcast(m) },
		} {
			took := 0
			before := meter.Usage()
			for range 10 {
				took += broadcast()
			}
			used := meter.Usage().Sub(before)
			assert.EqualValues(t, took, used.MessagesOut)
			assert.EqualValues(t, 10-took, used.DroppedNewest)
			assert.Less(t, took, 5)
		}
	})
}

func TestHubSockets(t *testing.T) {
	h := edgews.NewHub(nil)
	var added []*edgews.Socket
	for range 100 {
		_, s := edgews.NewPair()
		require.NoError(t, h.Add(s, "x"))
		added = append(added, s)
	}
	assert.Equal(t, added, slices.Collect(h.Sockets()), "in the order in which they joined")
	var seen []*edgews.Socket
	for s := range h.Sockets() {
		h.Remove(s)
		if seen = append(seen, s); len(seen) == 60 {
			break
		}
	}
	assert.Equal(t, added[:60], seen, "the loop may change the hub")
	assert.Equal(t, added[60:], slices.Collect(h.Sockets("x")))
}

// Whatever arrives and ends at the same time, the limits hold, and everything becomes free again.
func TestHubLimitsHold(t *testing.T) {
	for round := range 4 {
		bubble(t, func(t *testing.T) {
			const maxSockets, maxPerKey = 12, 4
			var mostOpen, refused atomic.Int32
			var perUser [5]atomic.Int32
			opts := &edgews.HubOptions{MaxSockets: maxSockets, MaxPerKey: maxPerKey, Key: userOf}
			if round%2 == 1 {
				opts.MaxLifetime, opts.IdleTimeout = 3*time.Second, time.Second
			}
			h := edgews.NewHub(opts)
			_, url, client := overPipe.serve(t, func(w http.ResponseWriter, r *http.Request) {
				user := &perUser[userOf(r)[0]-'0']
				if rand.IntN(5) == 0 { // a handshake that fails
					_, err := h.Upgrade(httptest.NewRecorder(), r, nil)
					assert.Error(t, err)
				}
				s, err := h.Upgrade(w, r, nil, userOf(r))
				if err != nil {
					refused.Add(1)
					assert.ErrorIs(t, err, edgews.ErrConnectionLimit)
					return
				}
				open := int32(h.Len())
				for most := mostOpen.Load(); open > most && !mostOpen.CompareAndSwap(most, open); most = mostOpen.Load() {
				}
				assert.LessOrEqual(t, open, int32(maxSockets))
				assert.LessOrEqual(t, user.Add(1), int32(maxPerKey))
				s.OnClose(func(edgews.CloseEvent) { user.Add(-1) }) // before the place is free
				if rand.IntN(8) > 0 {
					assert.NoError(t, s.Accept())
				} else {
					assert.NoError(t, s.Accept())
					_ = s.Close(1000, "")
				}
			})
			var clients sync.WaitGroup
			for range 200 {
				clients.Go(func() {
					time.Sleep(rand.N(10 * time.Second))
					header := http.Header{"X-User": {string('0' + byte(rand.IntN(5)))}}
					s, _, err := edgews.Dial(t.Context(), url, &edgews.DialOptions{Header: header, HTTPClient: client})
					if err != nil {
						return
					}
					assert.NoError(t, s.Accept())
					time.Sleep(rand.N(3 * time.Second))
					if rand.IntN(2) == 0 {
						_ = s.Close(1000, "")
					} else {
						edgews.Lose(s)
					}
					<-s.Done()
				})
			}
			clients.Wait()
			time.Sleep(time.Minute)
			assert.Zero(t, h.Len(), "everything is released")
			for user := range perUser {
				assert.Zero(t, perUser[user].Load())
			}
			assert.EqualValues(t, maxSockets, mostOpen.Load(), "the limit was reached, and not exceeded")
			assert.NotZero(t, refused.Load())
			s := edgewsSockets(t, maxSockets)
			for i := range s {
				assert.NoError(t, h.Add(s[i]))
			}
			assert.NoError(t, h.Shutdown(within(t)))
		})
	}
}

// edgewsSockets returns n ends of pairs, both of whose ends are accepted.
func edgewsSockets(t testing.TB, n int) (all []*edgews.Socket) {
	for range n {
		client, server := edgews.NewPair()
		acceptBoth(t, client, server)
		all = append(all, server)
	}
	return all
}

// Only so many of the requests that come in one moment get through.
func TestHubConcurrentUpgrades(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := serveHub(t, overPipe, &edgews.HubOptions{MaxSockets: 7})
		var admitted atomic.Int32
		var clients sync.WaitGroup
		for range 50 {
			clients.Go(func() {
				if s, _, err := h.dial("ada"); err == nil {
					admitted.Add(1)
					endWith(t, s)
				}
			})
		}
		clients.Wait()
		assert.EqualValues(t, 7, admitted.Load())
		assert.Equal(t, 7, h.Len())
	})
}

func TestHubMaxLifetime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := edgews.NewHub(&edgews.HubOptions{MaxLifetime: time.Hour})
		var mu sync.Mutex
		var lived []time.Duration
		for i := range 300 {
			client, server := edgews.NewPair()
			require.NoError(t, h.Add(server))
			joined := time.Now()
			client.OnClose(func(e edgews.CloseEvent) {
				mu.Lock()
				defer mu.Unlock()
				assert.Equal(t, edgews.StatusGoingAway, e.Code)
				assert.Equal(t, "maximum lifetime reached", e.Reason)
				lived = append(lived, time.Since(joined))
			})
			require.NoError(t, client.Accept())
			if i%3 > 0 { // the others are never accepted
				require.NoError(t, server.Accept())
			}
			if i%2 > 0 {
				time.Sleep(rand.N(time.Second))
			}
		}
		time.Sleep(50 * time.Minute)
		assert.Equal(t, 300, h.Len())
		time.Sleep(20 * time.Minute)
		assert.Zero(t, h.Len())
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, lived, 300)
		assert.GreaterOrEqual(t, slices.Min(lived), 54*time.Minute)
		assert.LessOrEqual(t, slices.Max(lived), time.Hour)
		assert.Greater(t, slices.Max(lived)-slices.Min(lived), 3*time.Minute, "jitter")
	})
}

// A lifetime of years beside an idle timeout of milliseconds.
func TestHubLongLifetime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := edgews.NewHub(&edgews.HubOptions{MaxLifetime: 100 * 24 * time.Hour})
		brief := edgews.NewHub(&edgews.HubOptions{MaxLifetime: 100 * 24 * time.Hour, IdleTimeout: 100 * time.Millisecond})
		s := edgewsSockets(t, 1)[0]
		require.NoError(t, h.Add(s))
		time.Sleep(89 * 24 * time.Hour)
		require.NoError(t, brief.Add(s))
		time.Sleep(50 * time.Millisecond)
		assert.Equal(t, 1, h.Len())
		time.Sleep(250 * time.Millisecond)
		assert.Zero(t, h.Len(), "idle")

		s = edgewsSockets(t, 1)[0]
		require.NoError(t, h.Add(s))
		time.Sleep(89 * 24 * time.Hour)
		assert.Equal(t, 1, h.Len())
		time.Sleep(12 * 24 * time.Hour)
		assert.Zero(t, h.Len())

		longest := edgews.NewHub(&edgews.HubOptions{MaxLifetime: math.MaxInt64, IdleTimeout: math.MaxInt64})
		require.NoError(t, longest.Add(edgewsSockets(t, 1)[0]))
		time.Sleep(24*24*time.Hour - time.Second)
		assert.Equal(t, 1, longest.Len())
		time.Sleep(time.Minute)
		assert.Zero(t, longest.Len(), "idle for 24 days")
	})
}

func TestHubIdleTimeout(t *testing.T) {
	opts := edgews.Options{KeepAlive: 7 * time.Second, KeepAliveTimeout: time.Minute}
	inBubble := func(t *testing.T, f func(t *testing.T, client, server *edgews.Socket)) {
		t.Run("pair", func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				client, server := edgews.NewPair()
				f(t, client, server)
			})
		})
		overPipe.run(t, func(t *testing.T, where network) {
			client, server := where.connect(t, opts)
			f(t, client, server)
		})
	}
	styles := map[string]func(t *testing.T, s *edgews.Socket){
		"listeners": func(t *testing.T, s *edgews.Socket) {
			s.OnMessage(func(edgews.MessageEvent) {})
			assert.NoError(t, s.Accept())
		},
		"Receive": func(t *testing.T, s *edgews.Socket) {
			go func() {
				for range s.Messages(context.Background()) {
				}
			}()
		},
		"NextReader": func(t *testing.T, s *edgews.Socket) {
			go func() {
				for {
					_, r, err := s.NextReader(context.Background())
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r)
				}
			}()
		},
		"object": func(t *testing.T, s *edgews.Socket) {
			n := newRooms(t, &edgews.NamespaceOptions{HibernateAfter: time.Second}, nil)
			assert.NoError(t, n.wake(n.IDFromName("a")).AcceptWebSocket(s))
		},
	}
	for style, use := range styles {
		t.Run(style, func(t *testing.T) {
			inBubble(t, func(t *testing.T, client, server *edgews.Socket) {
				h := edgews.NewHub(&edgews.HubOptions{IdleTimeout: time.Minute})
				require.NoError(t, h.Add(server))
				use(t, server)
				var end edgews.CloseEvent
				client.OnClose(func(e edgews.CloseEvent) { end = e })
				client.OnMessage(func(edgews.MessageEvent) {})
				require.NoError(t, client.Accept())
				for range 20 {
					time.Sleep(rand.N(58 * time.Second))
					require.NoError(t, client.Send("hello"))
					synctest.Wait()
				}
				last := time.Now()
				for range 5 { // neither pings nor what the server sends count
					time.Sleep(11 * time.Second)
					_, err := client.Ping(within(t))
					require.NoError(t, err)
					require.NoError(t, server.Send("news"))
				}
				assert.Equal(t, edgews.Open, server.ReadyState())
				<-client.Done()
				assert.Equal(t, edgews.StatusCode(4408), end.Code)
				assert.Equal(t, "idle timeout", end.Reason)
				assert.GreaterOrEqual(t, time.Since(last), time.Minute)
				assert.LessOrEqual(t, time.Since(last), time.Minute+2*time.Second)
				<-server.Done()
				assert.Zero(t, h.Len())
			})
		})
	}

	brief := edgews.HubOptions{IdleTimeout: 20 * time.Second, IdleCode: edgews.StatusGoingAway}
	opts.KeepAlive = -1
	t.Run("not accepted", func(t *testing.T) {
		inBubble(t, func(t *testing.T, client, server *edgews.Socket) {
			h := edgews.NewHub(&brief)
			events := record(t, client)
			require.NoError(t, client.Accept())
			require.NoError(t, h.Add(server))
			events.wantsEnd(closed(1001, "idle timeout", true))
			waitDone(t, server)
			assert.ErrorIs(t, server.Send("late"), edgews.ErrClosed)
		})
	})

	// The time that the application takes does not count, and begins anew when it has finished.
	t.Run("a listener runs", func(t *testing.T) {
		inBubble(t, func(t *testing.T, client, server *edgews.Socket) {
			h := edgews.NewHub(&brief)
			require.NoError(t, h.Add(server))
			var handled time.Time
			server.OnMessage(func(edgews.MessageEvent) {
				time.Sleep(59 * time.Second)
				handled = time.Now()
				assert.NoError(t, server.Send("at last"))
			})
			events := record(t, client)
			acceptBoth(t, client, server)
			require.NoError(t, client.Send("work"))
			events.wantsEnd(message("at last"), closed(1001, "idle timeout", true))
			assert.InDelta(t, 20, time.Since(handled).Seconds(), 1)
		})
	})

	// The same in an object, however the object has the socket. The second message waits in the object's queue meanwhile.
	for name, give := range map[string]func(st *edgews.State, s *edgews.Socket, work func()) error{
		"accepted by an object": func(st *edgews.State, s *edgews.Socket, _ func()) error { return st.AcceptWebSocket(s) },
		"held by an object": func(st *edgews.State, s *edgews.Socket, work func()) error {
			st.Hold(s)
			s.OnMessage(func(edgews.MessageEvent) { work() })
			return s.Accept()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, client, server *edgews.Socket) {
				h := edgews.NewHub(&brief)
				require.NoError(t, h.Add(server))
				var handled time.Time
				work := func() {
					time.Sleep(59 * time.Second)
					handled = time.Now()
					assert.NoError(t, server.Send("at last"))
				}
				n := newRooms(t, nil, func(o *room) {
					o.message = func(context.Context, *edgews.Socket, edgews.Message) error { work(); return nil }
				})
				require.NoError(t, give(n.wake(n.IDFromName("a")), server, work))
				events := record(t, client)
				require.NoError(t, client.Accept())
				require.NoError(t, client.Send("work"))
				require.NoError(t, client.Send("more work"))
				events.wantsEnd(message("at last"), message("at last"), closed(1001, "idle timeout", true))
				assert.InDelta(t, 20, time.Since(handled).Seconds(), 1)
			})
		})
	}

	t.Run("messages wait", func(t *testing.T) {
		inBubble(t, func(t *testing.T, client, server *edgews.Socket) {
			h := edgews.NewHub(&brief)
			require.NoError(t, h.Add(server))
			events := record(t, client)
			require.NoError(t, client.Accept())
			for range 4 {
				require.NoError(t, client.Send("x"))
			}
			var taken time.Time
			for range 4 {
				_, err := server.Receive(within(t))
				require.NoError(t, err)
				taken = time.Now()
				time.Sleep(19 * time.Second)
			}
			assert.Equal(t, edgews.Open, server.ReadyState())
			go func() { _, _ = server.Receive(context.Background()) }()
			events.wantsEnd(closed(1001, "idle timeout", true))
			assert.InDelta(t, 20, time.Since(taken).Seconds(), 1)
		})
	})

	t.Run("a large message takes long", func(t *testing.T) {
		overAPipe(t, edgews.Options{KeepAliveTimeout: time.Hour}, func(t *testing.T, s *edgews.Socket, p *peer) {
			h := edgews.NewHub(&edgews.HubOptions{IdleTimeout: time.Minute})
			require.NoError(t, h.Add(s))
			events := record(t, s)
			require.NoError(t, s.Accept())
			p.ignores()
			piece := strings.Repeat("x", 80<<10)
			p.sends(part(binaryOf(piece), false))
			for range 5 {
				time.Sleep(50 * time.Second)
				p.sends(continuation(piece, false))
			}
			p.sends(continuation(piece, true))
			events.wants(bytesMessage(strings.Repeat(piece, 7)))
		})
	})
}

// Adding a socket to a hub does not begin the listener grace again, nor do messages.
func TestHubAndListenerGrace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := edgews.NewHub(&edgews.HubOptions{IdleTimeout: time.Minute})
		client, server := edgews.NewPair()
		acceptBoth(t, client, server)
		time.Sleep(time.Second)
		require.NoError(t, h.Add(server))
		require.NoError(t, client.Send("dropped: no listener, and the grace is over"))
		synctest.Wait()
		events := record(t, server)
		require.NoError(t, client.Send("kept"))
		events.wants(message("kept"))
	})
}

func TestHubShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := edgews.NewHub(&edgews.HubOptions{ShutdownWindow: 10 * time.Second})
		begin := time.Now()
		var mu sync.Mutex
		var ended []time.Duration
		for i := range 100 {
			client, server := edgews.NewPair()
			require.NoError(t, h.Add(server))
			client.OnClose(func(e edgews.CloseEvent) {
				mu.Lock()
				defer mu.Unlock()
				assert.Equal(t, edgews.StatusServiceRestart, e.Code)
				ended = append(ended, time.Since(begin))
			})
			require.NoError(t, client.Accept())
			if i%4 > 0 {
				require.NoError(t, server.Accept())
			}
		}
		done := make(chan error)
		go func() { done <- h.Shutdown(context.Background()) }()
		synctest.Wait()
		_, late := edgews.NewPair()
		assert.ErrorIs(t, h.Add(late), edgews.ErrHubShutdown)
		w := httptest.NewRecorder()
		_, err := h.Upgrade(w, refusedRequest(func(*http.Request) {}), nil)
		assert.ErrorIs(t, err, edgews.ErrHubShutdown)
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Equal(t, "1", w.Header().Get("Retry-After"))
		second := make(chan error, 1)
		go func() { second <- h.Shutdown(context.Background()) }()
		require.NoError(t, <-done)
		require.NoError(t, <-second)
		require.NoError(t, h.Shutdown(context.Background()))
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, ended, 100)
		for tenth := range 10 { // the ends are spread evenly
			n := 0
			for _, at := range ended {
				if int(at/time.Second) == tenth {
					n++
				}
			}
			assert.InDelta(t, 10, n, 2)
		}
	})
}

func TestHubShutdownWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := edgews.NewHub(nil)
		client, server := edgews.NewPair()
		require.NoError(t, h.Add(server))
		server.OnClose(func(edgews.CloseEvent) { time.Sleep(30 * time.Second) })
		acceptBoth(t, client, server)
		begin := time.Now()
		require.NoError(t, h.Shutdown(context.Background()))
		assert.GreaterOrEqual(t, time.Since(begin), 30*time.Second, "for close listeners")
	})
	bubble(t, func(t *testing.T) {
		h := edgews.NewHub(&edgews.HubOptions{Options: edgews.Options{CloseTimeout: time.Hour}})
		s, p := overPipe.serverAndPeer(t, edgews.Options{CloseTimeout: time.Hour})
		p.ignores()
		require.NoError(t, h.Add(s))
		require.NoError(t, s.Accept())
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := h.Shutdown(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.EqualError(t, err, "edgews: hub was shut down before 1 of its sockets had ended and 0 of its handlers had returned: context deadline exceeded")
		<-s.Done()
		assert.Zero(t, h.Len(), "it was cut")
		assert.Equal(t, &edgews.CloseError{Code: 1006, Reason: "WebSocket disconnected without sending Close frame."}, s.Err())
	})
}

// Shutdown waits for handlers of net/http that still work when their socket has ended.
func TestHubShutdownWaitsForHandlers(t *testing.T) {
	everyServer := map[string]func(*httptest.Server){
		"http": (*httptest.Server).Start, "https": (*httptest.Server).StartTLS,
		"Serve": func(s *httptest.Server) {
			s.URL = "http://" + s.Listener.Addr().String()
			go func() { _ = edgews.Serve(s.Listener, s.Config) }()
		},
	}
	for name, start := range everyServer {
		t.Run(name, func(t *testing.T) {
			h := edgews.NewHub(nil)
			finish, saved := make(chan struct{}), atomic.Bool{}
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, err := h.Upgrade(w, r, nil)
				if !assert.NoError(t, err) {
					return
				}
				for range s.Messages(context.Background()) {
				}
				<-finish
				saved.Store(true)
			}))
			start(server)
			defer server.Close()
			client, _, err := edgews.Dial(within(t), server.URL, &edgews.DialOptions{HTTPClient: server.Client()})
			require.NoError(t, err)
			require.NoError(t, client.Accept())
			done := make(chan error)
			go func() { done <- h.Shutdown(within(t)) }()
			waitDone(t, client)
			eventually(t, func() bool { return h.Len() == 0 }, "the socket ends")
			select {
			case err := <-done:
				require.FailNow(t, "Shutdown does not wait", "%v", err)
			default:
			}
			close(finish)
			require.NoError(t, <-done)
			assert.True(t, saved.Load())
		})
	}
}

// Requests that are being upgraded when Shutdown begins either are refused, or Shutdown waits for their sockets and handlers.
func TestHubShutdownDuringUpgrades(t *testing.T) {
	for _, where := range []network{overTCP, overTLS} {
		where.run(t, func(t *testing.T, where network) {
			for range 10 {
				h := edgews.NewHub(&edgews.HubOptions{ShutdownWindow: -1})
				var running atomic.Int32
				_, url, client := where.serve(t, func(w http.ResponseWriter, r *http.Request) {
					s, err := h.Upgrade(w, r, nil)
					if err != nil {
						assert.ErrorIs(t, err, edgews.ErrHubShutdown)
						return
					}
					running.Add(1)
					for range s.Messages(context.Background()) {
					}
					running.Add(-1)
				})
				var clients sync.WaitGroup
				first := make(chan struct{}, 8)
				for range cap(first) {
					clients.Go(func() {
						for {
							s, resp, err := edgews.Dial(within(t), url, &edgews.DialOptions{HTTPClient: client})
							if err != nil {
								assert.NotNil(t, resp, "%v", err)
								first <- struct{}{}
								return
							}
							assert.NoError(t, s.Accept())
							select {
							case first <- struct{}{}:
							default:
							}
							_ = s.Close(1000, "")
						}
					})
				}
				<-first
				require.NoError(t, h.Shutdown(within(t)))
				assert.Zero(t, h.Len())
				assert.Zero(t, running.Load())
				go func() {
					for range first {
					}
				}()
				clients.Wait()
				close(first)
			}
		})
	}
}

func TestHubShutdownByServer(t *testing.T) {
	h := edgews.NewHub(nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := h.Upgrade(w, r, nil); assert.NoError(t, err) {
			assert.NoError(t, s.Accept())
		}
	}))
	defer server.Close()
	ctx := within(t)
	server.Config.RegisterOnShutdown(func() { h.Shutdown(ctx) })
	client, _, err := edgews.Dial(ctx, server.URL, nil)
	require.NoError(t, err)
	events := record(t, client)
	require.NoError(t, client.Accept())
	require.NoError(t, server.Config.Shutdown(ctx))
	events.wantsEnd(closed(1012, "service restart", true))
	require.NoError(t, h.Shutdown(ctx))
}

// limitedRooms is a namespace with limits behind a server.
func limitedRooms(t *testing.T, opts *edgews.NamespaceOptions, design func(*room)) (n *rooms, h *hubServer) {
	n = newRooms(t, opts, design)
	h = &hubServer{t: t, bare: true}
	_, h.url, h.client = overPipe.serve(t, func(w http.ResponseWriter, r *http.Request) {
		n.Get(n.IDFromName(r.Header.Get("X-Tag"))).ServeHTTP(w, r)
	})
	return n, h
}

// The ways in which an object answers a request to upgrade.
var roomAnswers = map[string]func(t *testing.T) func(*room){
	"Upgrade": func(t *testing.T) func(*room) {
		return func(o *room) {
			o.serve = func(w http.ResponseWriter, r *http.Request) {
				if s, err := edgews.Upgrade(w, r, nil); assert.NoError(t, err) {
					assert.NoError(t, o.st.AcceptWebSocket(s))
				}
			}
		}
	},
	"Respond": func(t *testing.T) func(*room) {
		return func(o *room) {
			o.serve = func(w http.ResponseWriter, r *http.Request) {
				client, server := edgews.NewPair()
				assert.NoError(t, o.st.AcceptWebSocket(server))
				assert.NoError(t, edgews.Respond(w, r, client, nil))
			}
		}
	},
	"Accept": func(t *testing.T) func(*room) {
		return func(o *room) {
			o.serve = func(w http.ResponseWriter, r *http.Request) {
				if s, err := edgews.Upgrade(w, r, nil); assert.NoError(t, err) {
					assert.NoError(t, s.Accept())
				}
			}
		}
	},
}

func TestNamespaceLimits(t *testing.T) {
	for name, answer := range roomAnswers {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n, h := limitedRooms(t, &edgews.NamespaceOptions{MaxSockets: 3, MaxPerKey: 2, Key: userOf}, answer(t))
				connect := func(user, room string) *edgews.Socket {
					s, _, err := h.dial(user, room)
					require.NoError(t, err)
					require.NoError(t, s.Accept())
					endWith(t, s)
					return s
				}
				first := connect("ada", "a")
				connect("ada", "b")
				made := n.made.Load()
				h.refuses("ada", http.StatusTooManyRequests, "connection limit exceeded: 2 open, the limit is 2")
				connect("bob", "a")
				h.refuses("eve", http.StatusServiceUnavailable, "connection limit exceeded: 3 open, the limit is 3")
				assert.Equal(t, made, n.made.Load(), "a request that is refused wakes no object")
				require.NoError(t, first.Close(1000, ""))
				waitDone(t, first)
				synctest.Wait()
				connect("ada", "c")
			})
		})
	}
}

// A place that the handler does not use is free when it returns, however it ends.
func TestNamespacePlacesAreReturned(t *testing.T) {
	answers := map[string]func(o *room) func(w http.ResponseWriter, r *http.Request){
		"no upgrade": func(*room) func(http.ResponseWriter, *http.Request) {
			return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }
		},
		"panic": func(*room) func(http.ResponseWriter, *http.Request) {
			return func(http.ResponseWriter, *http.Request) { panic("a fault") }
		},
		"bad options": func(*room) func(http.ResponseWriter, *http.Request) {
			return func(w http.ResponseWriter, r *http.Request) {
				_, _ = edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"not a token"}})
			}
		},
		"unusable pair": func(*room) func(http.ResponseWriter, *http.Request) {
			return func(w http.ResponseWriter, r *http.Request) { _ = edgews.Respond(w, r, nil, nil) }
		},
		"closed pair": func(*room) func(http.ResponseWriter, *http.Request) {
			return func(w http.ResponseWriter, r *http.Request) {
				client, server := edgews.NewPair()
				_ = server.Accept()
				edgews.Lose(server)
				<-server.Done()
				_ = edgews.Respond(w, r, client, nil)
			}
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				works := false
				_, h := limitedRooms(t, &edgews.NamespaceOptions{MaxSockets: 1, MaxPerKey: 1}, func(o *room) {
					serve := answer(o)
					o.serve = func(w http.ResponseWriter, r *http.Request) {
						if works {
							roomAnswers["Accept"](t)(o)
							o.serve(w, r)
							return
						}
						serve(w, r)
					}
				})
				for range 3 {
					s, resp, err := h.dial("ada", "a")
					if err == nil { // the handshake was answered before the pair turned out to have ended
						require.NoError(t, s.Accept())
						waitDone(t, s)
						continue
					}
					if resp != nil {
						assert.NotContains(t, []int{429, 503}, resp.StatusCode)
					}
				}
				works = true
				s, _, err := h.dial("ada", "a")
				require.NoError(t, err)
				require.NoError(t, s.Accept())
				endWith(t, s)
			})
		})
	}
}

// A connection that an object passes through counts until it ends.
func TestNamespaceLimitsPassThrough(t *testing.T) {
	target := newEchoServer(t)
	answers := map[string]func(w http.ResponseWriter, r *http.Request){
		"Proxy": edgews.Proxy(target, nil).ServeHTTP,
		"Respond": func(w http.ResponseWriter, r *http.Request) {
			if s, _, err := edgews.Dial(r.Context(), target, nil); assert.NoError(t, err) {
				assert.NoError(t, edgews.Respond(w, r, s, nil))
			}
		},
		"Respond without compression": func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Sec-WebSocket-Extensions")
			if s, _, err := edgews.Dial(r.Context(), target, nil); assert.NoError(t, err) {
				assert.NoError(t, edgews.Respond(w, r, s, nil))
			}
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			n := newRooms(t, &edgews.NamespaceOptions{MaxSockets: 1}, func(o *room) { o.serve = answer })
			server := httptest.NewServer(n.Get(n.IDFromName("a")))
			defer server.Close()
			for range 3 {
				var s *edgews.Socket
				eventually(t, func() (ok bool) {
					var err error
					s, _, err = edgews.Dial(within(t), server.URL, nil)
					return err == nil
				}, "the place is free")
				require.NoError(t, s.Accept())
				_, resp, err := edgews.Dial(within(t), server.URL, nil)
				require.Error(t, err)
				require.NotNil(t, resp)
				assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
				require.NoError(t, s.Close(1000, ""))
				waitDone(t, s)
			}
		})
	}
}

func TestNamespaceTimeLimits(t *testing.T) {
	for name, answer := range roomAnswers {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				_, h := limitedRooms(t, &edgews.NamespaceOptions{MaxLifetime: time.Hour, IdleTimeout: 10 * time.Minute}, answer(t))
				connect := func() (*edgews.Socket, *recorder) {
					s, _, err := h.dial("ada", "a")
					require.NoError(t, err)
					events := record(t, s)
					require.NoError(t, s.Accept())
					endWith(t, s)
					return s, events
				}
				begin := time.Now()
				quietClient, idle := connect()
				busy, events := connect()
				go func() {
					for busy.Send("x") == nil {
						time.Sleep(9 * time.Minute)
					}
				}()
				<-quietClient.Done()
				idle.wantsEnd(closed(4408, "idle timeout", true))
				assert.InDelta(t, 10, time.Since(begin).Minutes(), 0.4)
				<-busy.Done()
				events.wantsEnd(closed(1001, "maximum lifetime reached", true))
				assert.InDelta(t, 57, time.Since(begin).Minutes(), 3)
			})
		})
	}
	t.Run("an auto-response", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			_, h := limitedRooms(t, &edgews.NamespaceOptions{IdleTimeout: time.Minute}, func(o *room) {
				roomAnswers["Upgrade"](t)(o)
				assert.NoError(t, o.st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"}))
			})
			s, _, err := h.dial("ada", "a")
			require.NoError(t, err)
			require.NoError(t, s.Accept())
			begin := time.Now()
			for s.Send("ping") == nil {
				time.Sleep(10 * time.Second)
			}
			assert.InDelta(t, 70, time.Since(begin).Seconds(), 11, "does not count")
			waitDone(t, s)
		})
	})
}

// A hub and a namespace may limit the same socket.
func TestHubInAnObject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		hub := edgews.NewHub(&edgews.HubOptions{MaxSockets: 1})
		n, h := limitedRooms(t, &edgews.NamespaceOptions{MaxSockets: 2}, func(o *room) {
			o.serve = func(w http.ResponseWriter, r *http.Request) {
				if s, err := hub.Upgrade(w, r, nil); err == nil {
					assert.NoError(t, o.st.AcceptWebSocket(s))
				}
			}
		})
		s, _, err := h.dial("ada", "a")
		require.NoError(t, err)
		endWith(t, s)
		for range 3 {
			h.refuses("bob", 503, "connection limit exceeded: 1 open, the limit is 1")
		}
		require.NoError(t, s.Accept())
		assert.Equal(t, 1, hub.Len())
		require.NoError(t, n.Shutdown(within(t)))
		waitDone(t, s)
		assert.Zero(t, hub.Len())
	})
}

// TestHubRace does everything at once, in real time, for the race detector.
func TestHubRace(t *testing.T) {
	for _, where := range []network{overTCP, overTLS} {
		t.Run(where.name, func(t *testing.T) {
			h := serveHub(t, where, &edgews.HubOptions{
				MaxSockets: 20, MaxPerKey: 15, MaxLifetime: 300 * time.Millisecond, IdleTimeout: 100 * time.Millisecond, Key: userOf,
			})
			go func() {
				for s := range h.sockets {
					if rand.IntN(4) > 0 {
						s.OnMessage(func(e edgews.MessageEvent) { _ = s.Send(e.Text()) })
						_ = s.Accept()
					} else {
						go func() {
							for range s.Messages(context.Background()) {
							}
						}()
					}
				}
			}()
			stop := make(chan struct{})
			var all sync.WaitGroup
			repeat := func(f func()) {
				all.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							f()
						}
					}
				})
			}
			for user := range 3 {
				repeat(func() {
					s, _, err := h.dial(fmt.Sprint(user), "a", "b")
					if err != nil {
						assert.ErrorAs(t, err, new(*edgews.HandshakeError))
						return
					}
					_ = s.Accept()
					for range rand.IntN(20) {
						_ = s.Send("hello")
					}
					if rand.IntN(2) == 0 {
						_ = s.Close(1000, "")
					}
					waitDone(t, s)
				})
			}
			second := edgews.NewHub(&edgews.HubOptions{IdleTimeout: 50 * time.Millisecond})
			repeat(func() {
				for s := range h.Sockets("a") {
					_ = second.Add(s, "x")
					_ = h.SetTags(s, "c")
					_, _ = h.Tags(s)
				}
				h.Broadcast(edgews.Prepare(edgews.Text, []byte("news")))
				second.Broadcast(edgews.Prepare(edgews.Text, []byte("news")), "x")
				assert.LessOrEqual(t, h.Len(), 20)
				<-time.After(time.Millisecond)
			})
			<-time.After(400 * time.Millisecond)
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			if err := h.Shutdown(ctx); err != nil {
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			}
			close(stop)
			all.Wait()
			eventually(t, func() bool { return h.Len() == 0 && second.Len() == 0 }, "all leave")
			close(h.sockets)
		})
	}
}
