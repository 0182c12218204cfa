package cluster_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// delay makes the requests or the answers of one method slow.
func delay(method string, before, after time.Duration) memory.Plan {
	return func(m string) (f memory.Fault) {
		if m == method {
			f.Before, f.After = before, after
		}
		return f
	}
}

// A lease is counted from the moment at which a renewal was sent, since the others may have seen it as early as that.
func TestLeaseIsCountedFromTheRequest(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		l.wantOwners(a, b)
		a.engine.SetPlan(delay("Renew", 0, 2*time.Second))
		time.Sleep(ttl/4 + 2*time.Second + 1) // the answer to the first slow renewal has just arrived
		a.engine.Partition(true)
		time.Sleep(ttl - 2*time.Second - 2)
		assert.False(t, a.Fenced())
		time.Sleep(time.Nanosecond)
		assert.True(t, a.Fenced(), "TTL has passed since the renewal was sent")
		time.Sleep(ttl / 8)
		assert.Equal(t, shards, b.ownedNow())
	})
}

// The answer to a renewal from before a member was removed does not make it a member again.
func TestLateAnswerBeginsNoLease(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		l.wantOwners(a, b)
		b.engine.SetPlan(delay("Renew", 0, ttl/8))
		time.Sleep(ttl / 4)
		synctest.Wait()
		a.ReportRefused("b", b.Self().Incarnation) // the renewal has been applied, and its answer is on the way
		synctest.Wait()
		assert.True(t, b.Fenced())
		time.Sleep(ttl / 8)
		synctest.Wait()
		assert.True(t, b.Fenced())
		time.Sleep(ttl)
		assert.False(t, b.Fenced(), "it has joined again")
	})
}

// The others learn that a member leaves before it gives them anything, so that they do not give it back.
func TestLeavingIsAnnouncedFirst(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		l.wantOwners(a, b)
		a.engine.SetPlan(delay("Renew", time.Second, 0))
		before := b.count("los")
		require.NoError(t, a.Leave(t.Context()))
		assert.Equal(t, before, b.count("los"), "shards that b gave back")
		assert.Equal(t, []int{shards}, l.wantOwners(b))
	})
}

// A record that a new Watch shows again is no renewal.
func TestRepeatedWatchesDoNotKeepDeadMembers(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		l.wantOwners(a, b)
		b.kill()
		for range 4 {
			time.Sleep(ttl / 2)
			a.engine.BreakWatch()
		}
		assert.Equal(t, []int{shards}, l.wantOwners(a))
	})
}

// Members that have different TTLs are each counted by their own.
func TestMembersHaveTheirOwnTTLs(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", func(o *cluster.Options) { o.TTL = ttl / 4 }), l.start("b", func(o *cluster.Options) { o.TTL = 4 * ttl })
		time.Sleep(20 * ttl)
		l.wantOwners(a, b)
		assert.Zero(t, a.count("lost")+b.count("lost"))
		b.kill()
		time.Sleep(3 * ttl)
		assert.NotEqual(t, shards, a.ownedNow())
		time.Sleep(2 * ttl)
		assert.Equal(t, []int{shards}, l.wantOwners(a))
	})
}

// A node that does not fence itself believes that it owns its shards until it learns that others do. Then the storage is all that fences it.
func TestUnsafeNodeIsNotFencedByTime(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a := l.start("a", func(o *cluster.Options) { o.UnsafeWithoutSelfFencing = true })
		b := l.start("b", nil)
		counts := l.wantOwners(a, b)
		key, s := edgews.ObjectKey{Namespace: "rooms"}, cluster.Shard(0)
		for s = range shards {
			if _, owns := a.Owns(s); owns {
				break
			}
		}
		epoch, _ := a.Owns(s)
		old, err := a.engine.Open(t.Context(), key, edgews.Fence{Epoch: epoch})
		require.NoError(t, err)
		require.NoError(t, old.Commit(t.Context(), edgews.Batch{}))

		a.engine.Partition(true)
		time.Sleep(3 * ttl)
		assert.Equal(t, counts[0], a.ownedNow())
		assert.Equal(t, shards, b.ownedNow())
		newer, owns := b.Owns(s)
		assert.True(t, owns)
		_, err = b.engine.Open(t.Context(), key, edgews.Fence{Epoch: newer})
		require.NoError(t, err)

		a.engine.Partition(false)
		assert.ErrorIs(t, old.Commit(t.Context(), edgews.Batch{}), edgews.ErrFenced)
		time.Sleep(ttl)
		assert.Equal(t, counts, l.wantOwners(a, b))
		assert.Equal(t, counts[0], a.count("lost"))
	})
}
