package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// network connects the members of a cluster, and can cut two of them off from each other.
type network struct {
	mu    sync.Mutex
	cut   map[[2]string]bool // by the addresses of the dialling and of the other end
	conns map[[2]string][]net.Conn
}

func newNetwork() *network {
	return &network{cut: make(map[[2]string]bool), conns: make(map[[2]string][]net.Conn)}
}

var errCut = errors.New("no route to host")

// join has a member dial through n.
func (n *network) join(o *cluster.JoinOptions) {
	from := o.Listener.Addr().String()
	o.Dial = func(ctx context.Context, to string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", to)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		pair := [2]string{from, to}
		if n.cut[pair] {
			c.Close()
			return nil, errCut
		}
		n.conns[pair] = append(n.conns[pair], c)
		return c, nil
	}
}

// set cuts two members off from each other, or connects them again.
func (n *network) set(a, b *site, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	x, y := a.Self().Addr, b.Self().Addr
	for _, pair := range [][2]string{{x, y}, {y, x}} {
		n.cut[pair] = cut
		for _, c := range n.conns[pair] {
			c.Close()
		}
		n.conns[pair] = nil
	}
}

// logs is a log that a test reads.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// lines returns the lines that have text.
func (l *logs) lines(text string) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestUnreachableMember: a member cannot reach the new home of an object, but both are alive. The home begins without the sockets of that
// member, and says so. Those sockets end with 1012 when the member reaches the home again; the object never hears of them.
func TestUnreachableMember(t *testing.T) {
	const within = time.Second
	n, said := newNetwork(), new(logs)
	m := memory.New()
	t.Cleanup(func() { m.Close() })
	join := func(o *cluster.JoinOptions) {
		n.join(o)
		o.AnnounceWithin = within
		o.Logger = slog.New(slog.NewTextHandler(said, nil))
	}
	var sites []*site
	for _, id := range []string{"a", "b", "c"} {
		sites = append(sites, startSiteJoining(t, m, id, newTally, nil, join))
	}
	edge := startSiteJoining(t, m, "edge", newTally, nil, func(o *cluster.JoinOptions) {
		join(o)
		o.Self.EdgeOnly = true
	})
	home, others := settledHomeOf(t, sites, "lobby")
	far, near := edge.dial(t, "lobby", "far"), others[0].dial(t, "lobby", "near")
	assert.Equal(t, "far x 1 of 2", ask(t, far, "x"))

	for _, s := range others { // one of them is the next home
		n.set(edge, s, true)
	}
	require.NoError(t, home.Leave(t.Context()))
	assert.Equal(t, "near x 2 of 1", ask(t, near, "x"), "the home does not wait for the edge for ever")
	warnings := said.lines("begin without the sockets")
	require.NotEmpty(t, warnings)
	assert.Contains(t, warnings[0], "members=[edge]")
	require.NoError(t, far.Send("x")) // nobody gets it
	resp, err := http.Post("http"+others[1].url[2:]+"/lobby", "text/plain", http.NoBody)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusAccepted, resp.StatusCode)

	for _, s := range others {
		n.set(edge, s, false)
	}
	_, err = receiveWithin(t, far, 30*time.Second)
	end, ok := errors.AsType[*edgews.CloseError](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, edgews.StatusServiceRestart, end.Code)
	assert.Equal(t, "near x 3 of 1", ask(t, near, "x"), "what the socket sent last is not handled")
	again := edge.dial(t, "lobby", "again")
	assert.Equal(t, "again x 4 of 2", ask(t, again, "x"))
}

// TestStuckEngine: a handler waits for an engine that the node cannot reach any more. The requests and calls behind it are answered by the next
// home, and the handler is told that the object has moved.
func TestStuckEngine(t *testing.T) {
	sites := startSites(t, "a", "b", "c")
	home, others := settledHomeOf(t, sites, "lobby")
	c := others[0].dial(t, "lobby", "u")
	assert.Equal(t, "u x 1 of 1", ask(t, c, "x"))
	waits := make(chan struct{}, 1)
	home.engine.SetPlan(func(method string) memory.Fault {
		if method == "Get" {
			waits <- struct{}{}
		}
		return memory.Fault{LoseRequest: true}
	})
	require.NoError(t, c.Send("x"))
	<-waits
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			at := others[i%2]
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http"+at.url[2:]+"/lobby", http.NoBody)
			assert.NoError(t, err)
			resp, err := http.DefaultClient.Do(req)
			if assert.NoError(t, err) {
				resp.Body.Close()
				assert.Contains(t, []int{http.StatusAccepted, http.StatusBadGateway}, resp.StatusCode)
			}
		})
		wg.Go(func() {
			_, err := edgews.Call[string, int](ctx, others[i%2].rooms.ByName("lobby"), "calls", "")
			if err != nil { // as with 502: the home was removed before it could say that it has not begun
				assert.ErrorContains(t, err, "the home of the object was lost before it answered")
			}
		})
		wg.Go(func() {
			late, _, err := edgews.Dial(ctx, others[i%2].url+"/lobby?user=late", &edgews.DialOptions{Protocols: []string{"tally"}})
			if assert.NoError(t, err) {
				late.Close(1000, "")
			}
		})
	}
	wg.Wait()
	assert.Contains(t, next(t, c), "u x 2 of ", "the message that the handler had is handled by the next home, once")
}

// TestLeaseEndsDuringRestore: the next home of an object cannot read its storage, and loses the shard before it has taken over the sockets. They go on
// at the home after it.
func TestLeaseEndsDuringRestore(t *testing.T) {
	sites := startSites(t, "a", "b", "c")
	home, others := settledHomeOf(t, sites, "lobby")
	second, third := others[0], others[1]
	shard := cluster.ShardOf(edgews.ObjectKey{Namespace: "rooms", ID: home.rooms.IDFromName("lobby")}, shards)
	if cluster.Winner([]string{second.Self().ID, third.Self().ID}, shard) != second.Self().ID {
		second, third = third, second
	}
	c := third.dial(t, "lobby", "u")
	assert.Equal(t, "u x 1 of 1", ask(t, c, "x"))
	second.engine.SetPlan(func(method string) (none memory.Fault) {
		if method == "Open" || method == "Scan" {
			second.engine.Partition(true)
		}
		return none
	})
	require.NoError(t, home.Leave(t.Context()))
	assert.Equal(t, "u x 2 of 1", ask(t, c, "x"))
	assert.True(t, third.IsHome(edgews.ObjectKey{Namespace: "rooms", ID: third.rooms.IDFromName("lobby")}))
}
