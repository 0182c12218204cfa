package treap

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// entriesFrom reads at most n entries, as key=value.
func entriesFrom(t *Tree, key string, n int) (all []string) {
	t.Ascend(key, "", func(key string, value []byte) bool {
		if len(all) == n {
			return false
		}
		all = append(all, key+"="+string(value))
		return true
	})
	return all
}

func depth(t *Tree) int {
	if t == nil {
		return 0
	}
	return 1 + max(depth(t.left), depth(t.right))
}

func TestIsAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var tr *Tree
	naive := map[string]string{}
	for i := range 5000 {
		key := fmt.Sprint(rng.IntN(300))
		if rng.IntN(3) == 0 {
			_, was := naive[key]
			next := tr.Remove(key)
			assert.Equal(t, !was, next == tr, "removing what is not there changes nothing")
			tr = next
			delete(naive, key)
		} else {
			tr = tr.Put(key, []byte(fmt.Sprint(i)))
			naive[key] = fmt.Sprint(i)
		}
	}
	for i := range 300 {
		key := fmt.Sprint(i)
		want, has := naive[key]
		got, ok := tr.Get(key)
		require.Equal(t, has, ok, key)
		require.Equal(t, want, string(got), key)
	}
	assert.Len(t, entriesFrom(tr, "", math.MaxInt), len(naive))
	for key := range naive {
		tr = tr.Remove(key)
	}
	assert.Nil(t, tr)
}

func TestIsASnapshot(t *testing.T) {
	var tr *Tree
	for _, key := range strings.Split("f c a d b e", " ") {
		tr = tr.Put(key, []byte("old"))
	}
	before := entriesFrom(tr, "", math.MaxInt)
	changed := tr.Put("c", []byte("new")).Put("cc", nil).Remove("a").Remove("f")
	assert.Equal(t, []string{"a=old", "b=old", "c=old", "d=old", "e=old", "f=old"}, before)
	assert.Equal(t, before, entriesFrom(tr, "", math.MaxInt))
	assert.Equal(t, []string{"b=old", "c=new", "cc=", "d=old", "e=old"}, entriesFrom(changed, "", math.MaxInt))
	assert.Equal(t, []string{"cc=", "d=old"}, entriesFrom(changed, "ca", 2))
	assert.Empty(t, entriesFrom(changed, "f", 1))
}

func TestStaysShallow(t *testing.T) {
	var tr *Tree
	for i := range 1 << 14 {
		tr = tr.Put(fmt.Sprintf("%06d", i), nil) // in order, which is the worst for a plain tree
	}
	assert.Less(t, depth(tr), 4*14, "expected are about 2·ln(2¹⁴)+… = 30; without weights 16 384")
}

// Ascend and Descend against a sorted slice, with bounds that are keys, lie between keys, or contradict each other.
func TestBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	random := func() string {
		key := make([]byte, rng.IntN(3))
		for i := range key {
			key[i] = "\x00a\xff"[rng.IntN(3)]
		}
		return string(key)
	}
	for range 2000 {
		var tr *Tree
		for range rng.IntN(12) {
			tr = tr.Put(random(), nil)
		}
		first, end, limit := random(), random(), rng.IntN(6)
		var want []string
		for _, e := range entriesFrom(tr, "", math.MaxInt) {
			if key := strings.TrimSuffix(e, "="); key >= first && (end == "" || key < end) {
				want = append(want, key)
			}
		}
		for _, reverse := range []bool{false, true} {
			var got []string
			whole := tr.Scan(first, end, reverse, func(key string, _ []byte) bool {
				got = append(got, key)
				return len(got) != limit
			})
			if reverse {
				slices.Reverse(want)
			}
			wantWhole := limit == 0 || len(want) < limit
			require.Equal(t, wantWhole, whole)
			if wantWhole {
				require.Equal(t, want, got, "from %q before %q", first, end)
			} else {
				require.Equal(t, want[:limit], got, "from %q before %q", first, end)
			}
		}
	}
}

// spoil returns a copy of t, whose keys are between above and below, in which each subtree that is wholly before first or behind end is
// replaced by a node that a walk would visit if it came there. It counts the nodes that it has left.
func (t *Tree) spoil(above, below, first, end string, left *int) *Tree {
	switch {
	case t == nil:
		return nil
	case below <= first || above >= end:
		return &Tree{key: first, value: []byte("outside")}
	}
	*left++
	changed := *t
	changed.left = t.left.spoil(above, t.key, first, end, left)
	changed.right = t.right.spoil(t.key, below, first, end, left)
	return &changed
}

// A walk looks at the entries that it visits, and at those on the way to its bounds.
func TestCostsWhatItVisits(t *testing.T) {
	const size, visits = 1 << 20, 10
	key := func(i int) string { return fmt.Sprintf("%07d", i) }
	var tr *Tree
	for i := range size {
		tr = tr.Put(key(i), nil)
	}
	for _, at := range []int{0, 1, size / 3, size - visits} {
		left := 0
		spoilt := tr.spoil("", "\xff", key(at), key(at+visits), &left)
		require.LessOrEqual(t, left, visits+2*depth(tr))
		walk := func(first, end string, reverse bool) (visited []string) {
			spoilt.Scan(first, end, reverse, func(key string, value []byte) bool {
				require.Empty(t, value)
				visited = append(visited, key)
				return len(visited) < visits
			})
			return visited
		}
		var want []string
		for i := range visits {
			want = append(want, key(at+i))
		}
		assert.Equal(t, want, walk(key(at), "", false), "ended by visit")
		assert.Equal(t, want, walk(key(at), key(at+visits), false))
		slices.Reverse(want)
		assert.Equal(t, want, walk("", key(at+visits), true), "ended by visit")
		assert.Equal(t, want, walk(key(at), key(at+visits), true))
	}
}
