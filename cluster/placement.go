package cluster

import "github.com/edgews/edgews"

// Shard is a part of the objects of a cluster, from 0 on. All objects of a shard have the same owner.
type Shard uint16

// ShardOf returns the shard of an object in a cluster of that many shards, which Config.Shards says. It depends on the arguments only and
// never changes: it is FNV-1a with 64 bits of the namespace, a zero byte and the 32 bytes of the ID, modulo the number of shards.
func ShardOf(o edgews.ObjectKey, shards int) Shard {
	h := uint64(fnvOffset)
	for i := range len(o.Namespace) {
		h = fnv(h, o.Namespace[i])
	}
	h = fnv(h, 0)
	digits := o.ID.String() // two for each byte
	for i := 0; i < len(digits); i += 2 {
		h = fnv(h, digit(digits[i])<<4|digit(digits[i+1]))
	}
	return Shard(h % uint64(shards))
}

// digit returns the value of a hexadecimal digit in lower case.
func digit(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnv(h uint64, b byte) uint64 { return (h ^ uint64(b)) * fnvPrime }

// placement says which of some members should own a shard: the one with the highest score in rendezvous hashing. When a member comes,
// only shards that it gets change hands, and when it goes, only those that it had.
type placement struct {
	ids   []string
	seeds []uint64 // of the IDs
}

func newPlacement(ids []string) placement {
	p := placement{ids: ids, seeds: make([]uint64, len(ids))}
	for i, id := range ids {
		h := uint64(fnvOffset)
		for j := range len(id) {
			h = fnv(h, id[j])
		}
		p.seeds[i] = h
	}
	return p
}

// winner returns the ID of the member that should own s, and "" if there are no members.
func (p placement) winner(s Shard) (id string) {
	best := uint64(0)
	for i, seed := range p.seeds {
		score := mix(seed ^ mix(uint64(s)+1))
		if id == "" || score > best || score == best && p.ids[i] > id {
			id, best = p.ids[i], score
		}
	}
	return id
}

// mix spreads each bit of x over all bits: the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
