package cluster

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster/internal/link"
)

// dead is the address of a process that is dead. Others cannot be reached.
const dead = "127.0.0.1:9"

// newBareCluster returns a Cluster that is not joined. Its links lead to itself, and to nobody else.
func newBareCluster(t *testing.T, accept func(link.Peer, *link.Channel, []byte) link.Receiver) *Cluster {
	self := Member{ID: "a", Incarnation: 1, Addr: "127.0.0.1:1"}
	c := &Cluster{
		Node: &Node{self: self, clock: newClock(1)}, done: make(chan struct{}), homes: make(map[Shard]*homeShard), ends: make(map[Shard]*endSet),
		early: make(map[Shard]*earlySet), edges: make(map[Shard]map[*edgeSocket]struct{}), told: make(map[Shard]Ownership),
		started: make(chan struct{}), active: make([]atomic.Pointer[homeShard], 10),
	}
	c.view.Store(&memberView{})
	var err error
	c.links, err = link.New(link.Options{Self: peerOf(self), Cluster: "test", Accept: accept,
		Dial: func(_ context.Context, addr string) (net.Conn, error) {
			if addr == dead {
				return nil, syscall.ECONNREFUSED
			}
			return nil, errors.New("no route to host")
		},
		Event: func(e link.Event) { c.linkEvent(e) },
	})
	require.NoError(t, err)
	t.Cleanup(func() { c.links.Close() })
	return c
}

// closings is a receiver that says how its channel has ended.
type closings chan error

func (closings) Message(uint64, []byte) bool { return true }
func (closings) Ended([]byte)                {}
func (closings) Writable()                   {}
func (r closings) Closed(err error)          { r <- err }

// TestAnnouncedWhileOthersAreRestored: a socket that is announced when the objects are getting those that were announced before comes as late as
// when they have begun. It must not wait for ever.
func TestAnnouncedWhileOthersAreRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *Cluster
		c = newBareCluster(t, func(from link.Peer, ch *link.Channel, greeting []byte) link.Receiver {
			return c.accept(from, ch, greeting)
		})
		h := &homeShard{Ownership: Ownership{Shard: 3, Epoch: 7}, ready: make(chan struct{}), over: make(chan struct{})}
		c.homes[3] = h
		announce := func() closings {
			closed := make(closings, 1)
			_, err := c.links.Open(peerOf(c.self), greeting(kindSocket, socketHead{Shard: 3, Epoch: 7}), 1, closed)
			require.NoError(t, err)
			synctest.Wait()
			return closed
		}
		announce()
		assert.Len(t, h.announced, 1)
		h.announced = nil
		c.restore(t.Context(), h)
		late := announce()
		assert.Empty(t, h.announced)
		var reset *link.ResetError
		require.ErrorAs(t, <-late, &reset)
		assert.Equal(t, codeGone, reset.Code)
	})
}

// TestEndsAreForgotten: who has announced all sockets is of no interest any more when the objects have begun, however many members come later.
func TestEndsAreForgotten(t *testing.T) {
	c := newBareCluster(t, nil)
	c.noteEnd(link.Peer{ID: "b", Incarnation: 1}, endHead{3, 7})
	assert.Len(t, c.ends, 1)
	close(c.started)
	c.gained(t.Context(), Ownership{Shard: 3, Epoch: 7})
	assert.Empty(t, c.ends)
	c.noteEnd(link.Peer{ID: "c", Incarnation: 1}, endHead{3, 7})
	assert.Empty(t, c.ends)
	c.noteEnd(link.Peer{ID: "c", Incarnation: 1}, endHead{3, 9})
	assert.Len(t, c.ends, 1, "of the next time that this node is the home")
}

// TestSocketThatIsForgottenFirst: the home ends a socket before its edge has begun to send what comes from the client.
func TestSocketThatIsForgottenFirst(t *testing.T) {
	c := newBareCluster(t, nil)
	e := &edgeSocket{c: c}
	e.forget()
	e.begin()
	assert.Empty(t, c.edges, "nobody would forget it again")
	assert.True(t, e.begun)
}

// TestOpenToMemberThatIsGone: a member is gone, and the links with it have been removed, between the moment at which its name was looked up and the one
// at which a channel is opened. The channel fails, so that another member is asked.
func TestOpenToMemberThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBareCluster(t, nil)
		gone := Member{ID: "b", Incarnation: 1, Addr: "127.0.0.1:1"}
		closed := make(closings, 1)
		_, err := c.open(t.Context(), gone, greeting(kindEnd, endHead{}), closed)
		require.NoError(t, err)
		assert.ErrorIs(t, <-closed, link.ErrRemoved)
		assert.Empty(t, c.links.Links())
	})
}

// TestLastShard: sockets are also announced to the owner of the last shard when there are as many as there can be.
func TestLastShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBareCluster(t, nil)
		owner, last := Member{ID: "b", Incarnation: 1, Addr: "127.0.0.1:1"}, Shard(maxShards-1)
		c.view.Store(&memberView{byID: map[string]Member{"b": owner}, sorted: []Member{owner}})
		c.config.Shards, c.owners = maxShards, make([]atomic.Pointer[Ownership], maxShards)
		o := Ownership{Shard: last, Owner: "b", Incarnation: 1, Epoch: 3}
		c.owners[last].Store(&o)
		c.serving.Go(c.watchOwners)
		synctest.Wait()
		c.mu.Lock()
		assert.Equal(t, o, c.told[last])
		c.mu.Unlock()
		close(c.done)
		c.serving.Wait()
	})
}

// TestLinkWithDeadProcess: a member that has been removed has connected once more before it has died. Its address is not dialled for ever.
func TestLinkWithDeadProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBareCluster(t, nil)
		require.NoError(t, c.links.Connect(link.Peer{ID: "b", Incarnation: 1, Addr: dead}))
		synctest.Wait()
		assert.Empty(t, c.links.Links())
	})
}
