package cluster_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

const (
	ttl    = 12 * time.Second
	shards = 32
)

// lab is a cluster in a bubble of virtual time.
type lab struct {
	t *testing.T
	m *memory.Memory

	mu    sync.Mutex
	nodes []*member
}

// member is a node and its connection to the engine.
type member struct {
	*cluster.Node
	engine *memory.Engine
	l      *lab

	mu   sync.Mutex
	told map[cluster.Shard]cluster.Ownership // as the hooks say
	log  []string                            // the calls of the hooks
}

// inLab runs a test in a bubble. With the race detector that is on one processor: in Go 1.26 all channel timers of a bubble fire with one context of
// the detector, and the detector crashes when goroutines on two processors have timers fire at a time (time.go of the runtime, unlockAndRun).
func inLab(t *testing.T, run func(t *testing.T, l *lab)) {
	t.Helper()
	if raceEnabled {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, m: memory.New()}
		defer func() {
			for _, n := range l.nodes {
				n.engine.SetPlan(nil)
				n.engine.Partition(false)
				n.engine.HoldWatch(true) // or it would claim the shards of those that are closed before it: the test's hooks do not expect that
			}
			for _, n := range l.nodes {
				n.Close()
			}
			assert.NoError(t, l.m.Close())
		}()
		run(t, l)
	})
}

// start starts a node. change may be nil.
func (l *lab) start(id string, change func(o *cluster.Options)) *member {
	l.t.Helper()
	n, err := l.tryStart(context.Background(), id, change)
	require.NoError(l.t, err)
	return n
}

func (l *lab) tryStart(ctx context.Context, id string, change func(o *cluster.Options)) (*member, error) {
	n := &member{engine: l.m.Connect(), l: l, told: make(map[cluster.Shard]cluster.Ownership)}
	o := cluster.Options{
		Engine: n.engine, Self: cluster.Member{ID: id}, Config: cluster.Config{Shards: shards}, TTL: ttl,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Gained: n.gained, Losing: n.losing, Lost: n.lost,
	}
	if change != nil {
		change(&o)
	}
	node, err := cluster.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.Node = node
	n.mu.Unlock()
	l.mu.Lock()
	l.nodes = append(l.nodes, n)
	l.mu.Unlock()
	return n, nil
}

func (n *member) gained(_ context.Context, o cluster.Ownership) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = append(n.log, fmt.Sprintf("gained %d", o.Shard))
	old, twice := n.told[o.Shard]
	assert.False(n.l.t, twice, "shard %d was gained twice", o.Shard)
	assert.Greater(n.l.t, o.Epoch, old.Epoch)
	n.told[o.Shard] = o
}

func (n *member) losing(_ context.Context, o cluster.Ownership) {
	_, owns := n.owns(o.Shard)
	assert.False(n.l.t, owns, "shard %d is still owned while it is being lost", o.Shard)
	n.forget("losing", o)
}

func (n *member) lost(o cluster.Ownership) {
	_, owns := n.owns(o.Shard)
	assert.False(n.l.t, owns, "shard %d is still owned when it is lost", o.Shard)
	n.forget("lost", o)
}

func (n *member) forget(how string, o cluster.Ownership) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = append(n.log, fmt.Sprintf("%s %d", how, o.Shard))
	assert.Equal(n.l.t, o, n.told[o.Shard], "a shard is lost that was not gained")
	delete(n.told, o.Shard)
}

// owns is Owns, also before Start has returned.
func (n *member) owns(s cluster.Shard) (uint64, bool) {
	n.mu.Lock()
	node := n.Node
	n.mu.Unlock()
	if node == nil {
		return 0, false
	}
	return node.Owns(s)
}

// owned returns the shards that the node owns, and checks that the hooks say the same.
func (n *member) owned() (owned []cluster.Shard) {
	n.l.t.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for s := range cluster.Shard(shards) {
		epoch, ok := n.Owns(s)
		if ok {
			owned = append(owned, s)
		}
		assert.Equal(n.l.t, epoch, n.told[s].Epoch, "the epoch of shard %d by Owns and by the hooks", s)
	}
	return owned
}

// ownedNow returns how many shards the node owns by Owns, while hooks may be running.
func (n *member) ownedNow() (owned int) {
	synctest.Wait()
	for s := range cluster.Shard(shards) {
		if _, ok := n.Owns(s); ok {
			owned++
		}
	}
	return owned
}

// count returns how many hooks of a kind have been called.
func (n *member) count(kind string) (calls int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, call := range n.log {
		if call[:len(kind)] == kind {
			calls++
		}
	}
	return calls
}

// wantStats checks what the node counts against the calls of its hooks.
func (n *member) wantStats(want cluster.Stats) {
	n.l.t.Helper()
	synctest.Wait()
	want.Gained, want.Given, want.Lost = int64(n.count("gained")), int64(n.count("losing")), int64(n.count("lost"))
	assert.Equal(n.l.t, want, n.Stats())
}

// kill ends a node as a crash does: nothing that it does afterwards reaches the engine, and the engine is not told.
func (n *member) kill() {
	n.engine.Close()
	n.Close()
}

// wantOwners checks that each shard has one owner among the nodes, which all of them know, and returns how many shards each node owns.
func (l *lab) wantOwners(nodes ...*member) (counts []int) {
	l.t.Helper()
	counts = make([]int, len(nodes))
	owner := make(map[cluster.Shard]*member)
	for i, n := range nodes {
		for _, s := range n.owned() {
			assert.Nil(l.t, owner[s], "shard %d has two owners", s)
			owner[s] = n
			counts[i]++
		}
	}
	for s := range cluster.Shard(shards) {
		if !assert.NotNil(l.t, owner[s], "shard %d has no owner", s) {
			continue
		}
		for _, n := range nodes {
			o, m, ok := n.Owner(s)
			assert.True(l.t, ok, "%s knows no owner of shard %d", n.Self().ID, s)
			assert.Equal(l.t, owner[s].Self().ID, o.Owner, "the owner of shard %d, by %s", s, n.Self().ID)
			assert.Equal(l.t, owner[s].Self().ID, m.ID)
		}
	}
	return counts
}

func ids(members []cluster.Member) (ids []string) {
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return ids
}
