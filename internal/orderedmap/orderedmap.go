// Package orderedmap is a map that is iterated in the order of insertion and needs little memory: for each key the key, its value and 5 to 11
// bytes, plus the spare capacity of a slice.
package orderedmap

import (
	"hash/maphash"
	"iter"
)

// Map maps keys to values. The zero value is empty. The zero K cannot be a key. A Map is not safe for concurrent use, and must not be copied.
type Map[K comparable, V any] struct {
	entries []entry[K, V] // in the order of insertion; those that were deleted have the zero key
	table   []uint32      // a hash table of indices into entries plus 1; 0: empty. Its length is 0 or a power of two
	live    int           // entries that were not deleted
	seed    maphash.Seed
}

// entry has the value first: as the last field, one without a size would need the memory of another key.
type entry[K comparable, V any] struct {
	value V
	key   K
}

// minTable is the shortest hash table. A longer one is at most three quarters full.
const minTable = 8

// Len returns the number of keys.
func (m *Map[K, V]) Len() int { return m.live }

// Get returns the value of k, or nil if there is none. The pointer is valid until the next Put or Delete.
func (m *Map[K, V]) Get(k K) *V {
	at, found := m.find(k)
	if !found {
		return nil
	}
	return &m.entries[m.table[at]-1].value
}

// Put sets the value of k. A new key becomes the last one; a key that is there keeps its place.
func (m *Map[K, V]) Put(k K, v V) {
	if old := m.Get(k); old != nil {
		*old = v
		return
	}
	if len(m.entries) == cap(m.entries) && m.live < len(m.entries) {
		m.compact()
	}
	if 4*(len(m.entries)+1) > 3*len(m.table) {
		m.rebuild(max(2*len(m.table), minTable))
	}
	at, _ := m.find(k)
	m.entries = append(m.entries, entry[K, V]{v, k})
	m.table[at] = uint32(len(m.entries))
	m.live++
}

// Delete removes k. It reports whether k was there.
func (m *Map[K, V]) Delete(k K) bool {
	at, found := m.find(k)
	if !found {
		return false
	}
	m.entries[m.table[at]-1] = entry[K, V]{}
	m.live--
	m.closeGap(at)
	switch deleted := len(m.entries) - m.live; {
	case m.live == 0:
		m.entries, m.table = nil, nil
	case deleted > minTable && deleted > m.live/4:
		m.compact()
	}
	return true
}

// All iterates over the keys and their values, in the order of insertion. The map must not change meanwhile, but the values may.
func (m *Map[K, V]) All() iter.Seq2[K, *V] {
	return func(yield func(K, *V) bool) {
		var deleted K
		for i := range m.entries {
			if e := &m.entries[i]; e.key != deleted && !yield(e.key, &e.value) {
				return
			}
		}
	}
}

// AppendKeys appends the keys to dst, in the order of insertion.
func (m *Map[K, V]) AppendKeys(dst []K) []K {
	for k := range m.All() {
		dst = append(dst, k)
	}
	return dst
}

// find returns where in the table k is, or would be put.
func (m *Map[K, V]) find(k K) (at int, found bool) {
	if len(m.table) == 0 {
		return 0, false
	}
	for at = m.home(k); m.table[at] != 0; at = m.after(at) {
		if m.entries[m.table[at]-1].key == k {
			return at, true
		}
	}
	return at, false
}

// home returns where the search for k begins.
func (m *Map[K, V]) home(k K) int {
	return int(maphash.Comparable(m.seed, k) & uint64(len(m.table)-1))
}

func (m *Map[K, V]) after(at int) int { return (at + 1) & (len(m.table) - 1) }

// closeGap empties the place at of the table, and moves those behind it that would no longer be found.
func (m *Map[K, V]) closeGap(at int) {
	for next := m.after(at); m.table[next] != 0; next = m.after(next) {
		home := m.home(m.entries[m.table[next]-1].key)
		if distance(home, next, len(m.table)) >= distance(at, next, len(m.table)) {
			m.table[at] = m.table[next]
			at = next
		}
	}
	m.table[at] = 0
}

// distance returns how far it is from a forward to b in a table of n places.
func distance(a, b, n int) int { return (b - a) & (n - 1) }

// compact moves the entries together, into as much memory as they need.
func (m *Map[K, V]) compact() {
	kept := make([]entry[K, V], 0, m.live+m.live/8+1)
	var deleted K
	for _, e := range m.entries {
		if e.key != deleted {
			kept = append(kept, e)
		}
	}
	m.entries = kept
	size := minTable
	for 4*(m.live+1) > 3*size {
		size *= 2
	}
	m.rebuild(size)
}

// rebuild makes a table of that size for all entries that were not deleted.
func (m *Map[K, V]) rebuild(size int) {
	if m.table == nil && m.seed == (maphash.Seed{}) {
		m.seed = maphash.MakeSeed()
	}
	m.table = make([]uint32, size)
	var deleted K
	for i, e := range m.entries {
		if e.key == deleted {
			continue
		}
		at, _ := m.find(e.key)
		m.table[at] = uint32(i + 1)
	}
}
