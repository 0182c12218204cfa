package cluster_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster"
)

// drain is a Losing that waits for events that still run.
type drain struct {
	mu            sync.Mutex
	running, most int
	ended         map[cluster.Shard]time.Time
}

func (d *drain) losing(takes time.Duration, then func(context.Context, cluster.Ownership)) func(context.Context, cluster.Ownership) {
	d.ended = make(map[cluster.Shard]time.Time)
	return func(ctx context.Context, o cluster.Ownership) {
		d.mu.Lock()
		d.running++
		d.most = max(d.most, d.running)
		d.mu.Unlock()
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
		d.mu.Lock()
		d.running--
		d.ended[o.Shard] = time.Now()
		d.mu.Unlock()
		then(ctx, o)
	}
}

// A shard's record names the new owner after Losing has returned, and only so many shards change hands at a time.
func TestHandOverWaitsForLosing(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var d drain
		a := l.start("a", func(o *cluster.Options) { o.HandoversAtOnce, o.Losing = 3, d.losing(time.Second, o.Losing) })
		synctest.Wait()
		b := l.start("b", func(o *cluster.Options) {
			gained := o.Gained
			o.Gained = func(ctx context.Context, o cluster.Ownership) {
				d.mu.Lock()
				defer d.mu.Unlock()
				assert.Equal(t, time.Now(), d.ended[o.Shard], "the end of Losing for shard %d", o.Shard)
				gained(ctx, o)
			}
		})
		synctest.Wait()
		assert.Equal(t, shards-3, a.ownedNow(), "a does not own what it is losing")
		for s := range cluster.Shard(shards) {
			o, _, ok := b.Owner(s)
			assert.True(t, ok)
			assert.Equal(t, "a", o.Owner, "the record does not change during Losing")
		}
		time.Sleep(shards * time.Second)
		counts := l.wantOwners(a, b)
		assert.Equal(t, counts[1], len(d.ended))
		assert.Equal(t, 3, d.most, "hand-overs at once")
		assert.Zero(t, a.count("lost"))
	})
}

// A node whose lease ends while a shard is being lost does not give it away: the others claim it.
func TestLosingIsCutShortByTheEndOfTheLease(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var d drain
		a := l.start("a", func(o *cluster.Options) { o.Losing = d.losing(time.Hour, o.Losing) })
		synctest.Wait()
		b := l.start("b", nil)
		synctest.Wait()
		a.engine.Partition(true)
		time.Sleep(ttl)
		synctest.Wait()
		assert.Equal(t, 8, a.count("losing"))
		assert.Equal(t, shards-8, a.count("lost"))
		time.Sleep(ttl)
		assert.Equal(t, []int{shards}, l.wantOwners(b))
	})
}

func TestLeaveGivesEverythingAway(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var d drain
		a := l.start("a", func(o *cluster.Options) { o.HandoversAtOnce, o.Losing = 4, d.losing(time.Second, o.Losing) })
		b, c := l.start("b", nil), l.start("c", nil)
		synctest.Wait()
		time.Sleep(shards * time.Second)
		counts := l.wantOwners(a, b, c)
		before, others := a.count("losing"), b.count("los")+c.count("los")
		begin := time.Now()
		require.NoError(t, a.Leave(t.Context()))
		assert.Equal(t, time.Duration((counts[0]+3)/4)*time.Second, time.Since(begin))
		assert.Equal(t, counts[0], a.count("losing")-before)
		assert.Zero(t, a.count("lost"))
		after := l.wantOwners(b, c)
		assert.GreaterOrEqual(t, after[0], counts[1])
		assert.GreaterOrEqual(t, after[1], counts[2])
		assert.Equal(t, []string{"b", "c"}, ids(b.Members()))
		assert.Equal(t, others, b.count("los")+c.count("los"), "nothing was given back")
	})
}

func TestLastNodeLeaves(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a := l.start("a", nil)
		l.wantOwners(a)
		require.NoError(t, a.Leave(t.Context()))
		assert.Equal(t, shards, a.count("losing"))
		assert.Zero(t, a.count("lost"))
		b := l.start("b", nil)
		assert.Equal(t, []int{shards}, l.wantOwners(b))
		epoch, _ := b.Owns(0)
		assert.Greater(t, epoch, b.Config().FirstEpoch())
	})
}

func TestAllNodesLeaveAtOnce(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		nodes := []*member{l.start("a", nil), l.start("b", nil), l.start("c", nil)}
		l.wantOwners(nodes...)
		var wg sync.WaitGroup
		for _, n := range nodes {
			wg.Go(func() { assert.NoError(t, n.Leave(t.Context())) })
		}
		wg.Wait()
		for _, n := range nodes {
			assert.Empty(t, n.owned())
			assert.Zero(t, n.count("lost"))
		}
	})
}

func TestLeaveEndsWithItsContext(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var d drain
		a := l.start("a", func(o *cluster.Options) { o.HandoversAtOnce, o.Losing = 1, d.losing(time.Second, o.Losing) })
		b := l.start("b", nil)
		time.Sleep(shards * time.Second)
		l.wantOwners(a, b)
		before := a.count("losing")
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, a.Leave(ctx), context.DeadlineExceeded)
		assert.Equal(t, 4, a.count("losing")-before, "three that were given away, and one whose context ended")
		assert.NotZero(t, a.count("lost"))
		assert.Equal(t, []int{shards}, l.wantOwners(b))
	})
}

func TestCloseEndsLeave(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var d drain
		a := l.start("a", func(o *cluster.Options) { o.HandoversAtOnce, o.Losing = 1, d.losing(time.Hour, o.Losing) })
		synctest.Wait()
		b := l.start("b", nil)
		left := make(chan error, 1)
		go func() { left <- a.Leave(context.Background()) }()
		time.Sleep(time.Minute)
		begin := time.Now()
		assert.NoError(t, a.Close())
		assert.NoError(t, <-left)
		assert.Zero(t, time.Since(begin))
		assert.Equal(t, shards-1, a.count("lost"))
		assert.Equal(t, []int{shards}, l.wantOwners(b))
	})
}

// Without the engine nothing can be given away.
func TestLeaveWithoutTheEngine(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		counts := l.wantOwners(a, b)
		a.engine.Partition(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, a.Leave(ctx), context.DeadlineExceeded)
		assert.Equal(t, counts[0], a.count("lost"))
		time.Sleep(2 * ttl)
		assert.Equal(t, []int{shards}, l.wantOwners(b))
	})
}
