package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
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

// crier is an object that sends to its sockets as it is called to, and notes for each of them what it was sent.
type crier struct {
	st   *edgews.State
	sent *sentLog
}

// sentLog is what the criers of a test have sent, by the user of the socket. It outlives the home of an object.
type sentLog struct {
	mu sync.Mutex
	of map[string][]string
}

func (l *sentLog) add(user, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of[user] = append(l.of[user], text)
}

func (o *crier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{SendBuffer: 256 << 20}})
	if err != nil {
		return
	}
	user := r.URL.Query().Get("user")
	_ = o.st.AcceptWebSocket(s, "user:"+user, "all")
	_ = s.SetAttachment(user)
}

// order is what a crier is to do.
type order struct {
	Seed     uint64 // of random sends
	Steps    int
	Size     int    // of a message; of the first one of many
	Many     int    // messages of Size go to all sockets
	OneByOne bool   // with Send for each socket
	Close    string // the user whose socket is closed in the middle
}

func (o *crier) Call(ctx context.Context, method string, req json.RawMessage) (any, error) {
	var what order
	if err := json.Unmarshal(req, &what); err != nil {
		return nil, err
	}
	switch method {
	case "many":
		for i := range what.Many {
			text := fmt.Sprintf("%06d", i) + strings.Repeat("x", what.Size-6)
			if what.OneByOne {
				for _, s := range o.st.WebSockets("all") {
					if err := s.Send(text); err != nil {
						return nil, err
					}
				}
			} else if n := o.st.Broadcast(edgews.Prepare(edgews.Text, []byte(text))); n != len(o.st.WebSockets()) {
				return nil, fmt.Errorf("%d sockets took the message", n)
			}
		}
	case "random":
		o.random(ctx, what)
	case "last":
		o.st.Broadcast(edgews.Prepare(edgews.Text, fmt.Appendf(nil, "%06d%s", what.Many, strings.Repeat("x", 10))))
	}
	return len(o.st.WebSockets()), nil
}

// random sends in a random order: to one socket, to all, to some; small and large, also while a commit holds the output back.
func (o *crier) random(ctx context.Context, what order) {
	rnd := rand.New(rand.NewPCG(what.Seed, 7))
	for step := range what.Steps {
		size := 1 + rnd.IntN(200)
		if rnd.IntN(20) == 0 {
			size = 30_000 + rnd.IntN(60_000)
		}
		text := fmt.Sprintf("%d.%d %s", what.Seed, step, strings.Repeat("y", size))
		all := o.st.WebSockets("all")
		switch rnd.IntN(6) {
		case 0:
			o.send(all[rnd.IntN(len(all))], text)
		case 1:
			for _, s := range all {
				o.send(s, text)
			}
		case 2:
			p := edgews.Prepare(edgews.Text, []byte(text))
			for _, s := range all {
				if rnd.IntN(2) == 0 && s.SendPrepared(p) == nil {
					o.note(s, text)
				}
			}
		case 3:
			_ = o.st.Storage().Put(ctx, "step", []byte(text[:10])) // what follows waits for the commit
			fallthrough
		default:
			p := edgews.Prepare(edgews.Text, []byte(text))
			for _, s := range all {
				if s.ReadyState() == edgews.Open {
					o.note(s, text)
				}
			}
			o.st.Broadcast(p)
		}
		if what.Close != "" && step == what.Steps/2 {
			for _, s := range o.st.WebSockets("user:" + what.Close) {
				_ = s.Close(4000, "enough")
			}
		}
	}
}

func (o *crier) send(s *edgews.Socket, text string) {
	if s.Send(text) == nil {
		o.note(s, text)
	}
}

func (o *crier) note(s *edgews.Socket, text string) {
	var user string
	_ = s.Attachment(&user)
	o.sent.add(user, text)
}

// fan is a cluster of three nodes with an object at one of them, whose links are counted.
type fan struct {
	t     testing.TB
	sites []*site
	home  *site
	edges []*site
	log   *sentLog

	construct newObject
	fromTo    sync.Map // the bytes that a node has got over its links: by its ID and the address of the peer, *atomic.Int64
}

func startFan(t testing.TB) *fan {
	t.Helper()
	log := &sentLog{of: make(map[string][]string)}
	f := &fan{t: t, log: log}
	f.construct = func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &crier{st, log}, nil }
	f.startSites()
	return f
}

// startSites starts the nodes, and waits until the object does not move any more.
func (f *fan) startSites() {
	t := f.t
	t.Helper()
	m := memory.New()
	t.Cleanup(func() { m.Close() })
	for _, id := range []string{"a", "b", "c"} {
		f.sites = append(f.sites, f.start(m, id))
	}
	f.home, f.edges = settledHomeOf(t, f.sites, "crier")
}

func (f *fan) start(m *memory.Memory, id string) *site {
	t := f.t
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	s := &site{engine: m.Connect()}
	links, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.Cluster, err = cluster.Join(t.Context(), cluster.JoinOptions{
		Options: cluster.Options{
			Engine: s.engine, Self: cluster.Member{ID: id}, Config: cluster.Config{Shards: shards}, TTL: 4 * time.Second, Logger: quiet,
		},
		Listener: links, Dial: func(ctx context.Context, addr string) (net.Conn, error) { return f.dialLink(ctx, id, addr) },
	})
	require.NoError(t, err)
	s.rooms = edgews.NewNamespace("rooms", f.construct, &edgews.NamespaceOptions{Cluster: s, Options: edgews.Options{Logger: quiet}})
	web, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.server = &http.Server{Handler: s.rooms.ByName("crier")}
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

func (f *fan) dialLink(ctx context.Context, from, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &countedConn{c, f.counter(from, addr)}, nil
}

// counter counts the bytes that a node has got from a peer, over the connections that it has made.
func (f *fan) counter(at, peer string) *atomic.Int64 {
	n, _ := f.fromTo.LoadOrStore(at+" "+peer, new(atomic.Int64))
	return n.(*atomic.Int64)
}

type countedConn struct {
	net.Conn
	read *atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// call has the object do something, through an edge.
func (f *fan) call(method string, what order) int {
	f.t.Helper()
	n, err := edgews.Call[order, int](f.t.Context(), f.edges[0].rooms.ByName("crier"), method, what)
	require.NoError(f.t, err)
	return n
}

func (f *fan) dial(at *site, user string) *edgews.Socket {
	f.t.Helper()
	c, _, err := edgews.Dial(f.t.Context(), at.url+"/?user="+user, &edgews.DialOptions{Options: edgews.Options{MaxMessageSize: -1}})
	require.NoError(f.t, err)
	f.t.Cleanup(func() { c.Close(1000, "") })
	return c
}

// TestBroadcastGoesOverALinkOnce: one message to 100 sockets at an edge costs the link that message, and a few bytes for each socket.
func TestBroadcastGoesOverALinkOnce(t *testing.T) {
	const sockets, size = 100, 1024
	f := startFan(t)
	var clients []*edgews.Socket
	for i := range sockets {
		clients = append(clients, f.dial(f.edges[0], fmt.Sprint(i)))
	}
	require.Equal(t, sockets, f.call("many", order{}))
	got := f.counter(f.edges[0].Self().ID, f.home.Self().Addr)
	receive := func() {
		for _, c := range clients {
			require.Len(t, next(t, c), size)
		}
	}
	f.call("many", order{Many: 1, Size: size}) // the first messages of a link go together with acknowledgements of its opening
	receive()

	// It is counted by what arrives with the last client's message. Acknowledgements of the calls may be among it.
	before := got.Load()
	f.call("many", order{Many: 1, Size: size})
	receive()
	broadcast := got.Load() - before
	t.Logf("a broadcast of %d bytes to %d sockets: %d bytes on the link", size, sockets, broadcast)
	assert.Less(t, broadcast, int64(2*size+1536)) // a writer that is fast takes the recipients in several frames, of which the first has the message

	before = got.Load()
	f.call("many", order{Many: 1, Size: size, OneByOne: true})
	receive()
	oneByOne := got.Load() - before
	t.Logf("with Send for each: %d bytes", oneByOne)
	assert.Less(t, oneByOne, int64(3*size+1536)) // with the second one it turns out that the message is for many
}

// TestOrderOfSharedMessages: whatever is sent to one socket, to some and to all, each of them gets what it was sent, in order; also when the
// object moves.
func TestOrderOfSharedMessages(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	f := startFan(t)
	users := make(map[string]*edgews.Socket)
	for i, at := range slices.Concat(f.sites, f.edges, f.edges, f.edges) {
		user := fmt.Sprint("u", i)
		users[user] = f.dial(at, user)
	}
	closing := "u4"
	var wg sync.WaitGroup
	received := make(map[string][]string)
	var mu sync.Mutex
	read := func(user string, c *edgews.Socket, last string) {
		for {
			m, err := c.Receive(t.Context())
			if err != nil {
				assert.ErrorContains(t, err, "4000", user)
				assert.Equal(t, closing, user)
				return
			}
			mu.Lock()
			received[user] = append(received[user], m.Text())
			mu.Unlock()
			if m.Text() == last {
				return
			}
		}
	}
	stages := []order{{Seed: seed, Steps: 60}, {Seed: seed + 1, Steps: 60, Close: closing}, {Seed: seed + 2, Steps: 60}}
	for i, stage := range stages {
		last := fmt.Sprintf("%06d", i) + strings.Repeat("x", 10)
		for user, c := range users {
			wg.Go(func() { read(user, c, last) })
		}
		f.call("random", stage)
		for user := range users {
			f.log.add(user, last)
		}
		if stage.Close != "" {
			delete(users, stage.Close)
		}
		f.call("last", order{Many: i})
		wg.Wait()
		if i == 1 { // the last messages are on their way when the home leaves
			f.call("random", order{Seed: seed + 100, Steps: 20})
			require.NoError(t, f.home.Leave(t.Context()))
			delete(users, "u"+fmt.Sprint(slices.Index(f.sites, f.home))) // it was connected there
			f.home, f.edges = settledHomeOf(t, f.edges, "crier")
		}
	}
	for user := range users {
		wantHeads(t, user, f.log.of[user], received[user])
	}
	n := len(received[closing])
	require.LessOrEqual(t, n, len(f.log.of[closing]))
	wantHeads(t, closing, f.log.of[closing][:n], received[closing]) // a socket that closes gets what was sent before
}

// wantHeads compares what a user was sent with what has arrived, and says where they differ first.
func wantHeads(t *testing.T, user string, sent, received []string) {
	t.Helper()
	for i := range max(len(sent), len(received)) {
		var want, got string
		if i < len(sent) {
			want = sent[i]
		}
		if i < len(received) {
			got = received[i]
		}
		if want != got {
			assert.Fail(t, "another message than was sent", "%s, message %d of %d: %.30q of %d bytes, want %.30q of %d bytes",
				user, i, len(sent), got, len(got), want, len(want))
			return
		}
	}
}

// TestSlowClientOfABroadcast: a client that does not read does not hold up the others, and loses nothing.
func TestSlowClientOfABroadcast(t *testing.T) {
	const messages, size = 400, 32 << 10
	f := startFan(t)
	slow := f.dial(f.edges[0], "slow")
	var others []*edgews.Socket
	for i := range 4 {
		others = append(others, f.dial(f.edges[i%2], fmt.Sprint(i)))
	}
	var wg sync.WaitGroup
	check := func(c *edgews.Socket) {
		for i := range messages {
			m, err := c.Receive(t.Context())
			if !assert.NoError(t, err) || !assert.Len(t, m.Data, size) || !assert.True(t, bytes.HasPrefix(m.Data, fmt.Appendf(nil, "%06dx", i))) {
				return
			}
		}
	}
	for _, c := range others {
		wg.Go(func() { check(c) })
	}
	f.call("many", order{Many: messages, Size: size})
	wg.Wait()
	check(slow)
}
