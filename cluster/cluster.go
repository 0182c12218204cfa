package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// JoinOptions configures a Cluster.
type JoinOptions struct {
	Options // of the Node. Self.Addr may be empty: it is then the address of Listener. Gained, Losing and Lost must be nil

	// Name is the name of the cluster; members of other clusters are refused. Default "edgews".
	Name string

	// Listener accepts the links of other members. The Cluster closes it, also if Join fails.
	Listener net.Listener

	// Secret, of at least 32 random bytes, is known to the members and to no other program. Without Secret and TLS only loopback addresses
	// are served and dialed.
	Secret []byte

	// TLS is the configuration of links in both directions. Without Secret it must check the certificates of both ends.
	TLS *tls.Config

	// Dial connects to another member; nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// AnnounceWithin is for members that are alive by the engine's records, but that this node cannot reach. When this node becomes the home of
	// objects, it waits for all live members to announce the sockets that they have for them. If it hears nothing for this time of those that
	// are missing, it logs a warning and begins without them: the clients of these sockets get 1012 as soon as their edge can be reached again,
	// and the objects get no event of them. Default Options.TTL, but at least 10 s: longer than an edge waits for the last home.
	AnnounceWithin time.Duration
}

// minAnnounceWithin is the least default of JoinOptions.AnnounceWithin. An edge waits for detachTimeout before it announces.
const minAnnounceWithin = 2 * detachTimeout

// Cluster is this process as a member of a cluster that runs the objects of namespaces: edgews.NamespaceOptions.Cluster. Make the
// namespaces directly after Join, the same ones on each node: requests to objects of a namespace that a node does not have fail there. Its
// methods may be called from any goroutine.
type Cluster struct {
	*Node
	opts   JoinOptions
	links  *link.Manager
	token  string // begins the keys of this process's connections
	counts counts

	topics *topics

	shards   int
	active   []atomic.Pointer[homeShard] // by shard: those whose objects may have events. Set under mu
	lastConn atomic.Uint64               // the number of the last connection of a client
	// shared finds out what this node's objects send to several sockets. Shards have their own, in part, as in edgeShared.
	shared [sharedGroups]sharedMessages
	// edgeShared is what sockets of this node's clients have in common, by their shard.
	edgeShared [edgeGroups]edgeShared

	draining  atomic.Bool // Leave has left the cluster: the links stay a little longer
	forgotten broadcast   // after each socket that has left edges

	serving sync.WaitGroup // the listener and the goroutines of the Cluster
	started chan struct{}  // closed when Node is set: hooks may run before
	done    chan struct{}  // closed when the Cluster ends

	mu    sync.Mutex // under it, only those of edgeSockets and of links are locked, and no code of edgews or of the program is called
	hosts map[string]*edgews.ClusterHost
	homes map[Shard]*homeShard // the shards that this node owns, or is giving away
	ends  map[Shard]*endSet    // which members have announced all of their sockets
	early map[Shard]*earlySet  // sockets that were announced to this node before it knew that it owns their shard
	conns map[Shard]map[*homeConn]struct{}
	edges map[Shard]map[*edgeSocket]struct{} // the sockets of this node's clients, by the shard of their object
	told  map[Shard]Ownership                // the owners to whom they have been announced
	// upgrades are the requests that may become sockets, by the shard of their object.
	upgrades map[Shard]map[*edgeRequest]chan struct{} // closed when the request is a socket, or has ended otherwise
}

// Join joins a cluster, as Start does. The Cluster is then used as edgews.NamespaceOptions.Cluster.
func Join(ctx context.Context, o JoinOptions) (*Cluster, error) {
	if o.Listener == nil {
		return nil, fmt.Errorf("%w: Listener is nil", ErrConfig)
	}
	c, err := join(ctx, o)
	if err != nil {
		o.Listener.Close()
		return nil, err
	}
	return c, nil
}

func join(ctx context.Context, o JoinOptions) (*Cluster, error) {
	if o.Gained != nil || o.Losing != nil || o.Lost != nil {
		return nil, fmt.Errorf("%w: the hooks are the Cluster's own", ErrConfig)
	}
	if o.Name == "" {
		o.Name = "edgews"
	}
	if o.Self.Addr == "" {
		o.Self.Addr = o.Listener.Addr().String()
	}
	resolved, err := o.Options.resolve()
	if err != nil {
		return nil, err
	}
	if o.AnnounceWithin < 0 {
		return nil, fmt.Errorf("%w: AnnounceWithin is %v", ErrConfig, o.AnnounceWithin)
	}
	if err := o.checkAddr(); err != nil {
		return nil, err
	}
	o.AnnounceWithin = cmp.Or(o.AnnounceWithin, max(resolved.TTL, minAnnounceWithin))
	o.Self = resolved.Self // with its ID and incarnation, which the links need before Start
	c := &Cluster{
		opts: o, token: randomToken(), started: make(chan struct{}), done: make(chan struct{}),
		hosts: make(map[string]*edgews.ClusterHost), homes: make(map[Shard]*homeShard), ends: make(map[Shard]*endSet),
		early: make(map[Shard]*earlySet),
		conns: make(map[Shard]map[*homeConn]struct{}), edges: make(map[Shard]map[*edgeSocket]struct{}), told: make(map[Shard]Ownership),
		upgrades: make(map[Shard]map[*edgeRequest]chan struct{}),
	}
	c.topics = newTopics(c)
	c.links, err = link.New(link.Options{
		Self: peerOf(o.Self), Cluster: o.Name, Secret: o.Secret, TLS: o.TLS, Dial: o.Dial, Logger: resolved.Logger,
		MaxMessage: maxClientMessage + 64, LinkWindow: 2 * maxClientMessage,
		Accept: c.accept, Event: c.linkEvent,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := c.links.CheckListener(o.Listener); err != nil { // before others give shards to a member that they cannot reach
		c.links.Close()
		return nil, fmt.Errorf("%w: Listener: %w", ErrConfig, err)
	}
	o.Options.Gained, o.Options.Losing, o.Options.Lost = c.gained, c.losing, c.lost
	c.opts.Logger, o.Options.Logger = resolved.Logger, resolved.Logger // one queue
	config, err := setup(ctx, resolved)                                // the hooks need the number of shards, and may run before Start returns
	if err == nil {
		c.shards, c.active = config.Shards, make([]atomic.Pointer[homeShard], config.Shards)
	}
	var node *Node
	if err == nil {
		node, err = Start(ctx, o.Options)
	}
	if err != nil {
		c.links.Close()
		return nil, err
	}
	c.Node = node
	close(c.started)
	c.serving.Go(func() { // only now: links need the Node. Until then the listener's queue has the connections
		if err := c.links.Serve(o.Listener); err != nil && !errors.Is(err, link.ErrClosed) {
			c.opts.Logger.Error("edgews: cluster links are not served any more", "node", o.Self.ID, "error", err)
		}
	})
	c.serving.Go(c.watchOwners)
	c.serving.Go(c.topics.watch)
	return c, nil
}

// checkAddr refuses a Self.Addr to which other members cannot connect.
func (o *JoinOptions) checkAddr() error {
	if o.Dial != nil {
		return nil // it knows what the address means
	}
	host, port, err := net.SplitHostPort(o.Self.Addr)
	if err != nil {
		return fmt.Errorf("%w: Self.Addr is not host:port: %w", ErrConfig, err)
	}
	if ip := net.ParseIP(host); host == "" || port == "0" || ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("%w: other members cannot connect to %s: set Self.Addr to the host and port at which they reach Listener", ErrConfig, o.Self.Addr)
	}
	return nil
}

// peerOf returns m as a link sees it.
func peerOf(m Member) link.Peer {
	return link.Peer{ID: m.ID, Incarnation: m.Incarnation, Addr: m.Addr, Versions: m.Versions}
}

// randomToken returns 12 hexadecimal digits.
func randomToken() string {
	var b [6]byte
	rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// linkEvent tells the Node which members can be reached.
func (c *Cluster) linkEvent(e link.Event) {
	switch {
	case e.Up:
		c.ReportConnected(e.Peer.ID, e.Peer.Incarnation)
	case e.Refused:
		c.ReportRefused(e.Peer.ID, e.Peer.Incarnation)
		if !c.isMember(e.Peer) { // it has been removed, and is dead: nobody else ends a link that was made since
			c.links.Remove(e.Peer.ID, e.Peer.Incarnation)
		}
	}
}

// Attach implements edgews.Cluster.
func (c *Cluster) Attach(host *edgews.ClusterHost) (detach func(), err error) {
	name := host.Namespace().Name()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hosts[name] != nil {
		return nil, fmt.Errorf("the cluster has a namespace %q already on this node", name)
	}
	c.hosts[name] = host
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.hosts, name)
	}, nil
}

// host returns the namespace of that name, or nil.
func (c *Cluster) host(name string) *edgews.ClusterHost {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hosts[name]
}

// allHosts returns all namespaces.
func (c *Cluster) allHosts() []*edgews.ClusterHost {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*edgews.ClusterHost, 0, len(c.hosts))
	for _, h := range c.hosts {
		all = append(all, h)
	}
	return all
}

// shardOf returns the shard of an object.
func (c *Cluster) shardOf(key edgews.ObjectKey) Shard { return ShardOf(key, c.shards) }

// Leave gives the shards of this node to others, ends the sockets of this node's clients with 1012, waits until the clients have answered, and
// leaves the cluster. What clients have sent before is handled. When ctx ends, Leave goes on without waiting, see Node.Leave. The namespaces are
// shut down afterwards, by their own Shutdown. The server should not accept clients any more when Leave is called, or soon after.
func (c *Cluster) Leave(ctx context.Context) error {
	err := c.leaveAfter(ctx, func() {
		c.endSockets(ctx)
		c.draining.Store(true)
	})
	c.drain(ctx)
	c.end()
	return err
}

// Close leaves the cluster without giving anything away, and ends the sockets of this node's clients with 1012, but does not wait for them.
func (c *Cluster) Close() error {
	err := c.Node.Close()
	c.end()
	return err
}

// endSockets ends the sockets of this node's clients, and waits until the clients have answered, and until their homes have dealt with what
// the clients have sent and with how the connections have ended: what the links have not sent is dropped afterwards.
func (c *Cluster) endSockets(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	for s := range c.shards {
		c.awaitUpgrades(ctx, Ownership{Shard: Shard(s), Epoch: math.MaxUint64})
	}
	all := c.allEdges()
	for _, e := range all {
		e.awaitHome(ctx)
		e.dismiss()
	}
	for _, e := range all {
		if !e.awaitForgotten(ctx) {
			return
		}
	}
}

// drain waits until the requests and calls have been answered, or refused, that members have sent to this node before they learnt that it is
// not the home of their objects any more. Otherwise they would have to take it that an object may have handled them.
func (c *Cluster) drain(ctx context.Context) {
	over := time.NewTimer(drainTimeout)
	defer over.Stop()
	look := time.NewTicker(drainTimeout / 100)
	defer look.Stop()
	for c.links.Channels() > 0 {
		select {
		case <-look.C:
		case <-over.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// drainTimeout bounds drain. The others keep their links with a member that has left for twice as long.
const drainTimeout = time.Second

// endTimeout bounds endSockets also if the context of Leave does not: a little more than clients have by default to answer a Close.
const endTimeout = 6 * time.Second

// leavingReason is what clients are told whose node leaves.
const leavingReason = "server is going away"

// allEdges returns the sockets of this node's clients.
func (c *Cluster) allEdges() (all []*edgeSocket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, in := range c.edges {
		for e := range in {
			all = append(all, e)
		}
	}
	return all
}

// end ends the sockets of clients and the links.
func (c *Cluster) end() {
	c.mu.Lock()
	select {
	case <-c.done:
		c.mu.Unlock()
		return
	default:
	}
	close(c.done) // from now on edgeSocket.begin ends sockets itself
	c.mu.Unlock()
	for _, e := range c.allEdges() {
		e.giveUp(leavingReason)
	}
	c.links.Close()
	c.serving.Wait()
	flushLogger(c.opts.Logger)
}
