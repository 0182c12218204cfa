package link_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster/internal/link"
)

// linkOf returns the link of a node whose channels it opens, or else the one whose channels the other node opens.
func linkOf(t *testing.T, n *node) link.Info {
	t.Helper()
	links := n.Links()
	require.NotEmpty(t, links)
	for _, l := range links {
		if l.Dialed {
			return l
		}
	}
	return links[0]
}

// The two ends count the same frames and bytes, over all connections of the link.
func TestLinksCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a, b := startNode(t, n, "a", 1, nil), startNode(t, n, "b", 1, func(o *link.Options) { o.Self.Addr = "" })
		began := time.Now()
		out := a.open(b, "hello")
		in := <-b.opened
		out.send(t, numbered(100))
		in.received(100)
		in.send(t, numbered(10))
		out.received(10)
		synctest.Wait()

		at, from := linkOf(t, a), linkOf(t, b)
		assert.Equal(t, b.self, at.Peer)
		assert.True(t, at.Dialed && at.Connected && !from.Dialed && from.Connected)
		assert.Equal(t, []int64{1, 1}, []int64{at.Connections, from.Connections})
		assert.True(t, began.Equal(at.Since))
		assert.Equal(t, []int{1, 1}, []int{at.Channels, from.Channels})
		assert.GreaterOrEqual(t, at.FramesOut, int64(101), "an open and messages")
		assert.Equal(t, []int64{at.FramesOut, at.FramesIn}, []int64{from.FramesIn, from.FramesOut})
		assert.Positive(t, at.BytesIn)
		assert.GreaterOrEqual(t, at.BytesOut, int64(101*28))
		assert.Equal(t, at.BytesOut, from.BytesIn)
		assert.NoError(t, at.Err)

		n.breakAll()
		synctest.Wait()
		in.send(t, numbered(1))
		out.received(11)
		synctest.Wait()
		again := linkOf(t, a)
		assert.True(t, again.Connected)
		assert.Equal(t, int64(2), again.Connections)
		assert.Greater(t, again.BytesIn, at.BytesIn)
		assert.Error(t, again.Err, "why the first connection has ended")
	})
}

func TestLinkThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := startNode(t, n, "a", 1, nil)
		require.NoError(t, a.Connect(link.Peer{ID: "b", Incarnation: 1, Addr: "b"}))
		synctest.Wait()
		at := linkOf(t, a)
		assert.False(t, at.Connected)
		assert.Zero(t, at.Connections)
		assert.True(t, at.Since.IsZero())
		assert.ErrorContains(t, at.Err, "refused")
	})
}

// lateConn takes a while for each write.
type lateConn struct{ net.Conn }

func (c lateConn) Write(p []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	return c.Conn.Write(p)
}

// An idle link measures the round trip of its pings.
func TestRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.wrap = func(_ int, dialed, accepted net.Conn) (net.Conn, net.Conn) { return dialed, lateConn{accepted} }
		a, b := startNode(t, n, "a", 1, nil), startNode(t, n, "b", 1, func(o *link.Options) { o.HeartbeatEvery = time.Hour })
		a.open(b, "hello")
		<-b.opened
		synctest.Wait()
		require.Zero(t, linkOf(t, a).RoundTrip, "there was no ping")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Equal(t, 5*time.Millisecond, linkOf(t, a).RoundTrip)
	})
}
