package cluster

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// homeShard is a shard that this node owns. Its objects begin when all live members have announced the sockets that they have for them, so
// that State.WebSockets is complete from the first event on.
type homeShard struct {
	Ownership
	ready   chan struct{} // closed when the objects may have events
	leaving bool          // it is being given away; guarded by Cluster.mu

	// Guarded by Cluster.mu.
	announced []*homeConn // sockets that wait for ready
}

// isReady reports whether the objects may have events.
func (h *homeShard) isReady() bool {
	select {
	case <-h.ready:
		return true
	default:
		return false
	}
}

// endSet says which members have announced all of their sockets of a shard to the owner with an epoch. Guarded by Cluster.mu.
type endSet struct {
	epoch uint64
	from  map[string]uint64 // incarnations by ID
}

// gained is the hook of the Node: this node owns a shard.
func (c *Cluster) gained(ctx context.Context, o Ownership) {
	h := &homeShard{Ownership: o, ready: make(chan struct{})}
	var stale []*homeConn
	c.mu.Lock()
	c.homes[o.Shard] = h
	if set := c.early[o.Shard]; set != nil && set.epoch <= o.Epoch {
		delete(c.early, o.Shard)
		if set.epoch == o.Epoch {
			h.announced = set.conns
		} else {
			stale = set.conns
		}
	}
	c.mu.Unlock()
	for _, conn := range stale {
		conn.refuse(codeNotHome, edgews.ErrNotHome)
	}
	if !c.awaitAnnouncements(ctx, h) {
		return
	}
	restored := c.restore(ctx, h)
	c.mu.Lock()
	still := c.homes[o.Shard] == h
	if still {
		c.active[o.Shard].Store(h)
		close(h.ready)
	}
	c.mu.Unlock()
	for _, begin := range restored { // only now: events of an object whose home this node is not fail
		begin()
	}
	if still {
		for _, host := range c.allHosts() {
			host.AlarmsChanged()
		}
	}
}

// awaitAnnouncements waits until all live members have announced their sockets. It returns false if the shard is lost before.
func (c *Cluster) awaitAnnouncements(ctx context.Context, h *homeShard) bool {
	if !c.awaitStart(ctx) {
		return false
	}
	for {
		changed := c.Changed()
		if c.allAnnounced(h) {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		case <-c.done:
			return false
		}
	}
}

// awaitStart waits until Start has returned: hooks may run before.
func (c *Cluster) awaitStart(ctx context.Context) bool {
	select {
	case <-c.started:
		return true
	case <-ctx.Done():
		return false
	}
}

// allAnnounced reports whether all live members have announced their sockets to h.
func (c *Cluster) allAnnounced(h *homeShard) bool {
	members := c.Members()
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.ends[h.Shard]
	if set == nil || set.epoch != h.Epoch {
		return false
	}
	for _, m := range members {
		if set.from[m.ID] != m.Incarnation {
			return false
		}
	}
	return true
}

// noteEnd notes that a member has announced all of its sockets.
func (c *Cluster) noteEnd(from link.Peer, e endHead) {
	c.mu.Lock()
	set := c.ends[e.Shard]
	if set == nil || set.epoch < e.Epoch {
		set = &endSet{epoch: e.Epoch, from: make(map[string]uint64)}
		c.ends[e.Shard] = set
	}
	if set.epoch == e.Epoch {
		set.from[from.ID] = from.Incarnation
	}
	c.mu.Unlock()
	c.changed.send()
}

// restore gives the objects of h the sockets that have been announced. It returns what has their messages delivered.
func (c *Cluster) restore(ctx context.Context, h *homeShard) (begin []func()) {
	c.mu.Lock()
	announced := h.announced
	h.announced = nil
	c.mu.Unlock()
	byObject := make(map[target][]*homeConn)
	for _, conn := range announced {
		byObject[conn.head.target] = append(byObject[conn.head.target], conn)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	room := make(chan struct{}, restoresAtOnce)
	for t, conns := range byObject {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			handled := c.restoreObject(ctx, t, conns)
			mu.Lock()
			defer mu.Unlock()
			for i, n := range handled {
				begin = append(begin, func() { conns[i].begin(n) })
			}
		})
	}
	wg.Wait()
	return begin
}

// restoresAtOnce is how many objects get their sockets back at a time: the engine is asked for each.
const restoresAtOnce = 32

// restoreObject gives an object its sockets, and returns how many messages of each have been handled. If it cannot, the sockets end.
func (c *Cluster) restoreObject(ctx context.Context, t target, conns []*homeConn) (handled []uint64) {
	host, id, err := c.object(t)
	if err == nil {
		handled, err = c.tryRestore(ctx, host, id, conns)
	}
	if err != nil {
		c.opts.Logger.Error("edgews: sockets of an object are lost", "namespace", t.Namespace, "object", t.ID, "sockets", len(conns), "error", err)
		for _, conn := range conns {
			conn.refuse(codeGone, err)
		}
	}
	return handled
}

func (c *Cluster) tryRestore(ctx context.Context, host *edgews.ClusterHost, id edgews.ID, conns []*homeConn) ([]uint64, error) {
	list := make([]edgews.ClusterRestored, len(conns))
	for i, conn := range conns {
		list[i] = conn.restored()
	}
	for attempt := 0; ; attempt++ {
		handled, err := host.Restore(ctx, id, list)
		if err == nil || attempt == restoreAttempts || ctx.Err() != nil {
			return handled, err
		}
		select {
		case <-time.After(time.Second): // the engine has failed
		case <-ctx.Done():
		}
	}
}

const restoreAttempts = 5

// object returns the namespace and the ID of an object that another node has named.
func (c *Cluster) object(t target) (*edgews.ClusterHost, edgews.ID, error) {
	host := c.host(t.Namespace)
	if host == nil {
		return nil, edgews.ID{}, &remoteError{"edgews: this node of the cluster has no namespace " + t.Namespace, edgews.ErrNotHome}
	}
	id, err := host.Namespace().ParseID(t.ID)
	if err == nil && t.Named {
		if named := host.Namespace().IDFromName(t.Name); named == id {
			id = named
		}
	}
	return host, id, err
}

// losing is the hook of the Node: the shard is given to another node when it has returned.
func (c *Cluster) losing(ctx context.Context, o Ownership) { c.leaveShard(ctx, o) }

// lost is the hook of the Node: another node may own the shard already.
func (c *Cluster) lost(o Ownership) {
	ctx, cancel := context.WithTimeout(context.Background(), lostTimeout)
	defer cancel()
	c.leaveShard(ctx, o)
}

// lostTimeout is how long the objects of a shard that has been lost get to end. Nothing that they write is stored any more.
const lostTimeout = time.Second

// leaveShard ends the objects of a shard on this node, and sends their sockets on to the next home.
func (c *Cluster) leaveShard(ctx context.Context, o Ownership) {
	c.mu.Lock()
	h := c.homes[o.Shard]
	if h == nil || h.Epoch != o.Epoch {
		c.mu.Unlock()
		return
	}
	h.leaving = true
	c.mu.Unlock()
	for _, host := range c.allHosts() {
		name := host.Namespace().Name()
		err := host.Leave(ctx, func(id edgews.ID) bool { return c.shardOf(edgews.ObjectKey{Namespace: name, ID: id}) == o.Shard })
		if err != nil && ctx.Err() == nil {
			c.opts.Logger.Warn("edgews: objects have not ended before their shard is given away", "namespace", name, "shard", o.Shard, "error", err)
		}
	}
	c.mu.Lock()
	if c.homes[o.Shard] == h {
		delete(c.homes, o.Shard)
		c.active[o.Shard].Store(nil)
	}
	announced := h.announced
	h.announced = nil
	conns := c.conns[o.Shard]
	delete(c.conns, o.Shard)
	c.mu.Unlock()
	for _, conn := range announced {
		conn.refuse(codeNotHome, edgews.ErrNotHome)
	}
	for conn := range conns {
		conn.move()
	}
	c.awaitMoved(ctx, conns)
}

// awaitMoved waits until the edges have got all that this node has sent to the sockets, and have sent them on. If this node left before, they
// would drop what is on its way.
func (c *Cluster) awaitMoved(ctx context.Context, conns map[*homeConn]struct{}) {
	timer := time.NewTimer(detachTimeout)
	defer timer.Stop()
	for conn := range conns {
		select {
		case <-conn.gone:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// readyHome returns the home of a shard if this node owns it and may run events, and waits for that if it is about to. It returns nil if this
// node is not the home. While the home is not ready, it returns nil also if the node that asks does not know that owner yet: that node must
// announce its sockets first.
func (c *Cluster) readyHome(ctx context.Context, s Shard, asked uint64) *homeShard {
	c.mu.Lock()
	h := c.homes[s]
	refused := h == nil || h.leaving || h.Epoch != asked && !h.isReady()
	c.mu.Unlock()
	if refused {
		return nil
	}
	select {
	case <-h.ready:
		return h
	case <-ctx.Done():
	case <-c.done:
	case <-c.LeaseEnded():
	}
	return nil
}

// IsHome implements edgews.Cluster.
func (c *Cluster) IsHome(key edgews.ObjectKey) bool {
	h := c.active[c.shardOf(key)].Load()
	return h != nil && (!c.Fenced() || c.opts.UnsafeWithoutSelfFencing)
}

// epochOf returns the epoch with which this node owns the shard of an object, also while the sockets are being restored.
func (c *Cluster) epochOf(key edgews.ObjectKey) (epoch uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.homes[c.shardOf(key)]
	if h == nil {
		return 0, false
	}
	return h.Epoch, true
}

// accept is called for the channels that other members open.
func (c *Cluster) accept(from link.Peer, ch *link.Channel, greeting []byte) link.Receiver {
	if len(greeting) == 0 {
		return nil
	}
	kind, content := greeting[0], greeting[1:]
	switch kind {
	case kindRequest:
		return accepted(content, func(h *requestHead) link.Receiver { return c.acceptRequest(from, ch, h) })
	case kindCall:
		return accepted(content, func(h *callHead) link.Receiver { return c.acceptCall(ch, h) })
	case kindSocket:
		return accepted(content, func(h *socketHead) link.Receiver { return c.acceptSocket(from, ch, h) })
	case kindTopics:
		return c.acceptTopics(from, ch)
	case kindEnd:
		return accepted(content, func(h *endHead) link.Receiver {
			c.noteEnd(from, *h)
			_ = ch.End(nil)
			return ignore{ch}
		})
	}
	return nil
}

// accepted decodes the head of a channel, and calls accept with it. It refuses a channel whose head cannot be decoded.
func accepted[Head any](content []byte, accept func(*Head) link.Receiver) link.Receiver {
	head := new(Head)
	if json.Unmarshal(content, head) != nil {
		return nil
	}
	return accept(head)
}

// ignore is the receiver of a channel on which nothing is expected.
type ignore struct{ ch *link.Channel }

func (ignore) Message(uint64, []byte) bool { return true }
func (i ignore) Ended([]byte)              { _ = i.ch.End(nil) }
func (ignore) Writable()                   {}
func (ignore) Closed(error)                {}
