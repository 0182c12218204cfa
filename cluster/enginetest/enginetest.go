// Package enginetest checks engines of clusters. An engine that passes [Run] can be used in cluster.Options.
//
//	func TestEngine(t *testing.T) {
//		enginetest.Run(t, func(t *testing.T) enginetest.Connect {
//			schema := newSchema(t)
//			return func(t *testing.T) cluster.Engine { return connect(t, schema) }
//		})
//	}
//
// Run it with -race. With -short it runs fewer rounds. It takes real time only where the engine does.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/storetest"
)

// Connect opens another connection to the same cluster.
type Connect func(t *testing.T) cluster.Engine

// Run checks that an engine fulfils the contracts of cluster.Engine and edgews.Store. newCluster returns a new empty cluster at each call.
// Run closes each connection exactly once. Other resources are released by functions that newCluster registers with t.Cleanup.
func Run(t *testing.T, newCluster func(t *testing.T) Connect) {
	t.Run("store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) edgews.Store {
			e := newCluster(t)(t)
			if _, err := e.Setup(context.Background(), config); err != nil {
				t.Fatalf("Setup: %v", err)
			}
			return e
		})
	})
	for _, suite := range [][]test{setupTests, memberTests, claimTests, watchTests, storageTests, callTests, modelTests} {
		for _, test := range suite {
			t.Run(test.name, func(t *testing.T) {
				l := &lab{t: t, connectTo: newCluster(t)}
				defer l.close()
				test.run(t, l)
			})
		}
	}
}

// test is a test of the suite. Each gets a cluster of its own.
type test struct {
	name string
	run  func(t *testing.T, l *lab)
}

// config is what most tests create their clusters with.
var config = cluster.Config{Shards: 16, Generation: 3}

// patience is how long a test waits for what must happen. It is long, since a busy machine is no fault of the engine.
var patience = time.Minute

// lab is a cluster under test.
type lab struct {
	t         *testing.T
	connectTo Connect
	all       []*conn
	watches   sync.WaitGroup
}

// conn is a connection with methods that end the test at an unexpected result.
type conn struct {
	cluster.Engine
	t      *testing.T
	l      *lab
	closed bool
}

// bare opens a connection.
func (l *lab) bare() *conn {
	c := &conn{Engine: l.connectTo(l.t), t: l.t, l: l}
	l.all = append(l.all, c)
	return c
}

// connect opens a connection and sets the cluster up.
func (l *lab) connect() *conn {
	l.t.Helper()
	c := l.bare()
	if got, err := c.Setup(context.Background(), config); err != nil || got != config {
		l.t.Fatalf("Setup: got %+v and error %v, want %+v", got, err, config)
	}
	return c
}

func (l *lab) close() {
	for _, c := range l.all {
		c.close()
	}
	l.watches.Wait()
}

func (c *conn) close() {
	if c.closed {
		return
	}
	c.closed = true
	if err := c.Close(); err != nil {
		c.t.Errorf("Close: %v", err)
	}
}

// member returns a record of the n-th incarnation of a member.
func member(id string, incarnation, beat uint64) cluster.Member {
	return cluster.Member{
		ID: id, Incarnation: incarnation, Beat: beat, TTL: 1500 * time.Millisecond, Addr: id + ".example:7000", Versions: [2]uint16{1, 2},
	}
}

func (c *conn) join(m cluster.Member) {
	c.t.Helper()
	c.want("Join", c.Join(context.Background(), m), nil)
}

func (c *conn) renew(m cluster.Member) {
	c.t.Helper()
	c.want("Renew", c.Renew(context.Background(), m), nil)
}

func (c *conn) remove(m cluster.Member) {
	c.t.Helper()
	c.want("Remove", c.Remove(context.Background(), m), nil)
}

// claim makes m the owner, and checks the new record.
func (c *conn) claim(prev cluster.Ownership, m cluster.Member) cluster.Ownership {
	c.t.Helper()
	got, err := c.Claim(context.Background(), prev, m)
	if err != nil {
		c.t.Fatalf("Claim of shard %d from epoch %d: %v", prev.Shard, prev.Epoch, err)
	}
	checkClaim(c.t, prev, m, got)
	return got
}

func checkClaim(t *testing.T, prev cluster.Ownership, m cluster.Member, got cluster.Ownership) {
	t.Helper()
	want := cluster.Ownership{Shard: prev.Shard, Owner: m.ID, Incarnation: m.Incarnation, Epoch: got.Epoch}
	if got != want || got.Epoch <= prev.Epoch || got.Epoch < config.FirstEpoch() {
		t.Fatalf("Claim of shard %d from epoch %d for %s/%d: got %+v", prev.Shard, prev.Epoch, m.ID, m.Incarnation, got)
	}
}

func (c *conn) wantConflict(prev cluster.Ownership, m cluster.Member, present cluster.Ownership) {
	c.t.Helper()
	got, err := c.Claim(context.Background(), prev, m)
	if !errors.Is(err, cluster.ErrConflict) || got.Epoch != present.Epoch || present.Epoch != 0 && got != present {
		c.t.Fatalf("Claim of shard %d from epoch %d: got %+v and error %v, want %+v and ErrConflict", prev.Shard, prev.Epoch, got, err, present)
	}
}

// want ends the test if a call has not returned the error want, which may be nil.
func (c *conn) want(call string, err, want error) {
	c.t.Helper()
	if !errors.Is(err, want) {
		c.t.Fatalf("%s: got error %v, want %v", call, err, want)
	}
}

// times returns n, or a quarter of it with -short.
func times(n int) int {
	if testing.Short() {
		return max(n/4, 1)
	}
	return n
}

// atOnce calls run for each connection at the same time.
func atOnce(conns []*conn, run func(i int, c *conn)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i, c := range conns {
		wg.Go(func() {
			<-begin
			run(i, c)
		})
	}
	close(begin)
	wg.Wait()
}

func (l *lab) connectMany(n int) (conns []*conn) {
	l.t.Helper()
	for range n {
		conns = append(conns, l.connect())
	}
	return conns
}

func name(i int) string { return fmt.Sprintf("m%d", i) }
