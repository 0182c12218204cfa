package cluster_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster"
)

func TestRestartedNodeWaitsForItsPredecessor(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		counts := l.wantOwners(a, b)
		b.kill()
		begin := time.Now()
		b = l.start("b", nil)
		assert.Equal(t, cluster.DeadAfter(ttl), time.Since(begin))
		assert.Equal(t, counts, l.wantOwners(a, b))
	})
}

func TestRestartedNodeWithTheSameAddressDoesNotWait(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		at := func(addr string) func(o *cluster.Options) { return func(o *cluster.Options) { o.Self.Addr = addr } }
		a, b := l.start("a", at("a:1")), l.start("b", at("b:1"))
		counts := l.wantOwners(a, b)
		b.kill()
		begin := time.Now()
		b = l.start("b", at("b:1"))
		assert.Less(t, time.Since(begin), time.Second)
		assert.Equal(t, counts, l.wantOwners(a, b))
	})
}

func TestSecondProcessWithTheSameIDIsRefused(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a := l.start("a", nil)
		_, err := l.tryStart(t.Context(), "a", nil)
		assert.ErrorIs(t, err, cluster.ErrMemberExists)
		assert.Equal(t, []int{shards}, l.wantOwners(a))

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond) // before it is known that it is alive
		defer cancel()
		_, err = l.tryStart(ctx, "a", nil)
		assert.ErrorIs(t, err, cluster.ErrMemberExists)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, []int{shards}, l.wantOwners(a))
	})
}

func TestRefusedMemberIsReplacedAtOnce(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b, c := l.start("a", nil), l.start("b", nil), l.start("c", nil)
		counts := l.wantOwners(a, b, c)
		dead := c.Self()
		c.kill()
		begin := time.Now()
		a.ReportRefused("c", dead.Incarnation)
		l.wantOwners(a, b)
		assert.Zero(t, time.Since(begin))

		c = l.start("c", nil)
		assert.Equal(t, counts, l.wantOwners(a, b, c))
		a.ReportRefused("c", dead.Incarnation) // late: it concerns the process from before
		a.ReportRefused("x", 1)
		a.ReportRefused("a", a.Self().Incarnation)
		time.Sleep(ttl)
		assert.Equal(t, counts, l.wantOwners(a, b, c))
		assert.Zero(t, c.count("los"))
	})
}

// A member whose port refuses connections although its process is alive learns of its removal, and joins again after a while. The member
// that cannot reach it gives it no shards until it can.
func TestLivingMemberThatIsReportedRefused(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		counts := l.wantOwners(a, b)
		incarnation := b.Self().Incarnation
		a.ReportRefused("b", incarnation)
		synctest.Wait()
		assert.True(t, b.Fenced())
		assert.Len(t, a.owned(), shards)

		time.Sleep(ttl)
		assert.False(t, b.Fenced())
		assert.Equal(t, incarnation, b.Self().Incarnation)
		assert.Equal(t, []int{shards, 0}, l.wantOwners(a, b))
		a.ReportConnected("b", incarnation)
		assert.Equal(t, counts, l.wantOwners(a, b))
	})
}

// A report is acted upon even if the engine answers late.
func TestReportOfRefusalIsRepeated(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		l.wantOwners(a, b)
		b.kill()
		a.engine.SetPlan(loseRequests("Remove"))
		a.ReportRefused("b", b.Self().Incarnation)
		time.Sleep(ttl / 4)
		assert.NotEqual(t, shards, len(a.owned()))
		a.engine.SetPlan(nil)
		time.Sleep(ttl / 2)
		assert.Equal(t, []int{shards}, l.wantOwners(a))
	})
}

func TestPlacesAreKeptOverFlapping(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		counts := l.wantOwners(a, b)
		epochs := make(map[cluster.Shard]uint64)
		for range 20 {
			b.engine.Partition(true)
			time.Sleep(cluster.DeadAfter(ttl))
			b.engine.Partition(false)
			time.Sleep(ttl / 8)
			for _, n := range []*member{a, b} {
				for _, s := range n.owned() {
					epoch, _ := n.Owns(s)
					assert.GreaterOrEqual(t, epoch, epochs[s])
					epochs[s] = epoch
				}
			}
		}
		time.Sleep(ttl)
		assert.Equal(t, counts, l.wantOwners(a, b))
	})
}

// A Join that is applied after its caller has given up makes a member that does nothing. The others remove it.
func TestLateJoinIsRemoved(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a := l.start("a", nil)
		require.NoError(t, l.m.Connect().Join(t.Context(), cluster.Member{ID: "late", Incarnation: 1, Beat: 1, TTL: ttl, Versions: [2]uint16{1, 1}}))
		synctest.Wait()
		assert.Len(t, a.Members(), 2)
		time.Sleep(2 * ttl)
		assert.Equal(t, []int{shards}, l.wantOwners(a))
	})
}

// Two members that disagree about who should own a shard claim it at the same time. One of them gets it, and the other one accepts that.
func TestMembersThatDisagreeClaimTheSameShards(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b, c := l.start("a", nil), l.start("b", nil), l.start("c", nil)
		l.wantOwners(a, b, c)
		a.ReportRefused("b", b.Self().Incarnation) // from now on a believes that b should own nothing
		time.Sleep(ttl)
		counts := l.wantOwners(a, b, c)
		for _, n := range []*member{a, b} {
			n.engine.SetPlan(delay("Claim", time.Second, time.Second)) // both are on their way
		}
		before := a.count("gained") + b.count("gained")
		c.kill()
		time.Sleep(2 * ttl)
		after := l.wantOwners(a, b)
		assert.Equal(t, counts[2], a.count("gained")+b.count("gained")-before, "each shard was gained once")
		assert.Greater(t, after[0], counts[0])
	})
}
