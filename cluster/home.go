package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// homeShard is a shard that this node owns. Its objects begin when all live members have announced the sockets that they have for them, so
// that State.WebSockets is complete from the first event on. A member that is alive but cannot be reached does not hold the objects up for
// ever, see JoinOptions.AnnounceWithin: its sockets end then, without an event, as those of an edge that died together with the last home do.
// So State.WebSockets is complete in this case too: the objects never hear of these sockets again.
type homeShard struct {
	Ownership
	ready   chan struct{} // closed when the objects may have events
	over    chan struct{} // closed when leaving becomes true
	leaving bool          // it is being given away, or is lost; guarded by Cluster.mu

	// Guarded by Cluster.mu.
	announced []*homeConn   // sockets that wait for ready
	restored  bool          // restore has taken announced: what is announced now comes too late
	heard     time.Duration // when a member has announced a socket, or that these were all, by the Node's clock
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
	h := &homeShard{Ownership: o, ready: make(chan struct{}), over: make(chan struct{})}
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
	if !c.awaitStart(ctx) {
		return
	}
	began := c.clock.now()
	if !c.awaitAnnouncements(ctx, h) {
		return
	}
	restored := c.restore(ctx, h)
	c.mu.Lock()
	still := c.homes[o.Shard] == h
	if still {
		c.active[o.Shard].Store(h)
		close(h.ready)
		if set := c.ends[o.Shard]; set != nil && set.epoch <= o.Epoch {
			delete(c.ends, o.Shard)
		}
		c.counts.readyLocked(c.clock.now() - began)
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

// awaitAnnouncements waits until all live members have announced their sockets, or until nothing has been heard of those that are missing for
// JoinOptions.AnnounceWithin. It returns false if the shard is lost before.
func (c *Cluster) awaitAnnouncements(ctx context.Context, h *homeShard) bool {
	c.heardOf(h)
	timer := time.NewTimer(c.opts.AnnounceWithin)
	defer timer.Stop()
	for {
		changed := c.Changed()
		missing, heard := c.unannounced(h)
		if len(missing) == 0 {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			left := c.clock.timer(heard + c.opts.AnnounceWithin)
			if left == 0 {
				c.opts.Logger.Warn("edgews: objects begin without the sockets of members that cannot be reached; these sockets will end",
					"node", c.Self().ID, "shard", h.Shard, "members", missing, "waited", c.opts.AnnounceWithin)
				return true
			}
			timer.Reset(left)
		case <-ctx.Done():
			return false
		case <-c.done:
			return false
		}
	}
}

// heardOf notes that a member has announced something to h.
func (c *Cluster) heardOf(h *homeShard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h.heard = c.clock.now()
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

// unannounced returns the IDs of the live members that have not announced all of their sockets to h, and when a member has announced any.
func (c *Cluster) unannounced(h *homeShard) (missing []string, heard time.Duration) {
	members := c.Members()
	c.mu.Lock()
	defer c.mu.Unlock()
	var from map[string]uint64
	if set := c.ends[h.Shard]; set != nil && set.epoch == h.Epoch {
		from = set.from
	}
	for _, m := range members {
		if from[m.ID] != m.Incarnation {
			missing = append(missing, m.ID)
		}
	}
	return missing, h.heard
}

// noteEnd notes that a member has announced all of its sockets.
func (c *Cluster) noteEnd(from link.Peer, e endHead) {
	c.mu.Lock()
	if h := c.homes[e.Shard]; h != nil && h.Epoch == e.Epoch && h.isReady() { // it waits for nobody. Members come and go while it is
		c.mu.Unlock()
		return
	}
	set := c.ends[e.Shard]
	if set == nil || set.epoch < e.Epoch {
		set = &endSet{epoch: e.Epoch, from: make(map[string]uint64)}
		c.ends[e.Shard] = set
	}
	if set.epoch == e.Epoch {
		set.from[from.ID] = from.Incarnation
	}
	if h := c.homes[e.Shard]; h != nil {
		h.heard = c.clock.now()
	}
	c.mu.Unlock()
	c.changed.send()
}

// restore gives the objects of h the sockets that have been announced. It returns what has their messages delivered.
func (c *Cluster) restore(ctx context.Context, h *homeShard) (begin []func()) {
	c.mu.Lock()
	announced := h.announced
	h.announced, h.restored = nil, true
	c.mu.Unlock()
	byObject := make(map[target][]*homeConn)
	for _, conn := range announced {
		t := conn.announced.target
		byObject[t] = append(byObject[t], conn)
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
				if n == edgews.ClusterEnded {
					conns[i].refuse(codeGone, errEnded)
					continue
				}
				begin = append(begin, func() { conns[i].begin(n) })
			}
		})
	}
	wg.Wait()
	return begin
}

// errEnded: the close event of the socket has been handled, but its edge has not learned that before the last home died.
var errEnded = errors.New("edgews: the object has closed the socket")

// restoresAtOnce is how many objects get their sockets back at a time: the engine is asked for each.
const restoresAtOnce = 32

// restoreObject gives an object its sockets, and returns how many messages of each have been handled. If it cannot, the sockets end, unless the
// lease has ended meanwhile: then the edges announce them to the next home.
func (c *Cluster) restoreObject(ctx context.Context, t target, conns []*homeConn) (handled []uint64) {
	slices.SortStableFunc(conns, func(a, b *homeConn) int { return cmp.Compare(a.announced.Opened, b.announced.Opened) }) // for State.WebSockets
	host, id, err := c.object(t)
	if err == nil {
		handled, err = c.tryRestore(ctx, host, id, conns)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		for _, conn := range conns {
			conn.refuse(codeNotHome, edgews.ErrNotHome)
		}
	default:
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
		if err == nil || attempt == restoreRetries || ctx.Err() != nil {
			return handled, err
		}
		select {
		case <-time.After(restorePause): // the engine has failed
		case <-ctx.Done():
		}
	}
}

const (
	// restoreRetries is how often Restore is called again, and restorePause how long after a failure: some seconds, in which an engine that has
	// lost a server works again. After that the sockets end, so that other objects of the shard need not wait any longer.
	restoreRetries = 5
	restorePause   = time.Second
)

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

// losing is the hook of the Node: the shard is given to another node when it has returned. The events that run or wait end before.
func (c *Cluster) losing(ctx context.Context, o Ownership) {
	h := c.beginLeaving(o)
	if h == nil {
		return
	}
	for _, host := range c.allHosts() {
		err := host.Leave(ctx, c.inShard(host, o.Shard))
		if err != nil && ctx.Err() == nil {
			c.opts.Logger.Warn("edgews: objects have not ended before their shard is given away",
				"namespace", host.Namespace().Name(), "shard", o.Shard, "error", err)
		}
	}
	c.endLeaving(ctx, h)
}

// lost is the hook of the Node: another node may own the shard already. Nothing that its objects write is stored any more, so they are not
// waited for: a handler may be waiting for an engine that this node cannot reach.
func (c *Cluster) lost(o Ownership) {
	h := c.beginLeaving(o)
	if h == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lostTimeout)
	defer cancel()
	c.endLeaving(ctx, h)
}

// lostTimeout is how long this node waits for the edges to send the sockets of a shard on that it has lost.
const lostTimeout = time.Second

// inShard returns what says which objects of a namespace are in a shard.
func (c *Cluster) inShard(host *edgews.ClusterHost, s Shard) func(edgews.ID) bool {
	name := host.Namespace().Name()
	return func(id edgews.ID) bool { return c.shardOf(edgews.ObjectKey{Namespace: name, ID: id}) == s }
}

// beginLeaving has this node refuse what is new for the objects of a shard. It returns nil if the shard is not this node's.
func (c *Cluster) beginLeaving(o Ownership) *homeShard {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.homes[o.Shard]
	if h == nil || h.Epoch != o.Epoch || h.leaving {
		return nil
	}
	h.leaving = true
	close(h.over)
	return h
}

// endLeaving makes this node stop being the home of a shard, ends what is left of its objects, and sends their sockets on to the next home.
func (c *Cluster) endLeaving(ctx context.Context, h *homeShard) {
	c.mu.Lock()
	delete(c.homes, h.Shard)
	c.active[h.Shard].Store(nil)
	announced := h.announced
	h.announced = nil
	c.mu.Unlock()
	for _, host := range c.allHosts() { // also those that an event at the last moment has made
		host.Abandon(c.inShard(host, h.Shard))
	}
	c.mu.Lock()
	conns := c.conns[h.Shard]
	delete(c.conns, h.Shard)
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
		case <-conn.whenGone():
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
	case <-h.over: // also if the lease has ended, and another one has begun
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
		return accepted(content, func(h *requestHead) link.Receiver { return c.acceptRequest(ch, h) })
	case kindCall:
		return accepted(content, func(h *callHead) link.Receiver { return c.acceptCall(ch, h) })
	case kindSocket:
		return accepted(content, func(h *socketHead) link.Receiver { return c.acceptSocket(ch, h) })
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
