package cluster_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// memberOf returns what info says of a member.
func memberOf(t require.TestingT, info edgews.ClusterInfo, id string) edgews.ClusterMemberInfo {
	for _, m := range info.Members {
		if m.ID == id {
			return m
		}
	}
	require.Fail(t, "there is no member "+id)
	return edgews.ClusterMemberInfo{}
}

// states returns how many shards are in each state.
func states(info edgews.ClusterInfo) map[string]int {
	n := make(map[string]int)
	for _, s := range info.Shards {
		n[s.State.String()]++
	}
	return n
}

// kinds returns the kinds of events with their members, in order.
func kinds(info edgews.ClusterInfo) (all []string) {
	for _, e := range info.Events {
		text := e.Kind
		if e.Member != "" {
			text += " " + e.Member
		}
		all = append(all, text)
	}
	return all
}

// TestInfo looks at a cluster with sockets from all sides, also while a member leaves.
func TestInfo(t *testing.T) {
	sites := startSites(t, "a", "b", "c")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		ready := 0
		for _, s := range sites {
			info := s.rooms.Cluster().(edgews.ClusterInformer).Info()
			n := states(info)
			assert.Equal(c, shards, n["ready"]+n["remote"], "%v at %s", n, s.Self().ID)
			assert.Positive(c, n["ready"], s.Self().ID)
			assert.Zero(c, info.Moves.HandingOff+info.Moves.Claiming, s.Self().ID)
			ready += n["ready"]
		}
		assert.Equal(c, shards, ready)
	}, 30*time.Second, 10*time.Millisecond)
	home, others := settledHomeOf(t, sites, "lobby")
	for _, s := range sites {
		for i := range 2 {
			ask(t, s.dial(t, "lobby", s.Self().ID), "x"+string(rune('0'+i)))
		}
	}

	for _, s := range sites {
		info, self := s.Info(), s.Self().ID
		assert.Equal(t, []any{"edgews", self, uint16(1)}, []any{info.Name, info.Node, info.Version})
		assert.True(t, info.Lease.Valid)
		assert.Positive(t, info.Lease.Left)
		assert.LessOrEqual(t, info.Lease.Left, info.Lease.TTL)
		assert.Positive(t, info.Lease.Renewals)
		require.Len(t, info.Members, 3)
		sum := 0
		for i := range info.Members {
			m := &info.Members[i]
			assert.Equal(t, "alive", m.State(), m.ID)
			assert.NotEmpty(t, m.Addr)
			sum += m.Shards
		}
		assert.Equal(t, shards, sum)
		assert.Equal(t, memberOf(t, info, self).Shards, states(info)["ready"])
		assert.Equal(t, 2, memberOf(t, info, home.Self().ID).EdgeSockets, "sockets of %s", self)

		shard := info.Shards[cluster.ShardOf(edgews.ObjectKey{Namespace: "rooms", ID: s.rooms.IDFromName("lobby")}, shards)]
		o, _, _ := home.Owner(cluster.ShardOf(edgews.ObjectKey{Namespace: "rooms", ID: s.rooms.IDFromName("lobby")}, shards))
		assert.Equal(t, []any{home.Self().ID, o.Epoch}, []any{shard.Owner, shard.Epoch})
		assert.Positive(t, info.Moves.Gained)
		assert.GreaterOrEqual(t, info.Moves.Claims, info.Moves.Gained)
		assert.Equal(t, info.Moves.Gained, info.Moves.Ready)
		assert.Positive(t, info.Moves.ReadyTime)
		assert.Zero(t, info.Waiting)
	}
	for _, m := range home.Info().Members {
		assert.Equal(t, 2, m.HomeSockets, "sockets of clients of %s", m.ID)
	}
	for _, s := range others {
		i := linkTo(s.Info(), home.Self().ID)
		require.NotNil(t, i, s.Self().ID)
		assert.True(t, i.Connected)
		assert.GreaterOrEqual(t, i.Channels, 2)
		assert.Positive(t, i.FramesIn)
		assert.Positive(t, i.BytesOut)
	}

	require.NoError(t, home.Leave(context.Background()))
	assert.False(t, home.Info().Lease.Valid)
	self := memberOf(t, home.Info(), home.Self().ID)
	assert.Equal(t, "absent", self.State())
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for _, s := range others {
			info := s.Info()
			assert.Len(c, info.Members, 2)
			assert.Equal(c, shards, states(info)["ready"]+states(info)["remote"])
			assert.Contains(c, kinds(info), "member leaving "+home.Self().ID)
			assert.Contains(c, kinds(info), "shards changed")
		}
	}, 30*time.Second, 10*time.Millisecond)
}

// linkTo returns the link to a member over which this node's clients are served, or nil.
func linkTo(info edgews.ClusterInfo, id string) *edgews.ClusterLinkInfo {
	for i := range info.Links {
		if l := &info.Links[i]; l.Dialed && l.Member == id {
			return l
		}
	}
	return nil
}

// TestInfoOfRequestsThatWait: while an object has no home, requests to it are counted.
func TestInfoOfRequestsThatWait(t *testing.T) {
	sites := startSites(t, "a")
	homeOf(t, sites, "lobby")
	a := sites[0]
	a.engine.Partition(true)
	require.Eventually(t, func() bool { return a.Info().Lease.Ended == 1 }, 30*time.Second, 10*time.Millisecond)
	info := a.Info()
	assert.False(t, info.Lease.Valid)
	assert.Positive(t, info.Lease.Failures)
	assert.Error(t, info.Lease.Err)
	assert.False(t, info.Lease.ErrTime.IsZero())
	called := make(chan error, 1)
	go func() {
		_, err := edgews.Call[string, int](t.Context(), a.rooms.ByName("lobby"), "calls", "")
		called <- err
	}()
	require.Eventually(t, func() bool { return a.Info().Waiting == 1 }, 10*time.Second, time.Millisecond)
	assert.Equal(t, map[string]int{"unowned": shards}, states(a.Info()))
	a.engine.Partition(false)
	require.NoError(t, <-called)
	assert.Zero(t, a.Info().Waiting)
	assert.Contains(t, kinds(a.Info()), "lease ended")
	assert.EqualValues(t, shards, a.Info().Moves.Lost)
}

// TestInfoNamesWhoIsMissing: the shards of a node wait for the announcements of a member that makes none.
func TestInfoNamesWhoIsMissing(t *testing.T) {
	m := memory.New()
	t.Cleanup(func() { m.Close() })
	mute, err := cluster.Start(t.Context(), cluster.Options{
		Engine: m.Connect(), Self: cluster.Member{ID: "mute", EdgeOnly: true}, Config: cluster.Config{Shards: shards}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { mute.Close() })
	a := startSite(t, m, "a")
	require.Eventually(t, func() bool { return a.Info().Shards[3].Missing != nil }, 30*time.Second, time.Millisecond)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		info := a.Info()
		assert.Equal(c, map[string]int{"waiting": shards}, states(info))
		assert.Equal(c, []string{"mute"}, info.Shards[3].Missing)
		assert.Equal(c, shards, info.Moves.Claiming)
		assert.Zero(c, info.Moves.Ready)
		assert.True(c, memberOf(c, info, "mute").EdgeOnly)
	}, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, mute.Close())
	require.Eventually(t, func() bool { return states(a.Info())["ready"] == shards }, 30*time.Second, 10*time.Millisecond)
}
