package edgews

import (
	"hash/maphash"
	"strings"
)

// tree is an ordered map of keys to values that never changes: put and remove return another one, which shares with it
// all that is the same. So whoever holds one holds a snapshot. The nil tree is empty.
//
// It is a treap: a search tree by key and a heap by weight. A weight is the hash of its key, with a seed that nobody
// outside knows, so whatever the keys are and in whatever order they come, its depth is logarithmic.
type tree struct {
	key         string
	value       []byte
	weight      uint64
	left, right *tree
}

var treeSeed = maphash.MakeSeed()

func (t *tree) get(key string) (value []byte, ok bool) {
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

func (t *tree) put(key string, value []byte) *tree {
	return t.insert(key, value, maphash.String(treeSeed, key))
}

// insert meets the key, if it is there, before anything lighter.
func (t *tree) insert(key string, value []byte, weight uint64) *tree {
	if t == nil || t.weight < weight {
		left, right := t.split(key)
		return &tree{strings.Clone(key), value, weight, left, right}
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

// split parts what is before key, which is not in t, from what is behind it.
func (t *tree) split(key string) (before, behind *tree) {
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

// remove returns t itself if key is not there.
func (t *tree) remove(key string) *tree {
	if t == nil {
		return nil
	}
	changed := *t
	switch c := strings.Compare(key, t.key); {
	case c < 0:
		changed.left = t.left.remove(key)
	case c > 0:
		changed.right = t.right.remove(key)
	default:
		return join(t.left, t.right)
	}
	if changed.left == t.left && changed.right == t.right {
		return t
	}
	return &changed
}

// join puts two trees together, all keys of the first of which are before those of the second.
func join(a, b *tree) *tree {
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

// from visits the entries from key on, in order, until visit returns false. It returns what visit returned last.
func (t *tree) from(key string, visit func(key string, value []byte) bool) bool {
	if t == nil {
		return true
	}
	if t.key >= key && !(t.left.from(key, visit) && visit(t.key, t.value)) {
		return false
	}
	return t.right.from(key, visit)
}
