package cluster_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

var errInjected = errors.New("injected")

func loseRequests(methods ...string) memory.Plan {
	return func(method string) (f memory.Fault) {
		f.LoseRequest = slices.Contains(methods, method)
		return f
	}
}

// everySecond lets calls fail in turn: every second call of each method is lost, or applied without an answer.
func everySecond(f memory.Fault) memory.Plan {
	calls := make(chan map[string]int, 1)
	calls <- make(map[string]int)
	return func(method string) memory.Fault {
		seen := <-calls
		defer func() { calls <- seen }()
		seen[method]++
		if seen[method]%2 == 0 || method == "Watch" {
			return memory.Fault{}
		}
		return f
	}
}

// Answers that are lost are not misjudged: each shard has one owner, and the nodes and the engine agree who that is.
func TestLostCalls(t *testing.T) {
	for name, fault := range map[string]memory.Fault{
		"a request is lost, and the caller waits":      {LoseRequest: true},
		"a request is lost, and the caller knows":      {LoseRequest: true, Err: errInjected},
		"an answer is lost, and the caller waits":      {LoseAnswer: true},
		"an answer is lost, and the caller knows":      {LoseAnswer: true, Err: errInjected},
		"a request arrives after its caller has ended": {Before: ttl/4 + time.Second, LoseAnswer: true},
		"an answer arrives after its caller has ended": {After: ttl/4 + time.Second},
		"a request arrives after the next has begun":   {Before: ttl/4 + ttl/64},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				faulty := func(o *cluster.Options) { o.Engine.(*memory.Engine).SetPlan(everySecond(fault)) }
				a := l.start("a", nil)
				synctest.Wait()
				b := l.start("b", faulty)
				time.Sleep(3 * ttl)
				counts := l.wantOwners(a, b)
				assert.NotZero(t, counts[1])
				a.kill()
				time.Sleep(4 * ttl)
				assert.Equal(t, []int{shards}, l.wantOwners(b))
				assert.Equal(t, 1, len(b.Members()))
			})
		})
	}
}

// An engine that answers nobody for longer than TTL costs no member its place: the node that is back first has not seen the renewals of the others,
// because there were none.
func TestEngineOutage(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var all []*member
		for _, id := range []string{"a", "b", "c"} {
			all = append(all, l.start(id, nil))
		}
		time.Sleep(3 * ttl)
		down := loseRequests("Renew", "Join", "Claim", "Remove")
		for _, n := range all {
			n.engine.SetPlan(down)
		}
		time.Sleep(2 * ttl)
		for _, n := range all {
			assert.True(t, n.Fenced())
			n.engine.SetPlan(nil)
			time.Sleep(ttl / 8) // the others are back later
		}
		time.Sleep(4 * ttl)
		l.wantOwners(all...)
		for _, n := range all {
			assert.Zero(t, n.Stats().Removed, "members that node %s has removed", n.Self().ID)
		}
	})
}

// A node whose view is out of date claims nothing that another one owns, and removes no live member.
func TestStaleView(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a := l.start("a", nil)
		synctest.Wait()
		a.engine.HoldWatch(true)
		b, c := l.start("b", nil), l.start("c", nil)
		time.Sleep(10 * ttl)
		assert.Len(t, a.owned(), shards, "a does not know of the others")
		assert.Equal(t, []string{"a", "b", "c"}, ids(b.Members()))
		a.engine.HoldWatch(false)
		time.Sleep(ttl)
		l.wantOwners(a, b, c)

		b.engine.HoldWatch(true)
		a.kill()
		time.Sleep(10 * ttl)
		assert.Equal(t, []string{"b", "c"}, ids(c.Members()))
		assert.Equal(t, shards, b.ownedNow()+c.ownedNow())
		assert.NotContains(t, ids(b.Members()), "a", "b has removed a too: that needs no view")
		assert.Contains(t, ids(b.Members()), "c", "c has renewed, which b has not seen")
		b.engine.HoldWatch(false)
		time.Sleep(ttl)
		l.wantOwners(b, c)
	})
}

// A node that has not seen the newer record of a shard does not take it from a member that it does not know yet.
func TestNodeThatMissesAMemberDoesNotTakeItsShards(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		l.wantOwners(a, b)
		a.engine.HoldWatch(true)
		c := l.start("c", nil)
		synctest.Wait()
		b.kill() // its shards are claimed by c and, out of date, by a
		time.Sleep(3 * ttl)
		for _, s := range c.owned() {
			_, owns := a.Owns(s)
			assert.False(t, owns, "shard %d", s)
		}
		assert.NotEmpty(t, c.owned())
		a.engine.HoldWatch(false)
		time.Sleep(ttl)
		l.wantOwners(a, c)
	})
}

func TestWatchIsRepeated(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		l.wantOwners(a, b)
		for range 5 {
			a.engine.BreakWatch()
			synctest.Wait()
			l.wantOwners(a, b)
			time.Sleep(ttl / 8)
		}
		a.engine.BreakWatch()
		b.engine.Close() // while a does not watch
		b.Close()
		time.Sleep(2 * ttl)
		assert.Equal(t, []int{shards}, l.wantOwners(a))
	})
}

// Members that have gone while a node did not watch are gone when it watches again.
func TestWatchShowsWhatHasGone(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b, c := l.start("a", nil), l.start("b", nil), l.start("c", nil)
		l.wantOwners(a, b, c)
		a.engine.HoldWatch(true)
		c.Close()
		synctest.Wait()
		assert.Len(t, a.Members(), 3)
		a.engine.BreakWatch()
		a.engine.HoldWatch(false)
		time.Sleep(ttl)
		l.wantOwners(a, b)
		assert.Len(t, a.Members(), 2)
	})
}

// A Watch that shows nothing any more, without an error, is given up when the node's own renewals are missing from it.
func TestStuckWatchIsReplaced(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var e *stuckEngine
		a := l.start("a", func(o *cluster.Options) {
			e = &stuckEngine{Engine: o.Engine, watches: make(chan int, 1)}
			e.watches <- 0
			o.Engine = e
		})
		b := l.start("b", nil)
		time.Sleep(3 * ttl)
		assert.Equal(t, 2, <-e.watches)
		assert.NotZero(t, l.wantOwners(a, b)[1])
	})
}

// No member is removed because of what a clock shows: members renew on time although the clocks of others are 10 % fast or slow.
func TestClocksOfDifferentRates(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		at := func(rate float64) func(o *cluster.Options) { return func(o *cluster.Options) { o.SetClockRate(rate) } }
		a, b := l.start("a", at(1)), l.start("b", at(1/0.9))
		c := l.start("c", at(0.9))
		time.Sleep(20 * ttl)
		l.wantOwners(a, b, c)
		assert.Zero(t, a.count("lost")+b.count("lost")+c.count("lost"))
	})
}

// stuckEngine has a first Watch that shows what there is, and nothing afterwards.
type stuckEngine struct {
	cluster.Engine
	watches chan int // their number
}

func (e *stuckEngine) Watch(ctx context.Context, fn func(cluster.Change)) error {
	n := <-e.watches
	e.watches <- n + 1
	synced := false
	return e.Engine.Watch(ctx, func(c cluster.Change) {
		if n > 0 || !synced {
			fn(c)
		}
		synced = synced || c.Synced
	})
}
