// Package treap is an ordered map whose versions share memory. The module cluster/nats imports it too, at any later version of this module: what is
// exported here stays.
package treap

import (
	"hash/maphash"
	"strings"
)

// Tree maps keys to values, in the order of the keys' bytes. It never changes: Put and Remove return another tree, which shares with the
// old one all that is the same. A Tree is therefore a snapshot, and may be read by many goroutines. The nil *Tree is empty.
//
// It is a treap: a search tree by key and a heap by weight. The weight of a key is its hash, with a seed that is chosen at random for each
// process. So the depth is logarithmic for any keys in any order, also for keys that an adversary has chosen.
type Tree struct {
	key         string
	value       []byte
	weight      uint64
	left, right *Tree
}

var seed = maphash.MakeSeed()

// Get returns the value of key, which must not be changed.
func (t *Tree) Get(key string) (value []byte, ok bool) {
	for t != nil {
		switch c := strings.Compare(key, t.key); {
		case c < 0:
			t = t.left
		case c > 0:
			t = t.right
		default:
			return t.value, true
		}
	}
	return nil, false
}

// Put returns a tree in which key has value, which it keeps.
func (t *Tree) Put(key string, value []byte) *Tree {
	return t.insert(key, value, maphash.String(seed, key))
}

// insert is Put for a key of that weight. If t has the key, its node is met before any that is lighter.
func (t *Tree) insert(key string, value []byte, weight uint64) *Tree {
	if t == nil || t.weight < weight {
		left, right := t.split(key)
		return &Tree{strings.Clone(key), value, weight, left, right}
	}
	changed := *t
	switch c := strings.Compare(key, t.key); {
	case c < 0:
		changed.left = t.left.insert(key, value, weight)
	case c > 0:
		changed.right = t.right.insert(key, value, weight)
	default:
		changed.value = value
	}
	return &changed
}

// split returns the part of t before key and the part behind it. t must not contain key.
func (t *Tree) split(key string) (before, behind *Tree) {
	if t == nil {
		return nil, nil
	}
	changed := *t
	if t.key < key {
		changed.right, behind = t.right.split(key)
		return &changed, behind
	}
	before, changed.left = t.left.split(key)
	return before, &changed
}

// Remove returns a tree without key: t itself if key is not in it.
func (t *Tree) Remove(key string) *Tree {
	if t == nil {
		return nil
	}
	changed := *t
	switch c := strings.Compare(key, t.key); {
	case c < 0:
		changed.left = t.left.Remove(key)
	case c > 0:
		changed.right = t.right.Remove(key)
	default:
		return join(t.left, t.right)
	}
	if changed.left == t.left && changed.right == t.right {
		return t
	}
	return &changed
}

// join returns all entries of a and b. Every key of a is before every key of b.
func join(a, b *Tree) *Tree {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.weight < b.weight:
		changed := *b
		changed.left = join(a, b.left)
		return &changed
	default:
		changed := *a
		changed.right = join(a.right, b)
		return &changed
	}
}

// Ascend calls visit for the entries from first on and before end, in order, until visit returns false. An empty end means no upper bound.
// It reports whether visit never returned false. It does not look at entries outside, apart from those on the way to the bounds.
func (t *Tree) Ascend(first, end string, visit func(key string, value []byte) bool) bool {
	if t == nil {
		return true
	}
	return (t.key <= first || t.left.Ascend(first, end, visit)) &&
		(!t.within(first, end) || visit(t.key, t.value)) &&
		(end != "" && t.key >= end || t.right.Ascend(first, end, visit))
}

func (t *Tree) within(first, end string) bool { return t.key >= first && (end == "" || t.key < end) }

// Descend is Ascend in the opposite order.
func (t *Tree) Descend(first, end string, visit func(key string, value []byte) bool) bool {
	if t == nil {
		return true
	}
	return (end != "" && t.key >= end || t.right.Descend(first, end, visit)) &&
		(!t.within(first, end) || visit(t.key, t.value)) &&
		(t.key <= first || t.left.Descend(first, end, visit))
}

// Scan is Ascend, or Descend if reverse is set.
func (t *Tree) Scan(first, end string, reverse bool, visit func(key string, value []byte) bool) bool {
	if reverse {
		return t.Descend(first, end, visit)
	}
	return t.Ascend(first, end, visit)
}
