package cluster_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
)

func TestOneNodeOwnsAllShards(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a := l.start("a", nil)
		assert.Equal(t, []int{shards}, l.wantOwners(a))
		assert.Equal(t, []string{"a"}, ids(a.Members()))
		assert.Equal(t, cluster.Config{Shards: shards, Generation: 1}, a.Config())
		epoch, _ := a.Owns(0)
		assert.Equal(t, a.Config().FirstEpoch(), epoch)
		_, owns := a.Owns(shards)
		assert.False(t, owns, "a shard that does not exist")
		_, _, known := a.Owner(shards)
		assert.False(t, known, "a shard that does not exist")
	})
}

func TestNodesShareTheShards(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a := l.start("a", nil)
		synctest.Wait()
		b, c := l.start("b", nil), l.start("c", nil)
		counts := l.wantOwners(a, b, c)
		for i, n := range counts {
			assert.Greater(t, n, shards/9, "node %d", i)
		}
		assert.Equal(t, []string{"a", "b", "c"}, ids(b.Members()))
		assert.Equal(t, shards-counts[0], a.count("losing"), "shards that a gave away")
		assert.Zero(t, a.count("lost"))
	})
}

// The owners of shards depend on the IDs of the members only, also in later versions: members of different versions must agree.
func TestPlacementNeverChanges(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a := l.start("a", nil)
		l.start("b", nil)
		l.start("c", nil)
		synctest.Wait()
		var owners strings.Builder
		for s := range cluster.Shard(shards) {
			o, _, _ := a.Owner(s)
			owners.WriteString(o.Owner)
		}
		assert.Equal(t, "cccbaaccbbccbbcabaccaccbaaaaccaa", owners.String())
	})
}

func TestShardOfNeverChanges(t *testing.T) {
	var id edgews.ID
	require.NoError(t, id.UnmarshalText([]byte(hex.EncodeToString(bytes.Repeat([]byte{0x5a}, 32)))))
	assert.Equal(t, cluster.Shard(17), cluster.ShardOf(edgews.ObjectKey{Namespace: "rooms", ID: id}, 1024))
	assert.Equal(t, cluster.Shard(0), cluster.ShardOf(edgews.ObjectKey{Namespace: "rooms", ID: id}, 1))
	assert.Equal(t, cluster.Shard(0xbfdf), cluster.ShardOf(edgews.ObjectKey{ID: id}, 65536))
}

func TestObjectsAreSpreadOverTheShards(t *testing.T) {
	const objects = 64 * shards
	var counts [shards]int
	for i := range objects {
		var id edgews.ID
		require.NoError(t, id.UnmarshalText(fmt.Appendf(nil, "%064x", i)))
		counts[cluster.ShardOf(edgews.ObjectKey{Namespace: "rooms", ID: id}, shards)]++
	}
	for s, n := range counts {
		assert.InDelta(t, objects/shards, n, 40, "objects of shard %d", s) // 5 standard deviations
	}
}

// Each member owns about the same number of shards. When one comes or goes, no shard moves between the others.
func TestPlacementIsBalancedAndMovesLittle(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		const shards, nodes = 1024, 5
		start := func(id string) *member {
			return l.start(id, func(o *cluster.Options) { o.Config.Shards, o.HandoversAtOnce = shards, 64 })
		}
		owners := func(n *member) (owners [shards]string) {
			synctest.Wait()
			for s := range owners {
				o, _, ok := n.Owner(cluster.Shard(s))
				require.True(t, ok)
				owners[s] = o.Owner
			}
			return owners
		}
		var a *member
		for i := range nodes {
			n := start(fmt.Sprint("node-", i))
			if i == 0 {
				a = n
			}
		}
		before, counts := owners(a), make(map[string]int)
		for _, owner := range before {
			counts[owner]++
		}
		for id, n := range counts {
			assert.InDelta(t, shards/nodes, n, 60, "shards of %s", id) // nearly 5 standard deviations
		}

		another := start("another")
		after := owners(a)
		moved := 0
		for s := range after {
			if after[s] != before[s] {
				assert.Equal(t, "another", after[s])
				moved++
			}
		}
		assert.InDelta(t, shards/(nodes+1), moved, 60)

		another.kill()
		time.Sleep(2 * ttl)
		assert.Equal(t, before, owners(a))
	})
}

// A node that is cut off from the engine is fenced when TTL has passed since its last renewal. The others own its shards later.
func TestNodeIsFencedBeforeOthersOwnItsShards(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		counts := l.wantOwners(a, b)
		ended := a.LeaseEnded()
		lastRenewal := time.Now()
		a.engine.Partition(true)

		time.Sleep(ttl - 1)
		l.wantOwners(a, b)
		assert.False(t, a.Fenced())
		time.Sleep(time.Nanosecond)
		_, owns := a.Owns(0)
		assert.False(t, owns)
		assert.True(t, a.Fenced())
		<-ended
		assert.Equal(t, ttl, time.Since(lastRenewal))
		<-a.LeaseEnded() // it stays closed
		synctest.Wait()
		assert.Empty(t, a.owned())
		assert.Equal(t, counts[0], a.count("lost"))
		assert.Len(t, b.owned(), counts[1])

		time.Sleep(cluster.DeadAfter(ttl) - ttl - 1)
		synctest.Wait()
		assert.Len(t, b.owned(), counts[1])
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.Len(t, b.owned(), shards)
		_, _, ok := a.Owner(b.owned()[0])
		assert.True(t, ok, "a does not know better")

		a.engine.Partition(false)
		time.Sleep(ttl)
		assert.Equal(t, counts, l.wantOwners(a, b))
		assert.False(t, alreadyEnded(a))
		a.wantStats(cluster.Stats{Leases: 2, Fenced: 1, Watches: 1})
		b.wantStats(cluster.Stats{Leases: 1, Removed: 1, Watches: 1})
	})
}

func alreadyEnded(n *member) bool {
	select {
	case <-n.LeaseEnded():
		return true
	default:
		return false
	}
}

// What a node owned in one lease it does not own in the next without a new claim, even if no other node has claimed it.
func TestNodeClaimsAnewAfterItWasFenced(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		nodes := []*member{l.start("a", nil), l.start("b", nil), l.start("c", nil)}
		counts := l.wantOwners(nodes...)
		before := make(map[cluster.Shard]uint64)
		for _, n := range nodes {
			for _, s := range n.owned() {
				before[s], _ = n.Owns(s)
			}
			n.engine.Partition(true) // the engine stops
		}
		time.Sleep(10 * ttl)
		for _, n := range nodes {
			assert.True(t, n.Fenced())
			assert.Empty(t, n.owned())
			assert.Len(t, n.Members(), 3, "none can know that another one is dead")
			n.engine.Partition(false)
		}
		time.Sleep(ttl)
		assert.Equal(t, counts, l.wantOwners(nodes...))
		for _, n := range nodes {
			for _, s := range n.owned() {
				epoch, _ := n.Owns(s)
				assert.Greater(t, epoch, before[s])
			}
		}
	})
}

func TestDeadNodeIsReplaced(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b, c := l.start("a", nil), l.start("b", nil), l.start("c", nil)
		counts := l.wantOwners(a, b, c)
		changed, before := a.Changed(), a.count("los")+b.count("los")
		c.kill()
		time.Sleep(cluster.DeadAfter(ttl))
		<-changed
		after := l.wantOwners(a, b)
		assert.Equal(t, []string{"a", "b"}, ids(a.Members()))
		assert.Equal(t, int64(1), max(a.Stats().Removed, b.Stats().Removed))
		assert.GreaterOrEqual(t, after[0], counts[0])
		assert.GreaterOrEqual(t, after[1], counts[1])
		assert.Equal(t, before, a.count("los")+b.count("los"), "shards that the living have lost")
	})
}

func TestOwnerIsNoDeadMember(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", func(o *cluster.Options) { o.Self.EdgeOnly = true })
		l.wantOwners(a, b)
		a.kill()
		time.Sleep(2 * ttl)
		o, _, ok := b.Owner(0)
		assert.Equal(t, "a", o.Owner)
		assert.False(t, ok)
	})
}

func TestEdgeOnlyNodeOwnsNothing(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		e := l.start("e", func(o *cluster.Options) { o.Self.EdgeOnly = true })
		synctest.Wait()
		_, _, ok := e.Owner(0)
		assert.False(t, ok)
		a := l.start("a", nil)
		assert.Equal(t, []int{0, shards}, l.wantOwners(e, a))
		assert.NoError(t, a.Leave(context.Background()))
		synctest.Wait()
		assert.Empty(t, e.owned())
	})
}

func TestIDAndIncarnationAreRandomByDefault(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("", nil), l.start("", nil)
		assert.NotEmpty(t, a.Self().ID)
		assert.NotEqual(t, a.Self().ID, b.Self().ID)
		assert.NotZero(t, a.Self().Incarnation)
		assert.NotEqual(t, a.Self().Incarnation, b.Self().Incarnation)
		assert.Equal(t, [2]uint16{1, 1}, a.Self().Versions)
		l.wantOwners(a, b)
	})
}

func TestOptionsAreChecked(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.start("a", func(o *cluster.Options) { o.Config.Generation = 3 })
		for name, change := range map[string]func(o *cluster.Options){
			"no engine":                       func(o *cluster.Options) { o.Engine = nil },
			"other shards":                    func(o *cluster.Options) { o.Config.Shards = 64 },
			"too many shards":                 func(o *cluster.Options) { o.Config.Shards = 1<<16 + 1 },
			"negative shards":                 func(o *cluster.Options) { o.Config.Shards = -1 },
			"another generation":              func(o *cluster.Options) { o.Config.Generation = 4 },
			"too large a generation":          func(o *cluster.Options) { o.Config.Generation = 1 << 24 },
			"renewals that are too rare":      func(o *cluster.Options) { o.RenewEvery = ttl/2 + 1 },
			"renewals in the past":            func(o *cluster.Options) { o.RenewEvery = -1 },
			"a negative TTL":                  func(o *cluster.Options) { o.TTL = -1 },
			"a negative number of hand-overs": func(o *cluster.Options) { o.HandoversAtOnce = -1 },
			"versions in the wrong order":     func(o *cluster.Options) { o.Self.Versions = [2]uint16{3, 2} },
		} {
			_, err := l.tryStart(t.Context(), "b", change)
			assert.ErrorIs(t, err, cluster.ErrConfig, name)
		}
		b := l.start("b", func(o *cluster.Options) { o.Config = cluster.Config{} }) // whatever there is
		assert.Equal(t, cluster.Config{Shards: shards, Generation: 3}, b.Config())
	})
}

func TestMembersOfSeveralVersions(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		speaking := func(low, high uint16) func(o *cluster.Options) {
			return func(o *cluster.Options) { o.Self.Versions = [2]uint16{low, high} }
		}
		a := l.start("a", speaking(1, 1))
		b := l.start("b", speaking(1, 2))
		l.wantOwners(a, b)
		assert.Equal(t, uint16(1), b.Version())

		_, err := l.tryStart(t.Context(), "c", speaking(2, 3))
		assert.ErrorIs(t, err, cluster.ErrIncompatible)
		l.wantOwners(a, b)

		require.NoError(t, a.Leave(t.Context()))
		synctest.Wait()
		assert.Equal(t, uint16(2), b.Version())
		c := l.start("c", speaking(2, 3))
		l.wantOwners(b, c)
		assert.Equal(t, uint16(2), c.Version())
	})
}

// A dead member of another version does not keep others out for ever.
func TestDeadIncompatibleMemberIsRemoved(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.start("a", nil).kill()
		upgraded := func(o *cluster.Options) { o.Self.Versions = [2]uint16{2, 2} }
		ctx, cancel := context.WithTimeout(t.Context(), ttl)
		defer cancel()
		_, err := l.tryStart(ctx, "b", upgraded)
		assert.ErrorIs(t, err, cluster.ErrIncompatible)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		b := l.start("b", upgraded)
		assert.Equal(t, []int{shards}, l.wantOwners(b))
	})
}

// A member that has joined at the same time, and with which this one has no version in common, gets none of its shards.
func TestIncompatibleMemberGetsNoShards(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var log bytes.Buffer
		a := l.start("a", func(o *cluster.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		require.NoError(t, l.m.Connect().Join(t.Context(), cluster.Member{ID: "b", Incarnation: 1, Beat: 1, TTL: ttl, Versions: [2]uint16{7, 8}}))
		assert.Equal(t, []int{shards}, l.wantOwners(a))
		time.Sleep(ttl / 2)
		require.NoError(t, a.Close())
		assert.Equal(t, 1, strings.Count(log.String(), "b speaks 7 to 8"), log.String())
		assert.Equal(t, uint16(1), a.Version())
	})
}

func TestClosedNode(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.start("a", nil), l.start("b", nil)
		l.wantOwners(a, b)
		begin, before := time.Now(), a.count("losing")
		require.NoError(t, a.Close())
		assert.Equal(t, []int{shards}, l.wantOwners(b))
		assert.Zero(t, time.Since(begin), "its TTL is not waited for")
		assert.Empty(t, a.owned())
		assert.Equal(t, before, a.count("losing"))
		assert.True(t, a.Fenced())
		assert.True(t, alreadyEnded(a))
		assert.Empty(t, a.Members())
		_, _, ok := a.Owner(0)
		assert.False(t, ok)
		assert.NoError(t, a.Close())
		assert.ErrorIs(t, a.Leave(t.Context()), cluster.ErrNodeClosed)
	})
}

func TestStartEndsWithItsContext(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		for _, method := range []string{"Setup", "Watch", "Join"} {
			ctx, cancel := context.WithTimeout(t.Context(), ttl)
			_, err := l.tryStart(ctx, "a", func(o *cluster.Options) {
				o.Engine = engineWithout{o.Engine, method}
			})
			assert.ErrorIs(t, err, context.DeadlineExceeded, method)
			cancel()
		}
	})
}

// engineWithout is an engine one of whose methods does not answer.
type engineWithout struct {
	cluster.Engine
	method string
}

func (e engineWithout) Setup(ctx context.Context, c cluster.Config) (cluster.Config, error) {
	if e.method == "Setup" {
		<-ctx.Done()
		return c, ctx.Err()
	}
	return e.Engine.Setup(ctx, c)
}

func (e engineWithout) Watch(ctx context.Context, fn func(cluster.Change)) error {
	if e.method == "Watch" {
		<-ctx.Done()
		return ctx.Err()
	}
	return e.Engine.Watch(ctx, fn)
}

func (e engineWithout) Join(ctx context.Context, m cluster.Member) error {
	if e.method == "Join" {
		<-ctx.Done()
		return ctx.Err()
	}
	return e.Engine.Join(ctx, m)
}
