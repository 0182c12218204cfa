package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edgews/edgews"
)

// Engine is what the members of a cluster share: their records, the records of the owners of shards, and the storage of objects. Programs
// do not call it; they give it to [Start]. enginetest.Run checks that an engine does what is documented here.
//
// All methods are called from many goroutines. A call whose context has already ended does nothing and returns the context's error. A
// call returns when its context ends, at the latest; see edgews.Store for commits. An error that is none of those named here means that
// the outcome is unknown: what the call asked for has happened, or happens later, or never. The caller makes the same call again. All
// methods are such that this does no harm.
//
// An engine measures no time and removes no record of its own accord: what a renewal means, and when a member is dead, is up to the nodes.
type Engine interface {
	// Store keeps the storage of objects. Its fences are the epochs of Ownership, and outlive the entries of an object. Close ends the
	// connection to the engine, and every Watch.
	edgews.Store

	// DueShardAlarms is DueAlarms for the objects of one shard.
	DueShardAlarms(ctx context.Context, namespace string, s Shard, until time.Time, limit int) ([]edgews.DueAlarm, error)

	// Setup creates the record of the cluster's configuration if there is none yet, and returns the one that is stored. It is called
	// before all other methods of this interface. c is valid, see Config.Validate.
	Setup(ctx context.Context, c Config) (Config, error)

	// Join stores a record of m. If there is one already with the same ID and another incarnation, it returns ErrMemberExists and changes
	// nothing. If there is one with the same incarnation, Join does what Renew does.
	Join(ctx context.Context, m Member) error

	// Renew replaces the record of a member that has m's ID and incarnation and a lower beat. If its beat is the same or higher, nothing
	// changes, and that is no error: this call is late. It returns ErrNotMember if there is no record with this ID and incarnation.
	Renew(ctx context.Context, m Member) error

	// Remove removes the record with m's ID and incarnation. If m.Beat is not 0 and the record has another beat, nothing changes and
	// Remove returns ErrConflict. It is no error if there is no such record.
	Remove(ctx context.Context, m Member) error

	// Claim makes to the owner of prev.Shard if the record of the shard still has the epoch prev.Epoch, or if there is none and
	// prev.Epoch is 0. It returns the new record. Its epoch is larger than prev.Epoch, and at least Config.FirstEpoch. It is no concern
	// of Claim who owned the shard before, nor whether to is a member. If the record has another epoch, nothing changes, and Claim
	// returns the present record, with epoch 0 if there is none, and ErrConflict.
	Claim(ctx context.Context, prev Ownership, to Member) (Ownership, error)

	// Watch calls fn with the records of all members and all owners, then with a Change that has Synced, and then with each change. It
	// returns an error when ctx ends or when it can show no more changes; the caller watches again. The calls of fn do not overlap, and
	// fn returns quickly.
	//
	// Order: if one change was acknowledged before another one was begun, Watch shows the first one first. What it has shown when it
	// calls fn with Synced includes all that was acknowledged before Watch was called. States that were replaced meanwhile may be left
	// out, and what has been shown already may be shown again, but not after something newer of the same record.
	Watch(ctx context.Context, fn func(Change)) error
}

var (
	// ErrMemberExists: there is another member with this ID, in another process or from before a restart.
	ErrMemberExists = errors.New("edgews: cluster has another member with this ID")

	// ErrNotMember: the engine has no record of this member, or one of another incarnation.
	ErrNotMember = errors.New("edgews: not a member of the cluster")

	// ErrConflict: the record is another one than the call expects; the call has changed nothing.
	ErrConflict = errors.New("edgews: cluster record has been changed by another member")

	// ErrConfig: a configuration is invalid, or is not the one that the cluster was created with.
	ErrConfig = errors.New("edgews: invalid cluster configuration")
)

// Config is what a cluster is created with. It never changes afterwards.
type Config struct {
	// Shards is the number of shards; default 1024. Each is owned by one member at a time, so it should be far more than the number of
	// members. At most 65536.
	Shards int

	// Generation is the first part of all epochs; default 1. If the engine's records of owners have been lost or deleted, but not the
	// storage of the objects, the cluster must be created again with a larger generation. Otherwise its epochs would be smaller than
	// those that the storage has seen, which refuses to be opened with them. Less than 1<<23, so that epochs fit into an int64.
	Generation uint64
}

const (
	defaultShards     = 1024
	maxShards         = 1 << 16 // a Shard has 16 bits
	defaultGeneration = 1

	// generationShift leaves 2^40 epochs to each shard, enough for a change every millisecond for 34 years.
	generationShift = 40
	maxGeneration   = 1<<(63-generationShift) - 1
)

// orDefaults returns c with the defaults in place of zeros.
func (c Config) orDefaults() Config {
	if c.Shards == 0 {
		c.Shards = defaultShards
	}
	if c.Generation == 0 {
		c.Generation = defaultGeneration
	}
	return c
}

// Validate returns ErrConfig for a configuration that no cluster can have. Zeros are not replaced by defaults here: they are invalid.
func (c Config) Validate() error {
	switch {
	case c.Shards < 1 || c.Shards > maxShards:
		return fmt.Errorf("%w: Shards is %d, not between 1 and %d", ErrConfig, c.Shards, maxShards)
	case c.Generation < 1 || c.Generation > maxGeneration:
		return fmt.Errorf("%w: Generation is %d, not between 1 and %d", ErrConfig, c.Generation, uint64(maxGeneration))
	}
	return nil
}

// FirstEpoch returns the smallest epoch that the owner of a shard can have. It is larger than every epoch of the generations before, and
// than 1, the epoch of objects outside a cluster.
func (c Config) FirstEpoch() uint64 { return c.Generation<<generationShift | 1 }

// matches returns ErrConfig if c asks for something else than what is stored. Zeros ask for nothing.
func (c Config) matches(stored Config) error {
	switch {
	case c.Shards != 0 && c.Shards != stored.Shards:
		return fmt.Errorf("%w: Shards is %d, but the cluster was created with %d", ErrConfig, c.Shards, stored.Shards)
	case c.Generation != 0 && c.Generation != stored.Generation:
		return fmt.Errorf("%w: Generation is %d, but the cluster was created with %d", ErrConfig, c.Generation, stored.Generation)
	}
	return nil
}

// Change is what [Engine.Watch] shows. Exactly one of Member, Ownership and Synced is set.
type Change struct {
	Member *Member // a record that is new, has been replaced, or has been removed
	Gone   bool    // there is no record with Member's ID any more; Member has at least the ID and the incarnation of the last one

	Ownership *Ownership // a record that is new or has been replaced

	Synced bool // all that there was when Watch began has been shown
}
