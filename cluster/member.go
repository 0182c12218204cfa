package cluster

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// Member is the record of a member.
type Member struct {
	// ID is the member's name, which no other live member has. Which shards a member should own depends on it, so a process that is
	// started again should have the same.
	ID string

	// Incarnation is a random number that is not 0. A process that has been started again has another one.
	Incarnation uint64

	// Beat counts the renewals of an incarnation, beginning with 1. It never restarts, not even when the member has been removed
	// and joins again.
	Beat uint64

	// TTL is how long the member owns its shards after a renewal.
	TTL time.Duration

	// Addr is where other members reach it, as host:port.
	Addr string

	// Versions are the lowest and the highest version of the protocol between members that it speaks. Two members whose ranges have no
	// version in common cannot be in one cluster.
	Versions [2]uint16

	// EdgeOnly: it owns no shards. Leaving: it gives its shards away.
	EdgeOnly, Leaving bool
}

// is reports whether m and other are records of the same process.
func (m Member) is(other Member) bool { return m.ID == other.ID && m.Incarnation == other.Incarnation }

// owns reports whether o names m as owner.
func (m Member) owns(o Ownership) bool {
	return o.Epoch != 0 && m.ID == o.Owner && m.Incarnation == o.Incarnation
}

// speaksWith reports whether the two members have a version of the protocol in common.
func (m Member) speaksWith(other Member) bool {
	return max(m.Versions[0], other.Versions[0]) <= min(m.Versions[1], other.Versions[1])
}

// Ownership is the record of a shard's owner.
type Ownership struct {
	Shard       Shard
	Owner       string // ID of a member
	Incarnation uint64 // of that member

	// Epoch grows with each change, never restarts, and is the fence of the storage of the shard's objects. 0 means that the shard has
	// no record yet.
	Epoch uint64
}

// deadMargin is the part of its TTL by which the others let a member live longer than it does itself. A member whose clock is 10 % slow
// takes 1/0.9 of the time, which is 11.1 % more.
const deadMargin = 8

// DeadAfter returns how long after its last renewal the others take a member for dead: TTL and an eighth.
func DeadAfter(ttl time.Duration) time.Duration { return ttl + ttl/deadMargin }

// randomIncarnation returns a number that is not 0.
func randomIncarnation() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:]) // it never fails
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}
