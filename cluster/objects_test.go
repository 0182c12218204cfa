package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// site is a server that is a member of a cluster.
type site struct {
	*cluster.Cluster
	engine *memory.Engine
	rooms  *edgews.Namespace
	server *http.Server
	url    string // of the server, with ws
}

// startSites starts members with those IDs.
func startSites(t *testing.T, ids ...string) []*site {
	t.Helper()
	m := memory.New()
	t.Cleanup(func() { m.Close() })
	var sites []*site
	for _, id := range ids {
		sites = append(sites, startSite(t, m, id))
	}
	return sites
}

func startSite(t *testing.T, m *memory.Memory, id string) *site {
	return startSiteOf(t, m, id, newTally, nil)
}

// startSitesOf starts members whose rooms are objects of another kind.
func startSitesOf(t *testing.T, construct newObject, change func(*edgews.NamespaceOptions), ids ...string) []*site {
	t.Helper()
	m := memory.New()
	t.Cleanup(func() { m.Close() })
	var sites []*site
	for _, id := range ids {
		sites = append(sites, startSiteOf(t, m, id, construct, change))
	}
	return sites
}

type newObject = func(context.Context, *edgews.State) (edgews.Object, error)

func startSiteOf(t *testing.T, m *memory.Memory, id string, construct newObject, change func(*edgews.NamespaceOptions)) *site {
	t.Helper()
	return startSiteWith(t, m, id, construct, change, nil)
}

func startSiteWith(
	t *testing.T, m *memory.Memory, id string, construct newObject, change func(*edgews.NamespaceOptions), changeNode func(*cluster.Options),
) *site {
	t.Helper()
	return startSiteJoining(t, m, id, construct, change, func(o *cluster.JoinOptions) {
		if changeNode != nil {
			changeNode(&o.Options)
		}
	})
}

func startSiteJoining(
	t *testing.T, m *memory.Memory, id string, construct newObject, change func(*edgews.NamespaceOptions), changeJoin func(*cluster.JoinOptions),
) *site {
	t.Helper()
	s := &site{engine: m.Connect()}
	links, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	node := cluster.Options{
		Engine: s.engine, Self: cluster.Member{ID: id}, Config: cluster.Config{Shards: shards}, TTL: 4 * time.Second,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	join := cluster.JoinOptions{Options: node, Listener: links}
	changeJoin(&join)
	s.Cluster, err = cluster.Join(t.Context(), join)
	require.NoError(t, err)
	o := &edgews.NamespaceOptions{Cluster: s, Options: edgews.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}}
	if change != nil {
		change(o)
	}
	s.rooms = edgews.NewNamespace("rooms", construct, o)
	web, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("/{room}", func(w http.ResponseWriter, r *http.Request) { s.rooms.ByName(r.PathValue("room")).ServeHTTP(w, r) })
	s.server = &http.Server{Handler: mux}
	go s.server.Serve(web)
	s.url = "ws://" + web.Addr().String()
	t.Cleanup(func() {
		s.server.Close()
		s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.rooms.Shutdown(ctx)
	})
	return s
}

// tally is an object that counts the messages of each kind in its storage, and says the count. "all …" goes to all sockets.
type tally struct{ st *edgews.State }

func newTally(_ context.Context, st *edgews.State) (edgews.Object, error) { return &tally{st}, nil }

func (o *tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !edgews.IsUpgrade(r) {
		body, _ := io.ReadAll(r.Body)
		n, err := o.count(r.Context(), "requests")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("X-Room", o.st.ID().Name())
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, "%d %s", n, body)
		return
	}
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"tally"}, Header: http.Header{"X-Room": {o.st.ID().Name()}}})
	if err != nil {
		return
	}
	if r.URL.Query().Has("plain") {
		s.OnMessage(func(e edgews.MessageEvent) { s.Send("plain " + e.Text()) })
		s.Accept()
		return
	}
	_ = o.st.AcceptWebSocket(s, "user:"+r.URL.Query().Get("user"))
	_ = s.SetAttachment(r.URL.Query().Get("user"))
}

func (o *tally) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	text := m.Text()
	var user string
	_ = s.Attachment(&user)
	switch text {
	case "all":
		o.st.Broadcast(edgews.Prepare(edgews.Text, []byte("all from "+user)))
		return nil
	case "bye":
		return s.Close(4000, "bye")
	}
	n, err := o.count(ctx, text)
	if err != nil {
		return err
	}
	return s.Send(fmt.Sprintf("%s %s %d of %d", user, text, n, len(o.st.WebSockets())))
}

func (o *tally) count(ctx context.Context, key string) (n int, err error) {
	err = o.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		v, err := tx.Get(key)
		if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
			return err
		}
		_, _ = fmt.Sscan(string(v), &n)
		n++
		return tx.Put(key, fmt.Append(nil, n))
	})
	return n, err
}

func (o *tally) Call(ctx context.Context, method string, req json.RawMessage) (any, error) {
	switch method {
	case "fail":
		return nil, &edgews.CallError{Code: "no", Message: "it fails"}
	case "get":
		var key string
		_ = json.Unmarshal(req, &key)
		v, err := o.st.Storage().Get(ctx, key)
		if errors.Is(err, edgews.ErrKeyNotFound) {
			return 0, nil
		}
		n, _ := strconv.Atoi(string(v))
		return n, err
	}
	return o.count(ctx, method)
}

// dial opens a socket to a room through a site.
func (s *site) dial(t *testing.T, room, user string) *edgews.Socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, _, err := edgews.Dial(ctx, s.url+"/"+room+"?user="+user, &edgews.DialOptions{Protocols: []string{"tally"}})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(1000, "") })
	return c
}

// ask sends a message, and returns the next one.
func ask(t *testing.T, c *edgews.Socket, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	require.NoError(t, c.Write(ctx, edgews.Text, []byte(text)))
	return next(t, c)
}

func next(t *testing.T, c *edgews.Socket) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	m, err := c.Receive(ctx)
	require.NoError(t, err)
	return m.Text()
}

// homeOf returns the site that is the home of a room, and the others.
func homeOf(t testing.TB, sites []*site, room string) (home *site, others []*site) {
	t.Helper()
	key := edgews.ObjectKey{Namespace: "rooms", ID: sites[0].rooms.IDFromName(room)}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		home, others = nil, nil
		for _, s := range sites {
			if s.IsHome(key) {
				home = s
			} else {
				others = append(others, s)
			}
		}
		if home != nil && len(others) == len(sites)-1 {
			return home, others
		}
	}
	require.FailNow(t, "the room has no home")
	return nil, nil
}

// settledHomeOf is homeOf when the room does not move any more, because its home is where it should be.
func settledHomeOf(t testing.TB, sites []*site, room string) (home *site, others []*site) {
	t.Helper()
	var ids []string
	for _, s := range sites {
		ids = append(ids, s.Self().ID)
	}
	key := edgews.ObjectKey{Namespace: "rooms", ID: sites[0].rooms.IDFromName(room)}
	want := cluster.Winner(ids, cluster.ShardOf(key, shards))
	require.Eventually(t, func() bool {
		home, others = homeOf(t, sites, room)
		return home.Self().ID == want
	}, 30*time.Second, 5*time.Millisecond)
	return home, others
}

// TestObjectsHaveOneHome reaches one object through each of three nodes.
func TestObjectsHaveOneHome(t *testing.T) {
	sites := startSites(t, "a", "b", "c")
	homeOf(t, sites, "lobby")
	var sockets []*edgews.Socket
	for i, s := range sites {
		resp, err := http.Post("http"+s.url[2:]+"/lobby", "text/plain", http.NoBody)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("%d ", i+1), string(body))
		assert.Equal(t, http.StatusAccepted, resp.StatusCode)
		assert.Equal(t, "lobby", resp.Header.Get("X-Room"))
		sockets = append(sockets, s.dial(t, "lobby", s.Self().ID))
	}
	for i, c := range sockets {
		assert.Equal(t, "tally", c.Protocol())
		assert.Equal(t, fmt.Sprintf("%s x %d of 3", sites[i].Self().ID, i+1), ask(t, c, "x"))
	}
	require.NoError(t, sockets[0].Send("all"))
	for _, c := range sockets {
		assert.Equal(t, "all from a", next(t, c))
	}
	for i, s := range sites {
		n, err := edgews.Call[string, int](t.Context(), s.rooms.ByName("lobby"), "calls", "")
		require.NoError(t, err)
		assert.Equal(t, i+1, n)
		_, err = edgews.Call[string, int](t.Context(), s.rooms.ByName("lobby"), "fail", "")
		called, ok := errors.AsType[*edgews.CallError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, "no", called.Code)
	}
	require.NoError(t, sockets[1].Send("bye"))
	_, err := sockets[1].Receive(t.Context())
	require.ErrorContains(t, err, "4000")
	require.NoError(t, sockets[2].Close(1000, "done"))
	<-sockets[2].Done()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.NoError(c, sockets[0].Send("x"))
		m, err := sockets[0].Receive(t.Context())
		require.NoError(c, err)
		assert.Contains(c, m.Text(), "of 1")
	}, 10*time.Second, 10*time.Millisecond)
}

// TestLeaveKeepsSockets: the home leaves while clients at other nodes talk. Their sockets stay open, and no message and no reply is lost or
// counted twice.
func TestLeaveKeepsSockets(t *testing.T) {
	lost := testMoves(t, func(home *site) { assert.NoError(t, home.Leave(context.Background())) })
	assert.Zero(t, lost)
}

// TestDeathKeepsSockets: the home dies. No message with a reply is lost, and none is counted twice. A reply may be lost: the home may have stored
// the message and not sent the reply yet, or its storage may have failed.
func TestDeathKeepsSockets(t *testing.T) { testMoves(t, (*site).kill) }

// kill ends a member without a word.
func (s *site) kill() {
	s.engine.Partition(true)
	s.server.Close()
	s.Kill()
}

// testMoves has clients talk while the home of their room ends. It returns how many replies were lost.
func testMoves(t *testing.T, end func(*site)) (lost int64) {
	const clients, messages = 6, 60
	sites := startSites(t, "a", "b", "c")
	home, others := settledHomeOf(t, sites, "lobby")
	var sockets []*edgews.Socket
	for i := range clients {
		sockets = append(sockets, others[i%2].dial(t, "lobby", fmt.Sprint(i)))
	}
	var wg sync.WaitGroup
	var lostReplies atomic.Int64
	var unanswered sync.Map
	half := make(chan struct{}, clients)
	for i, c := range sockets {
		wg.Go(func() {
			for n := range messages {
				if n == messages/2 {
					half <- struct{}{}
				}
				text := fmt.Sprintf("m%d.%d", i, n)
				if !assert.NoError(t, c.Write(t.Context(), edgews.Text, []byte(text))) {
					return
				}
				want := fmt.Sprintf("%d %s 1 of %d", i, text, clients)
				switch reply, err := receiveWithin(t, c, 4*time.Second); {
				case errors.Is(err, context.DeadlineExceeded):
					lostReplies.Add(1)
					unanswered.Store(text, true)
				case !assert.NoError(t, err), !assert.Equal(t, want, reply):
					return
				}
			}
		})
	}
	<-half
	end(home)
	wg.Wait()
	for i := range clients {
		for n := range messages {
			text := fmt.Sprintf("m%d.%d", i, n)
			count, err := edgews.Call[string, int](t.Context(), others[0].rooms.ByName("lobby"), "get", text)
			require.NoError(t, err)
			_, lost := unanswered.Load(text)
			if lost {
				t.Logf("no reply to %s, which was counted %d times", text, count)
			}
			if lost && count == 0 {
				continue
			}
			require.Equal(t, 1, count, text)
		}
	}
	return lostReplies.Load()
}

func receiveWithin(t *testing.T, c *edgews.Socket, d time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	m, err := c.Receive(ctx)
	if err != nil {
		return "", err
	}
	return m.Text(), nil
}
