package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Options configures a Node.
type Options struct {
	// Engine is what the members share. The Node does not close it.
	Engine Engine

	// Self is the record of this process. A zero Incarnation becomes a random one, an empty ID becomes a random one, and zero Versions
	// become 1 and 1. Beat, TTL and Leaving are set by the Node. The process should accept connections at Addr already.
	Self Member

	// Config is what the cluster must have been created with. Zeros accept what is stored, and mean the defaults if nothing is.
	Config Config

	// TTL is how long this node owns its shards after a renewal; default 15 s. Longer than any interruption of the engine that should
	// go unnoticed, for example an election: after it a node gives up all its shards. The shards of a node that has died are
	// claimed by others after [DeadAfter] TTL, or at once, see [Node.ReportRefused]. Members may have different ones.
	TTL time.Duration

	// RenewEvery is how often the membership is renewed, and how long a call of the engine may take; default TTL/4, at most TTL/2.
	RenewEvery time.Duration

	// HandoversAtOnce is how many shards this node gives to other members at a time; default 8. Requests to their objects wait meanwhile.
	HandoversAtOnce int

	// Logger receives what happens to the membership; nil means slog.Default. A goroutine calls the Handle of its handler, in the order of the
	// records: it may block, which delays nothing, but then records are dropped, and call methods of the node, but not Leave or Close, which wait
	// up to a second for it. Its other methods must neither block nor call the node.
	Logger *slog.Logger

	// The hooks tell the program which shards it owns. They are called in goroutines of their own, concurrently for different shards.
	// For one shard the calls do not overlap: Gained comes first, then either Losing or Lost, then perhaps Gained with a larger epoch.
	// The contexts end when the shard is lost because the node's lease ends. The first calls may come before Start has returned. A hook must
	// not call Leave or Close. Nil hooks are left out.

	// Gained is called when the node owns a shard. Node.Owns knows it already.
	Gained func(context.Context, Ownership)

	// Losing is called before the node gives a shard to another member, or leaves. Node.Owns does not report it any more. The record names
	// the other member after Losing has returned, so it must wait for the events that still run. Lost is not called afterwards.
	Losing func(context.Context, Ownership)

	// Lost is called when the node does not own a shard any more, without having given it away: its lease has ended, or another member has
	// claimed the shard. In both cases another member may own it already.
	Lost func(Ownership)

	// UnsafeWithoutSelfFencing has the node believe that it owns its shards until it learns the opposite. It is for tests of the fence
	// of the storage, which then has to refuse what the node commits.
	UnsafeWithoutSelfFencing bool

	clockRate float64 // how fast the node's clock runs; 0: 1
}

const (
	defaultTTL             = 15 * time.Second // longer than an election of NATS JetStream, which takes up to 9 s
	renewalsPerTTL         = 4
	defaultHandoversAtOnce = 8

	// claimsAtOnce is how many shards without an owner a node claims at a time. More do not make it faster, since engines group that many.
	claimsAtOnce = 64

	// retriesPerRenewal says how soon a failed call is made again: RenewEvery divided by it.
	retriesPerRenewal = 8
)

// ErrIncompatible: a member speaks no version of the protocol that this one speaks.
var ErrIncompatible = errors.New("edgews: cluster has a member with which this one has no protocol version in common")

// ErrNodeClosed: the node has left the cluster or has been closed.
var ErrNodeClosed = errors.New("edgews: cluster node is closed")

func (o Options) resolve() (Options, error) {
	o.Self.ID = cmp.Or(o.Self.ID, fmt.Sprintf("%016x", randomIncarnation()))
	o.Self.Incarnation = cmp.Or(o.Self.Incarnation, randomIncarnation())
	o.Self.Versions = cmp.Or(o.Self.Versions, [2]uint16{1, 1})
	o.TTL = cmp.Or(o.TTL, defaultTTL)
	o.RenewEvery = cmp.Or(o.RenewEvery, o.TTL/renewalsPerTTL)
	o.HandoversAtOnce = cmp.Or(o.HandoversAtOnce, defaultHandoversAtOnce)
	o.Logger = newQueuedLogger(cmp.Or(o.Logger, slog.Default()))
	o.clockRate = cmp.Or(o.clockRate, 1)
	o.Self.Beat, o.Self.TTL, o.Self.Leaving = 0, o.TTL, false
	if o.Gained == nil {
		o.Gained = func(context.Context, Ownership) {}
	}
	if o.Losing == nil {
		o.Losing = func(context.Context, Ownership) {}
	}
	if o.Lost == nil {
		o.Lost = func(Ownership) {}
	}
	switch {
	case o.Engine == nil:
		return o, fmt.Errorf("%w: Engine is nil", ErrConfig)
	case o.Self.Versions[0] > o.Self.Versions[1]:
		return o, fmt.Errorf("%w: the lowest of Versions is %d, the highest %d", ErrConfig, o.Self.Versions[0], o.Self.Versions[1])
	case o.TTL <= 0:
		return o, fmt.Errorf("%w: TTL is %v", ErrConfig, o.TTL)
	case o.RenewEvery <= 0 || o.RenewEvery > o.TTL/2:
		return o, fmt.Errorf("%w: RenewEvery is %v, not between 0 and half of TTL, which is %v", ErrConfig, o.RenewEvery, o.TTL)
	case o.HandoversAtOnce < 0:
		return o, fmt.Errorf("%w: HandoversAtOnce is %d", ErrConfig, o.HandoversAtOnce)
	}
	return o, o.Config.orDefaults().Validate()
}
