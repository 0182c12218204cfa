package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Node is this process as a member of a cluster. Its methods may be called concurrently.
type Node struct {
	opts   Options
	engine Engine
	config Config
	self   Member // without Beat and Leaving
	clock  clock

	// What the methods read that must not block.
	lease  atomic.Pointer[lease]       // nil: none yet
	held   []atomic.Pointer[holding]   // by shard
	owners []atomic.Pointer[Ownership] // by shard; nil: no record
	view   atomic.Pointer[memberView]

	ctx     context.Context // of the node's own goroutines
	cancel  context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{} // has one element if reconcile has something to do
	renewal chan struct{} // has one element if the membership should be renewed at once
	synced  chan struct{} // closed when the first Watch has shown all that there was
	changed broadcast     // see Changed
	settled broadcast     // after each action on a shard

	mu sync.Mutex
	nodeState
}

// nodeState is what is guarded by Node.mu.
type nodeState struct {
	leaving   bool          // renewals say so
	announced bool          // the engine has acknowledged one that does
	closing   bool          // stop has been called
	beat      uint64        // of the last renewal that was sent
	minBeat   uint64        // a lease begins only with a renewal that has at least this beat
	rejoin    time.Duration // when the node may join again after it was removed
	unshown   unshownRenewal

	peers     map[string]*peer
	refused   map[string]uint64  // incarnations of members whose ports refuse connections, by ID
	stopWatch context.CancelFunc // has the present Watch end; another one follows

	shards    []shard
	winners   []string // by shard; nil: must be computed
	claims    int      // that are under way
	handovers int      // that are under way
	stats     Stats
	past      past
}

// Start joins a cluster. It returns when this process is a member, or with an error when ctx ends before. It does not wait for shards.
// While the engine fails, Start tries again.
//
// If a process of the same ID has ended without leaving, Start waits until it is dead by its TTL. It does not wait if that process had the
// same Addr: this one listens there now. If a process of the same ID is alive, Start returns ErrMemberExists.
//
// If a live member speaks no version of the protocol that Self speaks, Start returns ErrIncompatible. It waits for a dead one to be removed.
//
// End the node with Leave or Close.
func Start(ctx context.Context, o Options) (*Node, error) {
	o, err := o.resolve()
	if err != nil {
		return nil, err
	}
	config, err := setup(ctx, o)
	if err != nil {
		return nil, err
	}
	n := newNode(o, config)
	n.running.Go(n.watch)
	n.running.Go(n.reconcileAlways)
	if err := n.enter(ctx); err != nil {
		n.stop(ctx) // a Join whose answer was lost may have been applied
		return nil, err
	}
	n.running.Go(n.renewAlways)
	return n, nil
}

// setup returns the cluster's configuration.
func setup(ctx context.Context, o Options) (Config, error) {
	for {
		attempt, cancel := context.WithTimeout(ctx, o.RenewEvery)
		config, err := o.Engine.Setup(attempt, o.Config.orDefaults())
		cancel()
		switch {
		case err == nil:
			return config, o.Config.matches(config)
		case errors.Is(err, ErrConfig):
			return config, err
		}
		o.Logger.Warn("edgews: cluster cannot be set up; trying again", "node", o.Self.ID, "error", err)
		if !pause(ctx, o.RenewEvery/retriesPerRenewal) {
			return config, fmt.Errorf("edgews: cluster cannot be set up: %w", errors.Join(ctx.Err(), err))
		}
	}
}

func newNode(o Options, config Config) *Node {
	n := &Node{
		opts: o, engine: o.Engine, config: config, self: o.Self, clock: newClock(o.clockRate),
		held: make([]atomic.Pointer[holding], config.Shards), owners: make([]atomic.Pointer[Ownership], config.Shards),
		wake: make(chan struct{}, 1), renewal: make(chan struct{}, 1), synced: make(chan struct{}),
		nodeState: nodeState{peers: make(map[string]*peer), refused: make(map[string]uint64), shards: make([]shard, config.Shards)},
	}
	for s := range n.shards {
		n.shards[s].record.Shard = Shard(s)
	}
	n.view.Store(&memberView{})
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Self returns the record of this process, with the ID and the incarnation that it has.
func (n *Node) Self() Member { return n.self }

// Config returns what the cluster was created with.
func (n *Node) Config() Config { return n.config }

// Owner returns the record of a shard's owner, and the owner if it is a live member as far as this node knows. It does not block. What it
// returns may be out of date: the owner refuses what it does not own any more. Without a live owner, wait for [Node.Changed]. If the owner
// is this node, but Owns reports that it does not own the shard, its claim is under way, or it is giving the shard away: wait as well.
func (n *Node) Owner(s Shard) (Ownership, Member, bool) {
	if int(s) >= len(n.owners) {
		return Ownership{}, Member{}, false
	}
	o := n.owners[s].Load()
	if o == nil {
		return Ownership{Shard: s}, Member{}, false
	}
	if n.self.owns(*o) {
		return *o, n.self, !n.Fenced()
	}
	m, exists := n.view.Load().byID[o.Owner]
	if !exists || !m.owns(*o) {
		return *o, Member{}, false
	}
	return *o, m, true
}

// Owns reports whether this node owns a shard, and the epoch for its storage. It looks at the clock, so it is right even if the process
// has just been suspended for longer than TTL. It does not block.
func (n *Node) Owns(s Shard) (epoch uint64, ok bool) {
	if int(s) >= len(n.held) {
		return 0, false
	}
	h := n.held[s].Load()
	if !h.valid() {
		return 0, false
	}
	return h.epoch, true
}

// Fenced reports whether this node may own no shards at the moment, because its membership was not renewed in time or has ended.
func (n *Node) Fenced() bool {
	l := n.lease.Load()
	return l == nil || !l.valid()
}

// LeaseEnded returns a channel that is closed when the node is fenced, soon after it has become so. Later leases have other channels. It
// is closed already if the node is fenced now.
func (n *Node) LeaseEnded() <-chan struct{} {
	if l := n.lease.Load(); l != nil && l.valid() {
		return l.ctx.Done()
	}
	return alreadyClosed
}

var alreadyClosed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Members returns the live members as far as this node knows, in the order of their IDs. The caller may change the slice.
func (n *Node) Members() []Member { return slices.Clone(n.view.Load().sorted) }

// Version returns the highest version of the protocol that all live members speak. It is never more than this member's own, and grows
// when the last member that does not speak more has left.
func (n *Node) Version() uint16 {
	v := n.self.Versions[1]
	for _, m := range n.view.Load().sorted {
		if m.speaksWith(n.self) {
			v = min(v, m.Versions[1])
		}
	}
	return v
}

// Stats counts what a node has done since Start.
type Stats struct {
	Leases  int64 // that have begun: joining, and coming back after being fenced
	Fenced  int64 // leases that have ended, other than by Leave and Close
	Gained  int64 // shards, each time
	Given   int64 // shards for which Losing was called
	Lost    int64 // shards for which Lost was called
	Removed int64 // members that this node has removed because they were dead
	Watches int64 // calls of Watch; more than 1 means that it was interrupted
}

// Stats returns what the node has counted.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Changed returns a channel that is closed when a member comes or goes, the owner of a shard changes, or this node gains or loses a
// shard. Call it before looking at the state, and again for the next change.
func (n *Node) Changed() <-chan struct{} { return n.changed.next() }

// ReportRefused says that a member's port refuses connections: its process is dead. It is removed at once, instead of after its TTL. The
// report concerns that incarnation only; another one is not removed. If the process is alive nevertheless, it learns of its
// removal and joins again. Until then two members may own the same shards, so that only the fence of the storage keeps them apart. This
// node does not give it any shards until ReportConnected. ReportRefused does not block.
func (n *Node) ReportRefused(member string, incarnation uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[member]
	if p == nil || p.member.Incarnation != incarnation || p.member.is(n.self) {
		return
	}
	if n.refused[member] != incarnation {
		n.past.member("member refused", member, "")
	}
	n.refused[member] = incarnation
	p.reported = true
	n.winners = nil
	n.poke()
}

// ReportConnected takes ReportRefused back: the member can be reached. It does not block.
func (n *Node) ReportConnected(member string, incarnation uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refused[member] != incarnation {
		return
	}
	delete(n.refused, member)
	n.past.member("member connected", member, "")
	if p := n.peers[member]; p != nil {
		p.reported = false
	}
	n.winners = nil
	n.poke()
}

// poke has reconcile run.
func (n *Node) poke() { notify(n.wake) }

// notify puts an element into a channel that has room for one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
